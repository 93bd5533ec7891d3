"""What the evaluation release says: accuracy with intervals that include the noise, and thresholds for a capacity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from protocol.documents.plan import TrainingPlan
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.descent import Published

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class HeadEvaluation:
    """One head's noised histogram of the standardised score, by label."""

    category: str
    edges: Float64Array
    """Inner bin edges in score units, shape (bins - 1,); the outer bins are open."""
    negatives: Float64Array
    positives: Float64Array
    sigma: float
    """sd of the noise in each cell, in people."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval, sampling and noise included; no estimate where noise hides it."""

    value: float | None
    low: float
    high: float


def evaluate(plan: TrainingPlan, release: Published) -> tuple[HeadEvaluation, ...]:
    """Return the histograms of an evaluation release, one a head in plan order."""
    bins = plan.histogram.bins
    cells = release.values.reshape(len(plan.categories), 2, bins)
    return tuple(
        HeadEvaluation(
            category=category,
            edges=bin_edges(plan, float(release.inputs["center"][place]), float(release.inputs["spread"][place])),
            negatives=cells[place, 0],
            positives=cells[place, 1],
            sigma=release.sigma,
        )
        for place, category in enumerate(plan.categories)
    )


def bin_edges(plan: TrainingPlan, center: float, spread: float) -> Float64Array:
    """Return the inner edges: equal steps of the standardised score between the plan's low and high."""
    return center + spread * np.linspace(plan.histogram.low, plan.histogram.high, plan.histogram.bins - 1)


def area_under_curve(head: HeadEvaluation) -> Interval:
    """Return the area under the ROC curve; the whole range if the noise hides the positives.

    Interval: delta method over the cells' noise plus Hanley & McNeil (1982) sampling variance.
    """
    positives, negatives = head.positives, head.negatives
    p, n = float(positives.sum()), float(negatives.sum())
    if p <= 2 * head.sigma * math.sqrt(positives.size) or n <= 0:
        return Interval(None, 0.0, 1.0)
    below = np.cumsum(negatives) - negatives / 2
    above = np.cumsum(positives[::-1])[::-1] - positives / 2
    area = float(positives @ below) / (p * n)
    by_positive = (below / n - area) / p
    by_negative = (above / p - area) / n
    noise = head.sigma**2 * float(by_positive @ by_positive + by_negative @ by_negative)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    sampling = max(0.0, (area * (1 - area) + (p - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (p * n))
    half = Z95 * math.sqrt(noise + sampling)
    return Interval(min(1.0, area), max(0.0, area - half), min(1.0, area + half))


def threshold_for(head: HeadEvaluation, *, capacity: int) -> float:
    """Return the score above which about ``capacity`` people of the evaluation cohort lie.

    Counts are first made non-increasing away from the mode (isotonic regression), because noise in the sparse tail
    otherwise decides. Within a bin the count is spread evenly. Depends on noised values only.
    """
    counts = head.negatives + head.positives
    mode = int(np.argmax(counts))
    smooth = counts.copy()
    smooth[mode:] = isotonic_regression(counts[mode:], increasing=False).x
    smooth = np.maximum(smooth, 0.0)
    tail = np.cumsum(smooth[::-1])[::-1]
    width = float(head.edges[1] - head.edges[0])
    lower = np.concatenate([[head.edges[0] - width], head.edges])
    inside = np.nonzero(tail >= capacity)[0]
    if not inside.size:
        return float(lower[0])
    place = int(inside[-1])
    share = (tail[place] - capacity) / smooth[place] if smooth[place] > 0 else 0.0
    return float(lower[place] + width * min(1.0, share))
