"""What Gaussian releases cost: epsilon, delta, mu and rho, and what each adversary may conclude.

Rules this module keeps: a privacy parameter has no default; mu^2 = sum (sensitivity / sigma)^2 is the exact cost of
Gaussian releases, however adaptively chosen (Dong, Roth, Su 2022), and epsilon(delta) follows from mu alone (Balle and
Wang 2018); every way in which the program differs from that mathematics is in `extra_delta`:

- the sampler is not exact: `noise.STATISTICAL_DISTANCE_PER_SAMPLE` for every sample;
- a sum of the boroughs' discrete Gaussians is not a discrete Gaussian: `sum_distance` for every coordinate;
- a discrete Gaussian is not a Gaussian. But a Gaussian of variance sigma^2 - r^2, rounded at random to an integer by a
  discrete Gaussian of parameter r centred on it, has the law of a discrete Gaussian of variance sigma^2 up to a factor
  (1 + h)/(1 - h), h = 2 sum exp(-2 pi^2 r^2 k^2): the convolution theorem of Peikert 2010. For by Poisson summation
  exp(-(y - x)^2 / (2 r^2)), summed over all integers y, is sqrt(2 pi) r within a factor 1 + h or 1 - h, whatever x. The
  true sum is an integer, so the rounding commutes with adding it and is post-processing. With r = 3, h < 10^-76, and mu
  grows by 1/sqrt(1 - 9/sigma^2).

A mechanism within total variation distance tau of an (epsilon, delta) one, on every input, is
(epsilon, delta + (1 + e^epsilon) tau).

The unit is one person in one plan, added or removed. Their rows may lie in several boroughs at different cutoffs: the
norms of the parts add up to at most the stated sensitivity, so no adversary's mu below grows by that.

Source: Balle, Wang 2018, arXiv 1805.06530; Dong, Roth, Su 2022, JRSS B 84(1); Kairouz, Liu, Steinke 2021,
arXiv 2102.06387; Peikert 2010, CRYPTO.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from scipy.optimize import brentq
from scipy.special import erfcx, ndtr

from protocol.aggregation.noise import SIGMA_MIN, STATISTICAL_DISTANCE_PER_SAMPLE
from protocol.errors import ConfigurationError

_ROUNDING_VARIANCE: Final = 9.0  # r^2 of the module's docstring
_ROUNDING_DISTANCE: Final = 9.0 * math.exp(-2.0 * math.pi**2 * _ROUNDING_VARIANCE)  # at least 4 h
_SMALLEST_FLOAT: Final = 5e-324


@dataclass(frozen=True, slots=True)
class ReleaseEvent:
    """One release of a plan: all that accounting needs to know of it.

    `sensitivity` is one person's largest L2 change of the sum; `sigma` is the sd that the plan fixes, the noise of
    `min_boroughs - colluding` boroughs together. Both are in the same unit, whichever it is.
    """

    index: int
    sensitivity: float
    sigma: float

    def __post_init__(self) -> None:
        """Raise ConfigurationError unless the index is 0 or more and both numbers are positive."""
        if self.index < 0:
            raise ConfigurationError(f"index: {self.index} is negative.")
        _require_positive("sensitivity", self.sensitivity)
        _require_positive("sigma", self.sigma)

    @property
    def mu(self) -> float:
        """The release's own Gaussian privacy parameter."""
        return self.sensitivity / self.sigma


@dataclass(frozen=True, slots=True)
class Statement:
    """What holds against one adversary over the whole plan: (epsilon, delta), which follows from mu."""

    adversary: str
    epsilon: float
    delta: float
    mu: float


# --- one Gaussian -----------------------------------------------------------------------------------------------


def delta_of(*, mu: float, epsilon: float) -> float:
    """Return the smallest delta at this epsilon.

    Args:
        mu: Total sensitivity over sd; 0 for no release.
        epsilon: 0 or more.
    Returns: Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu); relative error below 1e-10 while above 1e-300.
    Raises: ConfigurationError if mu or epsilon is negative or not finite.
    Source: Balle, Wang 2018, theorem 8.
    """
    _require_not_negative("mu", mu)
    _require_not_negative("epsilon", epsilon)
    return math.exp(_log_delta(mu, epsilon)) if mu > 0.0 else 0.0


