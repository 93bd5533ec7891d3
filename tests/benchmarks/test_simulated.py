"""The simulated federation publishes what a real one publishes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import simulated
from benchmarks.simulated import SimulatedForce, no_noise
from protocol.aggregation.planning import local_sigma_ring
from protocol.errors import ConfigurationError
from protocol.scorecard.final import final_weights
from tests.world import CATALOGUE, EVERYTHING, SCORING, TRAINING, World, table

BOROUGHS, PEOPLE = 4, 60


@pytest.fixture
def force():
    return SimulatedForce(CATALOGUE, {f"borough-{n}": table(f"borough-{n}", PEOPLE) for n in range(1, BOROUGHS + 1)})


@pytest.fixture
def plan(force):
    return force.plan(EVERYTHING, train_until=TRAINING, evaluation_cutoff=SCORING)


def test_without_noise_it_publishes_what_a_whole_federation_publishes(tmp_path, monkeypatch, force):
    monkeypatch.setattr("tests.world.system_noise", no_noise)
    world = World.create(tmp_path, boroughs=BOROUGHS, people=PEOPLE)
    digest = world.approve(EVERYTHING)
    world.run(digest)
    real = world.record(digest).run
    ours = force.run(real.plan, noise=no_noise)
    assert [one.spec.function for one in ours.releases] == [one.spec.function for one in real.releases]
    for mine, theirs in zip(ours.releases, real.releases, strict=True):
        assert np.array_equal(mine.values, theirs.values), mine.spec.function
        assert mine.sigma == theirs.sigma
        assert all(np.array_equal(mine.inputs[name], theirs.inputs[name]) for name in theirs.inputs)
    world.close()


def test_its_noise_has_the_realised_sigma(force, plan):
    # Root mean square of standardised errors: 5 sd off once in two million runs.
    quiet = force.run(plan, noise=no_noise)
    found = []
    for _ in range(10):
        noisy = force.run(plan)
        for name in ("second_moment", "group_moments", "drift"):
            found.append((noisy.only(name).values - quiet.only(name).values) / noisy.only(name).sigma)
    errors = np.concatenate(found)
    assert abs(math.sqrt(np.mean(errors**2)) - 1) < 5 / math.sqrt(2 * errors.size)


def test_fewer_answers_bring_less_noise_and_fewer_rows(force, plan):
    alone = force.run(plan, noise=no_noise, answering=3).releases[0]
    everyone = force.run(plan, noise=no_noise).releases[0]
    assert alone.sigma == pytest.approx(everyone.sigma * math.sqrt(3 / 4))
    assert alone.values[0] == pytest.approx(everyone.values[0] * 3 / 4, rel=1e-6)
    with pytest.raises(ConfigurationError, match="answering"):
        force.run(plan, answering=2)


def test_sums_that_do_not_depend_on_weights_are_computed_once(force, plan, monkeypatch):
    first = force.run(plan, noise=no_noise)

    def refuse(*arguments):
        raise AssertionError("computed again")

    for function in simulated.CONSTANT:
        monkeypatch.setitem(simulated.FUNCTIONS, function, refuse)
    again = force.run(plan, noise=no_noise)
    assert all(np.array_equal(a.values, b.values) for a, b in zip(first.releases, again.releases, strict=True))


def test_the_closed_form_is_within_a_thousandth_of_the_noise(force, plan):
    real, quick = force.train(plan, noise=no_noise), force.train(plan, noise=no_noise, closed_form=True)
    for ours, theirs in zip(quick.of("gradient"), real.of("gradient"), strict=True):
        assert not np.array_equal(ours.values, np.zeros_like(ours.values))
        assert np.abs(ours.values - theirs.values).max() < 1e-3 * theirs.sigma
    assert len(quick.releases) == 4
    for ours, theirs in zip(final_weights(quick), final_weights(real), strict=True):
        assert np.allclose(ours, theirs, atol=1e-4)


def test_a_rerun_draws_each_boroughs_noise_afresh(force, plan):
    drawn = []

    def listen(length, sigma):
        drawn.append((length, sigma))
        return np.full(length, len(drawn), dtype=np.int64)

    force.run(plan, noise=listen)
    assert drawn == [(spec.length, local_sigma_ring(plan, spec)) for spec in plan.releases for _ in range(BOROUGHS)]
