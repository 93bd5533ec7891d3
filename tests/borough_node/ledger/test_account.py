"""The budget's window as an operator reads it: the same numbers that the gate refuses by."""

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from borough_node.ledger import Ledger
from borough_node.ledger.account import Raising, Return, account_of
from protocol.aggregation.accounting import compose, epsilon_of
from protocol.errors import ConfigurationError
from tests.borough_node.ledger.rows import NOW, OTHER_PLAN, PLAN, charge, flag, text

BUDGETS = {"one": 2.0, "two": 1.0}
DAY = timedelta(days=1)


def account(ledger, *, now=NOW, delta=None, purpose=None, budgets=BUDGETS):
    return account_of(ledger.entries(), budgets=budgets, now=now, delta=delta, purpose=purpose)


def test_empty_ledger_leaves_every_budget_whole(ledger):
    shown = account(ledger, delta=1e-6)
    assert [(one.purpose, one.budget_rho, one.spent_rho, one.remaining_rho) for one in shown.purposes] == [
        ("one", 2.0, 0.0, 2.0),
        ("two", 1.0, 0.0, 1.0),
    ]
    assert all(
        (one.next_return, one.plans, one.person.mu, one.person.epsilon) == (None, (), 0, 0) for one in shown.purposes
    )
    assert shown.raised == ()


def test_each_purpose_has_its_plans_and_what_remains(ledger):
    charge(ledger, index=0, rho=0.25)
    charge(ledger, index=1, rho=0.5, at=NOW + DAY)
    charge(ledger, plan=OTHER_PLAN, rho=0.125, at=NOW + 2 * DAY)
    charge(ledger, plan=OTHER_PLAN, index=1, purpose="two", rho=0.75, at=NOW + 2 * DAY)
    one, two = account(ledger, now=NOW + 3 * DAY).purposes
    assert (one.spent_rho, one.remaining_rho) == (0.875, 1.125)
    assert [(plan.plan, plan.releases, plan.rho) for plan in one.plans] == [(PLAN, 2, 0.75), (OTHER_PLAN, 1, 0.125)]
    assert (two.spent_rho, two.remaining_rho) == (0.75, 0.25)


def test_what_leaves_the_window_next_is_the_earliest_instants_charges_together(ledger):
    charge(ledger, index=0, rho=0.25)
    charge(ledger, index=1, rho=0.5)
    charge(ledger, index=2, rho=1.0, at=NOW + DAY)
    (one,) = account(ledger, purpose="one").purposes
    assert one.next_return == Return("2032-03-03T12:00:00Z", 0.75)


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 10**8), st.floats(0, 10)), min_size=1, max_size=8), now=st.integers(0, 10**8)
)
def test_account_agrees_with_the_gates_window_and_foretells_it(tmp_path_factory, rows, now):
    """At the foretold second, and not one earlier, the gate's own sum is smaller by the foretold amount."""
    ledger = Ledger(tmp_path_factory.mktemp("account") / "ledger.sqlite")
    for index, (seconds, rho) in enumerate(rows):
        charge(ledger, index=index, rho=rho, at=NOW + timedelta(seconds=seconds))
    instant = NOW + timedelta(seconds=now)
    (one,) = account(ledger, now=instant, purpose="one").purposes
    window = [(seconds, rho) for seconds, rho in rows if seconds > now - 365 * 86400]
    assert one.spent_rho == ledger.spent("one", now=instant) == math.fsum(rho for _, rho in window)
    assert (one.next_return is None) == (not window)
    if one.next_return is not None:
        at, earliest = datetime.fromisoformat(one.next_return.at), min(seconds for seconds, _ in window)
        assert ledger.spent("one", now=at - timedelta(seconds=1)) == one.spent_rho
        assert ledger.spent("one", now=at) == math.fsum(rho for seconds, rho in window if seconds != earliest)
        assert one.next_return.rho == math.fsum(rho for seconds, rho in window if seconds == earliest)
    ledger.close()


def test_a_person_in_every_plan_of_the_window_has_the_composed_mu_and_its_epsilon(ledger):
    mus = (0.7, 0.4, 0.9)
    for index, mu in enumerate(mus):
        charge(ledger, index=index, rho=mu * mu / 2)
    charge(ledger, plan=OTHER_PLAN, purpose="two", rho=0.5)
    shown = account(ledger, delta=1e-6)
    person = shown.purposes[0].person
    assert person.mu == pytest.approx(compose(mus), rel=1e-12)
    assert person.epsilon == pytest.approx(epsilon_of(mu=compose(mus), delta=0.999e-6), rel=1e-9)
    assert shown.person.mu == pytest.approx(compose((*mus, 1.0)), rel=1e-12)
    assert account(ledger).purposes[0].person.epsilon is None


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-6, 2.0])
def test_delta_that_is_no_probability_is_refused(ledger, delta):
    with pytest.raises(ConfigurationError):
        account(ledger, delta=delta)


def test_charges_outside_the_window_stay_rows_and_leave_the_account(ledger):
    charge(ledger, rho=0.25)
    (one,) = account(ledger, now=NOW + timedelta(days=365), purpose="one").purposes
    assert (one.spent_rho, one.plans, one.next_return) == (0.0, (), None)
    assert len(ledger.entries()) == 1


def test_purpose_without_a_budget_is_shown_as_overspent(ledger):
    charge(ledger, purpose="three", rho=0.25)
    assert [(one.purpose, one.remaining_rho) for one in account(ledger).purposes] == [
        ("one", 2.0),
        ("three", -0.25),
        ("two", 1.0),
    ]


def test_flags_are_counted_by_policy_and_cost_nothing(ledger):
    ledger.store_flags(PLAN, [flag("1" * 32), flag("2" * 32)], at=text(NOW))
    ledger.store_flags(OTHER_PLAN, [], at=text(NOW + DAY))
    shown = account(ledger, now=NOW + DAY)
    assert shown.raised == (Raising(PLAN, 2, text(NOW)), Raising(OTHER_PLAN, 0, text(NOW + DAY)))
    assert all(one.spent_rho == 0 for one in shown.purposes)