def epsilon_of(*, mu: float, delta: float) -> float:
    """Return the smallest epsilon at this delta: 0 where delta suffices without any.

    Args:
        mu: Total sensitivity over sd; 0 for no release.
        delta: Strictly between 0 and 1.
    Raises: ConfigurationError if either is out of range.
    Source: Balle, Wang 2018, theorem 8, solved for epsilon.
    """
    _require_not_negative("mu", mu)
    _require_delta(delta)
    if delta_of(mu=mu, epsilon=0.0) <= delta:
        return 0.0
    target = math.log(delta)
    # Chernoff: Phi(-z) <= exp(-z^2/2), with z = epsilon/mu - mu/2.
    highest = mu * mu / 2.0 + mu * math.sqrt(-2.0 * target)
    return _root(lambda epsilon: _log_delta(mu, epsilon) - target, 0.0, highest)


def right_guesses(*, mu: float) -> float:
    """Return the largest share of right guesses whether one person's rows were used: 0.5 is a coin's, 1 is certainty.

    Of a guesser who finds both equally likely beforehand and knows every other row: ``Phi(mu / 2)``. Exact for Gaussian
    noise; what sampler and sums of discrete Gaussians add is `extra_delta`'s matter.
    Source: Dong, Roth, Su 2022, section 2: the trade-off function at equal errors.
    """
    return float(ndtr(mu / 2))


def mu_of(*, epsilon: float, delta: float) -> float:
    """Return the largest mu that (epsilon, delta) allows: the calibration of a whole plan.

    Args:
        epsilon: 0 or more.
        delta: Strictly between 0 and 1.
    Raises: ConfigurationError if either is out of range.
    Source: Balle, Wang 2018, theorem 8, solved for mu.
    """
    _require_not_negative("epsilon", epsilon)
    _require_delta(delta)
    target = math.log(delta)
    z = math.sqrt(-2.0 * target)
    # Both are too small a mu: by Chernoff, and by delta(epsilon) <= delta(0) <= mu / sqrt(2 pi). Halved for rounding.
    lowest = 0.5 * max(2.0 * epsilon / (z + math.sqrt(z * z + 2.0 * epsilon)), delta * math.sqrt(2.0 * math.pi))
    highest = 2.0 * lowest
    while _log_delta(highest, epsilon) < target:
        highest *= 2.0
        if not highest < math.inf:  # an epsilon that overflows, also to NaN, would be doubled for ever
            raise ConfigurationError(f"epsilon: no mu in float64 gives {epsilon} at delta {delta}.")
    return _root(lambda mu: _log_delta(mu, epsilon) - target, lowest, highest)


def compose(mus: Iterable[float]) -> float:
    """Return the mu of several Gaussian releases about the same person together: the root of the sum of squares.

    Raises: ConfigurationError if one is negative or not finite.
    Source: Dong, Roth, Su 2022, corollary 3.3.
    """
    listed = list(mus)
    for mu in listed:
        _require_not_negative("mus", mu)
    return math.hypot(*listed)


def rho_of(mu: float) -> float:
    """Return the concentrated-DP cost mu^2/2: it adds up over plans, so budgets are kept in it.

    Raises: ConfigurationError if mu is negative or not finite.
    Source: Bun, Steinke 2016, proposition 1.6.
    """
    _require_not_negative("mu", mu)
    return mu * mu / 2.0


def person_in_plans(mus: Iterable[float]) -> float:
    """Return the mu of a person whose rows are used by several plans, each of whose mu is given.

    A plan's epsilon speaks of one plan. Later plans may depend on what earlier ones released: the composition is
    adaptive, and a person in m equal plans has sqrt(m) times the mu of one.

    Raises: ConfigurationError if one is negative or not finite.
    Source: Dong, Roth, Su 2022, theorem 3.2 and corollary 3.3.
    """
    return compose(mus)


