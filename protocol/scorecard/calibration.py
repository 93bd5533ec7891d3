"""Whether the scores mean what they say: the observed rate in each bin against the probability of the score.

Two probabilities stand beside the observed rate. The model's own is ``sigmoid(score)``; it is lower than the rate where
the catalogue's starting prior is, on purpose, because only the order of scores raises flags. The recalibrated one is
``sigmoid(intercept + slope * score)``, fitted to the noised histogram: post-processing, which costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from protocol.scorecard.capacity import smoothed_tail
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.curves import CLEAR
from protocol.scorecard.evaluation import HeadEvaluation
from protocol.scorecard.intervals import Interval, mean, share

STEPS = 100


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The best ``sigmoid(intercept + slope * score)``; a calibrated model has intercept 0 and slope 1."""

    intercept: Interval
    slope: Interval


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Neighbouring score bins, taken together until their count is told from the noise."""

    low: float
    """Scores from here, the end of an open bin a bin's width away; ``high`` excluded."""
    high: float
    people: float
    """Noised count."""
    predicted: float
    """Mean of sigmoid(score)."""
    recalibrated: float | None
    """Mean of the recalibrated probability; None if the noise leaves nothing to fit."""
    observed: Interval
    """Share with the label."""


def calibration(head: HeadEvaluation) -> tuple[CalibrationBin, ...]:
    """Return the observed rate by score, from the lowest scores to the highest; bins decided on noised counts only."""
    corners, middles, people = _bins(head)
    fitted = recalibration(head)
    predicted, counts = expit(middles), head.negatives + head.positives
    found, start = [], 0
    for stop in _groups(counts, head.sigma):
        cells = slice(start, stop)
        weights = people[cells] + 1e-9
        noise = head.sigma**2 * (stop - start)
        found.append(
            CalibrationBin(
                low=float(corners[start]),
                high=float(corners[stop]),
                people=float(counts[cells].sum()),
                predicted=float(predicted[cells] @ weights / weights.sum()),
                recalibrated=None if fitted is None else _mean_probability(fitted, middles[cells], weights),
                observed=share(
                    float(head.positives[cells].sum()),
                    float(head.negatives[cells].sum()),
                    part_noise=noise,
                    rest_noise=noise,
                ),
            )
        )
        start = stop
    return tuple(found)


def recalibration(head: HeadEvaluation) -> Recalibration | None:
    """Return the two-parameter fit of the noised histogram; None if the noise hides the positives.

    Solves ``sum (positives - people sigmoid(a + b s)) (1, s) = 0`` over the bins. The positives enter as noised, so the
    equations are right on average; the people enter smoothed, so that the equations have one solution.
    """
    _, scores, people = _bins(head)
    total = float(head.positives.sum())
    if not 2 * head.sigma * math.sqrt(scores.size) < total < people.sum():
        return None
    design = np.stack([np.ones_like(scores), scores])
    center = float(scores @ people / people.sum())
    coefficients = np.array([math.log(total / (people.sum() - total)), 0.0])
    for _ in range(STEPS):
        rate = expit(coefficients @ np.stack([design[0], scores - center]))
        curvature = people * rate * (1 - rate)
        shifted = np.stack([design[0], scores - center])
        step = np.linalg.solve(
            shifted * curvature @ shifted.T + 1e-9 * np.eye(2), shifted @ (head.positives - people * rate)
        )
        coefficients = coefficients + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    else:
        return None
    coefficients[0] -= coefficients[1] * center
    rate = expit(coefficients @ design)
    inverse = np.linalg.inv(design * (people * rate * (1 - rate)) @ design.T)
    # Noise of a cell: 1 - rate a positive, -rate a negative. Sampling: the binomial variance.
    meat = head.sigma**2 * ((1 - rate) ** 2 + rate**2) + people * rate * (1 - rate)
    covariance = inverse @ (design * meat @ design.T) @ inverse
    intercept, slope = (
        mean(float(value), variance=float(variance))
        for value, variance in zip(coefficients, np.diag(covariance), strict=True)
    )
    return Recalibration(intercept, slope)


def _bins(head: HeadEvaluation) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return corners (bins + 1,), middles (bins,) and smoothed counts (bins,); open bins are as wide as the others."""
    width = head.edges[1] - head.edges[0]
    corners = np.concatenate([[head.edges[0] - width], head.edges, [head.edges[-1] + width]])
    return corners, (corners[1:] + corners[:-1]) / 2, np.maximum(-np.diff(np.append(smoothed_tail(head), 0.0)), 0.0)


def _groups(counts: Float64Array, sigma: float) -> list[int]:
    """Return where groups of bins end, each with a count that is told from its noise; the last takes what is left."""
    ends, start = [], 0
    for stop in range(1, counts.size + 1):
        if counts[start:stop].sum() > CLEAR * sigma * math.sqrt(2 * (stop - start)):
            ends.append(stop)
            start = stop
    return [*ends[:-1], counts.size]


def _mean_probability(fitted: Recalibration, scores: Float64Array, weights: Float64Array) -> float | None:
    intercept, slope = fitted.intercept.value, fitted.slope.value
    if intercept is None or slope is None:
        return None
    return float(expit(intercept + slope * scores) @ weights / weights.sum())
