"""Ways below the threshold: each suffices, none moves further than needed or out of its bounds, no smaller set suffices."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from borough_node.explaining.counterfactual import counterfactual
from protocol.documents.catalogue import Bounded, Count, FeatureCatalogue, Head, Scaled
from protocol.scorecard.model import Scorecard, Weight, contributions
from protocol.scorecard.transforms import apply, bounds
from tests.world import feature

TRANSFORMS = {
    "entries": Count(kind="count", cap=3.0),
    "searches": Count(kind="count", cap=4.0),
    "hours": Scaled(kind="scaled", center=100.0, scale=50.0, limit=3.0),
    "days": Scaled(kind="scaled", center=-2.0, scale=0.5, limit=2.0),
    "share": Bounded(kind="bounded", low=-1.0, high=2.0),
    "senior": Bounded(kind="bounded", low=0.0, high=1.0),
}
CATALOGUE = FeatureCatalogue(
    catalogue_id="made-up",
    version=1,
    features=tuple(feature(name).model_copy(update={"transform": one}) for name, one in TRANSFORMS.items()),
    heads=(
        Head(
            category="first",
            title="First",
            label="y_first",
            features=tuple(TRANSFORMS),
            prior=0.1,
            eligible="senior",
            start={},
        ),
    ),
    protected=(),
)
MOVABLE = tuple(name for name in TRANSFORMS if name != "senior")

weights = st.one_of(st.just(0.0), st.floats(0.01, 3.0), st.floats(-3.0, -0.01))
raw_values = st.fixed_dictionaries(
    {
        "entries": st.floats(0, 60),
        "searches": st.floats(0, 60),
        "hours": st.floats(-200, 500),
        "days": st.floats(-5, 5),
        "share": st.floats(-2, 3),
        "senior": st.just(1.0),
    }
)
people = st.tuples(st.fixed_dictionaries(dict.fromkeys(TRANSFORMS, weights)), raw_values, st.floats(0, 12))


def card_of(by_name):
    return Scorecard(
        category="first",
        intercept=0.0,
        weights=tuple(Weight(feature=name, weight=weight, mean=0.0) for name, weight in by_name.items()),
    )


def score(card, values):
    features = {name: apply(TRANSFORMS[name], np.array([value])) for name, value in values.items()}
    return float(contributions(card, features)[0][0])


def ways(card, values, excess):
    transformed = {name: float(apply(TRANSFORMS[name], np.array([value]))[0]) for name, value in values.items()}
    return counterfactual(card, CATALOGUE, values, transformed, excess=excess)


def most(by_name, values, name):
    """How much one feature can take off the score, by trying both of its bounds."""
    now = float(apply(TRANSFORMS[name], np.array([values[name]]))[0])
    return max(by_name[name] * (now - bound) for bound in bounds(TRANSFORMS[name]))


def moved(change, by):
    """The raw value at which the change is made, ``by`` beyond its limit in transformed units, and no bound crossed."""
    transform = TRANSFORMS[change.feature]
    low, high = bounds(transform)
    limit = float(apply(transform, np.array([change.limit]))[0])
    value = np.clip(limit + (by if change.side in ("above", "at least") else -by), low, high)
    return {
        "count": lambda: np.expm1(value),
        "scaled": lambda: transform.center + transform.scale * value,
        "bounded": lambda: value,
    }[transform.kind]()


@given(people)
def test_each_single_change_suffices_and_a_little_less_does_not(person):
    by_name, values, excess = person
    card = card_of(by_name)
    threshold = score(card, values) - excess
    for change in ways(card, values, excess).alone:
        assert change.value == values[change.feature]
        beyond = values | {change.feature: moved(change, 1e-6)}
        short = values | {change.feature: moved(change, -1e-6)}
        slack = 1e-9
        assert score(card, beyond) < threshold + slack
        assert score(card, short) > threshold - slack


@given(people)
def test_every_feature_that_suffices_alone_is_listed_and_no_other(person):
    by_name, values, excess = person
    found = {change.feature for change in ways(card_of(by_name), values, excess).alone}
    for name in MOVABLE:
        if abs(most(by_name, values, name) - excess) > 1e-9:
            assert (name in found) == (most(by_name, values, name) > excess)
    assert "senior" not in found


@given(people)
def test_set_is_offered_only_where_no_single_feature_suffices_and_none_smaller_suffices(person):
    by_name, values, excess = person
    found = ways(card_of(by_name), values, excess)
    assert not (found.alone and found.together)
    takes = {name: most(by_name, values, name) for name in MOVABLE}
    sizes = [
        size
        for size in range(1, len(MOVABLE) + 1)
        if any(sum(takes[name] for name in chosen) > excess + 1e-9 for chosen in combinations(MOVABLE, size))
    ]
    fewest = min(sizes, default=None)
    if found.alone:
        assert fewest in (1, None)
    elif found.together:
        assert len(found.together) <= (fewest or len(MOVABLE))
        assert not any(
            sum(takes[name] for name in chosen) > excess + 1e-9
            for chosen in combinations(MOVABLE, len(found.together) - 1)
        )
    else:
        assert fewest is None


@given(people)
def test_set_suffices_and_none_of_its_changes_can_be_smaller(person):
    by_name, values, excess = person
    card, found = card_of(by_name), ways(card_of(by_name), values, excess).together
    threshold = score(card, values) - excess
    if not found:
        return
    assert [change.side in ("at most", "at least") for change in found] == [True] * (len(found) - 1) + [False]
    beyond = values | {change.feature: moved(change, 1e-6) for change in found}
    assert score(card, beyond) < threshold + 1e-9
    for change in found:
        assert score(card, beyond | {change.feature: moved(change, -1e-4)}) > threshold - 1e-4 * 3


@given(people)
def test_nothing_leaves_its_public_bounds_and_every_move_lowers_the_score(person):
    by_name, values, excess = person
    found = ways(card_of(by_name), values, excess)
    for change in (*found.alone, *found.together):
        low, high = bounds(TRANSFORMS[change.feature])
        limit = float(apply(TRANSFORMS[change.feature], np.array([change.limit]))[0])
        assert low - 1e-9 <= limit <= high + 1e-9
        assert (change.side in ("below", "at most")) == (by_name[change.feature] > 0)


def test_change_is_told_in_the_features_own_unit():
    """Seven entries at weight 1: 0.5 over the threshold, so that log1p has to fall by a half."""
    card = card_of({"entries": 1.0})
    (change,) = ways(card, {"entries": 7.0, "senior": 1.0}, 0.5).alone
    assert (change.side, change.value) == ("below", 7.0)
    assert change.limit == pytest.approx(8 * np.exp(-0.5) - 1)


def test_easiest_change_comes_first():
    card = card_of({"hours": 0.5, "share": 3.0})
    found = ways(card, {"hours": 250.0, "share": 2.0, "senior": 1.0}, 1.0).alone
    assert [change.feature for change in found] == ["share", "hours"]


def test_who_stands_at_the_threshold_needs_to_move():
    (change,) = ways(card_of({"share": 1.0}), {"share": 1.0, "senior": 1.0}, 0.0).alone
    assert (change.side, change.limit) == ("below", 1.0)


def test_below_the_threshold_there_is_nothing_to_change():
    found = ways(card_of({"share": 1.0}), {"share": 1.0, "senior": 1.0}, -0.1)
    assert (found.alone, found.together) == ((), ())


def test_eligibility_is_no_way_out():
    found = ways(card_of({"senior": 5.0}), {"senior": 1.0}, 1.0)
    assert (found.alone, found.together) == ((), ())
