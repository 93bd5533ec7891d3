"""A lower bound on mu from what was released: an attack that is made, and not a promise that is read.

The audit plays the strongest attacker that differential privacy speaks of: one who knows every row of every borough,
and of one person everything but whether they are in. He is given many such persons, *canaries*, each put in or left
out by its own fair coin (Steinke, Nasr, Jagielski 2023), all in one release or in several.

**The attack.** With c_i the canary's contribution, s_i its coin and Y = sum_j s_j c_j + noise the released sum, he
takes the statistic t_i = <u_i, Y - sum_{j != i} s_j c_j> = s_i <u_i, c_i> + <u_i, noise>. The u_i are fixed by the
contributions alone: the orthonormal vectors nearest to them (Loewdin 1950). Along orthonormal directions the noise
parts of Gaussian noise are independent, although all of them lie in one noise vector, and each has its sd, sigma. Each
is a weighted sum over all entries, so that another law of single entries would hardly show in it; the sd does. There
can be no more canaries in a release than it has independent entries.

**The bound.** Telling N(gain, sigma^2) from N(0, sigma^2) is gain/sigma-Gaussian private and no better, and it is
post-processing of the release: mu is at least gain/sigma for every gain = <u_i, c_i> (Dong, Roth, Su 2022, section 2).
The estimate is the difference of the means, in minus out, over the pooled sd (Andrew et al. 2024 compare canaries with
the law of ones that were not in). With n_1 in, n_0 out and equal gains, the difference over
pooled sd * sqrt(1/n_1 + 1/n_0) has exactly the noncentral t law with n_1 + n_0 - 2 degrees of freedom and
noncentrality (gain/sigma) / sqrt(1/n_1 + 1/n_0); the bound is the noncentrality at which what was seen, or more, has
chance 1 - confidence. Unequal gains only add to the pooled sd, independently of the means, and the mean gain is at
most the largest: P(bound > largest gain / sigma) <= 1 - confidence, in finite samples, without an approximation. A
largest gain above the stated sensitivity counts too: rows that are not clipped are found like noise that is missing.
The coins add what the noise's law does not give: whatever the noise was, the difference of the means is unbiased.

**What it loses.** <u_i, c_i> is less than |c_i|: `PrivacyFinding.mu_expected` is what an honest release is expected to
show. So an honest one fails less often than 1 - confidence; `chance_of_failing` says how often, and how often too
little noise does.

**What it cannot see.** A generator that somebody can predict: its noise has the right sd. A fault in the law of single
entries, or missing noise in a few of them: what is measured is an average over entries, and tests of goodness of fit
are for the rest. A shortfall much smaller than the bound's width.

Source: Andrew, Kairouz, Oh, Oprea, McMahan, Suriyakumar 2024, arXiv 2302.03098; Steinke, Nasr, Jagielski 2023,
arXiv 2305.08846; Dong, Roth, Su 2022, JRSS B 84(1); Loewdin 1950, J. Chem. Phys. 18, 365.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from protocol.errors import ConfigurationError, VerificationError

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LEAST_IN_GROUP: Final = 10
"""Canaries in and canaries out that an audit needs at least."""

LARGEST_MU: Final = 10.0
"""A larger estimate is taken down to it, which only lowers the bound: at mu = 10 nothing is private any more."""

BLIND_CONFIDENCE: Final = 1 - 1e-9
"""An audit whose upper bound at this confidence misses the expected mu did not see its canaries: see `verify`."""

_SMALLEST_EIGENVALUE: Final = 1e-7  # of the contributions' Gram matrix, relative: below it float64 loses directions
_QUADRATURE: Final = np.polynomial.legendre.leggauss(600)


class PrivacyAuditFailed(VerificationError):
    """A release told more about its canaries than the plan states."""

    code = "audit.privacy_failed"
    public_message = "The released sums tell more about one person than the plan states."
    remedy_text = (
        "Stop all plans. Repeat the audit: an honest federation fails it as rarely as the report says. If it fails "
        "again, the boroughs' software adds too little noise or does not clip; find the version that changed."
    )


class PrivacyAuditBlind(VerificationError):
    """A release told less about its canaries than its stated noise allows to see: the audit tested nothing."""

    code = "audit.blind"
    public_message = "The audit did not find its canaries in the released sums, so that it proves nothing."
    remedy_text = (
        "Check that the audited log, canaries and coins belong together. If they do, more noise than planned arrived, "
        "or canaries did not: no danger to privacy, but the sums are not what the plan says."
    )


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the attacker computed of every canary, in the unit of the contributions."""

    inside: Float64Array
    """Of the canaries that were in, over all releases, shape (n_1,)."""
    outside: Float64Array
    """Of the canaries that were held out, shape (n_0,)."""
    mean_gain: float
    """Mean of <u_i, c_i>: how far apart the two groups' means are expected."""

    @property
    def spread(self) -> float:
        """sqrt(1/n_1 + 1/n_0). Raises: ConfigurationError if a group has under `LEAST_IN_GROUP` canaries."""
        if min(self.inside.size, self.outside.size) < LEAST_IN_GROUP:
            raise ConfigurationError(
                f"canaries: {self.inside.size} in and {self.outside.size} out; {LEAST_IN_GROUP} of each are needed."
            )
        return math.sqrt(1 / self.inside.size + 1 / self.outside.size)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the pooled sd."""
        return self.inside.size + self.outside.size - 2


@dataclass(frozen=True, slots=True)
class PrivacyFinding:
    """What an audit says of the released sums."""

    mu_estimate: float
    mu_lower: float
    """One-sided lower bound at `confidence`; below 0 where nothing was seen."""
    mu_upper: float
    """One-sided upper bound, at `BLIND_CONFIDENCE`, on what the attack sees; not on mu, which other attacks might see."""
    mu_stated: float
    mu_expected: float
    """What the attack is expected to see when the noise is as stated."""
    confidence: float
    inside: int
    outside: int

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the stated mu: the lower bound does not exceed it."""
        return self.mu_lower <= self.mu_stated

    @property
    def is_blind(self) -> bool:
        """Whether the attack saw less than the stated noise would have let it see."""
        return self.mu_upper < self.mu_expected

    def chance_of_failing(self, mu: float) -> float:
        """Return how often an audit of this size does not hold, when what its attack sees is ``mu``.

        ``mu_expected`` gives the honest federation's false alarms, twice that the power against halved noise.
        """
        spread, freedom = math.sqrt(1 / self.inside + 1 / self.outside), self.inside + self.outside - 2
        critical = _quantile(self.mu_stated / spread, freedom, below=self.confidence)
        return 1.0 - _chance_below(critical, mu / spread, freedom)

    def verify(self) -> None:
        """Return if the audit saw its canaries and nothing contradicts the stated mu.

        Raises: PrivacyAuditFailed; PrivacyAuditBlind.
        """
        if not self.holds:
            raise PrivacyAuditFailed(
                f"mu is at least {self.mu_lower:.3f} at confidence {self.confidence:g}; {self.mu_stated:.3f} is stated"
            )
        if self.is_blind:
            raise PrivacyAuditBlind(
                f"the attack saw mu {self.mu_estimate:.3f} where {self.mu_expected:.3f} is expected"
            )


