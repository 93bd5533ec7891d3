"""Row sums whose bits depend on the row alone: not on its neighbours, the batch, the memory layout or the machine."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.aggregation.rowwise import row_norms, row_products, row_sums, rows_at_a_time


def rows_of(seed: int, *, rows: int, length: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, length)) * 10.0 ** random.uniform(-6, 6, size=(rows, length))


def halved(terms: list[float]) -> float:
    """The documented order, one float at a time."""
    while len(terms) > 1:
        half = (len(terms) + 1) // 2
        terms = [a + b for a, b in zip(terms, terms[half:], strict=False)] + terms[len(terms) - half : half]
    return terms[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 70))
def test_the_order_of_addition_is_the_documented_one(seed, rows, length):
    values = rows_of(seed, rows=rows, length=length)
    expected = [math.sqrt(halved([x * x for x in row])) for row in values.tolist()]
    assert row_norms(values).tolist() == expected
    assert row_sums(values.copy()).tolist() == [halved(row) for row in values.tolist()]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 20), st.integers(1, 20))
def test_products_are_added_up_from_the_first_column_to_the_last(seed, rows, columns, width):
    values = rows_of(seed, rows=rows, length=columns)
    matrix = rows_of(seed + 1, rows=columns, length=width)
    expected = np.zeros((rows, width))
    for place in np.ndindex(rows, width):
        for column in range(columns):
            expected[place] += values[place[0], column] * matrix[column, place[1]]
    np.testing.assert_array_equal(row_products(values, matrix), expected)


@pytest.mark.parametrize("length", [1, 3, 100, 30_000])
def test_norms_of_many_rows_are_those_of_each_row(length):
    # More rows than are worked on at once, so that chunks end between them.
    values = rows_of(length, rows=min(3 * rows_at_a_time(length) + 1, 2_000), length=length)
    together = row_norms(values)
    assert together.tolist() == [row_norms(values[place : place + 1])[0] for place in range(len(values))]
    assert together.tolist() == row_norms(np.asfortranarray(values)).tolist()


@pytest.mark.parametrize("width", [1, 7, 300])
def test_products_of_many_rows_are_those_of_each_row(width):
    values = rows_of(1, rows=2 * rows_at_a_time(width) // 50 + 3, length=4)
    matrix = rows_of(2, rows=4, length=width)
    together = row_products(values, matrix)
    alone = np.concatenate([row_products(values[place : place + 1], matrix) for place in range(len(values))])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, row_products(np.asfortranarray(values), np.asfortranarray(matrix)))


@pytest.mark.parametrize("length", [1, 2, 1000, 200_000])
def test_a_norm_is_as_exact_as_stated_also_where_a_running_sum_would_lose_every_term(length):
    # Each small square is below half a last bit of the first one: added one after the other they would vanish.
    values = np.full((1, length), 2.0**-27)
    values[0, 0] = 1.0
    exact = math.sqrt(math.fsum(x * x for x in values[0].tolist()))
    assert abs(row_norms(values)[0] - exact) <= 2.0**-48 * exact


def test_norms_out_of_float64_are_infinite_or_zero_and_never_not_a_number():
    values = np.array([[1e200, 1e200], [1e-200, -1e-200], [0.0, 0.0]])
    assert row_norms(values).tolist() == [math.inf, 0.0, 0.0]


def test_no_rows_have_no_norms_and_no_products():
    assert row_norms(np.zeros((0, 3))).shape == (0,)
    assert row_products(np.zeros((0, 3)), np.zeros((3, 2))).shape == (0, 2)


def test_rows_and_matrix_of_different_sizes_are_not_multiplied():
    with pytest.raises(ValueError, match="zip"):
        row_products(np.zeros((2, 3)), np.zeros((4, 2)))
