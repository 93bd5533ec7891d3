"""What was spent, from the public log alone: the window rolls, and who reads the log agrees with who writes it."""

from __future__ import annotations

import math
from datetime import date, timedelta

import pytest

from protocol.aggregation.accounting import epsilon_of
from protocol.aggregation.planning import plan_rho
from protocol.history.mirror import Mirror
from protocol.history.spending import spending
from tests.federation import BUDGET_RHO, PURPOSE, Federation


def spent_twice() -> tuple[Federation, date, float]:
    """One plan on the first day and an equal one 200 days later; with the first day and the cost of one."""
    force = Federation(budget_rho=2 * BUDGET_RHO)
    force.begin()
    first_day = force.clock.now().date()
    for number in (1, 2):
        plan = force.plan(number)
        force.log("plan", plan)
        force.clock.advance(timedelta(days=200))
    return force, first_day, plan_rho(plan)


@pytest.mark.parametrize(
    ("day", "counting"), [(-1, 0), (0, 1), (199, 1), (200, 2), (364, 2), (365, 1), (564, 1), (565, 0)]
)
def test_the_window_holds_the_plans_of_365_days(day, counting):
    force, first_day, cost = spent_twice()
    (entry,) = spending(force.history.public, on=first_day + timedelta(days=day))
    assert (entry.purpose, len(entry.plans)) == (PURPOSE, counting)
    assert entry.spent == pytest.approx(counting * cost, rel=1e-12)
    assert entry.left == pytest.approx(2 * BUDGET_RHO - entry.spent)
    assert len(entry.lines()) == 1 + (counting > 0) + counting
    if counting:
        assert entry.person.mu == pytest.approx(math.sqrt(counting * 2 * cost))
        assert entry.person.epsilon == pytest.approx(epsilon_of(mu=entry.person.mu, delta=entry.person.delta))
        assert entry.person.epsilon >= entry.plans[0].epsilon * (1 - 1e-9)


def test_a_plan_says_on_which_day_its_cost_returns():
    force, first_day, cost = spent_twice()
    returns_on = first_day + timedelta(days=365)
    (before,) = spending(force.history.public, on=returns_on - timedelta(days=1))
    (after,) = spending(force.history.public, on=returns_on)
    assert before.plans[0].returns_on == returns_on.isoformat()
    assert before.spent - after.spent == pytest.approx(cost)


def test_who_reads_the_log_finds_the_totals_of_who_writes_it():
    force, first_day, _ = spent_twice()
    mirror = Mirror(genesis=force.history.public.genesis, remembered=None)
    mirror.extend([logged.leaf for logged in force.logged], force.checkpoint())
    on = first_day + timedelta(days=200)
    assert spending(mirror.history.public, on=on) == spending(force.history.public, on=on)


def test_a_purpose_without_a_budget_in_the_roster_shows_that_nothing_is_left():
    force, first_day, cost = spent_twice()
    force.log("roster", force.next_roster(budgets=()))
    (entry,) = spending(force.history.public, on=first_day)
    assert (entry.budget, entry.left) == (0.0, 0.0)
    assert entry.spent == pytest.approx(cost)
