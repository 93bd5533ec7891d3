"""Stability: the predicted covariance of weights against reruns with fresh noise.

Seeds are fixed, so these tests always decide the same way; each states how often it would be wrong, were they not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.documents.arrays import Array
from protocol.documents.plan import ReleaseRequest
from protocol.scorecard.descent import replay
from protocol.scorecard.evaluation import HeadEvaluation
from protocol.scorecard.final import final_weights
from protocol.scorecard.inputs import next_inputs
from protocol.scorecard.run import Published, Run
from protocol.scorecard.stability import (
    BANDS,
    HeadStability,
    band,
    mean_excess,
    threshold_scatter,
    weight_covariance,
)
from tests.federation import DESCENT, PRIVACY, Federation, Rows, vector_rows

RERUNS = 3_000


@pytest.fixture(scope="module")
def quiet() -> Federation:
    """A force whose labels have nothing to do with the features, so that scores stay at the prior."""
    force = Federation(noise=0.0, budget_rho=10.0)
    force.begin()
    random = np.random.default_rng(17)
    priors = np.array([head.prior for head in force.catalogue.heads])
    for cohorts in force.records.values():
        for cutoff, rows in cohorts.items():
            labels = (random.random(rows.labels.shape) < priors).astype(float)
            cohorts[cutoff] = Rows(rows.matrix, labels)
    return force


def gradient_sum(force: Federation, plan, columns, inputs, rows) -> np.ndarray:
    """The exact gradient of all rows at some inputs, in units of the clip."""
    arrays = {name: Array.of(values) for name, values in inputs.items()}
    request = ReleaseRequest.model_construct(function="gradient", inputs=arrays)
    return vector_rows(plan, columns, request, rows).sum(axis=0) / plan.privacy.rows_per_person


def test_the_predicted_covariance_is_that_of_reruns_with_fresh_noise(quiet):
    # No clipping, next to no ridge, small steps, much momentum: the way from the first gradient to the last weights
    # matters. The sd of a variance over 3000 reruns is 2.6 %; the rest of the tolerance is the Hessian at the prior.
    # A false alarm at 15 % is a 5 sd event: below 1e-6 for each of 7 variances.
    force = quiet
    plan = force.plan(
        privacy=PRIVACY.model_copy(update={"epsilon": 4.0}),
        descent=DESCENT.model_copy(
            update={"clip_factor": 4.0, "ridge_factor": 1e-3, "momentum": 0.9, "learning_rate": 1.0}
        ),
    )
    record = force.run(plan)
    columns = force.columns(plan)
    # Reruns below use the second moment again and are not projected, so neither is what is predicted.
    again = replace(
        record.run,
        releases=record.run.releases[1:],
        reused=record.run.releases[0],
        columns=replace(columns, directions=(0,) * columns.width),
    )
    predicted = weight_covariance(again)

    rows = [force.rows(name, plan, plan.releases[1]) for name in force.boroughs]
    everybody = Rows(np.concatenate([r.matrix for r in rows]), np.concatenate([r.labels for r in rows]))
    random = np.random.default_rng(29)
    moment, sigma = record.run.releases[0], record.run.releases[1].sigma
    begun = Run.begin(plan, force.catalogue).then(moment)
    first_inputs = next_inputs(begun)
    first_exact = gradient_sum(force, plan, columns, first_inputs, everybody)
    found: list[list[np.ndarray]] = [[] for _ in columns.heads]
    for _ in range(RERUNS):
        noise = random.normal(scale=sigma, size=(2, columns.shape("gradient")[0]))
        first = Published(plan, plan.releases[1], first_inputs, first_exact + noise[0], sigma)
        inputs = next_inputs(begun.then(first))
        exact = gradient_sum(force, plan, columns, inputs, everybody)
        second = Published(plan, plan.releases[2], inputs, exact + noise[1], sigma)
        for place, weights in enumerate(replay(begun.then(first, second)).weights):
            found[place].append(weights)
    for expected, weights in zip(predicted, found, strict=True):
        measured = np.cov(np.array(weights).T)
        np.testing.assert_allclose(np.diag(measured), np.diag(expected), rtol=0.15)
        assert np.linalg.norm(measured - expected) < 0.15 * np.linalg.norm(expected)


def test_a_second_moment_that_is_used_again_adds_no_noise(quiet):
    run = quiet.run(quiet.plan(2)).run
    again = replace(run, releases=run.releases[1:], reused=run.releases[0])
    for own, reused in zip(weight_covariance(run), weight_covariance(again), strict=True):
        assert np.linalg.eigvalsh(own - reused).min() > -1e-12
        assert np.trace(own) > np.trace(reused)


def test_the_noise_of_the_second_moment_is_carried_through_the_whitening():
    # Labels that follow the features, no noise in the gradients, a little in the second moment: all that differs
    # between reruns is the whitening. The sd of a variance over 1000 reruns is 4.5 %; a false alarm at 30 % is beyond
    # 6 sd for each of 7 variances, and what is left is the Hessian at the prior and the clipping norm's own noise.
    force = Federation(noise=0.0, budget_rho=1e9)
    force.begin()
    plan = force.plan(descent=DESCENT.model_copy(update={"clip_factor": 40.0, "learning_rate": 0.5}))
    record = force.run(plan)
    columns = force.columns(plan)
    rows = [force.rows(name, plan, plan.releases[1]) for name in force.boroughs]
    everybody = Rows(np.concatenate([r.matrix for r in rows]), np.concatenate([r.labels for r in rows]))
    random = np.random.default_rng(31)
    exact = record.run.releases[0]
    sigma = 0.3
    noisy = [replace(one, sigma=0.0) for one in record.run.releases]
    noisy[0] = replace(exact, sigma=sigma)
    # The ridge follows the noise, so the run whose covariance is predicted is made with it too.
    begun = Run.begin(plan, force.catalogue).then(noisy[0])
    found: list[list[np.ndarray]] = [[] for _ in columns.heads]

    def finished(moment: Published) -> Run:
        run = Run.begin(plan, force.catalogue).then(moment)
        for spec in plan.releases[1:3]:
            inputs = next_inputs(run)
            run = run.then(Published(plan, spec, inputs, gradient_sum(force, plan, columns, inputs, everybody), 0.0))
        return run

    centre = finished(begun.moment)
    evaluation = record.run.only("evaluation")
    weights = np.concatenate(final_weights(centre))
    predicted = weight_covariance(centre.then(replace(evaluation, inputs=evaluation.inputs | {"weights": weights})))
    for _ in range(1_000):
        moved = replace(noisy[0], values=exact.values + random.normal(scale=sigma, size=exact.values.size))
        for place, own in enumerate(replay(finished(moved)).weights):
            found[place].append(own)
    for expected, own in zip(predicted, found, strict=True):
        np.testing.assert_allclose(np.diag(np.cov(np.array(own).T)), np.diag(expected), rtol=0.3)


def test_weights_held_at_zero_vary_no_more():
    # Directions of the catalogue are 1; labels that fall with a feature hold its weight at zero.
    force = Federation(noise=0.0, budget_rho=10.0)
    force.begin()
    for cohorts in force.records.values():
        for cutoff, rows in cohorts.items():
            labels = np.repeat((rows.matrix[:, 1] < 0.3)[:, None], rows.labels.shape[1], axis=1)
            cohorts[cutoff] = Rows(rows.matrix, labels.astype(float))
    run = force.run(force.plan()).run
    for weights, covariance in zip(
        run.columns.split(run.only("evaluation").inputs["weights"]), weight_covariance(run), strict=True
    ):
        assert weights[1] == 0.0
        np.testing.assert_allclose(covariance[1], 0.0, atol=1e-15)
        np.testing.assert_allclose(covariance[:, 1], 0.0, atol=1e-15)
        assert covariance[0, 0] > 0


def head(**changes) -> HeadStability:
    """A head of two columns whose threshold is 0.8 and does not move with the weights."""
    known = HeadStability(
        threshold=0.8,
        covariance=np.array([[0.04, 0.01], [0.01, 0.09]]),
        tangent=np.zeros(2),
        offsets=np.zeros(1),
        excess=np.inf,
    )
    return replace(known, **changes)


def test_without_selection_stability_is_the_chance_that_a_rerun_flags_again():
    # 200,000 pairs of runs; six sd of the proportion: false alarm 2e-9.
    random = np.random.default_rng(3)
    row, score = np.array([1.0, 2.0]), 1.0
    sd = float(np.sqrt(row @ head().covariance @ row))
    # A person seen at `score`: the true one is score plus noise (flat prior), a rerun adds its own.
    rerun = score + random.normal(scale=sd, size=(200_000, 2)).sum(axis=1)
    predicted = head().probability(row[None, :], np.array([score]))[0]
    assert predicted == pytest.approx((rerun > 0.8).mean(), abs=6 * 0.5 / np.sqrt(200_000))


def test_among_the_selected_stability_is_the_share_that_a_rerun_flags_again():
    # A million people with exponential scores and noise far smaller than their scale, flagged above a threshold that
    # few reach. The correction makes the mean right; without it 0.62 is predicted and 0.5 seen. About 18,000 are
    # flagged: six sd of the share is 0.022, false alarm 2e-9; the rest is the exponential's end at 0.
    random = np.random.default_rng(5)
    true = random.exponential(scale=0.5, size=1_000_000)
    first, second = true + random.normal(scale=0.4, size=(2, true.size))
    flagged = first > 2.0
    rows = np.ones((int(flagged.sum()), 1))
    known = head(threshold=2.0, covariance=np.array([[0.16]]), tangent=np.zeros(1), excess=0.5)
    predicted = known.probability(rows, first[flagged]).mean()
    naive = replace(known, excess=np.inf).probability(rows, first[flagged]).mean()
    seen = (second[flagged] > 2.0).mean()
    assert predicted == pytest.approx(seen, abs=0.03)
    assert naive - seen > 0.1


def test_a_threshold_that_scatters_draws_stability_towards_a_half():
    rows, scores = np.array([[1.0, 2.0]]), np.array([2.0])
    still, scattered = head(), head(offsets=np.linspace(-1.5, 1.5, 32))
    assert 0.5 < scattered.probability(rows, scores)[0] < still.probability(rows, scores)[0]


def test_a_score_at_the_threshold_is_flagged_again_half_of_the_time_and_less_often_if_selected():
    rows, scores = np.array([[1.0, 0.0], [1.0, 3.0]]), np.array([0.8, 0.8])
    np.testing.assert_allclose(head().probability(rows, scores), 0.5)
    assert (head(excess=0.5).probability(rows, scores) < 0.5).all()


@given(
    score=st.floats(0.8, 5),
    more=st.floats(0, 5),
    row=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    excess=st.floats(0.05, 10),
    offset=st.floats(0, 2),
)
def test_stability_is_a_probability_that_grows_with_the_score(score, more, row, excess, offset):
    known = head(excess=excess, offsets=np.array([-offset, offset]))
    low, high = known.probability(np.array([row, row]), np.array([score, score + more]))
    assert 0 <= low <= high <= 1


@given(score=st.floats(0.8, 5), row=st.tuples(st.floats(-3, 3), st.floats(-3, 3)), factor=st.floats(1, 50))
def test_more_noise_never_makes_a_flag_more_stable(score, row, factor):
    rows, scores = np.array([row]), np.array([score])
    quiet, noisy = head(excess=0.5), head(excess=0.5, covariance=factor * head().covariance)
    assert noisy.probability(rows, scores)[0] <= quiet.probability(rows, scores)[0] + 1e-12


def test_without_noise_a_flag_is_certain():
    known = head(covariance=np.zeros((2, 2)))
    np.testing.assert_allclose(known.probability(np.ones((2, 2)), np.array([0.0, 2.0])), [0, 1], atol=1e-12)


def test_the_mean_excess_is_that_of_an_exponential_tail():
    # Counts of an exponential with scale 2 in bins of 0.25: spreading a bin evenly errs by less than 2 %.
    edges = np.arange(0.25, 30, 0.25)
    corners = np.concatenate([[0.0], edges, [edges[-1] + 0.25]])
    counts = 1e6 * -np.diff(np.exp(-corners / 2))
    evaluation = HeadEvaluation("made_up", edges, counts, np.zeros_like(counts), sigma=1e-9)
    tail = np.cumsum(counts[::-1])[::-1]
    assert mean_excess(evaluation, tail, 3.1) == pytest.approx(2.0, rel=0.02)
    # The last bin is open: nothing is known of what lies beyond.
    assert mean_excess(evaluation, tail, float(edges[-1])) == np.inf


def test_thresholds_scatter_evenly_to_both_sides_and_more_with_more_noise():
    edges = np.arange(0.25, 8, 0.25)
    corners = np.concatenate([[0.0], edges, [edges[-1] + 0.25]])
    counts = 1e4 * -np.diff(np.exp(-corners))
    spreads = []
    for sigma in (5.0, 20.0):
        evaluation = HeadEvaluation("made_up", edges, counts, np.zeros_like(counts), sigma=sigma)
        offsets = threshold_scatter(evaluation, capacity=200, seed="made up")
        np.testing.assert_allclose(offsets, -offsets[::-1], atol=1e-12)
        spreads.append(offsets.std())
    assert spreads[1] > 2 * spreads[0] > 0


@pytest.mark.parametrize(
    ("value", "name"), [(1.0, "high"), (0.8, "high"), (0.79, "medium"), (0.6, "medium"), (0.59, "low"), (0.0, "low")]
)
def test_bands_are_half_open_and_cover_every_probability(value, name):
    assert band(value) == name
    assert BANDS[-1][0] == 0.0
