"""What the public counts of flags, warrants, decisions and openings, from skeletons alone."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from protocol.documents.roster import Party
from protocol.errors import (
    AlreadyAnswered,
    FlagCapReached,
    MalformedDocument,
    NotLogged,
    ProtocolError,
    QuorumNotMet,
    UnknownSigner,
    WarrantExpired,
    WarrantWithdrawn,
)
from protocol.history.leaves import commitment, leaf_for, subject_of
from protocol.log.leaf import make_leaf
from tests.federation import Federation, party, signing_key


@pytest.fixture
def case() -> SimpleNamespace:
    """A force with one logged flag and one logged warrant for it."""
    force = Federation()
    force.begin()
    policy = force.policy(force.run(force.plan()))
    force.log("policy", policy)
    flag = force.flag(policy, "borough-1")
    force.log("flag", flag.sealed)
    warrant = force.warrant([flag])
    force.log("warrant", warrant)
    decide = {name: force.decision(warrant, flag, name) for name in force.custodians}
    refuse = {name: force.decision(warrant, flag, name, approve=False) for name in force.custodians}
    return SimpleNamespace(
        force=force, policy=policy, flag=flag, warrant=warrant, approval=decide, refusal=refuse,
        opening=force.opening(warrant, flag, list(decide.values())[:2]),
    )  # fmt: skip


def refused(force: Federation, error: type[ProtocolError], kind: str, document, *signers: str, match: str = "") -> None:
    before = force.history.tree.root()
    with pytest.raises(error, match=match or None):
        force.log(kind, document, *signers)
    assert force.history.tree.root() == before


def test_an_opening_with_its_quorum_is_accepted_and_counted(case):
    for name in ("custodian-1", "custodian-3"):
        case.force.log("approval", case.approval[name])
    case.force.log("refusal", case.refusal["custodian-2"])
    case.force.log("opening", case.opening)
    record = case.force.history.cases.warrant(commitment(case.warrant.digest()))
    subject = subject_of(case.warrant.digest(), case.flag.header.flag_id)
    assert sorted(record.decided[subject].values()) == ["approval", "approval", "refusal"]
    assert record.opened == {subject}


def test_an_opening_without_a_quorum_is_refused(case):
    refused(case.force, QuorumNotMet, "opening", case.opening, match="0 of 2")
    case.force.log("approval", case.approval["custodian-1"])
    refused(case.force, QuorumNotMet, "opening", case.opening, match="1 of 2")
    assert case.force.history.cases.warrant(commitment(case.warrant.digest())).opened == set()


def test_refusals_do_not_count_towards_the_quorum(case):
    case.force.log("approval", case.approval["custodian-1"])
    for name in ("custodian-2", "custodian-3"):
        case.force.log("refusal", case.refusal[name])
    refused(case.force, QuorumNotMet, "opening", case.opening, match="1 of 2")


def test_approvals_of_another_flag_or_warrant_do_not_count(case):
    other = case.force.flag(case.policy, "borough-2")
    case.force.log("flag", other.sealed)
    second = case.force.warrant([case.flag, other], warrant_number=2001)
    case.force.log("warrant", second)
    for name in ("custodian-1", "custodian-2"):
        case.force.log("approval", case.force.decision(second, other, name))
    refused(case.force, QuorumNotMet, "opening", case.opening)
    refused(
        case.force, QuorumNotMet, "opening", case.force.opening(second, case.flag, list(case.approval.values())[:2])
    )


@pytest.mark.parametrize(
    ("first", "second"), [("approval", "approval"), ("approval", "refusal"), ("refusal", "approval")]
)
def test_a_custodian_decides_once_on_a_flag_of_a_warrant(case, first, second):
    case.force.log(first, getattr(case, first)["custodian-1"])
    refused(case.force, AlreadyAnswered, second, getattr(case, second)["custodian-1"], match="decided twice")


def test_nothing_follows_a_withdrawal(case):
    for name in ("custodian-1", "custodian-2"):
        case.force.log("approval", case.approval[name])
    case.force.log("withdrawal", case.force.withdrawal(case.warrant))
    refused(case.force, WarrantWithdrawn, "opening", case.opening)
    refused(case.force, WarrantWithdrawn, "approval", case.approval["custodian-3"])
    refused(case.force, WarrantWithdrawn, "refusal", case.refusal["custodian-3"])


def test_nothing_follows_the_end_of_the_validity(case):
    for name in ("custodian-1", "custodian-2"):
        case.force.log("approval", case.approval[name])
    case.force.clock.advance(timedelta(days=31))
    refused(case.force, WarrantExpired, "opening", case.opening)
    refused(case.force, WarrantExpired, "approval", case.approval["custodian-3"])


def test_nothing_precedes_the_beginning_of_the_validity(case):
    start = case.force.clock.now() + timedelta(days=2)
    later = case.force.warrant([case.flag], warrant_number=2001, valid_from=start)
    case.force.log("warrant", later)
    refused(case.force, WarrantExpired, "approval", case.force.decision(later, case.flag, "custodian-1"))
    case.force.clock.advance(timedelta(days=2))
    case.force.log("approval", case.force.decision(later, case.flag, "custodian-1"))


def test_steps_under_a_warrant_that_is_not_logged_are_refused(case):
    unlogged = case.force.warrant([case.flag], warrant_number=2001)
    for kind, document in (
        ("approval", case.force.decision(unlogged, case.flag, "custodian-1")),
        ("withdrawal", case.force.withdrawal(unlogged)),
        ("opening", case.force.opening(unlogged, case.flag, list(case.approval.values())[:2])),
    ):
        refused(case.force, NotLogged, kind, document)


def test_a_flag_or_a_warrant_is_logged_once(case):
    refused(case.force, AlreadyAnswered, "flag", case.flag.sealed)
    refused(case.force, AlreadyAnswered, "warrant", case.warrant)


@pytest.mark.parametrize(
    ("kind", "signers"),
    [
        ("flag", ("issuer",)),
        ("flag", ("borough-1", "borough-2")),
        ("warrant", ("custodian-1",)),
        ("warrant", ("investigator",)),
        ("withdrawal", ("investigator",)),
        ("approval", ("issuer",)),
        ("approval", ("custodian-1", "custodian-2")),
        ("approval", ("stranger",)),
        ("opening", ("issuer",)),
        ("opening", ("custodian-1",)),
    ],
)
def test_a_case_document_needs_exactly_one_signature_of_its_role(case, kind, signers):
    documents = {
        "flag": case.force.flag(case.policy, "borough-2").sealed,
        "warrant": case.force.warrant([case.flag], warrant_number=2001),
        "withdrawal": case.force.withdrawal(case.warrant),
        "approval": case.approval["custodian-1"],
        "opening": case.opening,
    }
    refused(case.force, UnknownSigner, kind, documents[kind], *signers)


def rekeyed(force: Federation, *names: str) -> tuple[Party, ...]:
    """Return the force's parties, some of them with a new signing key."""
    return tuple(
        one.model_copy(update={"signing_key": signing_key(f"next {one.id}").public}) if one.id in names else one
        for one in force.parties()
    )


