"""The scorecard's table says what the model does: its points are what one more unit adds to a score."""

import math

import numpy as np
import pytest

from protocol.documents.catalogue import Bounded, Count, FeatureCatalogue, Head, Scaled
from protocol.scorecard.model import Model, Scorecard, Weight, contributions
from protocol.scorecard.table import scorecard_tables
from protocol.scorecard.transforms import apply, bounds
from tests.world import feature

TRANSFORMS = {
    "entries": Count(kind="count", cap=3.0),
    "hours": Scaled(kind="scaled", center=100.0, scale=50.0, limit=3.0),
    "senior": Bounded(kind="bounded", low=0.0, high=1.0),
}
CATALOGUE = FeatureCatalogue(
    catalogue_id="made-up",
    version=1,
    features=tuple(
        feature(name).model_copy(update={"transform": transform, "direction": direction})
        for (name, transform), direction in zip(TRANSFORMS.items(), (1, -1, 0), strict=True)
    ),
    heads=(
        Head(
            category="first",
            title="First",
            label="y_first",
            features=tuple(TRANSFORMS),
            prior=0.1,
            eligible=None,
            start={},
        ),
    ),
    protected=(),
)
CARD = Scorecard(
    category="first",
    intercept=-2.0,
    weights=(
        Weight(feature="entries", weight=0.7, mean=1.1),
        Weight(feature="hours", weight=-1.5, mean=0.25),
        Weight(feature="senior", weight=0.2, mean=1.04),
    ),
)
MODEL = Model(plan="1" * 64, catalogue=CATALOGUE.digest(), scorecards=(CARD,))
(TABLE,) = scorecard_tables(MODEL, CATALOGUE)
ROWS = {row.feature: row for row in TABLE.rows}


def score(**values):
    raw = {"entries": 2.0, "hours": 110.0, "senior": 0.0} | values
    features = {name: apply(TRANSFORMS[name], np.array([value])) for name, value in raw.items()}
    return float(contributions(CARD, features)[0][0])


def points(before, after):
    """What a change of the score is worth where 20 points double the odds."""
    return (after - before) / math.log(2) * 20


def test_rows_are_ordered_by_the_size_of_their_weight():
    assert [row.feature for row in TABLE.rows] == ["hours", "entries", "senior"]


def test_points_are_what_one_more_unit_adds():
    assert ROWS["hours"].points_per_unit == pytest.approx(points(score(hours=110.0), score(hours=111.0)))
    assert ROWS["senior"].points_per_unit == pytest.approx(points(score(senior=0.2), score(senior=1.2)) / 0.8)
    assert {ROWS["hours"].points_are_for, ROWS["senior"].points_are_for} == {"one more"}


def test_points_of_a_count_are_what_each_doubling_adds():
    row = ROWS["entries"]
    assert row.points_are_for == "a doubling of 1 + value"
    for before, after in ((0.0, 1.0), (1.0, 3.0), (3.0, 7.0)):
        assert row.points_per_unit == pytest.approx(points(score(entries=before), score(entries=after)))


def test_beyond_the_stated_bounds_nothing_changes_and_within_them_something_does():
    for name, row in ROWS.items():
        assert score(**{name: row.counts_until}) == pytest.approx(score(**{name: row.counts_until + 1000}))
        assert score(**{name: row.counts_until}) != pytest.approx(score(**{name: row.counts_until - 0.01}), abs=1e-9)
        if name != "entries":
            assert score(**{name: row.counts_from}) == pytest.approx(score(**{name: row.counts_from - 1000}))


def test_mean_score_is_that_of_the_stated_mean_values():
    within = {weight.feature: min(weight.mean, bounds(TRANSFORMS[weight.feature])[1]) for weight in CARD.weights}
    shift = sum(weight.weight * (weight.mean - within[weight.feature]) for weight in CARD.weights)
    assert TABLE.mean_score == pytest.approx(score(**{name: row.mean_value for name, row in ROWS.items()}) + shift)
    # Noise carried this mean beyond every value.
    assert (ROWS["senior"].mean, ROWS["senior"].mean_value) == (1.04, 1.0)


def test_words_are_the_catalogues():
    for name, row in ROWS.items():
        described = CATALOGUE.feature(name)
        assert (row.definition, row.unit, row.reason) == (described.definition, described.unit, described.reason)
    assert [ROWS[name].direction for name in TRANSFORMS] == [
        "more can only raise the score",
        "more can only lower the score",
        "either",
    ]