# --- from a plan to noise ---------------------------------------------------------------------------------------


def sensitivity_ring_units(*, l2: float, scale: int, rows_per_person: int, length: int) -> float:
    """Return how far one person can move a borough's integer sum, in L2.

    Args:
        l2: Largest norm of one person's weighted rows together, in units of the clip.
        scale: Ring units per unit of the clip.
        rows_per_person: m, the most rows a person has in the plan; each is rounded by itself.
        length: Entries of the vector; rounding moves each by at most 1/2.
    Returns: l2 * scale + m * sqrt(length) / 2, in ring units.
    Raises: ConfigurationError if one is not positive.
    """
    _require_positive("l2", l2)
    _require_positive("scale", scale)
    _require_positive("rows_per_person", rows_per_person)
    _require_positive("length", length)
    return l2 * scale + rows_per_person * math.sqrt(length) / 2.0


def local_sigma(*, sigma: float, min_boroughs: int, colluding: int) -> float:
    """Return each borough's own sd: `min_boroughs - colluding` of them add up to `sigma`.

    Args:
        sigma: The plan's sd for this release.
        min_boroughs: Fewest boroughs in a sum.
        colluding: Boroughs that may take their own noise off again; at least 1.
    Returns: sigma / sqrt(min_boroughs - colluding), in sigma's unit.
    Raises: ConfigurationError if sigma is not positive or not 1 <= colluding < min_boroughs.
    """
    _require_positive("sigma", sigma)
    return sigma / math.sqrt(_honest(min_boroughs, colluding))


def realised_sigma(*, sigma: float, min_boroughs: int, colluding: int, answered: int) -> float:
    """Return the sd that a sum really carries: intervals, whitening and stability use this one.

    Args:
        sigma: The plan's sd for this release.
        min_boroughs: Fewest boroughs in a sum.
        colluding: Boroughs tolerated as colluding.
        answered: Boroughs in this sum, at least min_boroughs.
    Returns: sigma * sqrt(answered / (min_boroughs - colluding)), in sigma's unit.
    Raises: ConfigurationError if answered < min_boroughs, or as `local_sigma`.
    """
    own = local_sigma(sigma=sigma, min_boroughs=min_boroughs, colluding=colluding)
    if answered < min_boroughs:
        raise ConfigurationError(f"answered: {answered} boroughs are fewer than min_boroughs = {min_boroughs}.")
    return own * math.sqrt(answered)


# --- what the mathematics left out ------------------------------------------------------------------------------


def sum_distance(*, local_sigma_ring: float, boroughs: int) -> float:
    """Bound, for one coordinate, how far a sum of discrete Gaussians is from one discrete Gaussian.

    Args:
        local_sigma_ring: Parameter of each summand, in ring units, at least 1/2.
        boroughs: Number of summands.
    Returns: tau = 10 sum_{k=1}^{n-1} exp(-2 pi^2 sigma^2 k/(k+1)). It bounds |log ratio| of the two laws everywhere,
        so also their total variation distance. From sigma = 9 on it is below the smallest float, which is then
        returned: still a bound. 0 for one summand.
    Raises: ConfigurationError if local_sigma_ring is below 1/2 or boroughs below 1.
    Source: Kairouz, Liu, Steinke 2021, theorem 1 and the section on convolutions of discrete Gaussians.
    """
    _require_positive("boroughs", boroughs)
    if not 0.5 <= local_sigma_ring < math.inf:
        raise ConfigurationError(f"local_sigma_ring: {local_sigma_ring} is not at least 1/2.")
    if boroughs == 1:
        return 0.0
    exponent = -2.0 * math.pi**2 * local_sigma_ring * local_sigma_ring
    tau = 10.0 * math.fsum(math.exp(exponent * k / (k + 1)) for k in range(1, boroughs))
    # The last bits: the sum's exponentials are good to 1e-13, one part in 1e9 covers them.
    return max(tau * (1.0 + 1e-9), _SMALLEST_FLOAT)


