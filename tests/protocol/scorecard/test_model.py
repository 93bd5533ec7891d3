"""The scorecard: contributions add up to the score, reasons are those that raised it, the digest follows from sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import StateError
from protocol.scorecard.model import (
    Model,
    Scorecard,
    Weight,
    baseline,
    column_means,
    contributions,
    model_of,
    reason_codes,
)
from protocol.scorecard.run import published
from tests.federation import Federation

FORCE = Federation()
FORCE.begin()
RECORD = FORCE.run(FORCE.plan())
PLAN = RECORD.plan
MODEL = RECORD.model()

numbers = st.floats(-10, 10)
cards = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=10).flatmap(
    lambda pairs: st.builds(
        lambda intercept: Scorecard(
            category="attendance",
            intercept=intercept,
            weights=tuple(Weight(feature=f"f{i}", weight=w, mean=m) for i, (w, m) in enumerate(pairs)),
        ),
        numbers,
    )
)


@given(cards, st.integers(0, 2**32 - 1))
def test_contributions_and_baseline_add_up_to_the_score(card, seed):
    random = np.random.default_rng(seed)
    features = {weight.feature: random.uniform(-6, 6, size=5) for weight in card.weights}
    scores, parts = contributions(card, features)
    weighted = sum(weight.weight * features[weight.feature] for weight in card.weights)
    scale = 1 + sum(abs(weight.weight) * 16 for weight in card.weights)
    np.testing.assert_allclose(scores, card.intercept + weighted, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(baseline(card) + parts.sum(axis=1), scores, rtol=0, atol=1e-12 * scale)


@given(cards)
def test_the_force_mean_scores_the_baseline_with_no_contributions(card):
    scores, parts = contributions(card, {weight.feature: np.array([weight.mean]) for weight in card.weights})
    assert scores[0] == baseline(card)
    assert not parts.any()


def test_the_score_of_a_model_is_the_linear_form_of_its_weights():
    weights = FORCE.columns(PLAN).split(RECORD.run.only("evaluation").inputs["weights"])
    rows = FORCE.rows("borough-1", PLAN, PLAN.releases[0]).matrix
    columns = FORCE.columns(PLAN)
    features = {name: rows[:, place] for place, name in enumerate(columns.names)}
    for category, head, values in zip(PLAN.categories, columns.heads, weights, strict=True):
        scores, _ = contributions(MODEL.scorecard(category), features)
        np.testing.assert_allclose(scores, rows[:, list(head)] @ values, rtol=0, atol=1e-12)


CARD = Scorecard(
    category="attendance",
    intercept=0.0,
    weights=tuple(Weight(feature=name, weight=1.0, mean=0.0) for name in ("one", "two", "three", "four")),
)


@pytest.mark.parametrize(
    ("parts", "most", "reasons"),
    [
        ([0.1, 0.5, 0.3, 0.2], 3, ("two", "three", "four")),
        ([0.1, 0.5, -0.3, 0.0], 3, ("two", "one")),
        ([-0.1, -0.5, -0.3, -0.2], 3, ()),
        ([0.2, 0.2, 0.2, 0.2], 2, ("one", "two")),
        ([0.1, 0.5, 0.3, 0.2], 0, ()),
        ([0.1, 0.5, 0.3, 0.2], 8, ("two", "three", "four", "one")),
    ],
)
def test_reasons_are_what_raised_the_score_most_first(parts, most, reasons):
    assert reason_codes(CARD, np.array(parts), most=most) == reasons


def test_a_model_exists_once_the_evaluation_that_names_its_weights_is_published():
    for known in range(4):
        with pytest.raises(StateError, match="evaluation is not published"):
            model_of(replace(RECORD.run, releases=RECORD.run.releases[:known]))
    assert model_of(RECORD.run) == MODEL


def test_the_same_sums_give_the_same_digest_and_other_sums_another():
    read = [published(release, spec, PLAN) for release, spec in zip(RECORD.releases, PLAN.releases, strict=True)]
    again = model_of(replace(RECORD.run, releases=tuple(read)))
    assert again.digest() == MODEL.digest()
    assert Model.decode(MODEL.encode()) == MODEL
    other = Federation(seed=1)
    other.begin()
    assert other.run(other.plan()).model().digest() != MODEL.digest()


def test_means_come_from_the_noised_second_moment():
    means = column_means(FORCE.columns(PLAN), RECORD.run.moment)
    assert means[0] == 1.0
    card = MODEL.scorecard("attendance")
    assert [weight.mean for weight in card.weights] == [means[1], means[3]]
