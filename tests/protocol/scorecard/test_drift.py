"""The population stability index of noised histograms, and what it is held against."""

from __future__ import annotations

import math

import numpy as np
import pytest

from protocol.errors import StateError
from protocol.scorecard.drift import drift, stability_index
from protocol.scorecard.run import Run
from tests.world import CATALOGUE, CHOICES, EVERYTHING, World

BROAD = np.array([5, 8, 12, 15, 18, 15, 12, 8, 5, 2]) * 100.0


def plain(p: np.ndarray, q: np.ndarray) -> float:
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def test_without_noise_the_index_is_the_usual_one_but_for_sampling():
    moved = np.roll(BROAD, 1) + 50
    ends, found = stability_index(1e6 * moved, 1e6 * BROAD, new_sigma=0.0, old_sigma=0.0)
    assert ends == tuple(range(1, 11))
    assert found.value == pytest.approx(plain(moved, BROAD), rel=1e-3)
    assert found.low < found.value < found.high


def test_the_same_histogram_twice_has_drifted_by_nothing():
    _, found = stability_index(BROAD, BROAD, new_sigma=1.0, old_sigma=1.0)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0 < found.high < 0.02


def test_noise_alone_is_not_taken_for_drift():
    """400 draws without drift: the plain index is far from 0 on average, the corrected one, cut at 0, is not."""
    random = np.random.default_rng(8)
    values, uncorrected = [], []
    for _ in range(400):
        new, old = BROAD + random.normal(scale=40, size=10), BROAD + random.normal(scale=40, size=10)
        values.append(stability_index(new, old, new_sigma=40.0, old_sigma=40.0)[1].value)
        uncorrected.append(plain(np.maximum(new, 1.0), np.maximum(old, 1.0)))
    assert np.mean(uncorrected) > 0.004
    assert np.mean(values) < 0.0015


def test_bins_that_are_mostly_noise_are_taken_together():
    sparse = np.array([6000.0, 3, -20, 15, 8, -11, 2, 9, -4, 4000])
    ends, found = stability_index(sparse, sparse[::-1], new_sigma=15.0, old_sigma=15.0)
    assert ends == (1, 10)
    assert found.low > 0.1


@pytest.mark.parametrize("counts", [np.zeros(10), np.full(10, -3.0), np.array([500.0, *[0.0] * 9])])
def test_one_group_or_nobody_says_nothing(counts):
    ends, found = stability_index(counts, counts, new_sigma=5.0, old_sigma=5.0)
    assert len(ends) < 2
    assert (found.value, found.low, found.high) == (None, 0.0, math.inf)


@pytest.fixture(scope="module")
def force(tmp_path_factory):
    """A force with a plan without drift, two with, one with and unfinished, in this order."""
    made = World.create(tmp_path_factory.mktemp("drift") / "world", budget=1000.0)
    plans = [made.approve(choices) for choices in (CHOICES, EVERYTHING, EVERYTHING, EVERYTHING)]
    for plan in plans[:3]:
        made.run(plan)
    yield made, plans
    made.close()


def test_drift_is_held_against_the_latest_complete_plan_before_it(force):
    world, plans = force
    public = world.appender.history.public
    records = [public.plan(plan) for plan in plans]
    assert public.before(records[0]) is None
    assert public.before(records[1]) is None
    assert public.before(records[2]) is records[1].run
    assert public.before(records[3]) is records[2].run
    found = drift(records[2].run, public.before(records[2]))
    assert found.against == plans[1]
    assert plans[1][:16] in str(found)
    assert [one.feature for one in found.features] == list(records[2].run.columns.names[1:])
    # The records are the same in both plans, so whatever differs is noise. Four intervals, none may miss: 1 in 5 if the
    # noise were new in each run of this test beyond what a 95 % interval is for, so all that is asked is that most hold.
    assert sum(one.index.low == 0.0 for one in found.features) >= 2


def test_the_first_plan_says_that_there_is_nothing_to_compare_with(force):
    world, plans = force
    run = world.record(plans[1]).run
    found = drift(run, world.appender.history.public.before(world.record(plans[1])))
    assert (found.against, found.features) == (None, ())
    assert "no earlier plan" in str(found)


def test_a_plan_that_measures_no_drift_has_none_and_an_unfinished_one_waits(force):
    world, plans = force
    assert drift(world.record(plans[0]).run, None) is None
    with pytest.raises(StateError):
        drift(world.record(plans[3]).run, None)


def test_plans_of_other_columns_are_not_compared(force):
    world, _ = force
    other = CATALOGUE.model_copy(update={"version": 2})
    world.log("catalogue", other, "coordinator")
    plan = world.approve(EVERYTHING, catalogue=other)
    assert world.appender.history.public.before(world.record(plan)) is None
    assert isinstance(world.record(plan).run, Run)
