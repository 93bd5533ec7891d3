"""Days of the force, and the two cutoffs between which everything is dated.

Rules this module keeps: days count from the first day of the period; instants are whole seconds since that day's
midnight UTC; the wall clock of the force is London's, so instants move by an hour on the last Sundays of March and
October.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ConfigurationError

FIRST_DAY = np.datetime64("2025-01-01", "D")
FEWEST_MONTHS, MOST_MONTHS = 2, 24
DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600
BANK_HOLIDAYS = np.array(
    [
        "2025-01-01", "2025-04-18", "2025-04-21", "2025-05-05", "2025-05-26", "2025-08-25", "2025-12-25", "2025-12-26",
        "2026-01-01", "2026-04-03", "2026-04-06", "2026-05-04", "2026-05-25", "2026-08-31", "2026-12-25", "2026-12-28",
    ],
    dtype="datetime64[D]",
)  # fmt: skip
"""England and Wales (gov.uk)."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Period:
    """The days on which events happen; findings are extracted until half a period later."""

    months: int

    @classmethod
    def of(cls, months: int) -> Period:
        """Return the period of this many months.

        Raises: ConfigurationError if it is too short for two cutoffs, or longer than the calendar above.
        """
        if not FEWEST_MONTHS <= months <= MOST_MONTHS or months % 2:
            raise ConfigurationError(f"months: {months}; an even number from {FEWEST_MONTHS} to {MOST_MONTHS}")
        return cls(months)

    @property
    def days(self) -> int:
        """Number of days of events."""
        return self.day_of_month(self.months)

    @property
    def training_day(self) -> int:
        """Day of the first cutoff: half-way. Labels are findings from here to the last day."""
        return self.day_of_month(self.months // 2)

    @property
    def extract_day(self) -> int:
        """Day on which the conduct file was extracted: as long after the second cutoff as that is after the first."""
        return self.day_of_month(self.months + self.months // 2)

    def day_of_month(self, months: int) -> int:
        """Return the number of the day that begins this many months after the first day."""
        month = FIRST_DAY.astype("datetime64[M]") + np.timedelta64(months, "M")
        return int((month.astype("datetime64[D]") - FIRST_DAY).astype(int))

    def dates(self) -> NDArray[np.datetime64]:
        """Return the date of every day of events."""
        return FIRST_DAY + np.arange(self.days).astype("timedelta64[D]")

    def weekdays(self) -> IntArray:
        """Return the weekday of every day, Monday 0."""
        # Day 0 of numpy's calendar, 1 January 1970, was a Thursday.
        return (self.dates().astype(np.int64) + 3) % 7

    def working_days(self) -> NDArray[np.bool_]:
        """Say of every day whether an office works on it."""
        working: NDArray[np.bool_] = (self.weekdays() < 5) & ~np.isin(self.dates(), BANK_HOLIDAYS)
        return working


def date_of_day(day: int) -> date:
    """Return the date of a day."""
    found: date = (FIRST_DAY + np.timedelta64(day, "D")).item()
    return found


def summer_seconds(days: IntArray) -> IntArray:
    """Return by how much London's clock is ahead of UTC at noon of these days."""
    dates = FIRST_DAY + days.astype("timedelta64[D]")
    years = dates.astype("datetime64[Y]")
    starts = _last_sunday(years, 3)
    ends = _last_sunday(years, 10)
    return np.where((dates >= starts) & (dates < ends), HOUR_SECONDS, 0).astype(np.int64)


def _last_sunday(years: NDArray[np.datetime64], month: int) -> NDArray[np.datetime64]:
    last = (years.astype("datetime64[M]") + np.timedelta64(month, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
    after_sunday = (last.astype(np.int64) + 4) % 7
    return last - after_sunday.astype("timedelta64[D]")


def seconds_of(days: IntArray, minutes: IntArray) -> IntArray:
    """Return the instants of these local times of day; minutes past midnight may run over 24 hours."""
    if not len(days):
        return np.zeros(0, dtype=np.int64)
    first = int(days.min())
    ahead = summer_seconds(np.arange(first, int(days.max()) + 1))
    return days * DAY_SECONDS + minutes * 60 - ahead[days - first]
