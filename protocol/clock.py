"""Time comes from a ``Clock``, so that validity is a value and tests need not wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Something that tells the time."""

    def now(self) -> datetime:
        """Return the present instant, UTC, whole seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present instant, UTC, whole seconds."""
        return datetime.now(UTC).replace(microsecond=0)


class FixedClock:
    """A clock that moves only when told to; for tests and for replaying a log."""

    def __init__(self, instant: datetime) -> None:
        self._instant = instant

    def now(self) -> datetime:
        """Return the set instant."""
        return self._instant

    def advance(self, step: timedelta) -> None:
        """Move the clock forward by ``step``."""
        self._instant += step
