"""What may be erased, when, and what goes with it; and that a flag is sought only after triage."""

from __future__ import annotations

from datetime import timedelta

import pytest

from protocol.documents.casework import ErasedFlag, Erasure
from protocol.errors import CaseOutOfOrder, DigestMismatch, ErasureRefused, NotLogged, OutcomeUnreviewed
from protocol.history.casefile import CaseFiles
from protocol.history.lifecycle import Stage
from tests.casework import (
    CUSTODIANS,
    DAY,
    NOW,
    TEXT,
    Papers,
    answer,
    consultation,
    header,
    request,
    sealed,
    triage,
    warrant,
    withdrawal,
)

ONE, TWO = header(1), header(2, borough="borough-2")
BOTH = warrant(ONE, TWO)
GONE = NOW + 60 * DAY
"""When both flags' retention is over."""


def files_of(*documents) -> CaseFiles:
    files = CaseFiles()
    for index, document in enumerate(documents):
        files.add(index, document)
    return files


def erasure(files: CaseFiles, *flag_ids: str, now=GONE, **changes) -> Erasure:
    fields = {
        "erasure_id": "9" * 32,
        "coordinator": "coordinator",
        "flags": tuple(ErasedFlag(flag_id=one, cause="flag_retention") for one in flag_ids),
        "leaves": files.leaves_of(flag_ids, now=now),
        "legal_basis": TEXT,
        "erased_at": now,
    }
    return Erasure(**(fields | changes))


def to_outcome(of, under, **changes):
    """The documents of a case from the first approval to the outcome."""
    papers = Papers(of, under)
    approvals = [papers.decision(name) for name in CUSTODIANS[:2]]
    review, notice = papers.review(), papers.notice()
    return [
        *approvals,
        papers.opening(*approvals),
        review,
        notice,
        papers.notification(notice),
        papers.outcome(review, **changes),
    ]


def test_flag_is_sought_only_after_somebody_found_it_worth_it():
    files = files_of(sealed(ONE))
    with pytest.raises(CaseOutOfOrder):
        files.check(warrant(ONE), now=NOW)
    files.add(1, triage(ONE, "set_aside"))
    with pytest.raises(CaseOutOfOrder):
        files.check(warrant(ONE), now=NOW)
    files.add(2, triage(ONE, number=2))
    files.check(warrant(ONE), now=NOW)
    assert files.flag(ONE.flag_id, ONE.digest()).stage is Stage.TRIAGED


def test_one_flag_of_a_warrant_that_was_not_triaged_refuses_it_whole():
    files = files_of(sealed(ONE), sealed(TWO), triage(ONE))
    with pytest.raises(CaseOutOfOrder):
        files.check(BOTH, now=NOW)


def test_steps_name_the_flag_and_the_warrant_of_their_case():
    files = files_of(sealed(ONE), sealed(TWO), triage(ONE), warrant(ONE))
    with pytest.raises(DigestMismatch):
        files.check(Papers(TWO, warrant(ONE)).review(), now=NOW)
    with pytest.raises(NotLogged):
        files.check(Papers(ONE, BOTH).review(), now=NOW)
    with pytest.raises(DigestMismatch):
        files.check(Papers(header(1, score_band="low"), warrant(ONE)).review(), now=NOW)


def test_flag_is_erased_when_its_retention_is_over_and_not_a_second_before():
    files = files_of(sealed(ONE))
    with pytest.raises(ErasureRefused):
        files.check(erasure(files, ONE.flag_id), now=GONE - timedelta(seconds=1))
    files.check(erasure(files, ONE.flag_id), now=GONE)
    files.add(1, erasure(files, ONE.flag_id))
    assert files.flags == {}
    with pytest.raises(NotLogged):
        files.check(triage(ONE), now=NOW)


def test_live_warrant_holds_the_flag_and_a_withdrawn_one_until_the_auditor_can_see_it():
    long = warrant(ONE, valid_until=GONE + 30 * DAY, disclosure_on=GONE + 40 * DAY)
    files = files_of(sealed(ONE), triage(ONE), long)
    with pytest.raises(ErasureRefused, match="lives"):
        files.erasure_cause(ONE.flag_id, now=GONE)
    files.add(3, withdrawal(long))
    with pytest.raises(ErasureRefused, match="auditor"):
        files.erasure_cause(ONE.flag_id, now=GONE)
    assert files.erasure_cause(ONE.flag_id, now=GONE + 40 * DAY) == "flag_retention"


