"""Numbers that look random and that everybody draws alike: for simulations that are recomputed from the public log.

Never noise of a release and never a key: whoever knows the seed, which is everybody, knows every number.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from scipy.special import ndtri

from protocol.scorecard.columns import Float64Array


def uniforms(seed: str, *shape: int) -> Float64Array:
    """Return numbers strictly between 0 and 1: 53 bits each of SHAKE-256 of the seed."""
    stream = hashlib.shake_256(b"custodes/public-draws/v1\x00" + seed.encode()).digest(8 * math.prod(shape))
    return ((np.frombuffer(stream, dtype="<u8").reshape(shape) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def normals(seed: str, *shape: int) -> Float64Array:
    """Return standard normal numbers, by the inverse of their distribution."""
    return np.asarray(ndtri(uniforms(seed, *shape)))
