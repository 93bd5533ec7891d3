"""The masking benchmark measures what it says, in the form that is documented."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.masking import KEY, RAW, masking, measure, raw_chunks, raw_whole
from protocol.aggregation.masks import keystream


@pytest.mark.parametrize("length", [3, 40_000])
@pytest.mark.parametrize("raw", [raw_whole, raw_chunks])
def test_raw_is_the_keystream_and_the_addition_of_a_mask(raw, length):
    values = np.arange(length, dtype=np.uint64)
    np.testing.assert_array_equal(raw(values.copy())(), values + keystream(KEY, length))


def test_every_operation_gets_a_row_with_its_ratio_and_noise_its_time_a_sample():
    rows = json.loads(json.dumps(measure(dimensions=(1_000,), repeats=1)))
    assert [row["operation"] for row in rows[:-2]] == list(masking(np.zeros(1, dtype=np.uint64)))
    assert all(set(row) >= {"operation", "dimension", "seconds", "ratio_to_raw"} for row in rows)
    assert min(row["ratio_to_raw"] for row in rows[:-2] if row["operation"] in RAW) == 1.0
    assert all(row["noise_ns_per_sample"] > 0 and row["ratio_to_raw"] is None for row in rows[-2:])
