from __future__ import annotations

from datetime import UTC, datetime, timedelta

from protocol.clock import FixedClock, SystemClock

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def test_a_fixed_clock_stands_still_until_it_is_moved():
    clock = FixedClock(NOON)
    assert (clock.now(), clock.now()) == (NOON, NOON)
    clock.advance(timedelta(days=366))
    assert clock.now() == NOON + timedelta(days=366)


def test_the_system_clock_tells_utc_in_whole_seconds():
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert now.microsecond == 0
