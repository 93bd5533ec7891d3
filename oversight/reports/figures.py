"""The card's charts: from parts of the card to ``charts``, with the words that stand for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from oversight.reports.card import HeadCard, ShareCard, WeightCard
from oversight.reports.charts import Axis, axis_row, bar_row, interval_row, share_row, stacked_bar
from oversight.reports.formats import decimal, percent, signed, words

AUC: Final = Axis("AUC", 0.5, 1.0, ((0.5, "0.5"), (0.75, "0.75"), (1.0, "1")))
"""From a coin to a perfect order."""


def auc_axis() -> Markup:
    """Return the axis over the column of AUC rows."""
    return axis_row("Axis from 0.5, a coin, to 1, a perfect order", AUC)


def auc_row(head: HeadCard) -> Markup:
    """Return a head's area under the curve with its interval."""
    auc = head.auc
    high = 1.0 if auc.high is None else auc.high
    return interval_row(f"{head.title}: AUC {words(auc, decimal)}", AUC, auc.value, auc.low, high, reference=0.5)


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


def budget_bar(shares: Sequence[ShareCard]) -> Markup:
    """Return how the plan's mu**2 is divided."""
    parts = "; ".join(f"{share.title}: {percent(share.share)}" for share in shares)
    return stacked_bar(f"How the privacy budget is divided. {parts}", [share.share for share in shares])
