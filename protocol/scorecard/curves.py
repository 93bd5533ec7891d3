"""How well the scores order people: the ROC curve and its area, precision against recall and its average.

Every interval takes in the sampling of the cohort and the realised noise of the release; those of a curve hold point by
point, not for the curve as a whole. Formulas: docs/spec/training.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from protocol.scorecard.calibration import recalibration
from protocol.scorecard.capacity import smoothed_counts
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.evaluation import CLEAR, HeadEvaluation, middles
from protocol.scorecard.intervals import Interval, ratio, share

NOT_KNOWN = Interval(None, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What flagging everybody at or above a score would give: a point of both curves."""

    score: float
    false_positive_rate: Interval
    recall: Interval
    """The true-positive rate."""
    precision: Interval


def curve(head: HeadEvaluation) -> tuple[CurvePoint, ...]:
    """Return a point for each inner edge, from the lowest score to the highest."""
    positives, negatives, variance, bins = head.positives, head.negatives, head.sigma**2, head.edges.size + 1
    points = []
    for place, score in enumerate(head.edges.tolist(), start=1):
        hits, misses = float(positives[place:].sum()), float(positives[:place].sum())
        alarms, rest = float(negatives[place:].sum()), float(negatives[:place].sum())
        above, below = variance * (bins - place), variance * place
        points.append(
            CurvePoint(
                score=score,
                false_positive_rate=share(alarms, rest, part_noise=above, rest_noise=below),
                recall=share(hits, misses, part_noise=above, rest_noise=below),
                precision=share(hits, alarms, part_noise=above, rest_noise=above),
            )
        )
    return tuple(points)


def area_under_curve(head: HeadEvaluation) -> Interval:
    """Return the area under the ROC curve; the whole range if the noise hides the positives.

    Interval: Fieller's over the cells' noise plus the sampling variance of Hanley & McNeil (1982), taken at the area
    drawn a little towards 1/2, because at an area of 1 it would be 0.
    """
    positives, negatives = head.positives, head.negatives
    p, n = float(positives.sum()), float(negatives.sum())
    if p <= 2 * head.sigma * math.sqrt(positives.size) or n <= 0:
        return NOT_KNOWN
    below = (np.cumsum(negatives) - negatives / 2) / n
    above = np.cumsum(positives[::-1])[::-1] - positives / 2
    ordered = float(positives @ below)
    by_negative = (above - ordered / n) / n
    area = min(max((ordered + 2) / (p + 4), 0.0), 1.0)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    sampling = p / n * max(0.0, area * (1 - area) + (p - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2))
    return ratio(
        max(ordered, 0.0),
        p,
        var_a=head.sigma**2 * float(below @ below + by_negative @ by_negative) + sampling,
        var_b=head.sigma**2 * positives.size,
        covariance=head.sigma**2 * float(below.sum()),
    ).within(0.0, 1.0)


def average_precision(head: HeadEvaluation) -> Interval:
    """Return the mean precision over the positives, scores of one bin taken as tied.

    The highest bins are taken together until their count is told from the noise. If precision falls with the score, the
    truth lies above that of tied scores by at most their recall times what their precision lacks to 1: the upper end
    takes that in. The whole range if the noise hides everybody, the positives, or how their rate rises with the score.
    """
    fitted, people = recalibration(head), smoothed_counts(head)[::-1]
    p = float(head.positives.sum())
    # The smoothed count decides: where the noised one first comes out high, it is likely to be too high.
    clear = np.nonzero(np.cumsum(people) > CLEAR * head.sigma * np.sqrt(2 * np.arange(1, people.size + 1)))[0]
    if fitted is None or not clear.size or p <= 2 * head.sigma * math.sqrt(people.size):
        return NOT_KNOWN
    tied = int(clear[0])
    expected = people * fitted.rate(middles(head)[::-1])
    positives, negatives, people, expected = (
        np.append(cells[: tied + 1].sum(), cells[tied + 1 :])
        for cells in (head.positives[::-1], head.negatives[::-1], people, expected)
    )
    noise = head.sigma**2 * np.append(tied + 1.0, np.ones(positives.size - 1))
    hits = np.cumsum(positives)
    precision = hits / np.maximum(np.cumsum(positives + negatives), 1.0)
    # How the sum of positives times precision moves with one more positive, and one more negative, in each cell. Taken
    # at the fitted counts: at the noised ones the error would look small just where noise made the figure small.
    above = np.maximum(np.cumsum(people), 1.0)
    likely = np.cumsum(expected) / above
    by_positive = likely + _from_here(expected * (1 - likely) / above)
    by_negative = -_from_here(expected * likely / above)
    spread = noise + expected
    # A cell's noise counts in its own precision too, so their product is too large by the noise's variance on average.
    ordered = float(positives @ precision - (noise / above).sum())
    found = ratio(
        max(ordered, 0.0),
        p,
        var_a=float(spread @ by_positive**2 + (noise + people - expected) @ by_negative**2),
        var_b=float(spread.sum()),
        covariance=float(spread @ by_positive),
    )
    room = max(float(hits[0]), 0.0) / p * (1 - min(max(float(precision[0]), 0.0), 1.0))
    return Interval(found.value, found.low, found.high + room).within(0.0, 1.0)


def _from_here(values: Float64Array) -> Float64Array:
    """Return the sum of each entry and those after it."""
    return np.asarray(np.cumsum(values[::-1])[::-1])
