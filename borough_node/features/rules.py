"""The indicators as plain thresholds: what a force without labels starts with, and what a model has to beat.

Rules this module keeps: thresholds are round figures for half a year that an investigator would defend, written down
before any detector was measured; they are public, in the sample catalogue beside each head. A rule score orders
people; it is no probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from borough_node.features.extract import INDICATORS
from protocol.scorecard.transforms import Float64Array, apply

START_SHARE = 0.5
"""A start weighs a feature at its threshold with half its points, in log-odds."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """So many points if a feature is at least so much."""

    feature: str
    at_least: float
    points: int


RULES: dict[str, tuple[Threshold, ...]] = {
    "roster_manipulation": (
        Threshold("own_amendment_hours", 10, 2),
        Threshold("own_amendments_gaining", 10, 1),
        Threshold("own_amendments_late", 6, 1),
        Threshold("self_authorised_overtime", 5, 2),
        Threshold("overtime_without_presence", 8, 2),
        Threshold("swaps_gaining_premium", 4, 1),
        Threshold("swap_premium_hours", 24, 1),
        Threshold("reciprocal_authorisations", 6, 1),
    ),
    "false_attendance": (
        Threshold("unbadged_office_claims", 15, 3),
        Threshold("unbadged_office_share", 0.2, 2),
        Threshold("office_shortfall", 0.2, 2),
        Threshold("short_office_days", 15, 1),
        Threshold("unbadged_edge_days", 8, 1),
    ),
    "fraud": (
        Threshold("duplicate_expenses", 3, 3),
        Threshold("expenses_on_leave", 3, 2),
        Threshold("below_limit_expenses", 5, 2),
        Threshold("round_sum_expenses", 8, 1),
        Threshold("expenses_without_receipt", 5, 1),
        Threshold("repeated_expenses", 3, 1),
    ),
    "abuse_of_position": (
        Threshold("repeat_lookups_vulnerable", 5, 3),
        Threshold("vulnerable_lookups_without_case", 5, 2),
        Threshold("off_duty_vulnerable_lookups", 4, 2),
        Threshold("off_duty_lookups_without_case", 3, 1),
        Threshold("complaints_sexual", 1, 2),
        Threshold("reports_sexual", 1, 2),
    ),
    "undeclared_association": (
        Threshold("undeclared_subject_lookups", 5, 2),
        Threshold("undeclared_subject_months", 3, 2),
        Threshold("associates_searched", 1, 2),
        Threshold("searched_before_declared", 1, 2),
        Threshold("late_declarations", 1, 1),
        Threshold("complaints_association", 1, 2),
        Threshold("reports_association", 1, 2),
    ),
}
"""Thresholds by category."""


def rule_scores(category: str, features: Mapping[str, Float64Array]) -> Float64Array:
    """Return each person's points in a category, with a fraction below 1 that orders equal points.

    Args:
        features: Raw values, as `borough_node.features.extract` gives them; one array each, of one length.
    Returns: Same length; the fraction is how far all thresholds together are met, each counted once at most.
    """
    rules = RULES[category]
    points = sum(rule.points * (features[rule.feature] >= rule.at_least) for rule in rules)
    met = sum(rule.points * np.minimum(features[rule.feature] / rule.at_least, 1.0) for rule in rules)
    total = sum(rule.points for rule in rules)
    return np.asarray(points + met / (total + 1.0), dtype=np.float64)


def start_weights(category: str) -> dict[str, float]:
    """Return the rules as public starting weights of a head, in units of its transformed features."""
    weights = {}
    for rule in RULES[category]:
        at_threshold = float(apply(INDICATORS[rule.feature].transform, np.array([float(rule.at_least)]))[0])
        weights[rule.feature] = round(START_SHARE * rule.points / at_threshold, 4)
    return weights
