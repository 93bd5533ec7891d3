"""A person asks about themselves: what the borough sends, what it is told, and from when on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from borough_node.informing.desk import NEUTRAL, InformingDesk
from protocol.documents.casework import Notice, Outcome, RightsRequest
from protocol.errors import MalformedDocument, NotLogged, PersonNotScored
from protocol.history.leaves import commitment
from protocol.sealing.pseudonym import pseudonym
from tests.casework import DAY, Papers
from tests.world import BY, REASON

OFFICER = "Sergeant C. Example"
DENY = {"decision": "neither_confirm_nor_deny", "decided_by": BY, "legal_basis": REASON, "reasons": REASON}


@pytest.fixture
def desk(flagged):
    """The desk of the borough that raised the first flag."""
    world, borough = flagged.world, flagged.headers[0].borough
    ledger = world.ledger(borough)
    yield InformingDesk(world.connection(borough), ledger=ledger, clock=world.clock)
    ledger.close()


def person_behind(world, header):
    ledger = world.ledger(header.borough)
    key = ledger.pseudonym_key(header.plan)
    ledger.close()
    names = (f"P-{header.borough}-{number:03d}" for number in range(world.people))
    return next(
        name
        for name in names
        if pseudonym(key, borough=header.borough, plan_digest=header.plan, person=name) == header.pseudonym
    )


def submit(world, kind, document, name, role):
    return world.register.submit(world.roster.party(name, role), kind, world.signed(document, name))


def reviewed(world, header):
    """A flag opened and reviewed; the papers of its case, and the review."""
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    for number in (1, 2):
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    world.investigator().open(warrant.digest(), header.flag_id)
    papers = Papers(header, warrant)
    review = papers.review(reviewed_at=world.clock.now())
    submit(world, "review", review, "investigator", "investigator")
    return papers, review


def noticed(world, papers):
    return world.issuer().give_notice(
        papers.warrant.digest(), papers.header.flag_id, borough=papers.header.borough, decided_by=BY, regime="UK GDPR",
        legal_basis=REASON, text=REASON, representations_days=14,
    )  # fmt: skip


def test_request_names_nobody_and_meets_the_flag_by_pseudonym(flagged, desk):
    world, header = flagged.world, flagged.headers[0]
    person = person_behind(world, header)
    request = desk.request(person, kind="access", statement=REASON, by=OFFICER)
    assert person not in request.encode().decode()
    assert [one.header for one in world.register.files.matching(request)] == [header]
    with pytest.raises(MalformedDocument, match="names the person"):
        desk.request(person, kind="access", statement=f"What is held about {person.lower()}?", by=OFFICER)


def test_person_without_a_flag_gets_the_same_words_and_the_same_log_entry(flagged, desk):
    world, header = flagged.world, flagged.headers[0]
    flagged_person = person_behind(world, header)
    known = {person_behind(world, one) for one in flagged.headers if one.borough == header.borough}
    other = next(
        name for n in range(world.people) if (name := f"P-{header.borough}-{n:03d}") not in known | {flagged_person}
    )
    requests = [desk.request(who, kind="contest", statement=REASON, by=OFFICER) for who in (flagged_person, other)]
    assert [len(world.register.files.matching(one)) for one in requests] == [1, 0]
    shapes = [{**skeleton.model_dump(), "belongs_to": None} for skeleton in world.appender.history.skeletons[-2:]]
    assert shapes[0] == shapes[1]
    assert {len(one.encode()) for one in requests} == {len(requests[0].encode())}
    # Answered or not, of a flag that is being pursued or of none: before the notice there is one sentence.
    reviewed(world, header)
    for request in requests:
        world.issuer().answer(request.digest(), until=world.clock.now() + 30 * DAY, **DENY)
    assert [(one.text, one.answer) for one in desk.replies()] == [(NEUTRAL, None)] * 2
    world.issuer().answer(requests[0].digest(), until=None, **(DENY | {"decision": "rejected"}))
    assert [(one.text, one.answer) for one in desk.replies()] == [(NEUTRAL, None)] * 2
    assert desk.notices() == []
    # Nor does the log tie an answer to its request: how often one was answered would tell.
    answers = [one.belongs_to for one in world.appender.history.skeletons if one.kind == "answer"]
    assert len(answers) == 3
    assert not set(answers) & {commitment(one.digest()) for one in requests}


def test_borough_sees_of_its_flags_case_nothing_before_the_notice_and_then_what_the_person_may_know(flagged, desk):
    world, header = flagged.world, flagged.headers[0]
    seen = world.connection(header.borough)
    papers, review = reviewed(world, header)
    assert seen.cases(lambda kind: True) == []
    world.issuer().defer(
        papers.warrant.digest(), header.flag_id, decided_by=BY, regime="UK GDPR", legal_basis=REASON, necessity=REASON,
        proportionality=REASON, until=world.clock.now() + 5 * DAY,
    )  # fmt: skip
    assert seen.cases(lambda kind: True) == []
    notice = noticed(world, papers)
    assert [one.kind for one in seen.cases(lambda kind: True)] == ["notice"]
    assert desk.header_of(notice) == header
    other = next(one.borough for one in flagged.headers if one.borough != header.borough)
    assert world.connection(other).cases(lambda kind: True) == []
    desk.told(notice.digest(), told_by=OFFICER, manner=REASON, told_at=world.clock.now())
    world.clock.advance(timedelta(days=14))
    at = world.clock.now()
    outcome = papers.outcome(review, decided_at=at, contest_until=at + 10 * DAY, retain_until=at + 20 * DAY)
    submit(world, "outcome", outcome, "issuer", "issuer")
    world.publisher.publish()
    kinds = [type(one.document) for one in seen.cases(lambda kind: True)]
    assert (kinds[0], kinds[-1]) == (Notice, Outcome)
    assert desk.outcomes() == [outcome]


def test_answer_in_substance_is_told_from_the_notification_on(flagged, desk):
    world, header = flagged.world, flagged.headers[0]
    request = desk.request(person_behind(world, header), kind="contest", statement=REASON, by=OFFICER)
    papers, _ = reviewed(world, header)
    answer = world.issuer().answer(request.digest(), until=None, **(DENY | {"decision": "upheld"}))
    notice = noticed(world, papers)
    assert [one.answer for one in desk.replies()] == [None]
    desk.told(notice.digest(), told_by=OFFICER, manner=REASON, told_at=world.clock.now())
    assert [one.answer for one in desk.replies()] == [answer]
    assert desk.replies()[0].text != NEUTRAL


def test_what_the_person_says_reaches_the_reviewer_and_has_to_be_read(flagged, desk):
    world, header = flagged.world, flagged.headers[0]
    papers, review = reviewed(world, header)
    notice = noticed(world, papers)
    desk.told(notice.digest(), told_by=OFFICER, manner=REASON, told_at=world.clock.now())
    said = desk.heard(notice.digest(), received_by=OFFICER, text="It was a mutual-aid week (made up).")
    found = world.connection("investigator").cases(lambda kind: kind == "representation")
    assert [one.document for one in found] == [said]
    case = world.register.files.case(papers.warrant.digest(), header.flag_id, header.digest())
    assert case.stage.value == "represented"
    assert review in case.reviews


def test_notice_that_is_not_there_is_neither_served_nor_answered(flagged, desk):
    for act in (desk.told, desk.heard):
        with pytest.raises(NotLogged):
            act("0" * 64, told_by=OFFICER)


def test_borough_under_no_policy_can_ask_for_nobody(world, finished):
    ledger = world.ledger("borough-1")
    desk = InformingDesk(world.connection("borough-1"), ledger=ledger, clock=world.clock)
    with pytest.raises(PersonNotScored):
        desk.request("P-borough-1-001", kind="access", statement=REASON, by=OFFICER)
    ledger.close()


def test_dry_run_logs_nothing(flagged, desk):
    world = flagged.world
    size = world.appender.history.tree.size
    request = desk.request("P-borough-1-001", kind="access", statement=REASON, by=OFFICER, dry_run=True)
    assert isinstance(request, RightsRequest)
    assert world.appender.history.tree.size == size
