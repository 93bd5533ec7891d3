import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.documents.catalogue import Bounded, Count, Scaled
from protocol.scorecard.transforms import apply, bounds, inverse

COUNT = Count(kind="count", cap=3.0)
SCALED = Scaled(kind="scaled", center=10.0, scale=4.0, limit=2.0)
BOUNDED = Bounded(kind="bounded", low=-1.0, high=2.0)


def test_a_count_is_the_capped_logarithm():
    np.testing.assert_allclose(apply(COUNT, np.array([0.0, 1.0, 19.0, 20.0, 1e9])), [0, np.log(2), np.log(20), 3, 3])


def test_a_scaled_value_is_clipped_on_both_sides():
    np.testing.assert_array_equal(apply(SCALED, np.array([-1e9, 2.0, 10.0, 12.0, 1e9])), [-2, -2, 0, 0.5, 2])


def test_a_bounded_value_is_clipped_on_both_sides():
    np.testing.assert_array_equal(apply(BOUNDED, np.array([-5.0, -1.0, 0.5, 7.0])), [-1, -1, 0.5, 2])


def test_the_values_given_are_left_alone():
    values = np.array([1.0, 100.0])
    for transform in (COUNT, SCALED, BOUNDED):
        assert apply(transform, values) is not values
    np.testing.assert_array_equal(values, [1, 100])


def test_whole_numbers_become_float64_of_the_same_shape():
    result = apply(BOUNDED, np.array([[0, 1], [1, 0]]))
    assert result.dtype == np.float64
    assert result.shape == (2, 2)


@pytest.mark.parametrize("transform", [COUNT, SCALED, BOUNDED])
@given(raw=st.lists(st.floats(min_value=0, allow_nan=False, allow_infinity=False), min_size=1))
def test_every_value_lies_within_the_public_bounds_and_order_is_kept(transform, raw):
    low, high = bounds(transform)
    result = apply(transform, np.sort(np.array(raw)))
    assert result.min() >= low
    assert result.max() <= high
    assert (np.diff(result) >= 0).all()


@pytest.mark.parametrize("transform", [COUNT, SCALED, BOUNDED])
@given(share=st.floats(0, 1))
def test_what_counts_and_its_raw_value_are_each_others_images(transform, share):
    low, high = bounds(transform)
    value = low + share * (high - low)
    assert apply(transform, np.array([inverse(transform, value)]))[0] == pytest.approx(value, abs=1e-12)
