"""The table of a case's steps: what it allows, and that no sequence of documents gets past it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import (
    CaseOutOfOrder,
    DigestMismatch,
    Expired,
    NoticeDue,
    OutcomeUnreviewed,
    ProtocolError,
    RetentionTooLong,
    SamePerson,
)
from protocol.history.lifecycle import TABLE, Case, Stage, Step, follow
from tests.casework import CUSTODIANS, DAY, DECIDER, NOW, REVIEWER, TEXT, Papers, header, warrant, withdrawal

FLAG = header()
WARRANT = warrant(FLAG)
PAPERS = Papers(FLAG, WARRANT)
NOTICE = PAPERS.notice()
ADVERSE = ("misconduct", "gross_misconduct")


def reached(*documents) -> Case:
    """The case after its opening and these documents, each of which is checked."""
    case = PAPERS.opened()
    for document in documents:
        case.check(document, now=NOW)
        case = case.then(document)
    return case


# --- the table --------------------------------------------------------------------------------------------------


def test_every_stage_has_a_row_and_every_row_leads_to_a_stage():
    assert set(TABLE) == set(Stage)
    assert {after for row in TABLE.values() for after in row.values()} | {Stage.RAISED} == set(Stage)


def test_nothing_follows_an_erasure_and_nothing_opened_is_erased_before_an_outcome():
    assert TABLE[Stage.ERASED] == {}
    erasable = {stage for stage, row in TABLE.items() if Step.ERASURE in row}
    assert erasable == {
        Stage.RAISED, Stage.TRIAGED, Stage.SET_ASIDE, Stage.SOUGHT, Stage.APPROVED, Stage.REFUSED, Stage.WITHDRAWN,
        Stage.DECIDED,
    }  # fmt: skip


@given(st.lists(st.sampled_from(Step), max_size=40))
def test_no_sequence_of_steps_reaches_an_outcome_without_opening_review_and_notice_or_deferral(steps):
    """All paths of the table, walked at random: what must come before is behind every stage that is reached."""
    stage, past = Stage.RAISED, []
    for step in steps:
        try:
            stage = follow(stage, step)
        except CaseOutOfOrder:
            assert step not in TABLE[stage]
            continue
        past.append(step)
        if stage in (Stage.DECIDED, Stage.RECONSIDERED):
            order = [Step.PURSUE, Step.WARRANT, Step.QUORUM, Step.OPENING, Step.REVIEW]
            assert [past.index(one) for one in order] == sorted(past.index(one) for one in order)
            assert {Step.DEFERRAL, Step.NOTIFICATION} & set(past)
        if stage is Stage.ERASED:
            assert Step.OPENING not in past or Step.OUTCOME in past


DOCUMENTS = st.sampled_from(
    [
        *(PAPERS.decision(name) for name in CUSTODIANS),
        *(PAPERS.decision(name, "refuse") for name in CUSTODIANS),
        withdrawal(WARRANT),
        PAPERS.opening(),
        PAPERS.review(),
        PAPERS.review("Inspector E. Example"),
        PAPERS.deferral(),
        NOTICE,
        PAPERS.notification(NOTICE),
        PAPERS.representation(NOTICE),
        *(PAPERS.outcome(PAPERS.review(), finding) for finding in ("no_case", "misconduct", "referred")),
        PAPERS.outcome(PAPERS.review("Inspector E. Example"), "misconduct"),
    ]
)


@settings(max_examples=100)
@given(st.lists(st.tuples(DOCUMENTS, st.integers(0, 20)), max_size=30))
def test_no_sequence_of_documents_reaches_a_state_that_the_rules_forbid(papers):
    case = Case(WARRANT, FLAG)
    for document, days in papers:
        now = NOW + days * DAY
        changes = {
            name: now for name in ("reviewed_at", "deferred_at", "noticed_at", "decided_at") if hasattr(document, name)
        }
        if changes and not hasattr(document, "custodian"):
            if hasattr(document, "until"):
                changes["until"] = now + 10 * DAY
            if hasattr(document, "contest_until"):
                changes |= {"contest_until": now + DAY, "retain_until": now + 2 * DAY}
                # An attacker signs what fits: the last review, whatever it was.
                changes["review"] = case.reviews[-1].digest() if case.reviews else "0" * 64
            document = document.model_copy(update=changes)
        if hasattr(document, "notice") and case.notice is not None:
            document = document.model_copy(update={"notice": case.notice.digest()})
        before = case
        try:
            case.check(document, now=now)
            case = case.then(document)
        except ProtocolError:
            assert case is before
        if case.stage not in (Stage.SOUGHT, Stage.APPROVED, Stage.REFUSED, Stage.WITHDRAWN):
            assert sum(one.decision == "approve" for one in case.decided.values()) >= FLAG.threshold
            assert case.opening is not None
        if case.outcome is not None:
            assert case.outcome.review in {one.digest() for one in case.reviews}
            named = next(one for one in case.reviews if one.digest() == case.outcome.review)
            assert named.reviewer != case.outcome.decided_by
            assert case.outcome.finding not in ADVERSE or case.notification is not None


# --- what only bodies tell --------------------------------------------------------------------------------------


def test_quorum_and_its_impossibility_follow_from_counting():
    case = Case(WARRANT, FLAG).then(PAPERS.decision("custodian-1"))
    assert case.stage is Stage.SOUGHT
    assert case.then(PAPERS.decision("custodian-2")).stage is Stage.APPROVED
    refused = case.then(PAPERS.decision("custodian-2", "refuse"))
    assert refused.stage is Stage.SOUGHT
    assert refused.then(PAPERS.decision("custodian-3", "refuse")).stage is Stage.REFUSED


def test_custodian_who_decides_again_is_counted_once():
    """Found by the sequences above: an approval taken back by the same custodian, with a new key, left the quorum met."""
    case = Case(WARRANT, FLAG).then(PAPERS.decision("custodian-1")).then(PAPERS.decision("custodian-2"))
    case = case.then(PAPERS.decision("custodian-2", "refuse"))
    assert case.stage is Stage.SOUGHT
    with pytest.raises(CaseOutOfOrder):
        case.then(PAPERS.opening())


@pytest.mark.parametrize("stage", ["sought", "approved", "withdrawn", "opened"])
def test_outcome_needs_a_review_at_whatever_stage(stage):
    case = {
        "sought": Case(WARRANT, FLAG),
        "approved": Case(WARRANT, FLAG).then(PAPERS.decision("custodian-1")).then(PAPERS.decision("custodian-2")),
        "withdrawn": Case(WARRANT, FLAG).then(withdrawal(WARRANT)),
        "opened": PAPERS.opened(),
    }[stage]
    with pytest.raises(OutcomeUnreviewed):
        case.check(PAPERS.outcome(PAPERS.review()), now=NOW)
    with pytest.raises(CaseOutOfOrder):
        case.then(PAPERS.outcome(PAPERS.review()))


def test_outcome_names_the_last_review():
    first, second = PAPERS.review(), PAPERS.review("Inspector E. Example")
    case = reached(first, NOTICE, PAPERS.notification(NOTICE), second)
    with pytest.raises(OutcomeUnreviewed):
        case.check(PAPERS.outcome(first), now=NOW)
    case.check(PAPERS.outcome(second), now=NOW)


def test_who_reviewed_does_not_decide_whatever_the_spelling():
    case = reached(PAPERS.review(), NOTICE, PAPERS.notification(NOTICE))
    for name in (REVIEWER, REVIEWER.upper(), REVIEWER.replace(" ", "  ")):
        with pytest.raises(SamePerson):
            case.check(PAPERS.outcome(PAPERS.review(), decided_by=name), now=NOW)


@pytest.mark.parametrize("finding", ADVERSE)
def test_nothing_is_found_against_a_person_who_was_not_told_or_still_has_time_to_answer(finding):
    review = PAPERS.review(finding=finding)
    outcome = PAPERS.outcome(review, finding)
    with pytest.raises(NoticeDue):
        reached(review, PAPERS.deferral()).check(outcome, now=NOW)
    told = reached(review, NOTICE, PAPERS.notification(NOTICE))
    almost = NOW + 14 * DAY - timedelta(seconds=1)
    with pytest.raises(NoticeDue):
        told.check(_at(outcome, almost), now=almost)
    later = NOW + 14 * DAY
    told.check(_at(outcome, later), now=later)


def _at(outcome, now):
    return outcome.model_copy(
        update={"decided_at": now, "contest_until": now + 30 * DAY, "retain_until": now + 60 * DAY}
    )


def test_representations_are_read_by_a_reviewer_before_anybody_decides():
    review = PAPERS.review(finding="misconduct")
    case = reached(review, NOTICE, PAPERS.notification(NOTICE), PAPERS.representation(NOTICE))
    late = NOW + 14 * DAY
    with pytest.raises(CaseOutOfOrder):
        case.check(_at(PAPERS.outcome(review, "misconduct"), late), now=late)
    again = PAPERS.review(finding="misconduct", reasons=TEXT + ", with what the person says")
    case = case.then(again)
    case.check(PAPERS.outcome(again, "misconduct"), now=NOW)


def test_deferral_ends_and_then_the_notice_is_due():
    review = PAPERS.review()
    case = reached(review, PAPERS.deferral())
    case.check(PAPERS.outcome(review), now=NOW)
    late = NOW + 10 * DAY
    with pytest.raises(NoticeDue):
        case.check(_at(PAPERS.outcome(review), late), now=late)
    with pytest.raises(Expired):
        case.check(PAPERS.deferral(), now=late)


def test_person_is_not_told_before_the_notice_so_that_their_days_are_not_cut():
    case = reached(PAPERS.review(), NOTICE)
    with pytest.raises(Expired):
        case.check(PAPERS.notification(NOTICE, told_at=NOW - 20 * DAY), now=NOW)
    with pytest.raises(DigestMismatch):
        case.check(PAPERS.notification(NOTICE, notice="0" * 64), now=NOW)
    with pytest.raises(DigestMismatch):
        case.check(PAPERS.notification(NOTICE, borough="borough-2"), now=NOW)


def test_document_that_states_another_day_is_refused():
    case = PAPERS.opened()
    with pytest.raises(Expired):
        case.check(PAPERS.review(reviewed_at=NOW - 2 * DAY), now=NOW)


def test_case_without_a_finding_is_not_kept_longer_than_its_flag_or_the_time_to_contest():
    case = reached(PAPERS.review(), NOTICE, PAPERS.notification(NOTICE))
    with pytest.raises(RetentionTooLong):
        case.check(PAPERS.outcome(PAPERS.review(), retain_until=FLAG.retain_until + DAY), now=NOW)
    long = {"contest_until": FLAG.retain_until + DAY, "retain_until": FLAG.retain_until + DAY}
    case.check(PAPERS.outcome(PAPERS.review(), **long), now=NOW)
    case.check(PAPERS.outcome(PAPERS.review(), "referred", retain_until=FLAG.retain_until + DAY), now=NOW)


def test_what_was_decided_is_reviewed_again_by_somebody_else():
    case = reached(
        PAPERS.review(), NOTICE, PAPERS.notification(NOTICE), PAPERS.outcome(PAPERS.review(), decided_by=DECIDER)
    )
    with pytest.raises(SamePerson):
        case.check(PAPERS.review(reasons=TEXT + " again"), now=NOW)
    second = PAPERS.review("Inspector E. Example")
    case = case.then(second)
    assert case.stage is Stage.RECONSIDERED
    assert case.then(PAPERS.outcome(second)).stage is Stage.DECIDED


def test_warrant_withdrawn_after_the_opening_does_not_end_the_case():
    case = PAPERS.opened().then(withdrawal(WARRANT))
    assert case.stage is Stage.OPENED
    assert not case.is_live(NOW)
    case.check(PAPERS.review(), now=NOW)