def test_opened_case_is_held_until_an_outcome_and_then_as_long_as_that_says():
    until = NOW + 200 * DAY
    steps = to_outcome(ONE, warrant(ONE), finding="misconduct", retain_until=until)
    files = files_of(sealed(ONE), triage(ONE), warrant(ONE), *steps[:-1])
    with pytest.raises(ErasureRefused, match="without an outcome"):
        files.erasure_cause(ONE.flag_id, now=until + 1000 * DAY)
    files.add(20, steps[-1])
    with pytest.raises(ErasureRefused, match="kept until"):
        files.erasure_cause(ONE.flag_id, now=until - timedelta(seconds=1))
    assert files.erasure_cause(ONE.flag_id, now=until) == "outcome_retention"


def test_person_who_was_never_told_holds_the_erasure():
    papers = Papers(ONE, warrant(ONE))
    review = papers.review()
    approvals = [papers.decision(name) for name in CUSTODIANS[:2]]
    files = files_of(
        sealed(ONE), triage(ONE), warrant(ONE), *approvals, papers.opening(*approvals), review, papers.deferral(),
        papers.outcome(review, "referred"),
    )  # fmt: skip
    with pytest.raises(ErasureRefused, match="has not been told"):
        files.erasure_cause(ONE.flag_id, now=NOW + 500 * DAY)


def test_contest_holds_the_erasure_until_it_is_answered_in_substance():
    asked = request(ONE)
    files = files_of(sealed(ONE), asked)
    with pytest.raises(ErasureRefused, match="contest"):
        files.erasure_cause(ONE.flag_id, now=GONE)
    files.add(2, answer(asked, "neither_confirm_nor_deny", NOW + 5 * DAY))
    with pytest.raises(ErasureRefused, match="contest"):
        files.erasure_cause(ONE.flag_id, now=GONE)
    files.add(3, answer(asked))
    assert files.erasure_cause(ONE.flag_id, now=GONE) == "flag_retention"


def test_contest_of_a_decided_case_is_answered_in_substance_after_another_persons_review_and_a_new_outcome():
    papers, asked = Papers(ONE, warrant(ONE)), request(ONE)
    files = files_of(sealed(ONE), triage(ONE), warrant(ONE), *to_outcome(ONE, warrant(ONE)))
    files.add(20, asked)
    files.check(answer(asked, "neither_confirm_nor_deny", NOW + 5 * DAY), now=NOW)
    with pytest.raises(OutcomeUnreviewed):
        files.check(answer(asked, "upheld"), now=NOW)
    again = papers.review("Inspector E. Example")
    files.add(21, again)
    with pytest.raises(OutcomeUnreviewed):
        files.check(answer(asked, "upheld"), now=NOW)
    files.add(22, papers.outcome(again, "referred"))
    files.check(answer(asked, "upheld"), now=NOW)


def test_request_of_another_borough_or_for_access_holds_nothing():
    files = files_of(sealed(ONE), request(ONE, borough="borough-2"), request(ONE, "access", number=2))
    assert files.erasure_cause(ONE.flag_id, now=GONE) == "flag_retention"


def test_warrant_goes_with_the_last_of_its_flags():
    files = files_of(sealed(ONE), sealed(TWO), triage(ONE), triage(TWO), BOTH, consultation(ONE.flag_id, TWO.flag_id))
    assert files.leaves_of([ONE.flag_id], now=GONE) == (0, 2)
    assert files.leaves_of([ONE.flag_id, TWO.flag_id], now=GONE) == (0, 1, 2, 3, 4, 5)
    files.add(6, erasure(files, ONE.flag_id))
    assert files.leaves_of([TWO.flag_id], now=GONE) == (1, 3, 4, 5)


def test_whole_list_consulted_stays_in_the_record_and_an_open_request_too():
    files = files_of(sealed(ONE), consultation(), request(ONE, "access"), consultation(ONE.flag_id, number=2))
    assert files.leaves_of([ONE.flag_id], now=GONE) == (0, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"leaves": (0, 1, 2)},
        {"leaves": (0,)},
        {"leaves": ()},
        {"flags": (ErasedFlag(flag_id=ONE.flag_id, cause="outcome_retention"),)},
    ],
    ids=["a leaf of another flag", "one leaf too few", "no leaf", "another cause"],
)
def test_erasure_that_says_anything_else_than_what_goes_is_refused(changes):
    files = files_of(sealed(ONE), triage(ONE), sealed(TWO))
    with pytest.raises(ErasureRefused):
        files.check(erasure(files, ONE.flag_id, **changes), now=GONE)
    files.check(erasure(files, ONE.flag_id), now=GONE)


def test_what_is_due_leaves_out_what_is_held():
    files = files_of(sealed(ONE), sealed(TWO), request(TWO, borough="borough-2"))
    assert files.due(now=NOW) == {}
    assert files.due(now=GONE) == {ONE.flag_id: "flag_retention"}
