"""Constrained weights: the nearest ones that keep what was promised, the same whoever computes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, minimize

from protocol.errors import ModelMismatch
from protocol.scorecard.constraints import constrained, nearest

seeds = st.integers(0, 2**32 - 1)


def head(seed: int, width: int):
    """Weights, whitener and metric of a made-up head, conditioned as a released second moment is."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(3 * width, width)) @ random.normal(size=(width, width))
    metric = rows.T @ rows / len(rows) + 0.1 * np.eye(width)
    values, vectors = np.linalg.eigh(metric)
    return random, random.normal(size=width), (vectors / np.sqrt(values)) @ vectors.T, metric


def problem(seed: int, width: int = 9, rows: int = 3):
    random, weights, whitener, metric = head(seed, width)
    signs = random.integers(-1, 2, size=width)
    signs[0] = 0
    gaps = random.normal(size=(rows, width))
    strengths = random.choice([0.0, 0.25, 0.5, 1.0], size=rows)
    return weights, whitener, metric, signs, gaps, strengths


@given(seeds)
def test_directions_are_kept_exactly_and_gaps_to_rounding(seed):
    weights, whitener, _, signs, gaps, strengths = problem(seed)
    before = constrained(weights, whitener, signs, gaps[:0], strengths[:0])
    after = constrained(weights, whitener, signs, gaps, strengths)
    assert (signs * before >= 0).all()
    assert (signs * after >= 0).all()
    limits = (1 - strengths) * np.abs(gaps @ before)
    assert (np.abs(gaps @ after)[strengths > 0] <= limits[strengths > 0] + 1e-10).all()


@given(seeds)
def test_no_other_weights_are_nearer(seed):
    # Karush, Kuhn, Tucker: the metric's pull back to the start is a sum, with positive factors, of the normals that hold.
    weights, whitener, metric, signs, gaps, strengths = problem(seed)
    before = constrained(weights, whitener, signs, gaps[:0], strengths[:0])
    after = constrained(weights, whitener, signs, gaps, strengths)
    at, limits = gaps @ after, (1 - strengths) * np.abs(gaps @ before)
    touching = strengths > 0
    normals = [
        *(sign * np.eye(len(weights))[place] for place, sign in enumerate(signs) if sign and after[place] == 0),
        *gaps[touching & (at >= limits - 1e-9)] * -1,
        *gaps[touching & (at <= 1e-9 - limits)],
    ]
    pull = metric @ (after - weights)
    if not normals:
        assert np.abs(pull).max() < 1e-9
        return
    found = lsq_linear(np.array(normals).T, pull, bounds=(0, np.inf), tol=1e-14, method="bvls")
    assert np.abs(found.fun).max() < 1e-7 * max(1.0, np.abs(pull).max())


@given(seeds)
@settings(max_examples=25)
def test_directions_alone_are_a_bounded_least_squares_problem(seed):
    weights, whitener, _, signs, gaps, strengths = problem(seed)
    inverse = np.linalg.inv(whitener)
    lower, upper = np.where(signs > 0, 0.0, -np.inf), np.where(signs < 0, 0.0, np.inf)
    expected = lsq_linear(inverse, inverse @ weights, bounds=(lower, upper), tol=1e-14, method="bvls").x
    assert constrained(weights, whitener, signs, gaps[:0], strengths[:0]) == pytest.approx(expected, abs=1e-8)


@given(seeds)
@settings(max_examples=25)
def test_a_general_solver_finds_the_same_point(seed):
    weights, whitener, metric, signs, gaps, strengths = problem(seed, width=6, rows=2)
    before = constrained(weights, whitener, signs, gaps[:0], strengths[:0])
    limits = (1 - strengths) * np.abs(gaps @ before)
    rules = [
        {"type": "ineq", "fun": lambda w, row=row, limit=limit, side=side: limit - side * (row @ w)}
        for row, limit, strength in zip(gaps, limits, strengths, strict=True)
        for side in (-1, 1)
        if strength > 0
    ]
    bounds = [(0 if sign > 0 else None, 0 if sign < 0 else None) for sign in signs]
    reference = minimize(
        lambda w: (w - weights) @ metric @ (w - weights) / 2,
        np.zeros(len(weights)),
        jac=lambda w: metric @ (w - weights),
        bounds=bounds,
        constraints=rules,
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    after = constrained(weights, whitener, signs, gaps, strengths)
    distance = (after - weights) @ metric @ (after - weights) / 2
    assert distance <= reference.fun + 1e-9
    assert after == pytest.approx(reference.x, abs=1e-4)


@given(seeds)
def test_weights_that_keep_everything_come_back_bit_for_bit(seed):
    weights, whitener, _, signs, gaps, strengths = problem(seed)
    kept = constrained(weights, whitener, signs, gaps[:0], strengths[:0])
    assert constrained(kept, whitener, signs, gaps, 0 * strengths).tobytes() == kept.tobytes()
    assert constrained(weights, whitener, 0 * signs, gaps, 0 * strengths).tobytes() == weights.tobytes()


@given(seeds)
def test_closed_gaps_stay_closed_and_a_second_pass_changes_nothing(seed):
    weights, whitener, _, signs, gaps, _ = problem(seed)
    once = constrained(weights, whitener, signs, gaps, np.ones(3))
    assert np.abs(gaps @ once).max() < 1e-10
    assert constrained(once, whitener, signs, gaps, np.ones(3)) == pytest.approx(once, abs=1e-10)


@given(seeds)
@settings(max_examples=20)
def test_another_machines_last_bits_move_the_answer_by_no_more_than_readers_allow(seed):
    # What differs between machines: the whitener's eigendecomposition, and sums in another order.
    weights, whitener, _, signs, gaps, strengths = problem(seed, width=40, rows=5)
    random = np.random.default_rng(seed)
    elsewhere = whitener * (1 + 1e-13 * random.uniform(-1, 1, whitener.shape))
    ours, theirs = (constrained(weights, each, signs, gaps, strengths) for each in (whitener, elsewhere))
    assert np.abs(ours - theirs).max() < 1e-8 * max(1.0, np.abs(ours).max())


def test_gaps_that_depend_on_each_other_can_all_be_closed():
    _, weights, whitener, _ = head(7, 8)
    random = np.random.default_rng(8)
    two = random.normal(size=(2, 8))
    gaps = np.array([two[0], two[1], two[0] - two[1], -two[0], 0 * two[0]])
    after = constrained(weights, whitener, np.zeros(8), gaps, np.ones(5))
    assert np.abs(gaps @ after).max() < 1e-12
    assert after == pytest.approx(constrained(weights, whitener, np.zeros(8), two, np.ones(2)), abs=1e-10)


def test_the_intercept_follows_so_that_the_mean_score_stays():
    # Without a ridge the free intercept takes up what the held weight lost: the mean score does not move.
    random = np.random.default_rng(3)
    rows = np.column_stack([np.ones(500), random.normal(2.0, 1.0, size=(500, 3))])
    values, vectors = np.linalg.eigh(rows.T @ rows / 500)
    whitener = (vectors / np.sqrt(values)) @ vectors.T
    weights = np.array([-3.0, 0.5, -0.4, 0.2])
    after = constrained(weights, whitener, [0, 1, 1, 1], np.zeros((0, 4)), [])
    assert after[2] == 0
    assert (rows @ after).mean() == pytest.approx((rows @ weights).mean())


def test_constraints_that_contradict_each_other_are_refused():
    with pytest.raises(ModelMismatch):
        nearest(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 1.0]))
