"""The threshold that a capacity implies, and how many people really lie above it."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import least_squares

from protocol.scorecard.columns import Float64Array
from protocol.scorecard.evaluation import HeadEvaluation, evaluate
from protocol.scorecard.intervals import Z95, Interval
from protocol.scorecard.run import Run

MODEL_ERROR = 0.3
"""How far the smooth tail may be off, as a share of its value: a judgement; docs/measurements.md has what it leads to."""


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


def threshold_for(head: HeadEvaluation, *, capacity: int) -> float:
    """Return the score above which about ``capacity`` people of the evaluation cohort lie.

    Depends on noised values only. Within a bin the count is spread evenly.
    """
    return threshold_of(head, smoothed_tail(head), capacity=capacity)


def threshold_of(head: HeadEvaluation, tail: Float64Array, *, capacity: int) -> float:
    """Return the same from the smoothed tail, if it is at hand."""
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


def smoothed_counts(head: HeadEvaluation) -> Float64Array:
    """Return how many people lie in each bin by the smoothed tail, none below 0."""
    return np.maximum(-np.diff(np.append(smoothed_tail(head), 0.0)), 0.0)


def _log_cubic(counts: Float64Array, sigma: float) -> Float64Array:
    place = np.arange(counts.size) / counts.size
    spread = np.sqrt(2 * sigma**2 + np.maximum(counts, 1.0))

    def curve(coefficients: Float64Array) -> Float64Array:
        return np.asarray(np.exp(np.clip(np.polyval(coefficients, place), -30.0, 30.0)))

    def slopes(coefficients: Float64Array) -> Float64Array:
        inside = np.abs(np.polyval(coefficients, place)) < 30.0
        return np.asarray((inside * curve(coefficients) / spread)[:, None] * np.vander(place, 4))

    start = np.array([0.0, 0.0, -6.0, math.log(max(float(counts[0]), 1.0))])
    # Converged to the last digits, so that everybody who recomputes a threshold finds the same one.
    found = least_squares(lambda c: (curve(c) - counts) / spread, start, jac=slopes, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    return curve(found.x)


def people_above(head: HeadEvaluation, threshold: float) -> Interval:
    """Return how many of as many people as the evaluation cohort has lie above a score.

    The value is the smoothed tail, so at the threshold of a capacity it is about the capacity. The interval is that of
    the noised count alone, which no smooth curve can lead astray; it is wide where the capacity is small.
    """
    width = float(head.edges[1] - head.edges[0])
    place = int(np.searchsorted(head.edges, threshold, side="right"))
    lower = float(head.edges[0]) - width if place == 0 else float(head.edges[place - 1])
    above = min(max(1 - (threshold - lower) / width, 0.0), 1.0)
    tail = np.append(smoothed_tail(head), 0.0)
    value = float(tail[place + 1] + above * (tail[place] - tail[place + 1]))
    counts = head.negatives + head.positives
    counted = float(counts[place + 1 :].sum() + above * counts[place])
    noise = 2 * head.sigma**2 * (counts.size - place - 1 + above**2)
    # Within the bin people are spread evenly; a density that falls puts fewer above the threshold than that.
    before = tail[max(place - 1, 0)] - tail[place]
    after = tail[place + 1] - tail[min(place + 2, counts.size)]
    uneven = above * (1 - above) * abs(before - after) / 4
    half = Z95 * math.sqrt(noise + max(counted, value, 1.0)) + uneven
    return Interval(value, max(min(counted - half, value), 0.0), max(counted + half, value))
