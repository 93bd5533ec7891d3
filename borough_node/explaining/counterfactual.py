"""What would have to be different for a score to lie below the threshold: the fewest features, moved no further than needed.

Rules this module keeps: a feature moves within its public bounds only, in the direction that lowers the score; the one
that decides who is eligible stays, since without it there is no score. Which of the others a person could change, and
whether they should, the catalogue does not say and nothing here supposes.

Contributions add up, so each feature has one most that it can take off the score. One whose most exceeds the excess over
the threshold suffices alone. If none does, the largest ones together are the fewest: no other set of as many takes off more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from protocol.documents.catalogue import FeatureCatalogue
from protocol.scorecard.model import Scorecard, Weight
from protocol.scorecard.transforms import bounds, inverse


@dataclass(frozen=True, slots=True)
class Change:
    """One feature's part: on the stated side of ``limit``, in the feature's own unit."""

    feature: str
    unit: str
    value: float
    """What it is now."""
    side: Literal["below", "above", "at most", "at least"]
    limit: float


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """Ways to be below the threshold, all else as it is; both empty: there is none, or the score is below already."""

    alone: tuple[Change, ...]
    """Each suffices by itself; smallest share of its public range first."""
    together: tuple[Change, ...]
    """Where none suffices by itself: the fewest that do, all of them changed."""


@dataclass(frozen=True, slots=True)
class _Movable:
    weight: Weight
    value: float
    most: float
    """How much it can take off the score."""
    span: float
    """Public range of the transformed feature."""


def counterfactual(
    card: Scorecard,
    catalogue: FeatureCatalogue,
    values: Mapping[str, float],
    transformed: Mapping[str, float],
    *,
    excess: float,
) -> Counterfactual:
    """Return the ways below the threshold.

    Args:
        values: Raw values of the card's features.
        transformed: The same after the catalogue's transforms.
        excess: Score minus threshold; who is at the threshold is flagged.
    """
    if excess < 0:
        return Counterfactual((), ())
    eligible = catalogue.head(card.category).eligible
    movable = []
    for weight in card.weights:
        low, high = bounds(catalogue.feature(weight.feature).transform)
        now = transformed[weight.feature]
        most = weight.weight * (now - (low if weight.weight > 0 else high))
        if weight.feature != eligible and most > 0:
            movable.append(_Movable(weight, now, most, high - low))
    alone = [one for one in movable if one.most > excess]
    if alone:
        alone.sort(key=lambda one: excess / abs(one.weight.weight) / one.span)
        return Counterfactual(tuple(_partly(one, excess, catalogue, values) for one in alone), ())
    return Counterfactual((), _fewest(movable, excess, catalogue, values))


def _fewest(
    movable: list[_Movable], excess: float, catalogue: FeatureCatalogue, values: Mapping[str, float]
) -> tuple[Change, ...]:
    """Return the largest ones, all but the last moved to their bound, or nothing if all together do not suffice."""
    changes: list[Change] = []
    for one in sorted(movable, key=lambda one: -one.most):
        if one.most > excess:
            return (*changes, _partly(one, excess, catalogue, values))
        changes.append(_wholly(one, catalogue, values))
        excess -= one.most
    return ()


def _partly(one: _Movable, excess: float, catalogue: FeatureCatalogue, values: Mapping[str, float]) -> Change:
    feature = catalogue.feature(one.weight.feature)
    return Change(
        feature=feature.name,
        unit=feature.unit,
        value=values[feature.name],
        side="below" if one.weight.weight > 0 else "above",
        limit=inverse(feature.transform, one.value - excess / one.weight.weight),
    )


def _wholly(one: _Movable, catalogue: FeatureCatalogue, values: Mapping[str, float]) -> Change:
    feature = catalogue.feature(one.weight.feature)
    low, high = bounds(feature.transform)
    is_lowered = one.weight.weight > 0
    return Change(
        feature=feature.name,
        unit=feature.unit,
        value=values[feature.name],
        side="at most" if is_lowered else "at least",
        limit=inverse(feature.transform, low if is_lowered else high),
    )