def extra_delta(
    *, lengths: Sequence[int], local_sigmas_ring: Sequence[float], boroughs: int, epsilon: float, mu: float
) -> float:
    """Bound what must be added to delta because samples, sums and integers are not the Gaussians of the mathematics.

    Valid for every adversary of `statements`, with that adversary's own epsilon and mu: the sd of what is seen is
    taken as one borough's, the least of all.

    Args:
        lengths: Entries of each release's vector.
        local_sigmas_ring: Each borough's own sd for each release, in ring units, at least `noise.SIGMA_MIN`.
        boroughs: Most boroughs that may answer; each draws its own noise for every entry.
        epsilon: The whole plan's.
        mu: The whole plan's.
    Returns: The addition, at most 1. A plan is sound when it is below delta / 1000.
    Raises: ConfigurationError if the lists are empty or differ in length, or a value is out of range.
    Source: the module's docstring; Kairouz, Liu, Steinke 2021; Peikert 2010.
    """
    if not lengths or len(lengths) != len(local_sigmas_ring):
        raise ConfigurationError(
            f"local_sigmas_ring: {len(local_sigmas_ring)} values for {len(lengths)} lengths; one each, at least one."
        )
    _require_positive("boroughs", boroughs)
    _require_not_negative("epsilon", epsilon)
    _require_positive("mu", mu)
    distance = 0.0
    for length, sigma in zip(lengths, local_sigmas_ring, strict=True):
        _require_positive("lengths", length)
        if not SIGMA_MIN <= sigma < math.inf:
            raise ConfigurationError(f"local_sigmas_ring: {sigma} is below 2^10; raise the scale or min_boroughs.")
        per_entry = boroughs * STATISTICAL_DISTANCE_PER_SAMPLE + _ROUNDING_DISTANCE
        distance += length * (per_entry + sum_distance(local_sigma_ring=sigma, boroughs=boroughs))
    factor = 1.0 + math.exp(min(epsilon, 700.0))  # beyond, the result is 1 anyway
    return min(1.0, factor * distance + _lattice_delta(mu, epsilon, min(local_sigmas_ring)))


def _lattice_delta(mu: float, epsilon: float, sigma_ring: float) -> float:
    """Bound how much delta grows when mu grows by 1/sqrt(1 - r^2/sigma^2): d delta / d mu is phi(mu/2 - epsilon/mu)."""
    growth = math.expm1(-0.5 * math.log1p(-_ROUNDING_VARIANCE / (sigma_ring * sigma_ring)))
    highest = mu * (1.0 + growth)
    steepest = min(max(0.0, mu / 2.0 - epsilon / mu), highest / 2.0 - epsilon / highest)
    return mu * growth * math.exp(-steepest * steepest / 2.0) / math.sqrt(2.0 * math.pi)


# --- statements -------------------------------------------------------------------------------------------------