def directions(contributions: Float64Array) -> Float64Array:
    """Return the orthonormal vectors nearest to the contributions, one for each: the polar factor (C C^T)^(-1/2) C.

    Args:
        contributions: Shape (canaries, entries); linearly independent rows.
    Raises: ConfigurationError if the rows are dependent, as when there are more canaries than entries.
    Source: Loewdin 1950.
    """
    values, vectors = np.linalg.eigh(contributions @ contributions.T)
    if values[0] < _SMALLEST_EIGENVALUE * values[-1]:
        raise ConfigurationError(
            f"canaries: the contributions of {len(contributions)} are not independent in a sum of "
            f"{contributions.shape[1]} entries; use fewer in a release, and more releases."
        )
    nearest: Float64Array = (vectors / np.sqrt(values)) @ (vectors.T @ contributions)
    return nearest


def attack(released: Float64Array, contributions: Float64Array, included: BoolArray) -> Statistics:
    """Return the attacker's statistic of every canary in every release.

    Args:
        released: Noised sums over the same people, each with fresh noise of one sigma, shape (releases, entries).
        contributions: What each canary adds when it is in, shape (canaries, entries), in the unit of the sums.
        included: The coins, shape (canaries,); drawn independently of the noise.
    Raises: ConfigurationError if shapes differ or the contributions are dependent.
    """
    if released.ndim != 2 or contributions.shape != (included.size, released.shape[1]):
        raise ConfigurationError(
            f"canaries: {contributions.shape} contributions of {included.size} to sums of {released.shape}."
        )
    along = directions(contributions)
    gains = np.einsum("ij,ij->i", along, contributions)
    # All known contributions are taken off, and then each canary's own is put back for itself.
    statistics = (released - contributions[included].sum(axis=0)) @ along.T + included * gains
    return Statistics(statistics[:, included].ravel(), statistics[:, ~included].ravel(), float(gains.mean()))


