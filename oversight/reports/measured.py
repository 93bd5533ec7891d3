"""Parts of the card that a plan may have or not: stability, fairness, drift, outcomes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict

from oversight.reports.card import (
    AttributeCard,
    DriftCard,
    Estimate,
    FairnessCard,
    FeatureDriftCard,
    GateCard,
    GroupCard,
    HeadStabilityCard,
    MitigationCard,
    ObservedCard,
    OutcomeCard,
    OutcomesCard,
    ReliabilityCard,
    StabilityCard,
)
from protocol.documents.flags import LARGEST_STABILITY_ERROR
from protocol.history.public import PlanRecord, PublicRecord
from protocol.scorecard.drift import drift
from protocol.scorecard.fairness import GroupFairness, fairness_figures
from protocol.scorecard.gates import gate_verdicts
from protocol.scorecard.intervals import Interval
from protocol.scorecard.outcomes import outcome_figures
from protocol.scorecard.reliability import reliability


def estimate(interval: Interval) -> Estimate:
    """Return an interval as the card holds it: JSON has no infinity."""
    high = None if math.isinf(interval.high) else interval.high
    return Estimate(value=interval.value, low=interval.low, high=high)


def stability_card(record: PlanRecord) -> StabilityCard:
    """Return the reliability of every head's bands of stability."""
    return StabilityCard(
        largest_error=LARGEST_STABILITY_ERROR,
        heads=tuple(
            HeadStabilityCard(
                category=one.category,
                error=one.error,
                shown=one.shown,
                rows=tuple(ReliabilityCard(**asdict(row)) for row in one.rows),
            )
            for one in reliability(record.run)
        ),
    )


def fairness_card(record: PlanRecord) -> FairnessCard | None:
    """Return the figures by protected group; None if the plan measured none."""
    fairness = record.plan.fairness
    if fairness is None:
        return None
    verdicts = gate_verdicts(record.run)
    rules = {gate.attribute: gate for gate in fairness.gates}
    gates = {
        (verdict.category, verdict.attribute): GateCard(
            minimum=verdict.minimum,
            when_hidden=rules[verdict.attribute].when_hidden,
            outcome=verdict.outcome,
            needs_waiver=verdict.needs_waiver,
        )
        for verdict in verdicts
    }
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    return FairnessCard(
        min_cell=fairness.min_cell,
        mitigations=tuple(
            MitigationCard(
                attribute=one.attribute, title=record.catalogue.attribute(one.attribute).title, strength=one.strength
            )
            for one in fairness.mitigations
        ),
        passed=outcomes["passed"],
        missed=outcomes["missed"],
        hidden=outcomes["hidden"],
        attributes=tuple(
            AttributeCard(
                category=one.category,
                attribute=one.attribute,
                title=record.catalogue.attribute(one.attribute).title,
                ratio=_shown(one.ratio),
                gate=gates.get((one.category, one.attribute)),
                groups=tuple(_group(group) for group in one.groups),
            )
            for one in fairness_figures(record.run)
        ),
    )


def _group(group: GroupFairness) -> GroupCard:
    return GroupCard(
        group=group.group,
        selection_rate=_shown(group.selection_rate),
        true_positive_rate=_shown(group.true_positive_rate),
        false_positive_rate=_shown(group.false_positive_rate),
        observed=tuple(ObservedCard(low=one.low, high=one.high, rate=_shown(one.rate)) for one in group.observed),
    )


def _shown(interval: Interval | None) -> Estimate | None:
    return None if interval is None else estimate(interval)


def drift_card(public: PublicRecord, record: PlanRecord) -> DriftCard | None:
    """Return how far the features moved since the latest comparable plan; None if the plan measured no drift."""
    found = drift(record.run, public.before(record))
    if found is None:
        return None
    return DriftCard(
        against=found.against,
        features=tuple(
            FeatureDriftCard(
                feature=one.feature,
                definition=record.catalogue.feature(one.feature).definition,
                index=estimate(one.index),
            )
            for one in found.features
        ),
    )


def outcomes_card(record: PlanRecord) -> OutcomesCard | None:
    """Return what human review found; None if the plan counted no outcomes."""
    if record.plan.outcomes_of is None:
        return None
    return OutcomesCard(
        policy=record.plan.outcomes_of,
        heads=tuple(
            OutcomeCard(
                category=one.category,
                precision=estimate(one.precision),
                missed_rate=estimate(one.missed_rate),
                flags_reviewed=one.flags_reviewed,
                controls_reviewed=one.controls_reviewed,
            )
            for one in outcome_figures(record.run)
        ),
    )