def test_what_a_revoked_key_signs_afterwards_is_refused_and_what_it_signed_before_stays(case):
    force = case.force
    force.log("approval", case.approval["custodian-1"])
    late = force.flag(case.policy, "borough-2").sealed
    withdrawal = force.withdrawal(case.warrant)
    parties = rekeyed(force, "borough-2", "custodian-2", "issuer")
    force.log("roster", force.next_roster(parties=parties))
    refused(force, UnknownSigner, "flag", late)
    refused(force, UnknownSigner, "approval", case.approval["custodian-2"])
    refused(force, UnknownSigner, "withdrawal", withdrawal)
    # The warrant is of the issuer's old key and is still live; the flag and the first approval are as they were.
    force.log("approval", case.approval["custodian-2"], "next custodian-2")
    force.log("opening", case.opening)
    force.log("withdrawal", withdrawal, "next issuer")


def test_the_approval_of_a_custodian_who_was_revoked_since_does_not_open(case):
    force = case.force
    for name in ("custodian-1", "custodian-3"):
        force.log("approval", case.approval[name])
    parties = tuple(one for one in force.parties() if one.id != "custodian-3")
    force.log("roster", force.next_roster(parties=parties))
    refused(force, QuorumNotMet, "opening", case.opening, match="1 of 2")
    force.log("approval", case.approval["custodian-2"])
    force.log("opening", case.opening)


def test_a_custodian_with_a_new_key_decides_anew_and_counts_once(case):
    force = case.force
    force.log("approval", case.approval["custodian-1"])
    force.log("roster", force.next_roster(parties=rekeyed(force, "custodian-1")))
    force.log("approval", case.approval["custodian-1"], "next custodian-1")
    refused(force, QuorumNotMet, "opening", case.opening, match="1 of 2")


def test_a_new_key_gives_a_borough_no_second_cap(case):
    force = case.force
    allowed = sum(rule.cap_per_borough for rule in case.policy.rules)
    for _ in range(allowed - 1):
        force.log("flag", force.flag(case.policy, "borough-1").sealed)
    force.log("roster", force.next_roster(parties=rekeyed(force, "borough-1")))
    refused(force, FlagCapReached, "flag", force.flag(case.policy, "borough-1").sealed, "next borough-1")


def test_a_case_document_never_becomes_public(case):
    envelope = case.force.sign(case.approval["custodian-1"], "custodian-1")
    skeleton = leaf_for("approval", envelope, now=case.force.clock.now()).leaf.skeleton()
    leaking = skeleton.model_copy(update={"document": envelope.encode().decode()})
    with pytest.raises(MalformedDocument, match="must not be public"):
        case.force.history.apply(make_leaf(leaking, salt=bytes(32), body=b""))


def test_a_refused_step_leaves_no_trace(case):
    refused(case.force, QuorumNotMet, "opening", case.opening)
    assert case.force.history.cases.warrant(commitment(case.warrant.digest())).decided == {}


def test_flags_beyond_what_the_policies_allow_a_borough_are_refused_in_public(case):
    """The cap is counted from skeletons: a coordinator cannot let one borough flood the register."""
    allowed = sum(rule.cap_per_borough for rule in case.policy.rules)
    for _ in range(allowed - 1):
        case.force.log("flag", case.force.flag(case.policy, "borough-1").sealed)
    refused(case.force, FlagCapReached, "flag", case.force.flag(case.policy, "borough-1").sealed, match=str(allowed))
    case.force.log("flag", case.force.flag(case.policy, "borough-2").sealed)


def test_a_flag_under_no_logged_policy_is_refused():
    force = Federation()
    force.begin()
    policy = force.policy(force.run(force.plan()))
    refused(force, FlagCapReached, "flag", force.flag(policy, "borough-1").sealed, match="0")


def test_a_warrant_is_withdrawn_by_its_own_issuer_only(case):
    joined = (*case.force.roster.parties, party("issuer-2", "issuer"))
    following = case.force.next_roster(parties=joined)
    case.force.log("roster", following)
    withdrawal = case.force.withdrawal(case.warrant, issuer="issuer-2")
    refused(case.force, UnknownSigner, "withdrawal", withdrawal, "issuer-2", match="only the issuer")
    case.force.log("withdrawal", case.force.withdrawal(case.warrant))
    assert case.force.history.cases.warrant(commitment(case.warrant.digest())).withdrawn
