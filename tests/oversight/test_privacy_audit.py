"""The audit's statistics: the bound covers, it has the power that it says, and it can fail.

Every simulation is seeded; how often it would go wrong under another seed is stated where it is not obvious.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import nct

from oversight.audit.privacy import (
    LARGEST_MU,
    PrivacyAuditBlind,
    PrivacyAuditFailed,
    PrivacyFinding,
    Statistics,
    attack,
    directions,
    examine,
)
from protocol.errors import ConfigurationError

ENTRIES, CANARIES, SIGMA = 240, 120, 1.25
MU = 1 / SIGMA
"""Of a contribution of length 1."""


def contributions(seed: int = 1, *, count: int = CANARIES) -> np.ndarray:
    """Return contributions of length 1 with a part that all of them share, as second moments have."""
    rows = np.random.default_rng(seed).normal(size=(count, ENTRIES)) + 0.5
    return rows / np.linalg.norm(rows, axis=1)[:, None]


def coins(rng: np.random.Generator, *, count: int = CANARIES) -> np.ndarray:
    return rng.integers(2, size=count).astype(bool)


def released(rows: np.ndarray, included: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the sums: one release for each row of noise."""
    return rows[included].sum(axis=0) + np.atleast_2d(noise)


def audit(rng: np.random.Generator, rows: np.ndarray, *, sigma: float = SIGMA, confidence: float = 0.95):
    included = coins(rng, count=len(rows))
    sums = released(rows, included, sigma * rng.normal(size=rows.shape[1]))
    return examine(attack(sums, rows, included), sigma=SIGMA, mu_stated=MU, confidence=confidence)


def finding(*, inside: int = 500, outside: int = 500, confidence: float = 0.95, expected: float = MU) -> PrivacyFinding:
    return PrivacyFinding(0.0, 0.0, 0.0, MU, expected, confidence, inside, outside)


def frame(count: int = CANARIES) -> np.ndarray:
    """Return contributions that are orthonormal: all gains are 1, the case in which the bound is exact."""
    return np.linalg.qr(np.random.default_rng(2).normal(size=(ENTRIES, count)))[0].T


# --- directions -------------------------------------------------------------------------------------------------


def test_directions_are_orthonormal_and_the_nearest_such_vectors():
    rows = contributions()
    along = directions(rows)
    np.testing.assert_allclose(along @ along.T, np.eye(CANARIES), atol=1e-9)
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    np.testing.assert_allclose(along, left @ right, atol=1e-9)


def test_no_canary_gains_more_than_its_length():
    rows = contributions()
    gains = (directions(rows) * rows).sum(axis=1)
    assert 0.5 < gains.min() <= gains.max() < 1.0


def test_more_canaries_than_entries_are_refused():
    with pytest.raises(ConfigurationError, match="not independent"):
        directions(contributions(count=ENTRIES + 1))


def test_a_canary_that_stands_twice_is_refused():
    with pytest.raises(ConfigurationError, match="not independent"):
        directions(np.vstack([contributions(), contributions()[:1]]))


# --- the attack -------------------------------------------------------------------------------------------------


def test_without_noise_the_attack_sees_gains_and_nothing_else():
    rows, included = contributions(), coins(np.random.default_rng(3))
    seen = attack(released(rows, included, np.zeros(ENTRIES)), rows, included)
    gains = (directions(rows) * rows).sum(axis=1)
    np.testing.assert_allclose(seen.inside, gains[included], atol=1e-9)
    np.testing.assert_allclose(seen.outside, 0.0, atol=1e-9)
    assert seen.mean_gain == pytest.approx(gains.mean())


def test_statistics_are_what_the_definition_says():
    rng = np.random.default_rng(4)
    rows, included = contributions(count=20), coins(rng, count=20)
    sums = released(rows, included, rng.normal(size=ENTRIES))
    seen, along = attack(sums, rows, included), directions(rows)
    others = [sum((rows[j] for j in range(20) if included[j] and j != i), np.zeros(ENTRIES)) for i in range(20)]
    expected = np.array([along[i] @ (sums[0] - others[i]) for i in range(20)])
    np.testing.assert_allclose(seen.inside, expected[included], atol=1e-9)
    np.testing.assert_allclose(seen.outside, expected[~included], atol=1e-9)


def test_coins_make_the_difference_unbiased_whatever_the_noise_was():
    rows = frame(60)
    noise = 3.0 + 5.0 * np.sin(np.arange(ENTRIES))  # no sample of any law
    rng, differences = np.random.default_rng(5), []
    for _ in range(1500):
        included = coins(rng, count=60)
        seen = attack(released(rows, included, noise), rows, included)
        differences.append(seen.inside.mean() - seen.outside.mean())
    assert abs(np.mean(differences) - 1.0) < 4 * np.std(differences) / math.sqrt(1500)


