"""Stability: the predicted covariance of weights against reruns with fresh noise.

Seeds are fixed, so these tests always decide the same way; each states how often it would be wrong, were they not.
"""

from __future__ import annotations

import numpy as np
import pytest

from protocol.documents.arrays import Array
from protocol.documents.plan import ReleaseRequest
from protocol.scorecard.descent import replay
from protocol.scorecard.inputs import next_inputs
from protocol.scorecard.run import Published, Run
from protocol.scorecard.stability import BANDS, band, stability, weight_covariance
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
    predicted = weight_covariance(record.run)

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


def test_stability_is_the_chance_that_a_rerun_flags_again():
    # 200,000 pairs of runs; six sd of the proportion: false alarm 2e-9.
    random = np.random.default_rng(3)
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    row, weights, threshold = np.array([1.0, 2.0]), np.array([0.2, 0.4]), 0.8
    sd = float(np.sqrt(row @ covariance @ row))
    score = float(row @ weights)
    # A person seen at `score`: the true one is score plus noise (flat prior), a rerun adds its own.
    rerun = score + random.normal(scale=sd, size=(200_000, 2)).sum(axis=1)
    predicted = stability(np.array([score]), threshold, row[None, :], covariance)[0]
    assert predicted == pytest.approx((rerun > threshold).mean(), abs=6 * 0.5 / np.sqrt(200_000))


def test_a_score_at_the_threshold_is_flagged_again_half_of_the_time():
    rows = np.array([[1.0, 0.0], [1.0, 3.0]])
    np.testing.assert_allclose(stability(np.array([2.0, 2.0]), 2.0, rows, np.eye(2)), 0.5)


def test_stability_grows_with_the_score_and_without_noise_is_certain():
    rows = np.ones((3, 1))
    values = stability(np.array([0.0, 1.0, 2.0]), 1.0, rows, np.eye(1))
    assert (np.diff(values) > 0).all()
    np.testing.assert_allclose(stability(np.array([0.0, 2.0]), 1.0, rows[:2], np.zeros((1, 1))), [0, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("value", "name"), [(1.0, "high"), (0.8, "high"), (0.79, "medium"), (0.6, "medium"), (0.59, "low"), (0.0, "low")]
)
def test_bands_are_half_open_and_cover_every_probability(value, name):
    assert band(value) == name
    assert BANDS[-1][0] == 0.0
