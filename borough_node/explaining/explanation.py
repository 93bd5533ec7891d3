"""Why one person has the score they have: exact contributions, reasons, bands, and what would be below the threshold.

Pure: a policy, a finished plan and one row in, an explanation out. Nothing here is stored or sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from borough_node.explaining.counterfactual import Counterfactual, counterfactual
from borough_node.scoring.candidates import SCORE_BANDS
from protocol.documents.flags import Band, FlagPolicy
from protocol.history.public import PlanRecord
from protocol.ids import Digest, Name
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.model import baseline, contributions, reason_codes
from protocol.scorecard.stability import band, stability
from protocol.scorecard.table import scorecard_tables


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds to the score, relative to the force's noised mean."""

    feature: Name
    definition: str
    unit: str
    value: float
    mean_value: float
    """The force's noised mean, in the feature's unit."""
    contribution: float


@dataclass(frozen=True, slots=True)
class ReasonCode:
    """A feature that raised the score, and the catalogue's words for it."""

    feature: Name
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One person under one category of a policy; names nobody."""

    category: Name
    title: str
    policy: Digest
    cutoff: int
    is_eligible: bool
    """Only the eligible can be flagged."""
    mean_score: float
    """The score of the force's mean: with all contributions it adds up to the score."""
    score: float
    threshold: float
    score_band: Band
    """As a header would state it in a borough with enough people; below the threshold it is low."""
    stability_band: Band
    """How likely a rerun of the same plan would find the score above the threshold; withheld where predictions
    are too far off."""
    contributions: tuple[Contribution, ...]
    """Largest first, whichever way it goes."""
    reasons: tuple[ReasonCode, ...]
    """As many as the policy lets a header carry."""
    counterfactual: Counterfactual


def explain(
    policy: FlagPolicy, record: PlanRecord, category: Name, row: Float64Array, values: Mapping[str, float]
) -> Explanation:
    """Return the explanation of one row.

    Args:
        category: Of one of the policy's rules.
        row: One person's row of the plan's design matrix, shape (width,).
        values: The same person's raw features.
    """
    rule = next(one for one in policy.rules if one.category == category)
    columns, model, catalogue = record.run.columns, record.model(), record.catalogue
    place, card = record.plan.categories.index(category), model.scorecard(category)
    transformed = dict(zip(columns.names, row.tolist(), strict=True))
    scores, parts = contributions(card, {name: np.array([value]) for name, value in transformed.items()})
    score, own = float(scores[0]), parts[0]
    table = next(table for table in scorecard_tables(model, catalogue) if table.category == category)
    described = {line.feature: line for line in table.rows}
    steady: Band = "withheld"
    if rule.shows_stability:
        own_row = row[None, list(columns.heads[place])]
        steady = band(float(stability(record.run, category).probability(own_row, scores)[0]))
    spread = float(record.run.only("evaluation").inputs["spread"][place])
    eligible = columns.eligible[place]
    return Explanation(
        category=category,
        title=table.title,
        policy=policy.digest(),
        cutoff=policy.scoring_cutoff,
        is_eligible=eligible is None or bool(row[eligible] >= 1.0),
        mean_score=baseline(card),
        score=score,
        threshold=rule.threshold,
        score_band=band((score - rule.threshold) / spread, SCORE_BANDS),
        stability_band=steady,
        contributions=tuple(
            Contribution(
                feature=weight.feature,
                definition=described[weight.feature].definition,
                unit=described[weight.feature].unit,
                value=values[weight.feature],
                mean_value=described[weight.feature].mean_value,
                contribution=part,
            )
            for weight, part in sorted(zip(card.weights, own.tolist(), strict=True), key=lambda pair: -abs(pair[1]))
        ),
        reasons=tuple(
            ReasonCode(name, catalogue.feature(name).reason)
            for name in reason_codes(card, own, most=policy.max_reasons)
        ),
        counterfactual=counterfactual(card, catalogue, values, transformed, excess=score - rule.threshold),
    )