def test_shapes_that_do_not_fit_are_refused():
    rows, included = contributions(), coins(np.random.default_rng(6))
    with pytest.raises(ConfigurationError, match="canaries"):
        attack(np.zeros((1, ENTRIES - 1)), rows, included)
    with pytest.raises(ConfigurationError, match="canaries"):
        attack(np.zeros((1, ENTRIES)), rows, included[:-1])
    with pytest.raises(ConfigurationError, match="canaries"):
        attack(np.zeros(ENTRIES), rows, included)


# --- the bound --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.999999])
@pytest.mark.parametrize("estimate", [-0.3, 0.05, 0.8, 2.0, 9.0])
@pytest.mark.parametrize("group", [10, 100, 2000])
def test_the_bound_inverts_the_noncentral_t_law(estimate, confidence, group):
    # Deviations of two-point groups: mean and pooled sd are what they are made to be.
    half = np.tile([-1.0, 1.0], group // 2) * math.sqrt((2 * group - 2) / (2 * group))
    found = examine(Statistics(half + estimate, half, 1.0), sigma=1.0, mu_stated=1.0, confidence=confidence)
    assert found.mu_estimate == pytest.approx(estimate)
    spread, freedom = math.sqrt(2 / group), 2 * group - 2
    assert nct.cdf(estimate / spread, freedom, found.mu_lower / spread) == pytest.approx(confidence, rel=1e-7)
    assert nct.cdf(estimate / spread, freedom, found.mu_upper / spread) == pytest.approx(1e-9, rel=1e-4)


def test_the_bound_exceeds_the_true_mu_in_five_per_cent_of_audits():
    # Gains all 1: exact. 3,000 audits, a standard error of 0.4 %: one seed in 80 would leave the band.
    rng, rows = np.random.default_rng(7), frame(60)
    above = np.mean([audit(rng, rows).mu_lower > MU for _ in range(3000)])
    assert 0.04 < above < 0.06


def test_unequal_gains_and_lost_length_make_the_bound_fail_less_often():
    rng, rows = np.random.default_rng(8), contributions(count=60)
    largest = (directions(rows) * rows).sum(axis=1).max() / SIGMA
    bounds = np.array([audit(rng, rows).mu_lower for _ in range(1500)])
    assert np.mean(bounds > largest) < 0.05
    assert np.mean(bounds > MU) < 0.04


def test_several_releases_cover_too_and_see_more():
    rng, rows = np.random.default_rng(9), frame(60)

    def several(runs: int) -> PrivacyFinding:
        included = coins(rng, count=60)
        sums = released(rows, included, SIGMA * rng.normal(size=(runs, ENTRIES)))
        return examine(attack(sums, rows, included), sigma=SIGMA, mu_stated=MU, confidence=0.95)

    ten = [several(10) for _ in range(400)]
    # The standard error of the share is 1.1 %.
    assert 0.02 < np.mean([one.mu_lower > MU for one in ten]) < 0.09
    assert (ten[0].inside + ten[0].outside, ten[0].mu_expected) == (600, pytest.approx(MU))
    one = several(1)
    assert ten[0].mu_estimate - ten[0].mu_lower < (one.mu_estimate - one.mu_lower) / 2


def test_a_higher_confidence_gives_a_lower_bound():
    seen = [audit(np.random.default_rng(10), frame(), confidence=level).mu_lower for level in (0.6, 0.95, 0.999999)]
    assert seen == sorted(seen, reverse=True)


def test_noise_that_is_not_gaussian_in_an_entry_is_measured_alike():
    # Half of the entries get no noise at all, the others of sqrt 2 times the sd: an entry's law does not matter.
    rng, rows = np.random.default_rng(11), contributions(count=60)
    above, estimates = [], []
    for _ in range(800):
        included = coins(rng, count=60)
        noise = SIGMA * math.sqrt(2) * rng.normal(size=ENTRIES) * rng.integers(2, size=ENTRIES)
        found = examine(
            attack(released(rows, included, noise), rows, included), sigma=SIGMA, mu_stated=MU, confidence=0.95
        )
        above.append(found.mu_lower > MU)
        estimates.append(found.mu_estimate)
    assert np.mean(above) < 0.05
    assert np.mean(estimates) == pytest.approx(found.mu_expected, rel=0.05)


@pytest.mark.parametrize(("inside", "outside"), [(9, 100), (100, 9), (0, 100)])
def test_too_few_canaries_are_refused(inside, outside):
    with pytest.raises(ConfigurationError, match=r"canaries: .* of each are needed"):
        examine(Statistics(np.ones(inside), np.zeros(outside), 1.0), sigma=1.0, mu_stated=1.0, confidence=0.95)


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 0.5},
        {"confidence": 1.0},
        {"confidence": math.nan},
        {"sigma": 0.0},
        {"sigma": math.inf},
        {"mu_stated": 0.0},
        {"mu_stated": math.nan},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    seen = Statistics(np.arange(20.0), np.arange(20.0), 1.0)
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        examine(seen, **{"sigma": 1.0, "mu_stated": 1.0, "confidence": 0.95} | wrong)


