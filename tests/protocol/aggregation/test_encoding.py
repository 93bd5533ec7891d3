"""Integers that do not depend on order, and that one person moves no further than accounting says."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.aggregation import encoding, planning
from protocol.aggregation.accounting import sensitivity_ring_units
from protocol.aggregation.encoding import (
    CAPACITY,
    RANGE_SIGMAS,
    check_capacity,
    check_range,
    decode,
    quantised_sum,
    range_bound,
)
from protocol.aggregation.noise import SIGMA_MAX
from protocol.documents.plan import Establishment
from protocol.errors import ConfigurationError, ShapeMismatch, SumInvalid
from tests.federation import Federation

SCALE = 2**20
EVERY_BIT = 2**60
"""A scale at which an integer shows the last bit of a float64 from 2**-8 upwards; sums may wrap."""

seeds = st.integers(0, 2**32 - 1)


def rows_of(seed: int, *, rows: int, length: int) -> np.ndarray:
    """Rows of very different sizes: some clipped hard, some tiny, some zero."""
    random = np.random.default_rng(seed)
    sizes = 10.0 ** random.uniform(-12, 12, size=(rows, 1)) * (random.random((rows, 1)) < 0.9)
    return random.normal(size=(rows, length)) * sizes


def total(blocks, *, length: int, l2: float = 1.0, scale: int = SCALE, rows_per_person: int = 2):
    return quantised_sum(blocks, length=length, l2=l2, scale=scale, rows_per_person=rows_per_person)


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "every other column of a wider block": lambda block: np.repeat(block, 2, axis=1)[:, ::2],
    "every third row of a longer block": lambda block: np.repeat(block, 3, axis=0)[::3],
    "rows backwards": lambda block: block[::-1].copy()[::-1],
    "columns backwards": lambda block: block[:, ::-1].copy()[:, ::-1],
    "not aligned": lambda block: np.frombuffer(b"\0" + block.tobytes(), offset=1).reshape(block.shape),
}


def rearranged(values, data):
    """The same rows in another order, cut into blocks of any sizes, each with a memory layout of its own."""
    order = data.draw(st.permutations(range(len(values))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=6)))
    for block in np.split(values[order], cuts):
        layout = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))]
        assert np.array_equal(layout(block), block)
        yield layout(block)


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(1, 40), st.integers(1, 80), st.data())
def test_no_order_batch_or_memory_layout_changes_a_bit_of_the_integers(seed, rows, length, data):
    values = rows_of(seed, rows=rows, length=length)
    whole = total([values], length=length, scale=EVERY_BIT)
    np.testing.assert_array_equal(total(rearranged(values, data), length=length, scale=EVERY_BIT), whole)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_longer_than_what_is_worked_on_at_once_are_no_exception(layout):
    values = rows_of(3, rows=5, length=40_000)
    whole = total([values], length=40_000, scale=EVERY_BIT)
    single = total([LAYOUTS[layout](values[place : place + 1]) for place in range(5)], length=40_000, scale=EVERY_BIT)
    np.testing.assert_array_equal(single, whole)
    np.testing.assert_array_equal(total([LAYOUTS[layout](values)], length=40_000, scale=EVERY_BIT), whole)


def test_the_layout_test_notices_a_norm_that_depends_on_layout(monkeypatch):
    # What stood here before: its order of addition follows strides and the iterator's buffer.
    monkeypatch.setattr(encoding, "row_norms", lambda block: np.sqrt(np.einsum("ij,ij->i", block, block)))
    values = rows_of(3, rows=5, length=80)
    whole, other = (total([layout(values)], length=80, scale=EVERY_BIT) for layout in (np.copy, np.asfortranarray))
    assert (whole != other).any()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same_integers(threads):
    values = rows_of(7, rows=5_000, length=20)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda block: total([block], length=20, scale=EVERY_BIT), np.array_split(values, 40)))
    np.testing.assert_array_equal(sum(parts), total([values], length=20, scale=EVERY_BIT))


def person_moves(values: np.ndarray, *, l2: float, scale: int, rows_per_person: int | None = None) -> float:
    """How far the sum moves, in L2, when the person with these rows joins others."""
    others = rows_of(11, rows=30, length=values.shape[1])
    rows_per_person = rows_per_person or len(values)
    arguments = {"length": values.shape[1], "l2": l2, "scale": scale, "rows_per_person": rows_per_person}
    without = quantised_sum([others], **arguments)
    return float(np.linalg.norm((quantised_sum([others, values], **arguments) - without).astype(float)))


@settings(max_examples=150, deadline=None)
@given(seeds, st.integers(1, 5), st.integers(1, 40), st.floats(0.1, 3.0), st.integers(10, 24))
def test_no_person_moves_the_sum_further_than_accounted(seed, rows, length, l2, scale_bits):
    scale = 2**scale_bits
    bound = sensitivity_ring_units(l2=l2, scale=scale, rows_per_person=rows, length=length)
    assert person_moves(rows_of(seed, rows=rows, length=length), l2=l2, scale=scale) <= bound


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("length", [3, 7, 66])
def test_a_climbing_adversary_does_not_move_the_sum_further_than_accounted(rows, length):
    # Ring units of a coarse scale, where rounding is a large part; fixed seed, the search decides the same every time.
    random = np.random.default_rng(5)
    l2, scale = 1.0, 64
    bound = sensitivity_ring_units(l2=l2, scale=scale, rows_per_person=rows, length=length)
    direction = random.normal(size=length)
    best = np.tile(direction / np.linalg.norm(direction), (rows, 1))
    reached = person_moves(best, l2=l2, scale=scale)
    for step in range(600):
        proposal = best + random.normal(size=best.shape) * 0.3 * 0.995**step
        moved = person_moves(proposal, l2=l2, scale=scale)
        assert moved <= bound
        if moved >= reached:
            best, reached = proposal, moved
    assert reached > l2 * scale  # the search finds what clipping alone would not allow


@pytest.mark.parametrize(("rows", "length", "odd"), [(1, 1, 1), (2, 9, 3), (3, 25, 101), (4, 100, 7)])
def test_the_accounted_sensitivity_is_reached_so_rounding_may_not_be_left_out(rows, length, odd):
    scale = 2**10
    # Every entry of every row lies half-way between two integers and is rounded away from zero (to even).
    values = np.full((rows, length), (odd + 0.5) * rows / scale)
    l2 = float(np.linalg.norm(values[0])) * (1 + 1e-11)
    bound = sensitivity_ring_units(l2=l2, scale=scale, rows_per_person=rows, length=length)
    assert person_moves(values, l2=l2, scale=scale) == pytest.approx(bound, rel=1e-9)
    assert person_moves(values, l2=l2, scale=scale) <= bound


extremes = st.sampled_from(
    [0.0, -0.0, 5e-324, 1e-320, 1e-162, 1e-154, 0.5, 1.0, -1.0, 1.0 + 2**-52, 1e153, 1e154, 1e155, -1e200, 1e308]
)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 8), st.integers(1, 4), st.integers(2, 40))
def test_a_search_finds_no_person_that_moves_the_sum_further_than_accounted(data, most, length, heads, scale_bits):
    """The whole person: up to m rows of any size, weighted 1/m, against the joint clip of several heads.

    Hypothesis climbs towards the bound; small scales make rounding a large part of it.
    """
    rows = data.draw(st.integers(1, most))
    values = data.draw(hnp.arrays(np.float64, (rows, length), elements=st.floats(-2, 2) | extremes))
    l2, scale = math.sqrt(heads), 2**scale_bits
    bound = sensitivity_ring_units(l2=l2, scale=scale, rows_per_person=most, length=length)
    moved = person_moves(values, l2=l2, scale=scale, rows_per_person=most)
    target(moved / bound)
    assert moved <= bound


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(1, 24), st.data())
def test_a_search_among_rows_that_round_outwards_goes_no_further_than_accounted(most, length, data):
    """Rows whose entries all lie just beyond half an integer are the worst that rounding can do."""
    scale = 2**10
    halves = data.draw(hnp.arrays(np.int64, (most, length), elements=st.integers(-200, 200)))
    values = (halves + np.where(halves < 0, -0.5, 0.5) * (1 + 2**-40)) * most / scale
    l2 = float(np.linalg.norm(values, axis=1).max()) * (1 + 1e-11)
    bound = sensitivity_ring_units(l2=l2, scale=scale, rows_per_person=most, length=length)
    moved = person_moves(values, l2=l2, scale=scale)
    target(moved / bound)
    assert moved <= bound
    rounded_outwards = np.linalg.norm(np.rint(np.abs(values) * scale / most), axis=1)
    assert (rounded_outwards > np.linalg.norm(values, axis=1) * scale / most).all()


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 20), st.integers(1, 8))
def test_removing_a_person_undoes_adding_one(seed, rows, length):
    values = rows_of(seed, rows=rows, length=length)
    difference = total([values], length=length) - total([values[1:]], length=length)
    np.testing.assert_array_equal(difference, total([values[:1]], length=length))


def test_no_rows_give_zeros():
    np.testing.assert_array_equal(total([], length=3), np.zeros(3, dtype=np.int64))
    np.testing.assert_array_equal(total([np.zeros((0, 3))], length=3), np.zeros(3, dtype=np.int64))


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-160, 1e154, 1e200, 1e308])
def test_rows_at_the_ends_of_float64_stay_within_the_clip(size):
    result = total([np.full((1, 4), size)], length=4, rows_per_person=1)
    assert np.linalg.norm(result.astype(float)) <= SCALE + 1


@pytest.mark.parametrize(
    "block", [np.zeros((2, 3)), np.zeros(4), np.array([[0, 0, 0, np.nan]]), np.array([[0, 0, 0, -np.inf]])]
)
def test_rows_of_another_width_or_not_finite_are_refused(block):
    with pytest.raises(ShapeMismatch):
        total([block], length=4)


def test_decoding_gives_units_of_the_clip():
    np.testing.assert_array_equal(decode(np.array([SCALE, -SCALE // 2, 0]), scale=SCALE), [1.0, -0.5, 0.0])


def test_the_range_is_people_times_the_clip_and_twelve_sigmas():
    bound = range_bound(people=10, rows_per_person=4, l2=2.0, scale=100, sigma_ring=7.0)
    assert bound == 10 * (200 + 2) + RANGE_SIGMAS * 7.0


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 12), st.integers(1, 6))
def test_no_people_however_they_agree_leave_the_range(people, rows_per_person, scale_bits, length):
    # Everybody has the most rows, all saturated in one entry.
    values = np.zeros((people * rows_per_person, length))
    values[:, -1] = 1e9
    arguments = {"l2": 1.5, "scale": 2**scale_bits, "rows_per_person": rows_per_person}
    bound = range_bound(people=people, sigma_ring=0.0, **arguments)
    check_range(quantised_sum([values], length=length, **arguments), bound=bound)


def test_a_sum_out_of_range_is_refused_on_either_side():
    check_range(np.array([-5, 5]), bound=5.0)
    for value in (6, -6, np.iinfo(np.int64).min, np.iinfo(np.int64).max):
        with pytest.raises(SumInvalid, match="1 of 2"):
            check_range(np.array([0, value]), bound=5.0)


@pytest.mark.parametrize("bound", [2.0**53 + 2, 2.0**60, 2.0**62])
def test_the_range_is_exact_beyond_the_integers_of_float64(bound):
    check_range(np.array([int(bound), -int(bound)]), bound=bound)
    for value in (int(bound) + 1, -int(bound) - 1):
        with pytest.raises(SumInvalid, match="1 of 2"):
            check_range(np.array([0, value]), bound=bound)


def test_a_plan_whose_sums_could_reach_the_capacity_is_refused():
    fits = {"people": 46_000, "rows_per_person": 3, "l2": 2.0, "scale": 2**20, "sigma_ring": 2.0**30}
    check_capacity(**fits)
    at_the_limit = {"people": 1, "rows_per_person": 2, "l2": 1.0, "scale": CAPACITY - 2, "sigma_ring": 0.0}
    assert range_bound(**at_the_limit) == CAPACITY - 1
    check_capacity(**at_the_limit)
    for change in (
        {"people": 2**20},
        {"rows_per_person": 2**40},
        {"l2": 2.0**20},
        {"scale": 2**40},
        {"sigma_ring": 2.0**37},
        {"sigma_ring": math.inf},
        {"sigma_ring": math.nan},
        at_the_limit | {"rows_per_person": 4},
    ):
        with pytest.raises(ConfigurationError, match="field scale"):
            check_capacity(**(fits | change))


def test_noise_of_a_plan_within_the_capacity_is_noise_that_can_be_drawn():
    # The noise in a sum is at least as wide as one borough's.
    assert CAPACITY / RANGE_SIGMAS <= SIGMA_MAX


FORCE = Federation()


@pytest.mark.parametrize(
    ("scale_bits", "people", "accepted"),
    [(20, 1_000, True), (20, 120_000, True), (20, 180_000, False), (28, 200, True), (40, 200, False)],
)
def test_a_plan_is_checked_for_its_capacity_when_it_is_made(scale_bits, people, accepted):
    # Six boroughs, two heads: the sums reach 6 * people * sqrt(2) * 2**scale_bits and a little.
    plan = FORCE.plan(scale=2**scale_bits)
    crowd = tuple(Establishment(borough=entry.borough, people=people) for entry in plan.boroughs)
    plan = plan.model_copy(update={"boroughs": crowd})
    if accepted:
        planning.check_plan(plan, FORCE.catalogue)
    else:
        with pytest.raises(ConfigurationError, match="field scale: sums could reach"):
            planning.check_plan(plan, FORCE.catalogue)


def test_a_clipped_row_keeps_its_direction():
    result = total([np.array([[3e6, 4e6]])], length=2, rows_per_person=1)
    assert result[1] / result[0] == pytest.approx(4 / 3, rel=1e-5)
    assert math.hypot(*result) == pytest.approx(SCALE, rel=1e-5)
