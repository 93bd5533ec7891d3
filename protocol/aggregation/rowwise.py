"""Sums along a row that depend on that row alone, to the last bit.

Rows become integers, and those must not depend on how rows were ordered, batched, laid out in memory or spread over
threads. Libraries promise that of no float sum: BLAS adds in an order that depends on the shape of the whole matrix,
``np.einsum`` on strides and on its buffer. Here every multiplication and addition is one elementwise operation on whole
arrays, correctly rounded (IEEE 754), and the length of a row alone says which are made, in which order. So the bits are
the same on every machine, too.

What it costs on one core: a norm 1 to 2 ns an entry, where einsum takes 0.3; a product 0.6 to 1 ns a multiplication,
where BLAS takes 0.1. Of a borough's release that is milliseconds: docs/measurements.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

_CELLS: Final = 1 << 15  # 256 KiB: what is worked on stays in the second-level cache


def rows_at_a_time(length: int) -> int:
    """Return how many rows of this length are best worked on at once; no result depends on it."""
    return max(1, _CELLS // max(1, length))


def row_sums(terms: Float64Array) -> Float64Array:
    """Return the sum of each row as a view of its first column, overwriting all of ``terms``.

    The second half of a row is added to the first, until one column is left: the rounding error is relatively at most
    ``ceil(log2(length)) * 2**-53`` of the sum of magnitudes.

    Args:
        terms: Shape (rows, length), length at least 1.
    Returns: Shape (rows,).
    """
    length = terms.shape[1]
    while length > 1:
        half = (length + 1) // 2
        terms[:, : length - half] += terms[:, half:length]
        length = half
    return terms[:, 0]


def row_norms(rows: Float64Array) -> Float64Array:
    """Return the L2 norm of each row, relatively within 2**-48 for up to 2**60 entries.

    That holds unless squares leave float64: above 1e154 the norm is infinite, below 1e-154 it may be too small.

    Args:
        rows: Shape (rows, length), any memory layout.
    Returns: Shape (rows,).
    """
    norms = np.empty(rows.shape[0])
    step = rows_at_a_time(rows.shape[1])
    with np.errstate(over="ignore"):
        for start in range(0, rows.shape[0], step):
            part = rows[start : start + step]
            norms[start : start + step] = np.sqrt(row_sums(part * part))
    return norms


def row_products(rows: Float64Array, matrix: Float64Array) -> Float64Array:
    """Return ``rows @ matrix``, each entry summed from the first column of ``rows`` to the last.

    Args:
        rows: Shape (rows, columns).
        matrix: Shape (columns, width).
    Returns: Shape (rows, width).
    """
    products = np.zeros((rows.shape[0], matrix.shape[1]))
    step = rows_at_a_time(matrix.shape[1])
    for start in range(0, rows.shape[0], step):
        total = products[start : start + step]
        term = np.empty_like(total)
        for column, factors in zip(rows[start : start + step].T, matrix, strict=True):
            np.multiply(column[:, None], factors, out=term)
            total += term
    return products
