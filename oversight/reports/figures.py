"""The card's charts: from parts of the card to ``charts``, with the words that stand for each picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup

from oversight.reports.card import (
    Estimate,
    FeatureDriftCard,
    GroupCard,
    HeadCard,
    ReliabilityCard,
    ShareCard,
    WeightCard,
)
from oversight.reports.charts import (
    Axis,
    Point,
    axis_row,
    bar_row,
    dot_chart,
    interval_row,
    line_chart,
    pair_row,
    share_row,
    stacked_bar,
)
from oversight.reports.formats import decimal, percent, short, signed, words

FEWEST_POINTS: Final = 2

AUC: Final = Axis("AUC", 0.5, 1.0, ((0.5, "0.5"), (0.75, "0.75"), (1.0, "1")))
"""From a coin to a perfect order."""


RATIO: Final = Axis("Ratio", 0.0, 1.0, ((0.0, "0"), (0.5, "0.5"), (1.0, "1")))
SHIFT: Final = 0.25
"""A population stability index above it is usually taken for a shift."""
DRIFT: Final = Axis("Index", 0.0, 0.5, ((0.0, "0"), (0.25, "0.25"), (0.5, "0.5")))
CHANCE: Final = Axis("Chance", 0.0, 1.0, ((0.0, "0%"), (0.5, "50%"), (1.0, "100%")))


def auc_axis() -> Markup:
    """Return the axis over the column of AUC rows."""
    return axis_row("Axis from 0.5, a coin, to 1, a perfect order", AUC)


def auc_row(head: HeadCard) -> Markup:
    """Return a head's area under the curve with its interval."""
    auc = head.auc
    return interval_row(f"{head.title}: AUC {words(auc, decimal)}", AUC, auc.value, auc.low, upper(auc), reference=0.5)


def roc_chart(key: str, head: HeadCard) -> Markup | None:
    """Return recall against the false-positive rate; None if the noise leaves fewer than two points of it."""
    points = _curve((point.false_positive_rate, point.recall) for point in head.curve)
    if len(points) < FEWEST_POINTS:
        return None
    return line_chart(
        key,
        title=f"{head.title}: who is found, against who is flagged by mistake",
        description=f"ROC curve from {_range(points)}. The area under it is {words(head.auc, decimal)}. "
        "The dashed diagonal is a coin.",
        x=shares("Share of people without misconduct who would be flagged"),
        y=shares("Share of people with misconduct who would be found"),
        points=points,
        reference=((0.0, 0.0), (1.0, 1.0)),
    )


def precision_chart(key: str, head: HeadCard) -> Markup | None:
    """Return precision against recall; None if the noise leaves fewer than two points of it."""
    points = _curve((point.recall, point.precision) for point in head.curve)
    if len(points) < FEWEST_POINTS:
        return None
    return line_chart(
        key,
        title=f"{head.title}: how many flags are right, against who is found",
        description=f"Precision against recall, from {_range(points)}. The average precision is "
        f"{words(head.average_precision, decimal)}.",
        x=shares("Share of people with misconduct who would be found"),
        y=shares("Share of flags that would be right"),
        points=points,
        reference=(),
    )


def calibration_chart(key: str, head: HeadCard) -> Markup | None:
    """Return the observed rate by score with what the scores say; None if the noise leaves fewer than two rates."""
    bins = [one for one in head.calibration if one.observed.value is not None]
    if len(bins) < FEWEST_POINTS:
        return None
    middles = {one: (one.low + one.high) / 2 for one in bins}
    highest = max(max(upper(one.observed), one.predicted) for one in bins)
    return dot_chart(
        key,
        title=f"{head.title}: recorded misconduct by score",
        description="; ".join(
            f"score {decimal(one.low)} to {decimal(one.high)}: {words(one.observed, percent)}" for one in bins
        ),
        x=span("Score", bins[0].low, bins[-1].high),
        y=Axis("Share with recorded misconduct", 0.0, *_rate_ticks(highest)),
        points=[Point(middles[one], one.observed.value or 0.0, one.observed.low, upper(one.observed)) for one in bins],
        line=[(middles[one], one.recalibrated) for one in bins if one.recalibrated is not None],
        reference=[(middles[one], one.predicted) for one in bins],
        upright=(head.threshold, "threshold"),
    )


def shares(title: str) -> Axis:
    """Return an axis of shares, from none to all."""
    return Axis(title, 0.0, 1.0, tuple((tenth / 100, f"{tenth}%") for tenth in (0, 25, 50, 75, 100)))


def span(title: str, low: float, high: float) -> Axis:
    """Return an axis over a range, labelled at both ends and in the middle."""
    middle = (low + high) / 2
    return Axis(title, low, high, tuple((value, short(value)) for value in (low, middle, high)))


