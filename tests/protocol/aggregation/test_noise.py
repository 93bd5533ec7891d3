"""The sampler against the exact law and against OpenDP's exact sampler.

Our draws come from a fixed stream, so against the exact law these tests always decide the same way. Each states how
often it would have been wrong, had the stream been random; all of them together, 2e-7. OpenDP draws from the system's
source: the one test that accepts its samples is wrong once in 1e7 runs. Together below 1e-6.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import mpmath
import numpy as np
import opendp.prelude as dp
import pytest
from scipy import stats

from protocol.aggregation import noise
from protocol.aggregation.encoding import Int64Array
from protocol.aggregation.noise import (
    SIGMA_MAX,
    SIGMA_MIN,
    STATISTICAL_DISTANCE_PER_SAMPLE,
    SYSTEM_ENTROPY,
    discrete_gaussian,
)
from protocol.errors import ConfigurationError

SAMPLES = 200_000
BINS = 60
FALSE_ALARM = 1e-8
"""Of one goodness-of-fit test whose samples are fixed."""

# The power of two nearest to sigma is below it, equal to it, above it, and at both ends of its reach.
SIGMAS_WITH_EXACT_LAW = (1024.0, 1200.0, 1448.0, 1449.0, 1900.5)


def fixed_stream(seed: str) -> Callable[[int], bytes]:
    """Return an entropy function that always yields the same stream: for tests only."""
    calls = 0

    def entropy(count: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"custodes test noise {seed} {calls}".encode()).digest(count)

    return entropy


def draw(sigma: float, seed: str, size: int = SAMPLES) -> Int64Array:
    return discrete_gaussian(size, sigma=sigma, entropy=fixed_stream(f"{seed} {sigma}"))


def exact_bins(sigma: float) -> tuple[Int64Array, np.ndarray]:
    """Return the last value of each of 60 about equally likely bins but the last, and each bin's exact probability."""
    reach = math.ceil(12 * sigma)
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (values / sigma) ** 2)
    cumulative = np.cumsum(weights) / weights.sum()
    last = np.searchsorted(cumulative, np.arange(1, BINS) / BINS)
    return values[last], np.diff(np.concatenate([[0.0], cumulative[last], [1.0]]))


def chi_square_p_value(samples: Int64Array, sigma: float) -> float:
    last, probabilities = exact_bins(sigma)
    seen = np.bincount(np.searchsorted(last, samples, side="left"), minlength=BINS)
    return float(stats.chisquare(seen, samples.size * probabilities).pvalue)


@pytest.mark.parametrize("sigma", SIGMAS_WITH_EXACT_LAW)
def test_samples_follow_the_exact_probabilities(sigma: float) -> None:
    # False alarm 1e-8 for each sigma.
    assert chi_square_p_value(draw(sigma, "fit"), sigma) > FALSE_ALARM


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_the_goodness_of_fit_test_notices_a_sigma_off_by_five_percent(factor: float) -> None:
    # Noncentrality about 2 * 200,000 * 0.05^2 = 1000 at 59 degrees of freedom: a miss is below 1e-100.
    assert chi_square_p_value(draw(1200.0 * factor, "off"), 1200.0) < FALSE_ALARM


@pytest.mark.parametrize("sigma", [2.0**20 * 1.1, 2.0**35 * 1.4, SIGMA_MAX])
def test_samples_of_a_large_sigma_follow_the_gaussian(sigma: float) -> None:
    # From 2^20 on, 200,000 samples cannot tell the two laws apart. False alarm 1e-8 for each sigma.
    assert stats.kstest(draw(sigma, "large") / sigma, "norm").pvalue > FALSE_ALARM


@pytest.mark.parametrize("sigma", [*SIGMAS_WITH_EXACT_LAW, 2.0**20 * 1.1, SIGMA_MAX])
def test_mean_and_variance_are_those_of_the_law(sigma: float) -> None:
    scaled = draw(sigma, "moments") / sigma
    # Six standard errors each: false alarm 2e-9 a check.
    assert abs(scaled.mean()) < 6 / math.sqrt(SAMPLES)
    assert abs(scaled.var() - 1) < 6 * math.sqrt(2 / SAMPLES)
    assert abs(stats.skew(scaled)) < 6 * math.sqrt(6 / SAMPLES)
    assert abs(stats.kurtosis(scaled)) < 6 * math.sqrt(24 / SAMPLES)


def test_the_lowest_bits_are_uniform() -> None:
    # A sampler that rounds a float leaves a pattern here. False alarm 1e-8 for each sigma.
    for sigma in (1024.0, 2.0**50):
        seen = np.bincount(draw(sigma, "low bits") & 63, minlength=64)
        assert stats.chisquare(seen).pvalue > FALSE_ALARM


def test_zero_is_as_likely_as_the_law_says_and_not_twice() -> None:
    samples = draw(SIGMA_MIN, "zero", 1_000_000)
    expected = 1_000_000 / (SIGMA_MIN * math.sqrt(2 * math.pi))  # about 390
    # Six standard deviations, false alarm 2e-9; twice the probability would be twenty away.
    assert abs(np.count_nonzero(samples == 0) - expected) < 6 * math.sqrt(expected)


