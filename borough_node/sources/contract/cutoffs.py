"""Which date a plan's integer cutoff is, and what its window and its labels are.

Rules this module keeps: consecutive integers are consecutive cutoffs, because a plan counts a person's rows by them;
windows of consecutive cutoffs do not overlap and leave no gap.
"""

from __future__ import annotations

from datetime import date

WINDOW_MONTHS = 6
"""Months before a cutoff that features of events look at."""

LABELS = {
    "y_roster_manipulation": "roster_manipulation",
    "y_false_attendance": "false_attendance",
    "y_fraud": "fraud",
    "y_abuse_of_position": "abuse_of_position",
    "y_undeclared_association": "undeclared_association",
}
"""Label column to category of `conduct_findings`: 1 if a finding of any level, whenever found, is about conduct within
the window of the cutoff. Findings made before the window are a feature; those about the window never are. What a plan
trains on is less: only findings that were known at its evaluation cutoff."""


def date_of(cutoff: int) -> date:
    """Return the day at whose start (UTC) a cutoff lies: twice the year is 1 January, one more is 1 July."""
    year, half = divmod(cutoff, 2)
    return date(year, 1 + WINDOW_MONTHS * half, 1)


def cutoff_on_or_before(day: date) -> int:
    """Return the last cutoff that is not after a day."""
    return 2 * day.year + (day.month > WINDOW_MONTHS)


def known_from(day: date) -> int:
    """Return the first cutoff at which what happened on a day was known: the first that is after it."""
    return cutoff_on_or_before(day) + 1


def window_start(cutoff: int) -> date:
    """Return the first day of the window that ends at a cutoff."""
    return date_of(cutoff - 1)
