from __future__ import annotations

import pytest

from benchmarks.goals import find, goals, per_borough, ratio
from tests.benchmarks.rows import ours, theirs


def verdicts(rows: list[dict[str, object]]) -> dict[str, tuple[str, bool]]:
    return {goal.text: (goal.measured, goal.met) for goal in goals(rows)}


def test_nothing_measured_is_no_goal_met():
    assert goals([]) == []
    assert ratio([], "client_cpu_s", 32, 10_000) is None
    assert find([], "custodes", 32, 10_000) is None


@pytest.mark.parametrize(
    ("dimension", "wanted", "server", "met"),
    [(10_000, 50, 50.0, True), (10_000, 50, 49.9, False), (1_000_000, 10, 10.0, True), (1_000_000, 10, 9.9, False)],
)
def test_the_servers_goal_depends_on_the_dimension(dimension, wanted, server, met):
    found = verdicts([ours(32, dimension, 1.0, 1.0), theirs(32, dimension, 5.0, server)])
    text = f"servers' CPU at 32 clients, d = {dimension:,}: at least {wanted} times less"
    assert found[text] == (f"{server:.1f} times less", met)


def test_the_clients_goal_holds_at_every_dimension_that_was_measured():
    found = verdicts(
        [ours(32, 10_000, 1.0, 1.0), theirs(32, 10_000, 5.0, 1.0), ours(32, 9, 1.0, 1.0), theirs(32, 9, 4.9, 1.0)]
    )
    assert found["client's CPU at 32 clients, d = 10,000: at least 5 times less"][1]
    assert not found["client's CPU at 32 clients, d = 9: at least 5 times less"][1]


def test_every_round_of_ours_must_take_one_exchange_and_long_keys():
    found = verdicts([ours(4, 9, 1.0, 1.0), ours(8, 9, 1.0, 1.0, exchanges=2, mask_bits=128), theirs(8, 9, 1.0, 1.0)])
    assert found == {"one exchange a round": ("2", False), "256-bit masks": ("128 bits", False)}


def test_cost_a_borough_is_that_of_the_client_and_a_share_of_the_servers():
    rows = [ours(64, 10_000, 2.0, 64.0), ours(16, 10_000, 1.0, 1.0), ours(32, 10_000, 3.0, 64.0), ours(32, 9, 1.0, 1.0)]
    assert per_borough(rows, 10_000) == {32: (3.0, 2.0), 64: (2.0, 1.0)}


@pytest.mark.parametrize(("factor", "met"), [(1.19, True), (1.21, False), (0.81, True), (0.79, False)])
def test_flat_is_within_a_fifth(factor, met):
    found = verdicts([ours(32, 10_000, 1.0, 32.0), ours(1024, 10_000, factor, 1024.0)])
    assert found["client's CPU a borough within 20% of that at 32, up to 1,024 boroughs"][1] is met
    assert found["servers' CPU a borough within 20% of that at 32, up to 1,024 boroughs"][1]
