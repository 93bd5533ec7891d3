"""Training as a function of published sums: it finds the right direction, and nobody can bend one input of it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LogisticRegression

from protocol.documents.arrays import Array
from protocol.errors import MalformedDocument, ModelMismatch
from protocol.scorecard.descent import (
    advance,
    exact_product,
    look_ahead,
    replay,
    score_distribution,
    second_moment,
    start,
    whitening,
)
from protocol.scorecard.inputs import check_inputs, next_inputs
from protocol.scorecard.run import Run, published
from tests.federation import DESCENT, PRIVACY, Federation

NOISY = Federation()
NOISY.begin()
RECORD = NOISY.run(NOISY.plan())
RUN = RECORD.run
PLAN, CATALOGUE, COLUMNS = RECORD.plan, NOISY.catalogue, RUN.columns


def after(releases: int) -> Run:
    """The noisy run when so many releases were published."""
    return replace(RUN, releases=RUN.releases[:releases])


def exact_run(**descent):
    """A run without noise and with next to no ridge."""
    force = Federation(noise=0.0)
    force.begin()
    return force, force.run(force.plan(descent=DESCENT.model_copy(update={"ridge_factor": 1e-4} | descent)))


EXACT, EXACT_RECORD = exact_run(steps=40, clip_factor=20.0)


def training_rows(force: Federation, plan):
    rows = [force.rows(name, plan, plan.releases[0]) for name in force.boroughs]
    return np.concatenate([part.matrix for part in rows]), np.concatenate([part.labels for part in rows])


def test_without_noise_the_descent_reaches_logistic_regression():
    matrix, labels = training_rows(EXACT, EXACT_RECORD.plan)
    weights = replay(EXACT_RECORD.run).weights
    for place, (head, found) in enumerate(zip(EXACT.columns(EXACT_RECORD.plan).heads, weights, strict=True)):
        reference = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10, max_iter=1000)
        expected = reference.fit(matrix[:, list(head)], labels[:, place]).coef_[0]
        cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
        assert cosine > 0.999
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_without_noise_the_second_moment_is_that_of_the_clipped_rows():
    plan = EXACT_RECORD.plan
    matrix, _ = training_rows(EXACT, plan)
    matrix *= np.minimum(1, plan.descent.row_norm / np.linalg.norm(matrix, axis=1))[:, None]
    found = second_moment(EXACT_RECORD.run.columns, EXACT_RECORD.run.moment)
    np.testing.assert_allclose(found, matrix.T @ matrix / 2 / plan.people, atol=1e-3)
    np.testing.assert_array_equal(found, found.T)


def test_whitening_turns_the_second_moment_into_nearly_the_identity_when_there_is_no_noise():
    plan, columns = EXACT_RECORD.plan, EXACT.columns(EXACT_RECORD.plan)
    matrices, clips = whitening(EXACT_RECORD.run)
    moment = second_moment(columns, EXACT_RECORD.run.moment)
    for head, matrix, clip in zip(columns.heads, columns.split_square(matrices), clips, strict=True):
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        np.testing.assert_allclose(matrix @ moment[np.ix_(head, head)] @ matrix, np.eye(len(head)), atol=0.05)
        assert clip == pytest.approx(plan.descent.clip_factor * np.sqrt(len(head)), rel=0.05)


def test_whitening_and_clips_follow_the_written_formula_under_noise():
    # docs: W = Q (L+ + lambda)^(-1/2) Q^T, lambda = f * 2 sqrt(d) sigma R^2 / N, C = c sqrt(sum L+/(L+ + lambda)).
    release = RUN.moment
    honest = PRIVACY.min_boroughs - PRIVACY.colluding
    assert release.sigma == pytest.approx(PLAN.releases[0].sigma * np.sqrt(6 / honest), rel=1e-12)
    matrices, clips = whitening(RUN)
    moment = second_moment(COLUMNS, release)
    for head, matrix, clip in zip(COLUMNS.heads, COLUMNS.split_square(matrices), clips, strict=True):
        ridge = DESCENT.ridge_factor * 2 * np.sqrt(len(head)) * release.sigma * DESCENT.row_norm**2 / PLAN.people
        values, vectors = np.linalg.eigh(moment[np.ix_(head, head)])
        positive = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T
        np.testing.assert_allclose(np.linalg.inv(matrix @ matrix), positive + ridge * np.eye(len(head)), atol=1e-9)
        assert clip == pytest.approx(
            DESCENT.clip_factor * np.sqrt((np.maximum(values, 0) / (np.maximum(values, 0) + ridge)).sum())
        )


def test_a_noised_second_moment_that_is_not_positive_still_whitens():
    matrices, clips = whitening(replace(RUN, reused=replace(RUN.moment, values=-RUN.moment.values)))
    assert np.isfinite(matrices).all()
    assert (clips >= 0).all()


def test_the_start_is_the_public_prior_and_nothing_else():
    at = start(RUN)
    for category, weights, velocity in zip(PLAN.categories, at.weights, at.velocity, strict=True):
        prior = CATALOGUE.head(category).prior
        assert 1 / (1 + np.exp(-weights[0])) == pytest.approx(prior, rel=1e-6)
        assert not weights[1:].any()
        assert not velocity.any()


def test_one_step_is_nesterovs():
    gradient = RUN.releases[1]
    at = start(RUN)
    moved = advance(RUN, at, gradient)
    matrices = COLUMNS.split_square(gradient.inputs["whitening"])
    for place, part in enumerate(COLUMNS.split(gradient.values)):
        velocity = -DESCENT.learning_rate * part * gradient.inputs["clips"][place] / PLAN.people
        np.testing.assert_allclose(moved.velocity[place], velocity, rtol=1e-14)
        np.testing.assert_allclose(moved.weights[place], at.weights[place] + matrices[place] @ velocity, rtol=1e-12)
    ahead = COLUMNS.split(look_ahead(RUN, moved, gradient.inputs["whitening"]))
    for place, matrix in enumerate(matrices):
        expected = moved.weights[place] + DESCENT.momentum * matrix @ moved.velocity[place]
        np.testing.assert_allclose(ahead[place], expected, rtol=1e-12)


def test_replaying_the_same_documents_gives_the_same_bits():
    again = [published(release, spec, PLAN) for release, spec in zip(RECORD.releases, PLAN.releases, strict=True)]
    one, other = replay(RUN), replay(replace(RUN, releases=tuple(again)))
    assert [w.tobytes() for w in one.weights] == [w.tobytes() for w in other.weights]


def test_more_answers_than_needed_mean_more_noise_in_what_is_published():
    five = RECORD.releases[0].model_copy(update={"boroughs": RECORD.releases[0].boroughs[:5]})
    assert published(five, PLAN.releases[0], PLAN).sigma < RUN.moment.sigma


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_the_exact_product_is_the_correctly_rounded_sum_of_the_products(seed, size):
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(3, size)) * 10.0 ** random.integers(-12, 12, size=(3, size))
    vector = random.normal(size=size)
    expected = [float(sum(Fraction(product) for product in row)) for row in (matrix * vector).tolist()]
    assert exact_product(matrix, vector).tolist() == expected


@given(hnp.arrays(np.float64, (2, 6), elements=st.floats(-1e6, 1e6)), st.permutations(range(6)))
def test_the_exact_product_does_not_depend_on_the_order_of_summation(matrix, order):
    ones = np.ones(6)
    assert exact_product(matrix[:, order], ones).tobytes() == exact_product(matrix, ones).tobytes()


# --- one-sided tampering ----------------------------------------------------------------------------------------


def checked(index: int, **inputs: np.ndarray) -> None:
    request = RECORD.releases[index].request
    arrays = {name: Array.of(values) for name, values in inputs.items()}
    lying = request.model_copy(update={"inputs": dict(request.inputs) | arrays})
    check_inputs(lying, after(index))


@pytest.mark.parametrize("index", range(4))
def test_the_coordinators_own_inputs_are_accepted(index):
    checked(index)


INPUTS = [
    (index, name, place)
    for index in (1, 2, 3)
    for name, array in RECORD.releases[index].request.inputs.items()
    for place in range(array.floats().size)
]


@pytest.mark.parametrize("factor", [1e-3, -1.0, 1e6])
def test_every_single_changed_number_of_every_input_is_refused(factor):
    assert len(INPUTS) == 2 * (25 + 2 + 7) + (7 + 2 + 2)
    for index, name, place in INPUTS:
        values = RECORD.releases[index].request.inputs[name].floats().copy()
        values[place] += factor * max(1.0, np.abs(values).max())
        with pytest.raises(ModelMismatch, match=f"release {index}"):
            checked(index, **{name: values})


def test_weights_that_single_one_person_out_are_refused():
    with pytest.raises(ModelMismatch, match="input weights"):
        checked(1, weights=np.array([-1e6, 0, 0, 1e6, 0, 0, 0]))


def test_last_bits_of_another_machine_are_accepted_and_the_look_ahead_follows_the_bytes_sent():
    inputs = {name: array.floats() for name, array in RECORD.releases[2].request.inputs.items()}
    other = inputs["whitening"] * (1 + 1e-12)
    checked(2, whitening=other, weights=look_ahead(RUN, replay(after(2)), other))


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: {name: array for name, array in inputs.items() if name != "clips"},
        lambda inputs: inputs | {"extra": Array.of(np.zeros(1))},
        lambda inputs: {},
    ],
)
def test_an_input_too_few_or_too_many_is_refused(change):
    request = RECORD.releases[1].request
    lying = request.model_copy(update={"inputs": change(dict(request.inputs))})
    with pytest.raises(ModelMismatch, match="the inputs are not those"):
        check_inputs(lying, after(1))


@pytest.mark.parametrize("name", ["whitening", "clips", "weights"])
def test_an_input_of_another_shape_is_refused(name):
    values = RECORD.releases[1].request.inputs[name].floats()
    for wrong in (values[:-1], np.append(values, 0.0), values[None, :], values[:0]):
        with pytest.raises(ModelMismatch):
            checked(1, **{name: wrong})


def test_a_value_that_is_not_a_number_does_not_slip_through_a_comparison():
    values = RECORD.releases[1].request.inputs["weights"].floats()
    values[0] = np.nan
    with pytest.raises(MalformedDocument, match="not finite"):
        checked(1, weights=values)


def test_inputs_of_an_earlier_release_are_refused_for_a_later_one():
    request = RECORD.releases[2].request.model_copy(update={"inputs": RECORD.releases[1].request.inputs})
    with pytest.raises(ModelMismatch, match="input weights"):
        check_inputs(request, after(2))


def test_the_second_moment_takes_no_inputs():
    assert next_inputs(after(0)) == {}
    with pytest.raises(ModelMismatch):
        checked(0, weights=np.zeros(7))


def test_center_and_spread_are_those_of_the_scores_when_there_is_no_noise():
    plan, columns = EXACT_RECORD.plan, EXACT.columns(EXACT_RECORD.plan)
    at = replay(EXACT_RECORD.run)
    center, spread = score_distribution(EXACT_RECORD.run, list(at.weights))
    matrix, _ = training_rows(EXACT, plan)
    for place, (head, weights) in enumerate(zip(columns.heads, at.weights, strict=True)):
        scores = matrix[:, list(head)] @ weights
        assert center[place] == pytest.approx(scores.mean(), abs=0.02)
        assert spread[place] == pytest.approx(scores.std(), rel=0.03)
