"""The catalogue's public transforms, as arithmetic: from a raw column to the column that a head weighs.

Rules this module keeps: a transform depends on the signed catalogue and on the one value only, never on other
people's values, so preparing features releases nothing. Boroughs apply it to score, custodians and auditors to
check a contribution; one function, so that all of them get the same float64.
"""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from protocol.documents.catalogue import Bounded, Count, Scaled

Float64Array = NDArray[np.float64]


def apply(transform: Count | Scaled | Bounded, values: Float64Array) -> Float64Array:
    """Return the transformed values, each within the transform's public bounds.

    Args:
        transform: Of a feature of the catalogue.
        values: Raw values of that feature, any shape; finite, missing ones already filled, and not below zero for
            a ``Count`` (the reader of personnel tables refuses anything else).
    Returns: A new float64 array of the same shape.
    """
    raw = np.asarray(values, dtype=np.float64)
    match transform:
        case Count():
            return np.minimum(np.log1p(raw), transform.cap)
        case Scaled():
            return np.clip((raw - transform.center) / transform.scale, -transform.limit, transform.limit)
        case Bounded():
            return np.clip(raw, transform.low, transform.high)
        case _:
            assert_never(transform)


def bounds(transform: Count | Scaled | Bounded) -> tuple[float, float]:
    """Return the lowest and the highest value that ``apply`` can give."""
    match transform:
        case Count():
            return 0.0, transform.cap
        case Scaled():
            return -transform.limit, transform.limit
        case Bounded():
            return transform.low, transform.high
        case _:
            assert_never(transform)


def inverse(transform: Count | Scaled | Bounded, value: float) -> float:
    """Return the raw value that ``apply`` maps to ``value``, which lies within the transform's bounds."""
    match transform:
        case Count():
            return math.expm1(value)
        case Scaled():
            return transform.center + transform.scale * value
        case Bounded():
            return value
        case _:
            assert_never(transform)
