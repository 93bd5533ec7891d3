"""Integer cutoffs are half-years: consecutive, without gap or overlap."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from borough_node.sources.contract.cutoffs import cutoff_on_or_before, date_of, window_start


def test_twice_the_year_is_january_and_one_more_is_july():
    assert date_of(4051) == date(2025, 7, 1)
    assert date_of(4052) == date(2026, 1, 1)
    assert window_start(4052) == date(2025, 7, 1)


@given(st.integers(2 * 1990, 2 * 2100))
def test_a_window_ends_where_the_next_begins(cutoff: int):
    assert window_start(cutoff + 1) == date_of(cutoff)
    assert cutoff_on_or_before(date_of(cutoff)) == cutoff
    assert cutoff_on_or_before(date_of(cutoff) - timedelta(days=1)) == cutoff - 1
