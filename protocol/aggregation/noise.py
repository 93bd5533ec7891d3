"""Discrete Gaussian noise in ring units, exact to far below what delta can notice.

Rules this module keeps: every random bit comes from the caller's entropy function, in production the operating
system's; integers leave, so no rounding of a float can betray the secret (Mironov 2012); nothing loops over samples.

The method is the rejection of Canonne, Kamath and Steinke 2020 (algorithms 2 and 3), whole arrays at a time. A proposal
is a uniform U in [0, t), a geometric V with P(V >= k) = exp(-k), a sign, and Y = U + t V. It is kept with probability

    p = exp(-U/t) * exp(-(Y - sigma^2/t)^2 / (2 sigma^2)).

The paper draws the two factors one after the other; one draw of their product has the same law. Any integer t gives
the discrete Gaussian. The paper takes floor(sigma) + 1; here t is the power of two nearest to sigma: U is then exactly
uniform by taking bits, U/t is exact in float64, and at most one proposal in seven more is refused.

**How far one sample is from the exact law.** Let f be the exact weights of the kept values, f' those of the program
and Z the sum of f. Then the total variation distance of the two laws is at most sum |f - f'| / Z. With
sigma/sqrt(2) <= t <= sqrt(2) sigma, Z = (1 - 1/e) sqrt(pi/2) (sigma/t) exp(-sigma^2/(2 t^2)) up to 2^-9, above 0.4.

- Sign and U are exact: they are bits.
- The other uniforms have 128 bits, of which the lower 64 are drawn only where they decide.
- V compares its uniform with floor(exp(-k) 2^128), k = 1..88: each P(V = k) is off by less than 2^-128, and
  P(V >= 89) = exp(-89) < 2^-128 is missing. Together less than 90 * 2^-128.
- Keeping compares its uniform with floor(p 2^128): off by less than 2^-128, p = 1 included.
- float64 adds nothing. With z = (Y - sigma^2/t)/(sqrt(2) sigma), rounding moves z by at most 2^-50 (|z| + 2), hence
  exp(-z^2) by at most 2^-50 max((2 z^2 + 4|z|) exp(-z^2)) < 2^-48; squaring, the sum with U/t, exp (1 ulp) and the
  conversion of the uniform add less than 2^-50. So p in float64 is within 2^-47. If the uniform's upper half lies
  within 2^-40 of it, which happens once in 2^39 proposals, the lower half is drawn and 60-digit decimals decide;
  elsewhere the float cannot be wrong.

The sum is below 91 * 2^-128 / 0.4 < 2^-120. With 64 bits it would be 2^-57: enough for what is released, but
accounting multiplies it by e^epsilon, and epsilon against the two servers together is several times the released one.
The bound takes the entropy to be uniform: an assumption about the operating system, as for every key.

Source: Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", arXiv 2004.00010;
algorithms are numbered as there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Final

import numpy as np

from protocol.aggregation.encoding import Int64Array, UInt64Array
from protocol.errors import ConfigurationError

SYSTEM_ENTROPY: Final[Callable[[int], bytes]] = os.urandom
"""What production passes: the operating system's cryptographic source."""

STATISTICAL_DISTANCE_PER_SAMPLE: Final[float] = 2.0**-120
"""Total variation distance of one sample from the exact law, at most; derived in the module's docstring."""

SIGMA_MIN: Final[float] = 2.0**10
"""Below it the bounds of this module and of `accounting.sum_distance` are not claimed."""

SIGMA_MAX: Final[float] = 2.0**50
"""Above it a sample, less than 90 t, and its sum over boroughs could leave the ring."""

_PROPOSALS_PER_CHUNK: Final = 1 << 15  # 24 bytes of entropy each: the working set stays in the second-level cache
_DECIMAL_DIGITS: Final = 60
_TIE_MARGIN: Final = 2.0**24  # in units of 2^-64: 2^-40, over a hundred times the float64 error


def _geometric_thresholds() -> tuple[int, ...]:
    """Return floor(exp(-k) * 2^128) for k = 1, 2, .. 88: V is the number of them above a 128-bit uniform."""
    with localcontext() as context:
        context.prec = _DECIMAL_DIGITS
        return tuple(int(Decimal(-k).exp() * 2**128) for k in range(1, 89))


_GEOMETRIC: Final = _geometric_thresholds()
# The upper halves that are not 0, ascending after a 0. A uniform whose upper half stands here needs its lower half.
_GEOMETRIC_UPPER: Final = np.array([0, *(word >> 64 for word in reversed(_GEOMETRIC[:44]))], dtype=np.uint64)


