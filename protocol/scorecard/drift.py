"""How far the features have moved since an earlier plan: the population stability index, with the noise taken out.

The index of two histograms with shares ``p`` and ``q`` is ``sum (p - q) log(p / q)``. Noise alone makes it positive, so
its expected part is subtracted, and the interval asks which true index could have given the rest. Neighbouring bins are
taken together until noise no longer decides their share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from protocol.ids import Digest
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.evaluation import CLEAR
from protocol.scorecard.intervals import Z95, Interval
from protocol.scorecard.run import Published, Run


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature's population stability index; 0: no change. Above 0.25 is usually taken for a shift, below 0.1 for none."""

    feature: str
    index: Interval
    ends: tuple[int, ...]
    """Where each group of the release's bins ends; one group alone says nothing."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What a plan's drift release says about the time since an earlier one."""

    against: Digest | None
    """The plan it is held against; None: the log has no earlier one of the same catalogue and columns that measured it."""
    features: tuple[FeatureDrift, ...]

    def __str__(self) -> str:
        """Say what is compared with what."""
        if self.against is None:
            return "There is no earlier plan of the same catalogue and features to compare with."
        return f"Compared with plan {self.against[:16]}."


def drift(run: Run, earlier: Run | None) -> Drift | None:
    """Return how the features moved since an earlier plan; None if the plan measured no drift.

    Args:
        earlier: As ``PublicRecord.before`` finds it.
    Raises: StateError while the release is missing.
    """
    if not any(spec.function == "drift" for spec in run.plan.releases):
        return None
    now = run.only("drift")
    if earlier is None:
        return Drift(None, ())
    then = earlier.only("drift")
    shape = run.columns.shape("drift")
    rows = zip(run.columns.names[1:], now.values.reshape(shape), then.values.reshape(shape), strict=True)
    return Drift(
        earlier.plan.digest(),
        tuple(_feature(name, new, old, now, then) for name, new, old in rows),
    )


def _feature(name: str, new: Float64Array, old: Float64Array, now: Published, then: Published) -> FeatureDrift:
    ends, index = stability_index(new, old, new_sigma=now.sigma, old_sigma=then.sigma)
    return FeatureDrift(name, index, ends)


def stability_index(
    new: Float64Array, old: Float64Array, *, new_sigma: float, old_sigma: float
) -> tuple[tuple[int, ...], Interval]:
    """Return where groups of bins end, and the index over those groups; no value if noise leaves fewer than two.

    Args:
        new: Noised counts of the later release, shape (bins,); ``old`` of the earlier one.
        new_sigma: sd of the noise of each count; so ``old_sigma``.
    """
    totals = float(new.sum()), float(old.sum())
    if min(totals) <= 0:
        return (), Interval(None, 0.0, math.inf)
    noise = (new_sigma / totals[0]) ** 2, (old_sigma / totals[1]) ** 2
    ends = _groups((new / totals[0] + old / totals[1]) / 2, math.sqrt(noise[0] + noise[1]) / 2)
    if len(ends) < 2:
        return ends, Interval(None, 0.0, math.inf)
    sizes = np.diff(ends, prepend=0)
    p, q = (np.add.reduceat(counts, [0, *ends[:-1]]) / total for counts, total in zip((new, old), totals, strict=True))
    # A share is at least half of what the groups are made to hold together, so that one release's noise has no logarithm
    # of its own.
    p, q = (np.maximum(shares, (p + q) / 8) for shares in (p, q))
    p_variance, q_variance = noise[0] * sizes + p / totals[0], noise[1] * sizes + q / totals[1]
    # Second-order expansion around p and q: what the variance of each adds to the index on average.
    by_group = (p_variance * (1 / p + q / p**2) + q_variance * (1 / q + p / q**2)) / 2
    excess = float(((p - q) * np.log(p / q)).sum() - by_group.sum())
    value = max(excess, 0.0)
    # A true index t in groups whose noise is r each has variance 4 t r, and noise alone has 2 sum r**2. Histograms more
    # alike than noise allows say no more than those which are as alike as it allows.
    largest, both = float(by_group.max()), 2 * float(by_group @ by_group)
    excess = max(excess, -math.sqrt(both))
    middle = excess + 2 * Z95**2 * largest
    root = Z95 * math.sqrt(max(4 * excess * largest + 4 * Z95**2 * largest**2 + both, 0.0))
    return ends, Interval(value, min(max(middle - root, 0.0), value), max(middle + root, value))


def _groups(shares: Float64Array, sd: float) -> tuple[int, ...]:
    """Return where groups of neighbouring bins end, each with a share told from its noise; the last takes what is left."""
    ends, start = [], 0
    for stop in range(1, shares.size + 1):
        if shares[start:stop].sum() > CLEAR * sd * math.sqrt(stop - start):
            ends.append(stop)
            start = stop
    return (*ends[:-1], shares.size)
