"""Arrays of the generator as Arrow columns of the contract's types.

Rules this module keeps: text is written as dictionaries and read back as plain text (no Arrow schema is stored);
ids are random permutations, so their order says nothing; a table is written only with exactly the contract's columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from borough_node.sources.contract import TABLES
from deploy.force.events.people import BoolArray, IntArray
from deploy.force.events.period import FIRST_DAY

MICROSECONDS = 1_000_000
FIRST_SECOND = int(FIRST_DAY.astype("datetime64[s]").astype(np.int64))
FIRST_DATE = int(FIRST_DAY.astype(np.int64))
ROW_GROUP = 1 << 17


def instants(seconds: IntArray, missing: int | None = None) -> pa.Array:
    """Return UTC timestamps; ``missing`` becomes null."""
    values = (seconds + FIRST_SECOND) * MICROSECONDS
    return pa.array(values, pa.timestamp("us", "UTC"), mask=_mask(seconds, missing))


def dates(days: IntArray, missing: int | None = None) -> pa.Array:
    """Return dates; ``missing`` becomes null."""
    return pa.array(
        np.where(_is(days, missing), 0, days + FIRST_DATE).astype(np.int32), pa.date32(), mask=_mask(days, missing)
    )


def whole(values: IntArray, missing: int | None = None) -> pa.Array:
    """Return whole numbers; ``missing`` becomes null."""
    return pa.array(values.astype(np.int64), pa.int64(), mask=_mask(values, missing))


def numbers(values: NDArray[np.float64]) -> pa.Array:
    """Return numbers; NaN becomes null."""
    return pa.array(values, pa.float64(), from_pandas=True)


def flags(values: BoolArray) -> pa.Array:
    """Return true and false, the last byte padded with zeros: Arrow's own padding would be whatever memory held."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def words(codes: IntArray, names: Sequence[str], missing: int | None = None) -> pa.Array:
    """Return the names of these codes; ``missing`` becomes null."""
    return _coded(codes, pa.array(list(names), pa.string()), _mask(codes, missing))


def keys(prefix: str, values: IntArray, digits: int, missing: int | None = None) -> pa.Array:
    """Return ``prefix`` and the number with leading zeros; ``missing`` becomes null."""
    present = ~_is(values, missing)
    distinct, codes = np.unique(
        np.where(present, values, values[present][0] if present.any() else 0), return_inverse=True
    )
    return _coded(codes, _written(prefix, distinct, digits), _mask(values, missing))


def ids(rng: np.random.Generator, prefix: str, count: int, digits: int = 8) -> pa.Array:
    """Return ``count`` distinct ids in an order that means nothing."""
    return _written(prefix, rng.permutation(count).astype(np.int64), digits)


def _coded(codes: NDArray[Any], names: pa.Array, missing: BoolArray | None) -> pa.Array:
    # Codes under nulls are made 0: bytes that nobody reads would otherwise differ between runs.
    indices = codes if missing is None else np.where(missing, 0, codes)
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32), pa.int32(), mask=missing), names)


def _written(prefix: str, values: IntArray, digits: int) -> pa.Array:
    """Format without a Python object per value: all results have the same number of bytes."""
    head = np.frombuffer(prefix.encode(), dtype=np.uint8)
    letters = np.empty((len(values), len(head) + digits), dtype=np.uint8)
    letters[:, : len(head)] = head
    rest = values.copy()
    for place in range(letters.shape[1] - 1, len(head) - 1, -1):
        letters[:, place] = ord("0") + rest % 10
        rest //= 10
    offsets = np.arange(len(values) + 1, dtype=np.int32) * letters.shape[1]
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(letters))


class Staff:
    """Staff numbers of the force as text."""

    DIGITS = 6

    def __init__(self, number: IntArray) -> None:
        self._number = number

    def __call__(self, person: IntArray, missing: int | None = None) -> pa.Array:
        """Return the staff numbers of these people; ``missing`` becomes null."""
        gone = _is(person, missing)
        present = np.zeros(len(self._number), dtype=bool)
        present[person[~gone]] = True
        distinct = np.flatnonzero(present)
        place = np.zeros(len(self._number), dtype=np.int32)
        place[distinct] = np.arange(len(distinct))
        names = _written("SYN-", self._number[distinct], self.DIGITS)
        return _coded(place[np.where(gone, 0, person)], names, _mask(person, missing))


def write(directory: Path, name: str, columns: Mapping[str, pa.Array], *, plain: tuple[str, ...] = ()) -> int:
    """Write one table of the contract as Parquet and return its number of rows.

    Args:
        plain: Columns written without a dictionary: ids, all different.
    """
    expected = [column.name for column in TABLES[name].columns]
    if sorted(columns) != sorted(expected):
        raise AssertionError(f"{name}: {sorted(set(columns) ^ set(expected))}")
    table = pa.table({column: columns[column] for column in expected})
    pq.write_table(
        table,
        directory / f"{name}.parquet",
        compression="zstd",
        compression_level=1,
        row_group_size=ROW_GROUP,
        use_dictionary=[column for column in expected if column not in plain],
        store_schema=False,
    )
    return int(table.num_rows)


def _is(values: IntArray, missing: int | None) -> BoolArray:
    return np.zeros(len(values), dtype=bool) if missing is None else values == missing


def _mask(values: IntArray, missing: int | None) -> BoolArray | None:
    return None if missing is None else values == missing
