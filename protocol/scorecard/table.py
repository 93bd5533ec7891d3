"""The scorecard as a table: what each head weighs, in the catalogue's own words, from the public log alone.

A score is in log-odds. **Points** say the same in the unit of credit scorecards: 20 points double the odds, so that
``points = score * 20 / ln 2``. Points for one unit are stated where a unit counts, between the feature's public bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocol.documents.catalogue import Count, Feature, FeatureCatalogue, Scaled
from protocol.scorecard.model import Model, Scorecard, Weight, baseline
from protocol.scorecard.transforms import bounds, inverse

POINTS_TO_DOUBLE_THE_ODDS = 20
POINTS = POINTS_TO_DOUBLE_THE_ODDS / math.log(2)
"""Points in one unit of the score."""
DIRECTIONS = {1: "more can only raise the score", 0: "either", -1: "more can only lower the score"}


@dataclass(frozen=True, slots=True)
class TableRow:
    """One feature of one head."""

    feature: str
    definition: str
    unit: str
    weight: float
    """Score per unit of the transformed feature."""
    points_per_unit: float
    points_are_for: str
    """One more of the unit, or, where a logarithm is taken, a doubling of ``1 + value``."""
    counts_from: float
    counts_until: float
    """Public bounds of what counts, in the feature's unit; beyond them nothing changes."""
    mean: float
    """The force's noised mean of the transformed feature."""
    mean_value: float
    """The value whose transform that mean is, in the feature's unit."""
    direction: str
    """What the catalogue allows the weight to say."""
    reason: str


@dataclass(frozen=True, slots=True)
class ScorecardTable:
    """One head, largest weights first."""

    category: str
    title: str
    intercept: float
    mean_score: float
    """The score of somebody whose every feature is the force's mean: what contributions are relative to."""
    rows: tuple[TableRow, ...]


def scorecard_tables(model: Model, catalogue: FeatureCatalogue) -> tuple[ScorecardTable, ...]:
    """Return every head of a model as a table; ``catalogue`` is the one that the model names."""
    return tuple(_table(card, catalogue) for card in model.scorecards)


def _table(card: Scorecard, catalogue: FeatureCatalogue) -> ScorecardTable:
    return ScorecardTable(
        category=card.category,
        title=catalogue.head(card.category).title,
        intercept=card.intercept,
        mean_score=baseline(card),
        rows=tuple(
            _row(weight, catalogue.feature(weight.feature))
            for weight in sorted(card.weights, key=lambda entry: -abs(entry.weight))
        ),
    )


def _row(weight: Weight, feature: Feature) -> TableRow:
    transform = feature.transform
    low, high = bounds(transform)
    step, step_name = 1.0, "one more"
    if isinstance(transform, Scaled):
        step = 1 / transform.scale
    elif isinstance(transform, Count):
        step, step_name = math.log(2), "a doubling of 1 + value"
    return TableRow(
        feature=feature.name,
        definition=feature.definition,
        unit=feature.unit,
        weight=weight.weight,
        points_per_unit=weight.weight * step * POINTS,
        points_are_for=step_name,
        counts_from=inverse(transform, low),
        counts_until=inverse(transform, high),
        mean=weight.mean,
        # Noise can carry a mean beyond the bounds, where no value has it.
        mean_value=inverse(transform, min(max(weight.mean, low), high)),
        direction=DIRECTIONS[feature.direction],
        reason=feature.reason,
    )
