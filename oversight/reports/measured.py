"""Parts of the card that rest on figures of their own: stability."""

from __future__ import annotations

import math
from dataclasses import asdict

from oversight.reports.card import (
    Estimate,
    HeadStabilityCard,
    ReliabilityCard,
    StabilityCard,
)
from protocol.documents.flags import LARGEST_STABILITY_ERROR
from protocol.history.public import PlanRecord
from protocol.scorecard.intervals import Interval
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