def test_every_integer_is_as_likely_as_the_law_says():
    """Bins hide a value that comes too often beside one that comes too rarely; here each integer is a bin of its own.

    1,500,000 samples, 4,097 integers with 79 to 584 samples expected on each, and both tails. False alarm 1e-8. One
    integer in 16 too likely by an eighth, as a place in the lowest bits would be, is missed less than once in 1e9.
    """
    size, sigma = 1_500_000, 1024.0
    values = np.arange(-2048, 2049)
    probabilities = np.exp(-0.5 * (values / sigma) ** 2) / (
        sigma * math.sqrt(2 * math.pi)
    )  # to 1e-100: Poisson summation
    tail = (1 - probabilities.sum()) / 2
    expected = size * np.concatenate([[tail], probabilities, [tail]])
    seen = np.bincount(np.clip(draw(sigma, "integers", size), -2049, 2049) + 2049, minlength=4099)
    assert stats.chisquare(seen, expected).pvalue > FALSE_ALARM
    wrong = expected * np.where(np.arange(4099) % 16 == 0, 1 + 1 / 8, 1 - 1 / 8 / 15)
    noncentrality = ((wrong - expected) ** 2 / expected).sum()
    assert stats.ncx2.cdf(stats.chi2.isf(FALSE_ALARM, 4098), 4098, noncentrality) < 1e-9


OPENDP_SAMPLES = 20_000
OPENDP_SIGMA = 1200.0
OPENDP_FALSE_ALARM = 1e-7
OPENDP_CRITICAL = float(stats.chi2.isf(OPENDP_FALSE_ALARM, BINS - 1))
"""Of the two-sample chi-square over 60 bins, about 133.7. Every bin expects over 300 samples of either sampler."""


@pytest.fixture(scope="module")
def of_opendp() -> Int64Array:
    """Samples of OpenDP's exact sampler, from the operating system's source."""
    dp.enable_features("contrib")
    domain, metric = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    add_noise = dp.m.make_gaussian(domain, metric, scale=OPENDP_SIGMA)
    return np.array(add_noise([0] * OPENDP_SAMPLES), dtype=np.int64)


def two_sample_statistic(one: Int64Array, other: Int64Array, sigma: float) -> float:
    """Return Pearson's statistic of homogeneity over bins that are equally likely under the exact law."""
    last, _ = exact_bins(sigma)
    seen = [np.bincount(np.searchsorted(last, samples, side="left"), minlength=BINS) for samples in (one, other)]
    return float(stats.chi2_contingency(np.array(seen), correction=False).statistic)


def test_samples_are_those_of_opendps_exact_sampler(of_opendp: Int64Array) -> None:
    """False alarm: chi-square at 59 degrees of freedom exceeds the critical value with probability 1e-7."""
    assert two_sample_statistic(of_opendp, draw(OPENDP_SIGMA, "opendp"), OPENDP_SIGMA) < OPENDP_CRITICAL


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_the_comparison_with_opendp_notices_a_sigma_off_by_ten_percent(of_opendp: Int64Array, factor: float) -> None:
    """A miss, the noncentral chi-square below the same critical value, has a probability below 1e-9: computed here."""
    samples = draw(OPENDP_SIGMA * factor, "off opendp")
    last, right = exact_bins(OPENDP_SIGMA)
    wrong = np.diff(np.concatenate([[0.0], stats.norm.cdf((last + 0.5) / (OPENDP_SIGMA * factor)), [1.0]]))
    smaller, larger = of_opendp.size, samples.size
    pooled = (smaller * right + larger * wrong) / (smaller + larger)
    noncentrality = smaller * larger / (smaller + larger) * ((right - wrong) ** 2 / pooled).sum()
    assert stats.ncx2.cdf(OPENDP_CRITICAL, BINS - 1, noncentrality) < 1e-9
    assert two_sample_statistic(of_opendp, samples, OPENDP_SIGMA) > OPENDP_CRITICAL


def test_exactly_as_many_samples_come_as_were_asked_for() -> None:
    for size in (0, 1, 2, 63, 14_000, 50_001):
        samples = draw(5000.0, "size", size)
        assert samples.shape == (size,)
        assert samples.dtype == np.int64


def test_the_same_entropy_gives_the_same_samples() -> None:
    np.testing.assert_array_equal(draw(3000.0, "same", 1000), draw(3000.0, "same", 1000))


def test_the_system_source_gives_different_samples_twice() -> None:
    # 100 samples each: equal by chance with probability below 2^-1100.
    first = discrete_gaussian(100, sigma=SIGMA_MIN, entropy=SYSTEM_ENTROPY)
    second = discrete_gaussian(100, sigma=SIGMA_MIN, entropy=SYSTEM_ENTROPY)
    assert not np.array_equal(first, second)


