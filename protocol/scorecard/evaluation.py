"""What the evaluation release says: accuracy with intervals that include the noise, and thresholds for a capacity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from protocol.documents.plan import TrainingPlan
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.run import Run

Z95 = 1.959963984540054
MODEL_ERROR = 0.3
"""How far the smooth tail may be off, as a share of its value: a judgement; docs/measurements.md has what it leads to."""


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


def evaluate(run: Run) -> tuple[HeadEvaluation, ...]:
    """Return the histograms of the evaluation release, one a head in plan order. Raises: StateError if it is missing."""
    plan, release = run.plan, run.only("evaluation")
    cells = release.values.reshape(run.columns.shape("evaluation"))
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


def thresholds(run: Run) -> dict[str, float]:
    """Return the threshold of each category that the evaluation release and the plan's capacities imply."""
    capacities = {capacity.category: capacity.flags for capacity in run.plan.capacities}
    return {head.category: threshold_for(head, capacity=capacities[head.category]) for head in evaluate(run)}


def fairness_edges(run: Run) -> Float64Array:
    """Return the inner edges of the fairness release's score bins, shape (heads, bins - 1).

    Equal steps up to the threshold, which is the last: from one sd of the score below the mean, or below the threshold
    if that is lower.
    """
    release, bins = run.only("evaluation"), run.columns.fairness_bins
    centers, spreads = release.inputs["center"], release.inputs["spread"]
    rows = []
    for threshold, center, spread in zip(thresholds(run).values(), centers.tolist(), spreads.tolist(), strict=True):
        step = (threshold - min(center, threshold) + spread) / max(bins - 2, 1)
        rows.append(threshold - step * np.arange(bins - 2, -1, -1.0))
    return np.array(rows)


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

    Depends on noised values only. Within a bin the count is spread evenly.
    """
    tail = smoothed_tail(head)
    width = float(head.edges[1] - head.edges[0])
    lower = np.concatenate([[head.edges[0] - width], head.edges])
    inside = np.nonzero(tail >= capacity)[0]
    if not inside.size:
        return float(lower[0])
    place = int(inside[-1])
    above = tail[place + 1] if place + 1 < tail.size else 0.0
    share = (tail[place] - capacity) / (tail[place] - above) if tail[place] > above else 0.0
    return float(lower[place] + width * share)


def smoothed_tail(head: HeadEvaluation) -> Float64Array:
    """Return how many people lie in each bin or above it: the noised count, shrunk towards a smooth tail.

    In the sparse tail the sum of the noised cells says little: 60 people against an sd of 90 for a rare category at
    epsilon 1. A cubic of the log count, fitted from the mode upwards where counts are large, says more but may be off
    by ``MODEL_ERROR`` of its value. The two are weighed by inverse variance; without noise the count alone remains.
    """
    counts = head.negatives + head.positives
    mode = int(np.argmax(counts))
    fitted = np.concatenate([np.maximum(counts[:mode], 0.0), _log_cubic(counts[mode:], head.sigma)])
    by_count = np.cumsum(counts[::-1])[::-1]
    by_fit = np.cumsum(fitted[::-1])[::-1]
    count_variance = 2 * head.sigma**2 * np.arange(counts.size, 0, -1)
    fit_variance = (MODEL_ERROR * by_fit) ** 2 + 1e-9
    weight = fit_variance / (fit_variance + count_variance)
    # A count of people above a score cannot grow with the score.
    return np.minimum.accumulate(weight * by_count + (1 - weight) * by_fit)


def _log_cubic(counts: Float64Array, sigma: float) -> Float64Array:
    place = np.arange(counts.size) / counts.size
    spread = np.sqrt(2 * sigma**2 + np.maximum(counts, 1.0))

    def curve(coefficients: Float64Array) -> Float64Array:
        return np.asarray(np.exp(np.clip(np.polyval(coefficients, place), -30.0, 30.0)))

    start = np.array([0.0, 0.0, -6.0, math.log(max(float(counts[0]), 1.0))])
    # Converged to the last digits, so that everybody who recomputes a threshold finds the same one.
    found = least_squares(lambda c: (curve(c) - counts) / spread, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    return curve(found.x)
