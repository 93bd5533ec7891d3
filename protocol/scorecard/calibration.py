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

from protocol.scorecard.capacity import smoothed_counts
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.evaluation import CLEAR, HeadEvaluation, corners, middles
from protocol.scorecard.intervals import Interval, share

STEPS = 100
TOLD = 4.0
"""A fit stands when what the bins say of its level is this many sd away from nothing; below, it is mostly noise."""


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The best ``sigmoid(intercept + slope * score)``; a calibrated model has intercept 0 and slope 1.

    A curve to be held against the observed rates, which have intervals; it has none of its own, because those that were
    tried covered too rarely in simulation.
    """

    intercept: float
    slope: float

    def rate(self, scores: Float64Array) -> Float64Array:
        """Return the recalibrated probability of scores."""
        return np.asarray(expit(self.intercept + self.slope * scores))


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
    ends, scores, fitted = corners(head), middles(head), recalibration(head)
    people, counts = smoothed_counts(head) + 1e-9, head.negatives + head.positives
    found, start = [], 0
    for stop in _groups(counts, head.sigma):
        cells = slice(start, stop)
        weights = people[cells] / people[cells].sum()
        noise = head.sigma**2 * (stop - start)
        found.append(
            CalibrationBin(
                low=float(ends[start]),
                high=float(ends[stop]),
                people=float(counts[cells].sum()),
                predicted=float(expit(scores[cells]) @ weights),
                recalibrated=None if fitted is None else float(fitted.rate(scores[cells]) @ weights),
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
    """Return the two-parameter fit of the noised histogram; None if the noise hides the positives or the fit.

    Generalised least squares of ``positives (1 - rate) - negatives rate``, which is 0 on average at the right rate, with
    the variance that noise and sampling give it: a bin that is mostly noise weighs little.
    """
    scores, people = middles(head), smoothed_counts(head)
    total, everybody = max(float(head.positives.sum()), head.sigma * math.sqrt(scores.size), 1.0), float(people.sum())
    if total >= everybody:
        return None
    center = float(scores @ people / everybody)
    design = np.stack([np.ones_like(scores), scores - center])
    found = np.array([math.log(total / (everybody - total)), 1.0])
    for _ in range(STEPS):
        rate = expit(found @ design)
        slopes = design * people * rate * (1 - rate)
        variance = head.sigma**2 * ((1 - rate) ** 2 + rate**2) + people * rate * (1 - rate) + 1e-9
        information = slopes / variance @ slopes.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(information, slopes / variance @ (head.positives * (1 - rate) - head.negatives * rate))
        found = found + step / max(1.0, 2 * float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            told = information[0, 0] >= TOLD**2
            return Recalibration(float(found[0] - found[1] * center), float(found[1])) if told else None
    return None


def _groups(counts: Float64Array, sigma: float) -> list[int]:
    """Return where groups of bins end, each with a count that is told from its noise; the last takes what is left."""
    ends, start = [], 0
    for stop in range(1, counts.size + 1):
        if counts[start:stop].sum() > CLEAR * sigma * math.sqrt(2 * (stop - start)):
            ends.append(stop)
            start = stop
    return [*ends[:-1], counts.size]