def one_proposal(*, place: int, wheel: int, judge: int, lower: int = 0) -> Callable[[int], bytes]:
    """Return entropy whose first draw repeats one proposal; later ones end the sampling with proposals of 1.

    `lower` is what every request for a uniform's lower half gets.
    """
    words = [(place, wheel, judge)]

    def entropy(count: int) -> bytes:
        if count == 8:
            return lower.to_bytes(8, "little")
        proposal = words.pop() if words else (1, 2**64 - 1, 0)
        return b"".join(np.full(count // 24, word, dtype="<u8").tobytes() for word in proposal)

    return entropy


def keeping_threshold(place: int, turns: int, sigma: float, t: int) -> int:
    with mpmath.workdps(80):
        variance = mpmath.mpf(sigma) ** 2
        y = place + turns * t
        p = mpmath.exp(-mpmath.mpf(place) / t - (y - variance / t) ** 2 / (2 * variance))
        return int(mpmath.floor(p * 2**128))


@pytest.mark.parametrize(("place", "turns"), [(0, 0), (5, 0), (700_123, 0), (1, 1), (900_000, 2), (12_345, 5)])
def test_a_uniform_next_to_its_probability_is_decided_exactly(place: int, turns: int) -> None:
    sigma, t = 1.1e6, 2**20
    wheel = int(math.exp(-turns - 0.5) * 2**64)
    threshold = keeping_threshold(place, turns, sigma, t)
    for distance in (-(2**94), -(2**87), -(2**64), -2, -1, 0, 1, 2**64, 2**87, 2**94):
        judge, lower = divmod(threshold + distance, 2**64)
        entropy = one_proposal(place=place, wheel=wheel, judge=judge, lower=lower)
        sample = discrete_gaussian(1, sigma=sigma, entropy=entropy)[0]
        assert sample == (place + turns * t if distance < 0 else 1)


def test_a_probability_of_one_keeps_the_largest_uniform_below_it() -> None:
    # sigma = t: the proposal U = 0, V = 1 sits on the mode and has p = 1.
    t = 2**20
    wheel = int(math.exp(-1.5) * 2**64)
    kept = one_proposal(place=0, wheel=wheel, judge=2**64 - 1, lower=2**64 - 1)
    assert discrete_gaussian(1, sigma=float(t), entropy=kept)[0] == t


@pytest.mark.parametrize("turns", [1, 2, 3, 10, 43, 44, 45, 60, 88])
def test_the_geometric_count_compares_with_the_floor_of_its_probability(turns: int) -> None:
    # Beyond a few turns no proposal is kept: only from inside can the count be seen.
    with mpmath.workdps(60):
        threshold = int(mpmath.floor(mpmath.exp(-turns) * 2**128))
    for uniform, expected in ((threshold - 1, turns), (threshold, turns - 1)):
        wheel, lower = divmod(uniform, 2**64)
        counted = noise._count_turns(
            np.array([wheel], dtype=np.uint64), lambda _, lower=lower: lower.to_bytes(8, "little")
        )
        assert counted.tolist() == [expected]


def test_the_sign_is_the_top_bit_and_minus_zero_is_refused() -> None:
    wheel = 2**64 - 1
    minus_seven = one_proposal(place=2**63 + 7, wheel=wheel, judge=0)
    assert discrete_gaussian(1, sigma=2048.0, entropy=minus_seven)[0] == -7
    minus_zero = one_proposal(place=2**63, wheel=wheel, judge=0)
    assert discrete_gaussian(1, sigma=2048.0, entropy=minus_zero)[0] == 1
    plus_zero = one_proposal(place=0, wheel=wheel, judge=0)
    assert discrete_gaussian(1, sigma=2048.0, entropy=plus_zero)[0] == 0


def test_the_constants_in_the_derived_distance_hold() -> None:
    # The pieces of the docstring's bound, for every ratio of sigma to t that can occur.
    ratio = np.geomspace(1 / math.sqrt(2), math.sqrt(2), 201)
    kept = (1 - math.exp(-1)) * math.sqrt(math.pi / 2) * ratio * np.exp(-(ratio**2) / 2)
    assert kept.min() > 0.4 * (1 + 2**-9)
    assert STATISTICAL_DISTANCE_PER_SAMPLE > 91 * 2.0**-128 / 0.4
    z = np.linspace(0, 10, 100_001)
    assert ((2 * z**2 + 4 * z) * np.exp(-(z**2))).max() < 4  # times 2^-50 is below 2^-48


@pytest.mark.parametrize("sigma", [0.0, -2048.0, SIGMA_MIN - 1, SIGMA_MAX * 1.01, math.inf, math.nan])
def test_a_sigma_outside_its_range_is_refused(sigma: float) -> None:
    with pytest.raises(ConfigurationError, match="sigma"):
        discrete_gaussian(10, sigma=sigma, entropy=SYSTEM_ENTROPY)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="size"):
        discrete_gaussian(-1, sigma=2048.0, entropy=SYSTEM_ENTROPY)


def test_entropy_that_comes_short_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="entropy"):
        discrete_gaussian(10, sigma=2048.0, entropy=lambda count: bytes(count - 1))