def upper(estimate: Estimate) -> float:
    """Return the upper end of an estimate of a share."""
    return 1.0 if estimate.high is None else estimate.high


def _curve(pairs: Iterable[tuple[Estimate, Estimate]]) -> list[Point]:
    """Return the points of a curve along which x falls as the score rises.

    Of two points that noise put in the wrong order the second is not drawn: a line that runs to and fro says nothing.
    All of them stand in the table.
    """
    points: list[Point] = []
    for x, y in pairs:
        if x.value is not None and y.value is not None and (not points or x.value < points[-1].x):
            points.append(Point(x.value, y.value, y.low, upper(y)))
    return points


def _rate_ticks(highest: float) -> tuple[float, tuple[tuple[float, str], ...]]:
    """Return the end of an axis that holds a rate, and labels at its quarters."""
    end = next(one for one in (0.02, 0.04, 0.1, 0.2, 0.4, 1.0) if one >= min(highest, 1.0))
    return end, tuple((end * part / 4, f"{100 * end * part / 4:g}%") for part in range(5))


def _range(points: Sequence[Point]) -> str:
    first, last = points[0], points[-1]
    return f"{percent(first.x)} across and {percent(first.y)} up to {percent(last.x)} across and {percent(last.y)} up"


def weight_row(weight: WeightCard, weights: Sequence[WeightCard]) -> Markup:
    """Return a weight's bar among those of its scorecard."""
    effect = "raises" if weight.weight > 0 else "lowers" if weight.weight < 0 else "does not change"
    largest = max(abs(one.weight) for one in weights)
    return bar_row(
        f"{weight.feature} {effect} the score, weight {signed(weight.weight)}", weight.weight, largest=largest
    )


def people_row(borough: str, people: int, *, largest: int) -> Markup:
    """Return a borough's share of the largest one's people."""
    return share_row(f"{borough}: {people:,} people", people, largest=largest)


def chance_axis() -> Markup:
    """Return the axis over the column of stability rows."""
    return axis_row("Axis from 0 to 100 per cent", CHANCE)


def stability_row(title: str, row: ReliabilityCard) -> Markup:
    """Return predicted and seen stability of a band."""
    return pair_row(
        f"{title}, {row.band}: predicted {percent(row.predicted)}, seen {percent(row.seen)}",
        CHANCE,
        row.predicted,
        row.seen,
    )


def ratio_row(title: str, ratio: Estimate, *, minimum: float) -> Markup:
    """Return the ratio of selection rates with the gate's minimum."""
    name = f"{title}: lowest over highest selection rate {words(ratio, decimal)}"
    return interval_row(name, RATIO, ratio.value, ratio.low, upper(ratio), reference=minimum)


def ratio_axis() -> Markup:
    """Return the axis over the column of ratios."""
    return axis_row("Axis from 0 to 1, which is equal", RATIO)


def group_axis(groups: Sequence[GroupCard]) -> Axis:
    """Return an axis that holds the selection rates of all groups."""
    rates = [upper(group.selection_rate) for group in groups if group.selection_rate is not None]
    end, ticks = _rate_ticks(max(rates, default=1.0))
    return Axis("Selection rate", 0.0, end, (ticks[0], ticks[2], ticks[4]))


def rate_row(title: str, rate: Estimate, axis: Axis) -> Markup:
    """Return a group's selection rate."""
    return interval_row(
        f"{title}: flagged {words(rate, percent)}", axis, rate.value, rate.low, upper(rate), reference=0.0
    )


def drift_axis() -> Markup:
    """Return the axis over the column of stability indices."""
    return axis_row("Axis from 0, no change, to 0.5", DRIFT)


def drift_row(one: FeatureDriftCard) -> Markup:
    """Return a feature's population stability index; the line marks what is usually taken for a shift."""
    high = DRIFT.high if one.index.high is None else one.index.high
    title = f"{one.feature}: index {words(one.index, decimal)}"
    return interval_row(title, DRIFT, one.index.value, one.index.low, high, reference=SHIFT)


def labels(axis: Axis) -> Markup:
    """Return an axis of its own as the head of a column."""
    return axis_row(f"Axis from {axis.ticks[0][1]} to {axis.ticks[-1][1]}", axis)


def budget_bar(shares: Sequence[ShareCard]) -> Markup:
    """Return how the plan's mu**2 is divided."""
    parts = "; ".join(f"{share.title}: {percent(share.share)}" for share in shares)
    return stacked_bar(f"How the privacy budget is divided. {parts}", [share.share for share in shares])
