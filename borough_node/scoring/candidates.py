"""Who would be flagged: local scores, exact reasons, the policy's threshold and cap. Nothing here is stored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from borough_node.records import Cohort
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.flags import Band, FlagPolicy
from protocol.history.public import PlanRecord
from protocol.ids import Name
from protocol.scorecard.columns import Columns
from protocol.scorecard.model import contributions, reason_codes
from protocol.scorecard.stability import BANDS, band, stability

SCORE_BANDS: tuple[tuple[float, Band], ...] = ((1.0, "high"), (0.5, "medium"), (-math.inf, "low"))
"""How far above the threshold, in sds of the force's scores."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One person above the threshold of one category."""

    person: str
    category: Name
    score_band: Band
    stability_band: Band
    reasons: tuple[Name, ...]


def candidates(
    policy: FlagPolicy, record: PlanRecord, catalogue: FeatureCatalogue, columns: Columns, cohort: Cohort
) -> Iterator[Candidate]:
    """Yield the people that the policy lets this borough flag, highest score first within a category.

    Below ``min_population`` eligible staff, bands and reasons are withheld: among few people they would single out. So
    is the stability of a category whose predictions are too far off; where the policy demands a band, less stable flags
    are not raised.
    """
    model, plan, run = record.model(), record.plan, record.run
    evaluation = run.only("evaluation")
    features = {name: cohort.rows[:, place] for place, name in enumerate(columns.names)}
    for rule in policy.rules:
        place = plan.categories.index(rule.category)
        eligible = np.ones(cohort.rows.shape[0], dtype=bool)
        if (rule_column := columns.eligible[place]) is not None:
            eligible = cohort.rows[:, rule_column] >= 1.0
        card = model.scorecard(rule.category)
        scores, parts = contributions(card, features)
        above = np.nonzero(eligible & (scores >= rule.threshold))[0]
        chosen = above[np.argsort(-scores[above], kind="stable")]
        steady = np.full(chosen.size, np.nan)
        if rule.shows_stability:
            rows = cohort.rows[chosen][:, list(columns.heads[place])]
            steady = stability(run, rule.category).probability(rows, scores[chosen])
        if rule.minimum_band is not None:
            stable = steady >= next(low for low, name in BANDS if name == rule.minimum_band)
            chosen, steady = chosen[stable], steady[stable]
        withheld = int(eligible.sum()) < policy.min_population
        spread = float(evaluation.inputs["spread"][place])
        for row, chance in list(zip(chosen.tolist(), steady.tolist(), strict=True))[: rule.cap_per_borough]:
            yield Candidate(
                person=str(cohort.persons[row]),
                category=rule.category,
                score_band="withheld" if withheld else band((scores[row] - rule.threshold) / spread, SCORE_BANDS),
                stability_band="withheld" if withheld or not rule.shows_stability else band(chance),
                reasons=() if withheld else reason_codes(card, parts[row], most=policy.max_reasons),
            )