def discrete_gaussian(size: int, *, sigma: float, entropy: Callable[[int], bytes]) -> Int64Array:
    """Draw independent samples of the discrete Gaussian: P(y) proportional to exp(-y^2 / (2 sigma^2)) on the integers.

    Args:
        size: How many samples; may be 0.
        sigma: In ring units, from 2^10 to 2^50. It is the parameter of the law and, to within exp(-10^7), the sd.
        entropy: Returns as many uniform bytes as it is asked for; `SYSTEM_ENTROPY` wherever a person is protected.
    Returns: Exactly `size` samples, each within `STATISTICAL_DISTANCE_PER_SAMPLE` of the law.
    Raises: ConfigurationError if size is negative, sigma is outside its range, or entropy returns too few bytes.
    Source: Canonne, Kamath, Steinke 2020, algorithms 2 and 3.
    """
    if size < 0:
        raise ConfigurationError(f"size: {size} is negative.")
    if not SIGMA_MIN <= sigma <= SIGMA_MAX:  # NaN fails too
        raise ConfigurationError(f"sigma: {sigma} ring units is outside 2^10 .. 2^50.")
    sigma = float(sigma)
    bits = round(math.log2(sigma))  # t = 2^bits
    samples = np.empty(size, dtype=np.int64)
    filled = 0
    while filled < size:
        # 2.1 to 2.5 proposals a sample; a shortfall only costs one more turn of this loop.
        proposals = min(_PROPOSALS_PER_CHUNK, int(2.6 * (size - filled)) + 64)
        kept = _propose(proposals, sigma, bits, entropy)[: size - filled]
        samples[filled : filled + kept.size] = kept
        filled += kept.size
    return samples


def _propose(proposals: int, sigma: float, bits: int, entropy: Callable[[int], bytes]) -> Int64Array:
    """Draw this many proposals and return the ones kept, in order."""
    words = np.frombuffer(_draw(24 * proposals, entropy), dtype="<u8").astype(np.uint64, copy=False)
    place, wheel, judge = words.reshape(3, proposals)

    # The sign is the top bit of the word whose lowest bits, at most 50, are U.
    is_negative = (place >> np.uint64(63)).astype(np.bool_)
    offset = (place & np.uint64((1 << bits) - 1)).astype(np.int64)
    turns = _count_turns(wheel, entropy)
    magnitude = offset + (turns << bits)

    weight = magnitude.astype(np.float64)
    weight -= sigma * sigma / (1 << bits)
    weight *= 1.0 / (math.sqrt(2.0) * sigma)
    np.square(weight, out=weight)
    weight += offset * 2.0**-bits
    np.negative(weight, out=weight)
    np.exp(weight, out=weight)
    weight *= -(2.0**64)
    weight += judge  # now: the uniform minus p, in units of 2^-64

    is_kept = weight < 0.0
    for tie in np.flatnonzero(np.abs(weight) <= _TIE_MARGIN):
        uniform = _with_lower_half(int(judge[tie]), entropy)
        is_kept[tie] = uniform < _keeping_threshold(int(offset[tie]), int(turns[tie]), sigma, bits)
    # Minus zero is the zero that plus zero already stands for (algorithm 2).
    is_kept &= ~(is_negative & (magnitude == 0))

    kept = magnitude[is_kept]
    return np.negative(kept, out=kept, where=is_negative[is_kept])


def _count_turns(wheel: UInt64Array, entropy: Callable[[int], bytes]) -> Int64Array:
    """Return V of each uniform, given by its upper half: the number of thresholds above it."""
    rank = np.searchsorted(_GEOMETRIC_UPPER, wheel, side="right")
    turns = _GEOMETRIC_UPPER.size - rank
    for tie in np.flatnonzero(_GEOMETRIC_UPPER[rank - 1] == wheel):
        uniform = _with_lower_half(int(wheel[tie]), entropy)
        turns[tie] = sum(uniform < threshold for threshold in _GEOMETRIC)
    return turns


def _keeping_threshold(offset: int, turns: int, sigma: float, bits: int) -> int:
    """Return floor(p * 2^128) of one proposal, exactly."""
    with localcontext() as context:
        context.prec = _DECIMAL_DIGITS
        t = Decimal(1 << bits)
        variance = Decimal(sigma) ** 2  # of the float itself, not of its decimal print
        distance = offset + turns * t - variance / t
        return int((-(offset / t) - distance**2 / (2 * variance)).exp() * 2**128)


def _with_lower_half(upper: int, entropy: Callable[[int], bytes]) -> int:
    return (upper << 64) | int.from_bytes(_draw(8, entropy), "little")


def _draw(count: int, entropy: Callable[[int], bytes]) -> bytes:
    drawn = entropy(count)
    if len(drawn) != count:
        raise ConfigurationError(f"entropy: {len(drawn)} bytes came where {count} were asked for.")
    return drawn
