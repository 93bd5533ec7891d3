"""What a leaf shows for ever, and what it does not."""

from __future__ import annotations

import pytest

from protocol.errors import MalformedDocument
from protocol.history.leaves import CASE, PUBLIC, commitment, leaf_for, skeleton_of, subject_of
from protocol.ids import digest_of
from protocol.log.leaf import verify_disclosure
from tests.casework import (
    DECIDER,
    OFFICER,
    REVIEWER,
    TEXT,
    Papers,
    answer,
    consultation,
    erasure,
    request,
    triage,
)
from tests.federation import Federation, number

FORCE = Federation()
FORCE.begin()
RECORD = FORCE.run(FORCE.plan())
POLICY = FORCE.policy(RECORD)
FLAG = FORCE.flag(POLICY, "borough-1")
WARRANT = FORCE.warrant([FLAG])
APPROVALS = [FORCE.decision(WARRANT, FLAG, name) for name in FORCE.custodians[:2]]
REFUSAL = FORCE.decision(WARRANT, FLAG, "custodian-3", approve=False)
CASES = {
    "flag": (FLAG.sealed, "borough-1"),
    "warrant": (WARRANT, "issuer"),
    "withdrawal": (FORCE.withdrawal(WARRANT), "issuer"),
    "approval": (APPROVALS[0], "custodian-1"),
    "refusal": (REFUSAL, "custodian-3"),
    "opening": (FORCE.opening(WARRANT, FLAG, APPROVALS), "investigator"),
}
PAPERS = Papers(FLAG.header, WARRANT)
REVIEW, NOTICE, REQUEST = PAPERS.review(), PAPERS.notice(), request(FLAG.header)
CASES |= {
    "triage": (triage(FLAG.header), "coordinator"),
    "review": (REVIEW, "investigator"),
    "deferral": (PAPERS.deferral(), "issuer"),
    "notice": (NOTICE, "issuer"),
    "notification": (PAPERS.notification(NOTICE), "borough-1"),
    "representation": (PAPERS.representation(NOTICE), "borough-1"),
    "outcome": (PAPERS.outcome(REVIEW), "issuer"),
    "consultation": (consultation(FLAG.header.flag_id), "issuer"),
    "request": (REQUEST, "borough-1"),
    "answer": (answer(REQUEST), "issuer"),
    "erasure": (erasure(FLAG.header.flag_id), "coordinator"),
}
ALONE = ("triage", "consultation", "request", "answer", "erasure")
DAY = "2026-01-05"


def skeleton(kind: str):
    document, signer = CASES[kind]
    return skeleton_of(kind, FORCE.sign(document, signer), day=DAY)


def test_every_kind_is_either_public_or_a_case():
    assert not set(PUBLIC) & set(CASE)
    assert set(CASES) == set(CASE)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_case_leaf_shows_no_word_of_its_document(kind):
    shown = skeleton(kind).encode().decode()
    document, _ = CASES[kind]
    assert skeleton(kind).document is None
    secrets = [FLAG.header.flag_id, FLAG.header.pseudonym, FLAG.header.digest(), WARRANT.digest(), document.digest()]
    secrets += [TEXT, REVIEWER, DECIDER, OFFICER, "misconduct", "no_case"]
    secrets += ["borough-1", "custodian-1", "Synthetic", "attendance", "roster_manipulation", "entries_amended"]
    for secret in secrets:
        assert secret not in shown


def test_what_would_tell_a_borough_that_its_flag_is_pursued_or_not_shows_no_tie_to_the_flag():
    """The borough knows header, flag id and its own requests; of none of them is there a commitment."""
    flag = {FLAG.header.digest(), FLAG.header.flag_id, FLAG.header.pseudonym, FLAG.sealed.digest(), FLAG.header.plan}
    for kind in ALONE:
        known = flag if kind == "request" else flag | {REQUEST.digest(), REQUEST.request_id}
        shown = skeleton(kind)
        assert shown.subject is None
        assert shown.belongs_to == commitment(CASES[kind][0].digest())
        assert shown.belongs_to not in {commitment(one) for one in known} | {digest_of(one.encode()) for one in known}


def test_steps_on_one_flag_of_one_warrant_share_their_subject():
    steps = (
        "approval",
        "refusal",
        "opening",
        "review",
        "deferral",
        "notice",
        "notification",
        "representation",
        "outcome",
    )
    subjects = {skeleton(kind).subject for kind in steps}
    assert subjects == {subject_of(WARRANT.digest(), FLAG.header.flag_id)}
    belongs = {skeleton(kind).belongs_to for kind in ("warrant", "withdrawal", *steps)}
    assert belongs == {commitment(WARRANT.digest())}
    assert skeleton("flag").subject == commitment(FLAG.header.digest())


def test_the_parts_of_a_commitment_do_not_run_into_each_other():
    assert len({commitment("ab", "c"), commitment("a", "bc"), commitment("abc"), digest_of(b"abc")}) == 4


def test_a_warrant_shows_its_validity():
    assert (skeleton("warrant").valid_from, skeleton("warrant").valid_until) == (
        "2026-01-05T09:00:00Z",
        "2026-02-04T09:00:00Z",
    )


@pytest.mark.parametrize(
    ("kind", "document"),
    [("approval", REFUSAL), ("refusal", APPROVALS[0]), ("warrant", APPROVALS[0]), ("flag", WARRANT)],
)
def test_a_document_logged_as_another_kind_is_refused(kind, document):
    with pytest.raises(MalformedDocument):
        skeleton_of(kind, FORCE.sign(document, "custodian-1"), day=DAY)


def test_a_kind_that_the_log_does_not_know_is_refused():
    with pytest.raises(MalformedDocument, match="no documents of kind memo"):
        skeleton_of("memo", FORCE.sign(WARRANT, "issuer"), day=DAY)


def test_a_public_leaf_holds_the_whole_signed_document():
    envelope = FORCE.sign(RECORD.plan, *FORCE.custodians)
    assert skeleton_of("plan", envelope, day=DAY).document == envelope.encode().decode()


def test_two_leaves_of_one_document_differ_and_each_discloses_its_own_body():
    envelope = FORCE.sign(WARRANT, "issuer")
    one, other = (leaf_for("warrant", envelope, now=FORCE.clock.now()) for _ in range(2))
    assert one.leaf.entry() != other.leaf.entry()
    assert one.leaf.skeleton_bytes == other.leaf.skeleton_bytes
    verify_disclosure(one.leaf, salt=one.salt, body=envelope.encode())
    assert number(1) not in one.leaf.skeleton_bytes.decode()
