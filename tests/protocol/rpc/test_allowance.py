"""Each caller's own allowance: used up by nobody else, filled again by time."""

import pytest

from protocol.errors import TooManyCalls
from protocol.rpc.allowance import Allowance
from tests.federation import party

READ, OPEN = "/custodes.rpc.v1.Log/Read", "/custodes.rpc.v1.Register/Open"


@pytest.fixture(scope="module")
def parties():
    return party("borough-1", "borough"), party("borough-2", "borough")


@pytest.fixture
def seconds():
    return [1000.0]


@pytest.fixture
def allowance(seconds):
    return Allowance(per_minute=60, at_once=2, now=lambda: seconds[0])


def call(allowance, party, method, times=1):
    """Call and end each call; return how many were let in."""
    admitted = 0
    for _ in range(times):
        try:
            with allowance.call(party, method):
                admitted += 1
        except TooManyCalls:
            pass
    return admitted


def test_a_minutes_calls_may_come_at_once_and_then_one_a_second(parties, allowance, seconds):
    assert call(allowance, parties[0], READ, times=70) == 60
    seconds[0] += 3.0
    assert call(allowance, parties[0], READ, times=10) == 3
    seconds[0] += 3600.0
    assert call(allowance, parties[0], READ, times=70) == 60


def test_what_one_caller_uses_up_is_nobody_elses_and_no_other_methods(parties, allowance):
    call(allowance, parties[0], READ, times=70)
    assert call(allowance, parties[1], READ) == 1
    assert call(allowance, parties[0], OPEN) == 1


def test_calls_that_run_count_over_all_methods_until_they_end(parties, allowance):
    with allowance.call(parties[0], READ):
        with allowance.call(parties[0], OPEN):
            assert call(allowance, parties[0], READ) == 0
            assert call(allowance, parties[1], READ) == 1
        assert call(allowance, parties[0], READ) == 1


def test_a_call_that_fails_is_over(parties, allowance):
    class Failed(Exception):
        """What a handler raises."""

    def fail():
        with allowance.call(parties[0], READ):
            raise Failed

    for _ in range(5):
        with pytest.raises(Failed):
            fail()
    assert call(allowance, parties[0], READ) == 1
