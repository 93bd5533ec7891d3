"""Intervals for ratios of noised sums: one equation behind every rate that is read from the published histograms.

A ratio ``r = a / b`` is held against the data by asking whether ``a - r b`` could be zero (Fieller 1954). The set of
ratios that could is an interval which stays right where the denominator is mostly noise, where the delta method does
not; without noise it is Wilson's (1927) for a share. Only IEEE operations and square roots: every reader of the log gets
the same bits, and a gate is judged alike everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval, sampling and noise included; no estimate where noise hides it."""

    value: float | None
    low: float
    high: float

    def within(self, low: float, high: float) -> Interval:
        """Return the interval without what is impossible."""
        value = None if self.value is None else min(high, max(low, self.value))
        return Interval(value, min(high, max(low, self.low)), min(high, max(low, self.high)))


def ratio(a: float, b: float, *, var_a: float, var_b: float, covariance: float, z: float = Z95) -> Interval:
    """Return the ratios ``r >= 0`` with ``(a - r b)**2 <= z**2 (var_a - 2 r covariance + r**2 var_b)``.

    Args:
        a: Estimate of the numerator, at least 0.
        b: Estimate of the denominator, at least 0.
        var_a: Variance of ``a``, sampling and noise; so ``var_b``, and ``covariance`` of both.
    Returns: No value, and infinity as the upper end, where the denominator cannot be told from 0.
    """
    square = z * z
    leading = b * b - square * var_b
    half = a * b - square * covariance
    constant = a * a - square * var_a
    root = math.sqrt(max(half * half - leading * constant, 0.0))
    # The root that does not cancel; it holds as well where the leading coefficient is negative.
    low = constant / (half + root) if constant > 0 and half + root > 0 else 0.0
    if leading <= 0:
        return Interval(None, low, math.inf)
    return Interval(a / b, min(low, a / b), max((half + root) / leading, a / b))


def share(part: float, rest: float, *, part_noise: float, rest_noise: float, z: float = Z95) -> Interval:
    """Return ``part / (part + rest)``, both counts of people with Gaussian noise.

    Args:
        part: Noised count of those with the property; ``rest`` of those without. Below 0 both count as 0, which no true
            count is below.
        part_noise: Variance of the noise of ``part``; so ``rest_noise``.
    Returns: No value and the whole of what is possible where the noise hides how many there are.
    """
    part, rest = max(part, 0.0), max(rest, 0.0)
    whole = part + rest
    # Sampling: part - r whole has variance whole r (1 - r). Noise: part_noise (1 - r)**2 + rest_noise r**2.
    return ratio(
        part,
        whole,
        var_a=part_noise,
        var_b=part_noise + rest_noise - whole,
        covariance=part_noise - whole / 2,
        z=z,
    ).within(0.0, 1.0)


def quotient(a: Interval, b: Interval) -> Interval:
    """Return ``a / b`` of two independent rates from their intervals; from 0, to infinity if ``b`` may be 0.

    The distance of each rate to the end of its interval that matters stands for its standard error (Donner & Zou 2012).
    """
    if a.value is None or b.value is None:
        return Interval(None, 0.0, math.inf)

    low = _quotient(a.value, a.low, b.value, b.high).low
    return Interval(a.value / b.value if b.value > 0 else None, low, _quotient(a.value, a.high, b.value, b.low).high)


def _quotient(a: float, a_end: float, b: float, b_end: float) -> Interval:
    return ratio(a, b, var_a=(a - a_end) ** 2, var_b=(b - b_end) ** 2, covariance=0.0, z=1.0)
