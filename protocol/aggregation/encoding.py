"""From rows to integers and back: clip each row, quantise it, and sum integers.

Integers are summed because float sums depend on their order and err by more than the sensitivity analysis allows
(Casacuberta, Shoemate, Vadhan, Wagaman 2022); an integer sum is the same in any order, batch or thread.
Ring units: one unit of the clip is ``scale`` ring units, modulo 2**64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from protocol.errors import ConfigurationError, ShapeMismatch, SumInvalid

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]

RANGE_SIGMAS = 12
"""A sum further out than this many sigmas is refused; the chance for an honest one is below 1e-32 an entry."""


def quantised_sum(
    blocks: Iterable[Float64Array], *, length: int, l2: float, scale: int, rows_per_person: int
) -> Int64Array:
    """Return the integer sum of all rows, each clipped to ``l2`` and weighted ``1 / rows_per_person``.

    Args:
        blocks: Row blocks, each of shape (rows, length), float64, in units of the clip.
        length: Entries of a row.
        l2: Largest L2 norm of one row.
        scale: Ring units per unit of the clip.
        rows_per_person: m, the plan's most rows a person can have.
    Returns: Shape (length,), int64. Adding or removing one person moves it by at most
        ``l2 * scale + rows_per_person * sqrt(length) / 2`` in L2.
    Raises: ShapeMismatch if a block has another width or holds a value that is not finite.
    """
    total = np.zeros(length, dtype=np.int64)
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != length or not np.isfinite(block).all():
            raise ShapeMismatch(f"rows must be finite, of shape (rows, {length})")
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        # The factor keeps the float64 norm of a clipped row at or below l2 after its own rounding.
        factors = np.minimum(1.0, l2 * (1 - 1e-12) / np.maximum(norms, 1e-300)) * (scale / rows_per_person)
        total += np.rint(block * factors[:, None]).astype(np.int64).sum(axis=0)
    return total


def decode(sums: Int64Array, *, scale: int) -> Float64Array:
    """Return ring sums in units of the clip, float64."""
    return sums / float(scale)


def check_capacity(*, people: int, l2: float, scale: int, sigma_ring: float) -> None:
    """Return if no honest sum can leave the signed 64-bit range.

    Raises: ConfigurationError naming the numbers; checked when a plan is made.
    """
    largest = range_bound(people=people, l2=l2, scale=scale, sigma_ring=sigma_ring)
    if largest >= 2**62:
        raise ConfigurationError(f"field scale: sums could reach 2**{math.log2(largest):.0f}; the ring has 2**63")


def range_bound(*, people: int, l2: float, scale: int, sigma_ring: float) -> float:
    """Return the largest magnitude of an honest entry, in ring units (ARCHITECTURE.md, private sums, step 5)."""
    return people * (l2 * scale + 1) + RANGE_SIGMAS * sigma_ring


def check_range(sums: Int64Array, *, bound: float) -> None:
    """Return if every entry lies within ``bound``. Raises: SumInvalid."""
    outside = int((np.abs(sums.astype(np.float64)) > bound).sum())
    if outside:
        raise SumInvalid(f"{outside} of {sums.size} entries lie outside the range of an honest sum")