def examine(statistics: Statistics, *, sigma: float, mu_stated: float, confidence: float) -> PrivacyFinding:
    """Return what the statistics say of mu.

    Args:
        sigma: Stated sd of the noise in the released sums, in the unit of the statistics; for `mu_expected` only.
        mu_stated: What is claimed of one release against whoever sees it.
        confidence: Of the lower bound, strictly between 0.5 and 1.
    Raises: ConfigurationError if a group is too small or a number out of range.
    """
    if not 0.5 < confidence < 1.0:
        raise ConfigurationError(f"confidence: {confidence} is not strictly between 0.5 and 1.")
    if not (0.0 < sigma < math.inf and 0.0 < mu_stated < math.inf):
        raise ConfigurationError(f"sigma, mu_stated: {sigma}, {mu_stated} are not positive and finite.")
    spread, freedom = statistics.spread, statistics.freedom
    squares = sum(float(np.square(group - group.mean()).sum()) for group in (statistics.inside, statistics.outside))
    difference = float(statistics.inside.mean() - statistics.outside.mean())
    pooled = math.sqrt(squares / freedom)
    estimate = math.copysign(min(abs(difference), LARGEST_MU * pooled) / pooled if pooled else LARGEST_MU, difference)
    return PrivacyFinding(
        mu_estimate=estimate,
        mu_lower=spread * _noncentrality(estimate / spread, freedom, below=confidence),
        mu_upper=spread * _noncentrality(estimate / spread, freedom, below=1 - BLIND_CONFIDENCE),
        mu_stated=mu_stated,
        mu_expected=statistics.mean_gain / sigma,
        confidence=confidence,
        inside=statistics.inside.size,
        outside=statistics.outside.size,
    )


def _chance_below(t: float, shift: float, freedom: int) -> float:
    """Return P(T <= t) of the noncentral t law with noncentrality ``shift``: E Phi(t R - shift), R^2 = chi^2 / freedom.

    By quadrature over R, within 12 of its sds: scipy's own `nct` gives no number for some ordinary arguments. Relative
    error below 1e-8 down to 1e-12, for the t of an estimate up to `LARGEST_MU`.
    """
    nodes, weights = _QUADRATURE
    lowest = max(0.0, 1.0 - 12.0 / math.sqrt(2.0 * freedom))
    half = (1.0 + 12.0 / math.sqrt(2.0 * freedom) - lowest) / 2.0
    ratio = lowest + half * (1.0 + nodes)
    # The density of R up to its constant, at most 1: exp(-freedom ((R^2 - 1) / 2 - log R)) / R.
    density = weights * np.exp(-freedom * ((ratio * ratio - 1.0) / 2.0 - np.log(ratio))) / ratio
    return float(density @ ndtr(t * ratio - shift) / density.sum())


def _noncentrality(t: float, freedom: int, *, below: float) -> float:
    """Return the noncentrality under which a noncentral t is at most ``t`` with probability ``below``."""
    width = _width(t, freedom, below)
    return float(brentq(lambda shift: _chance_below(t, shift, freedom) - below, t - width, t + width, xtol=1e-9))


def _quantile(shift: float, freedom: int, *, below: float) -> float:
    """Return what a noncentral t is at most with probability ``below``."""
    width = _width(shift, freedom, below)
    return float(brentq(lambda t: _chance_below(t, shift, freedom) - below, shift - width, shift + width, xtol=1e-9))


def _width(center: float, freedom: int, below: float) -> float:
    """Return a distance from the center beyond which no solution of the two functions above lies."""
    return 4.0 * (abs(float(ndtri(below))) + 1.0) * math.sqrt(1.0 + center * center / (2.0 * freedom))
