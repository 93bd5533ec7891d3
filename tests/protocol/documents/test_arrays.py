from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from protocol.documents.arrays import Array
from protocol.errors import MalformedDocument

shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


@given(hnp.arrays(np.float64, shapes, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_floats_come_back_bit_by_bit(values):
    array = Array.model_validate_json(Array.of(values).model_dump_json())
    assert array.floats().tobytes() == values.tobytes()
    assert array.floats().shape == values.shape


@given(hnp.arrays(np.int64, shapes))
def test_integers_come_back_exactly_also_beyond_two_to_the_53(values):
    np.testing.assert_array_equal(Array.of(values).integers(), values)


def test_the_bytes_are_little_endian_and_in_c_order():
    assert base64.b64decode(Array.of(np.array([1, 2])).base64) == b"\x01" + bytes(7) + b"\x02" + bytes(7)
    transposed = np.arange(6.0).reshape(2, 3).T
    np.testing.assert_array_equal(Array.of(transposed).floats(), transposed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    with pytest.raises(MalformedDocument, match="not finite"):
        Array.of(np.array([0.0, value])).floats()


@pytest.mark.parametrize(
    "array",
    [
        Array(dtype="float64", shape=(2,), base64="AAAAAAAAAAA="),
        Array(dtype="float64", shape=(1,), base64="AAAA"),
        Array(dtype="float64", shape=(1,), base64="not base64!!"),
        Array(dtype="int64", shape=(1,), base64="AAAAAAAAAAA="),
    ],
)
def test_content_that_does_not_fit_shape_or_type_is_refused(array):
    with pytest.raises(MalformedDocument, match="stated shape"):
        array.floats()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (-1,), (10_000_001,)])
def test_a_shape_that_would_exhaust_memory_is_refused_before_decoding(shape):
    with pytest.raises(ValidationError):
        Array(dtype="float64", shape=shape, base64="")


def test_a_decoded_array_does_not_share_memory_with_the_document():
    array = Array.of(np.array([1.0, 2.0]))
    array.floats()[0] = 9.0
    np.testing.assert_array_equal(array.floats(), [1.0, 2.0])