# --- what is found out ------------------------------------------------------------------------------------------


def test_honest_noise_holds_and_halved_noise_is_found_out():
    rng, rows = np.random.default_rng(12), contributions()
    honest = [audit(rng, rows) for _ in range(200)]
    halved = [audit(rng, rows, sigma=SIGMA / 2) for _ in range(200)]
    assert np.mean([one.holds for one in honest]) >= 0.95
    # 120 canaries only: the power is stated, and seen.
    power = honest[0].chance_of_failing(2 * honest[0].mu_expected)
    assert 0.5 < power < 0.99
    assert np.mean([not one.holds for one in halved]) == pytest.approx(power, abs=0.1)


def test_rows_that_are_not_clipped_are_found_like_missing_noise():
    # Everybody counts three times; the attacker believes once.
    rng, rows = np.random.default_rng(13), contributions()
    failed = 0
    for _ in range(50):
        included = coins(rng)
        sums = released(3 * rows, included, SIGMA * rng.normal(size=ENTRIES))
        failed += not examine(attack(sums, rows, included), sigma=SIGMA, mu_stated=MU, confidence=0.95).holds
    assert failed > 40


@pytest.mark.parametrize("mu", [0.5 * MU, MU, 1.2 * MU, 1.5 * MU])
def test_the_stated_chance_of_failing_is_the_chance(mu):
    # 2,000 audits of exact statistics: a standard error of 1.1 % at most.
    rng, failed = np.random.default_rng(14), 0
    for _ in range(2000):
        seen = Statistics(rng.normal(mu, 1.0, size=60), rng.normal(0.0, 1.0, size=50), 1.0)
        failed += not examine(seen, sigma=1.0, mu_stated=MU, confidence=0.95).holds
    stated = finding(inside=60, outside=50).chance_of_failing(mu)
    assert failed / 2000 == pytest.approx(stated, abs=0.03)


def test_an_honest_audit_fails_as_often_as_its_confidence_says_and_a_halved_one_nearly_always():
    assert finding().chance_of_failing(MU) == pytest.approx(0.05, abs=1e-9)
    assert finding(confidence=0.999999).chance_of_failing(MU) == pytest.approx(1e-6, rel=1e-3)
    assert finding().chance_of_failing(2 * MU) > 0.999


def test_sums_without_noise_give_the_largest_mu_and_fail():
    rows, included = frame(), coins(np.random.default_rng(15))
    for noise in (0.0, 1e-6):
        sums = released(rows, included, noise * np.random.default_rng(16).normal(size=ENTRIES))
        found = examine(attack(sums, rows, included), sigma=SIGMA, mu_stated=MU, confidence=0.999999)
        assert found.mu_estimate == LARGEST_MU
        assert MU < found.mu_lower < LARGEST_MU
        with pytest.raises(PrivacyAuditFailed, match=r"mu is at least \d+\.\d+ at confidence 0.999999; 0.800 is"):
            found.verify()


def test_statistics_without_any_spread_fail_too():
    found = examine(Statistics(np.ones(50), np.zeros(50), 1.0), sigma=1.0, mu_stated=MU, confidence=0.95)
    assert (found.mu_estimate, found.holds) == (LARGEST_MU, False)


def test_an_audit_of_other_canaries_than_were_in_is_blind_and_says_so():
    rng = np.random.default_rng(17)
    rows, included = contributions(), coins(rng)
    sums = released(rows, included, SIGMA / 4 * rng.normal(size=ENTRIES))
    found = examine(attack(sums, rows, coins(rng)), sigma=SIGMA / 4, mu_stated=4 * MU, confidence=0.95)
    assert found.holds
    assert found.is_blind
    with pytest.raises(PrivacyAuditBlind, match="the attack saw mu"):
        found.verify()


def test_an_honest_audit_returns_and_is_not_blind():
    found = audit(np.random.default_rng(18), contributions(), confidence=0.999999)
    assert not found.is_blind
    found.verify()
