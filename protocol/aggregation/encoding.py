"""From rows to integers and back: clip each row, quantise it, and sum integers.

Integers are summed because float sums depend on their order and err by more than the sensitivity analysis allows
(Casacuberta, Shoemate, Vadhan, Wagaman 2022); an integer sum is the same in any order, batch or thread. What is rounded
to integers is computed for each row by itself, in a fixed order: `rowwise`.
Ring units: one unit of the clip is ``scale`` ring units, modulo 2**64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from protocol.aggregation.rowwise import row_norms, rows_at_a_time
from protocol.errors import ConfigurationError, ShapeMismatch, SumInvalid

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]

RANGE_SIGMAS = 12
"""A sum further out than this many sigmas is refused; the chance for an honest one is below 1e-32 an entry."""

CAPACITY: Final = 2**40
"""No honest entry of a plan's sums may reach this. The ring would hold 2**63: it is the tags that ask for less, as an
error within the range passes them the more easily the larger the range is (see `tags`). float64 holds such integers
exactly, and a borough's sigma stays below `noise.SIGMA_MAX`."""

_MARGIN: Final = 1 - 1e-12
"""A clipped row's norm stays at or below l2 by this margin. Rounding needs less: 2**-48 for the norm, 2**-50 for the
factor and the products with it, together below 5e-15."""


def quantised_sum(
    blocks: Iterable[Float64Array], *, length: int, l2: float, scale: int, rows_per_person: int
) -> Int64Array:
    """Return the integer sum of all rows, each clipped to ``l2`` and weighted ``1 / rows_per_person``.

    Each row is clipped, scaled and rounded by itself, with the same integers whatever rows or blocks come beside it and
    however the block lies in memory. A row with an entry beyond 1e154 counts as zero.

    Args:
        blocks: Row blocks, each of shape (rows, length), float64, in units of the clip.
        length: Entries of a row, at least 1.
        l2: Largest L2 norm of one row; above 1e-100.
        scale: Ring units per unit of the clip.
        rows_per_person: m, the plan's most rows a person can have.
    Returns: Shape (length,), int64. Adding or removing one person moves it by at most
        ``l2 * scale + rows_per_person * sqrt(length) / 2`` in L2: m rows of norm at most ``l2 * scale / m``, and the
        rounding of each moves it by at most ``sqrt(length) / 2``.
    Raises: ShapeMismatch if a block has another width or holds a value that is not finite.
    """
    total = np.zeros(length, dtype=np.int64)
    step = rows_at_a_time(length)
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != length or not np.isfinite(block).all():
            raise ShapeMismatch(f"rows must be finite, of shape (rows, {length})")
        factors = np.minimum(1.0, l2 * _MARGIN / np.maximum(row_norms(block), 1e-300)) * (scale / rows_per_person)
        for start in range(0, block.shape[0], step):
            scaled = block[start : start + step] * factors[start : start + step, None]
            total += np.rint(scaled, out=scaled).astype(np.int64).sum(axis=0)
    return total


def decode(sums: Int64Array, *, scale: int) -> Float64Array:
    """Return ring sums in units of the clip, float64."""
    return sums / float(scale)


def check_capacity(*, people: int, rows_per_person: int, l2: float, scale: int, sigma_ring: float) -> None:
    """Return if no honest sum can leave the range for which ring and tags were made; arguments as `range_bound`.

    Raises: ConfigurationError naming the numbers; checked when a plan is made.
    """
    largest = range_bound(people=people, rows_per_person=rows_per_person, l2=l2, scale=scale, sigma_ring=sigma_ring)
    if not largest < CAPACITY:  # NaN is refused too
        raise ConfigurationError(f"field scale: sums could reach {largest:.3g}, beyond 2**40; use a smaller scale")


def range_bound(*, people: int, rows_per_person: int, l2: float, scale: int, sigma_ring: float) -> float:
    """Return the largest magnitude of an honest entry, in ring units (ARCHITECTURE.md, private sums, step 5).

    Args:
        people: The plan's establishment, taken to bound the rows at any one cutoff.
        rows_per_person: m; each of a person's rows is at most ``l2 * scale / m`` and is rounded by at most 1/2.
        l2: Largest L2 norm of one row, in units of the clip.
        scale: Ring units per unit of the clip.
        sigma_ring: sd of the noise in the sum if every borough answers, in ring units.
    """
    return people * (l2 * scale + rows_per_person / 2) + RANGE_SIGMAS * sigma_ring


def check_range(sums: Int64Array, *, bound: float) -> None:
    """Return if every entry lies within ``bound``. Raises: SumInvalid."""
    largest = math.floor(bound)  # integers are compared exactly; as float64 they would be rounded
    outside = int(np.count_nonzero((sums > largest) | (sums < -largest)))
    if outside:
        raise SumInvalid(f"{outside} of {sums.size} entries lie outside the range of an honest sum")