def statements(
    events: Iterable[ReleaseEvent], *, delta: float, min_boroughs: int, colluding: int, boroughs: int
) -> tuple[Statement, ...]:
    """State the whole plan's epsilon against each adversary: for plan, ledger and model card.

    With sigma the plan's, every borough's noise has variance sigma^2 / (min_boroughs - colluding). An adversary is
    told apart by how much of it he cannot take off:

    - "released sums" sees what is published, and knows no borough's noise. At least min_boroughs are in the sum, so
      mu is at most sqrt((min_boroughs - colluding) / min_boroughs) times the planned one. More answers only lower it.
    - "released sums and c boroughs" also knows the noise of `colluding` boroughs: the planned mu. This is the
      guarantee that the plan's epsilon states, and it holds for the coordinator or the unmasker alone among them.
    - "coordinator and unmasker together" sees each borough's own vector: one borough's noise only, so mu is
      sqrt(min_boroughs - colluding) times the planned one.

    Args:
        events: Every release that may be answered, budgeted spares included.
        delta: Of every statement; `extra_delta` comes on top.
        min_boroughs: Fewest boroughs in a sum.
        colluding: Boroughs tolerated as colluding, at least 1.
        boroughs: Boroughs in the plan.
    Returns: The three statements, in the order above.
    Raises: ConfigurationError if there is no event, an index occurs twice, delta is not strictly between 0 and 1, or
        not 1 <= colluding < min_boroughs <= boroughs.
    Source: Dong, Roth, Su 2022; Balle, Wang 2018.
    """
    listed = tuple(events)
    _require_delta(delta)
    honest = _honest(min_boroughs, colluding)
    if boroughs < min_boroughs:
        raise ConfigurationError(f"boroughs: {boroughs} are fewer than min_boroughs = {min_boroughs}.")
    if not listed:
        raise ConfigurationError("events: a plan without releases states nothing.")
    if len({event.index for event in listed}) != len(listed):
        raise ConfigurationError("events: an index occurs twice.")
    planned = compose(event.mu for event in listed)
    mu_of_adversary = {
        "released sums": planned * math.sqrt(honest / min_boroughs),
        f"released sums and {colluding} borough{'s' if colluding > 1 else ''}": planned,
        "coordinator and unmasker together": planned * math.sqrt(honest),
    }
    return tuple(
        Statement(adversary=adversary, epsilon=epsilon_of(mu=mu, delta=delta), delta=delta, mu=mu)
        for adversary, mu in mu_of_adversary.items()
    )


# --- numerics and refusals --------------------------------------------------------------------------------------


def _log_delta(mu: float, epsilon: float) -> float:
    """Return log delta(epsilon) for mu > 0; minus infinity where even its logarithm leaves float64.

    As e^epsilon phi(-mu/2 - epsilon/mu) = phi(mu/2 - epsilon/mu), both terms share the factor exp(-a^2/2)/2 and the
    difference left is one of erfcx, which neither under- nor overflows.
    """
    a = mu / 2.0 - epsilon / mu
    if a > 5.0:  # erfcx(-a/sqrt(2)) would overflow at a = 37; from here on nothing cancels
        tail = float(erfcx((mu / 2.0 + epsilon / mu) / math.sqrt(2.0)))
        return math.log(float(ndtr(a)) - 0.5 * math.exp(-a * a / 2.0) * tail)
    width = mu / math.sqrt(2.0)
    middle = epsilon / mu / math.sqrt(2.0)
    if mu > 1e-3:
        difference = float(erfcx(middle - width / 2.0)) - float(erfcx(middle + width / 2.0))
    else:  # the two values agree in so many digits that the Taylor series about their middle is more exact
        value = float(erfcx(middle))
        first = 2.0 * middle * value - 2.0 / math.sqrt(math.pi)
        second = 2.0 * value + 2.0 * middle * first
        third = 4.0 * first + 2.0 * middle * second
        difference = -width * first - width**3 / 24.0 * third
    return math.log(difference / 2.0) - a * a / 2.0 if difference > 0.0 else -math.inf


def _root(function: Callable[[float], float], lowest: float, highest: float) -> float:
    """Return where an increasing or decreasing function crosses zero, to the last bits of float64.

    Raises: ConfigurationError for parameters so small or so large that float64 shows no crossing.
    """
    try:
        return float(brentq(function, lowest, highest, xtol=1e-18 * highest, rtol=8.9e-16, maxiter=1000))
    except ValueError:
        raise ConfigurationError("epsilon or delta: too small or too large for float64.") from None


def _honest(min_boroughs: int, colluding: int) -> int:
    if colluding < 1:
        raise ConfigurationError(f"colluding: {colluding} is below 1.")
    if min_boroughs <= colluding:
        raise ConfigurationError(f"min_boroughs: {min_boroughs} does not exceed colluding = {colluding}.")
    return min_boroughs - colluding


def _require_positive(field: str, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ConfigurationError(f"{field}: {value} is not positive and finite.")


def _require_not_negative(field: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise ConfigurationError(f"{field}: {value} is not finite and at least 0.")


def _require_delta(delta: float) -> None:
    if not 0.0 < delta < 1.0:
        raise ConfigurationError(f"delta: {delta} is not strictly between 0 and 1.")
