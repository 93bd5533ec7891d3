"""Clocks that are wrong, on purpose or not: a coordinator that dates ahead, an operator that turns the clock back.

Nobody's clock is believed alone: a leaf is not dated after its witnesses' time, a party does not judge validity by a
clock that is behind the witnesses', and of the witnesses a majority decides. That clocks are shifted from outside is
ordinary: RFC 9523, section 1.
"""

from datetime import timedelta

import pytest

from coordinator.registry.drafting import PlanChoices
from protocol.errors import BudgetExceeded, ClockSkewed, CohortTooSmall, DatedAhead, PlanOutsideValidity
from tests.wire import Wire, refused
from tests.world import CHOICES

YEAR = timedelta(days=366)
LONG = CHOICES.model_copy(update={"validity_days": 3 * 366})


@pytest.fixture
def tight(tmp_path):
    """A force whose budget covers one plan a year."""
    made = Wire.create(tmp_path / "tight", budget=1.0)
    yield made
    made.close()


def opened(wire, choices: PlanChoices = CHOICES):
    """A fresh plan with its first request and tag seed."""
    plan = wire.approve(choices)
    return plan, *wire.begun(plan)


# --- the coordinator --------------------------------------------------------------------------------------------


def test_coordinator_that_dates_a_plan_a_year_ahead_frees_no_budget(tight):
    """Its own clock is wrong, its own rules are content, the witnesses cosign: nobody who reads the log is."""
    tight.approve(LONG)
    for name in ("unmasker", "borough-1", "auditor"):
        tight.reader(name).sync()
    with pytest.raises(BudgetExceeded):
        tight.approve(LONG)
    tight.clock_of("coordinator").ahead = YEAR
    plan, request, seed = opened(tight, LONG)
    with refused(DatedAhead):
        tight.commit(request, [])
    assert tight.refusal(plan, "borough-1", request, seed) == DatedAhead.code
    with pytest.raises(DatedAhead):
        tight.reader("auditor").sync()


@pytest.mark.parametrize("name", ["unmasker", "borough-1"])
def test_coordinator_that_dates_ahead_together_with_one_party_frees_no_budget(tight, name):
    """The date is compared with the witnesses' time, not with the reader's own: turning that forward too is no help."""
    tight.approve(LONG)
    tight.clock_of("coordinator").ahead = tight.clock_of(name).ahead = YEAR
    plan, request, seed = opened(tight, LONG)
    if name == "unmasker":
        with refused(DatedAhead):
            tight.commit(request, [])
    else:
        assert tight.refusal(plan, name, request, seed) == DatedAhead.code


def test_minority_of_witnesses_with_clocks_ahead_does_not_carry_a_date(tight):
    tight.approve(LONG)
    tight.clock_of("coordinator").ahead = tight.clock_of("witness-1").ahead = YEAR
    _, request, _ = opened(tight, LONG)
    with refused(DatedAhead):
        tight.commit(request, [])


def test_majority_of_witnesses_with_clocks_ahead_carries_a_date(tight):
    """What remains: time is what a majority of witnesses says. Boroughs whose clocks are right refuse even so."""
    tight.approve(LONG)
    for name in ("coordinator", "witness-1", "witness-2"):
        tight.clock_of(name).ahead = YEAR
    plan, request, seed = opened(tight, LONG)
    with refused(ClockSkewed):
        tight.commit(request, [])
    assert tight.refusal(plan, "borough-1", request, seed) == ClockSkewed.code
    tight.clock_of("unmasker").ahead = YEAR
    with refused(CohortTooSmall):
        tight.commit(request, [])


def test_plan_that_is_dated_back_frees_no_budget_at_the_boroughs(tight):
    """It leaves the public window early. The charge in each borough's ledger is dated by the borough's own clock."""
    early = tight.draft(LONG)
    tight.clock.advance(timedelta(days=300))
    tight.clock_of("coordinator").ahead = timedelta(days=-300)
    tight.log("plan", early, *tight.custodian_ids[:2])
    tight.clock_of("coordinator").ahead = timedelta(0)
    tight.run(early.digest())
    tight.clock.advance(timedelta(days=66))
    plan = tight.approve(LONG)
    with pytest.raises(CohortTooSmall, match="index 1"):
        tight.run(plan)
    assert {name: codes[-1] for name, codes in tight.node_reports.items()} == dict.fromkeys(
        tight.borough_ids, BudgetExceeded.code
    )


# --- an operator ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [40 * 24 * 60, 6])
def test_clock_that_is_turned_back_moves_neither_borough_nor_unmasker(wire, minutes):
    """To use a plan after its end, or because a clock is wrong: the log's last cosignatures are later."""
    plan, request, seed = opened(wire)
    wire.clock.advance(timedelta(days=40))
    wire.approve()
    for name in ("borough-1", "unmasker"):
        wire.clock_of(name).ahead = -timedelta(minutes=minutes)
    assert wire.refusal(plan, "borough-1", request, seed) == ClockSkewed.code
    with refused(ClockSkewed):
        wire.commit(request, [])
    with refused(ClockSkewed):
        wire.reveal(plan, 0)


def test_clock_that_is_a_little_behind_does_no_harm(wire):
    plan = wire.approve()
    for name in ("unmasker", *wire.borough_ids):
        wire.clock_of(name).ahead = timedelta(minutes=-4)
    wire.clock.advance(timedelta(minutes=10))
    wire.run(plan)
    assert wire.record(plan).complete


def test_log_that_stands_still_shows_no_time_and_the_other_server_still_does(wire):
    """What remains: without a new checkpoint nothing shows that a borough's clock went back. The unmasker's did not."""
    plan, request, seed = opened(wire)
    wire.gate("borough-1").check_state()
    wire.clock.advance(timedelta(days=40))
    for name in wire.borough_ids:
        wire.clock_of(name).ahead = timedelta(days=-40)
    replies = wire.ask(wire.record(plan).plan, 0, request, seed)
    assert len(replies) == 4
    with refused(PlanOutsideValidity):
        wire.commit(request, [replies[name].statement for name in sorted(replies)])
