"""Accounting against closed forms, brute force and two accountants that others wrote."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import dp_accounting
import mpmath
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant

from protocol.aggregation.accounting import (
    ReleaseEvent,
    compose,
    delta_of,
    epsilon_of,
    extra_delta,
    local_sigma,
    mu_of,
    person_in_plans,
    realised_sigma,
    rho_of,
    right_guesses,
    sensitivity_ring_units,
    statements,
    sum_distance,
)
from protocol.aggregation.noise import SIGMA_MIN, STATISTICAL_DISTANCE_PER_SAMPLE
from protocol.errors import ConfigurationError

DELTA = 1e-6
LENGTHS = (3300, 250, 250, 240)

epsilons = st.floats(0.001, 20.0)
deltas = st.floats(1e-12, 0.1)
some_mus = st.floats(0.01, 10.0)


def reference_delta(mu: float, epsilon: float) -> mpmath.mpf:
    with mpmath.workdps(80):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m)


# --- one Gaussian -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [1e-9, 1e-4, 9.9e-4, 1.01e-3, 0.03, 0.2367, 1.0, 3.0, 9.9, 10.1, 30.0])
@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 1e-3, 0.1, 1.0, 4.0, 20.0, 100.0])
def test_delta_agrees_with_eighty_digits(mu: float, epsilon: float) -> None:
    reference = reference_delta(mu, epsilon)
    if reference > 1e-300:
        assert delta_of(mu=mu, epsilon=epsilon) == pytest.approx(float(reference), rel=1e-10, abs=0.0)
    else:
        assert delta_of(mu=mu, epsilon=epsilon) < 1e-299


def test_delta_at_epsilon_zero_is_the_total_variation_of_two_gaussians() -> None:
    # Phi(1/2) - Phi(-1/2): the chance of lying within half a standard deviation.
    assert delta_of(mu=1.0, epsilon=0.0) == pytest.approx(0.38292492254802624, rel=1e-13)


def test_the_published_value_for_mu_one_and_epsilon_one_is_met() -> None:
    # Phi(-1/2) - e Phi(-3/2), the (1, 0.1269) of one-GDP.
    assert delta_of(mu=1.0, epsilon=1.0) == pytest.approx(0.12693673750664397, rel=1e-12)


def test_no_release_costs_nothing() -> None:
    assert delta_of(mu=0.0, epsilon=0.0) == 0.0
    assert epsilon_of(mu=0.0, delta=DELTA) == 0.0
    assert compose([]) == 0.0


def test_epsilon_is_zero_where_delta_suffices_alone() -> None:
    assert epsilon_of(mu=1.0, delta=0.4) == 0.0
    assert epsilon_of(mu=1.0, delta=0.38) > 0.0


@given(epsilon=epsilons, delta=deltas)
def test_calibration_is_undone_by_accounting(epsilon: float, delta: float) -> None:
    mu = mu_of(epsilon=epsilon, delta=delta)
    assert delta_of(mu=mu, epsilon=epsilon) == pytest.approx(delta, rel=1e-9)
    # Where delta falls slowly in epsilon, delta's last digits are epsilon's: hence an absolute part.
    assert epsilon_of(mu=mu, delta=delta) == pytest.approx(epsilon, rel=1e-9, abs=1e-9)


@given(mu=some_mus, delta=deltas)
def test_accounting_is_undone_by_calibration(mu: float, delta: float) -> None:
    epsilon = epsilon_of(mu=mu, delta=delta)
    if epsilon > 0.0:
        assert mu_of(epsilon=epsilon, delta=delta) == pytest.approx(mu, rel=1e-9)
    else:
        assert mu_of(epsilon=0.0, delta=delta) >= mu * (1 - 1e-9)


@given(mu=some_mus, epsilon=epsilons, delta=deltas, more=st.floats(1.01, 3.0))
def test_more_signal_costs_more_and_more_epsilon_leaves_less_delta(
    mu: float, epsilon: float, delta: float, more: float
) -> None:
    assert delta_of(mu=mu * more, epsilon=epsilon) >= delta_of(mu=mu, epsilon=epsilon)
    assert delta_of(mu=mu, epsilon=epsilon * more) <= delta_of(mu=mu, epsilon=epsilon)
    assert epsilon_of(mu=mu * more, delta=delta) >= epsilon_of(mu=mu, delta=delta)
    assert epsilon_of(mu=mu, delta=delta / more) >= epsilon_of(mu=mu, delta=delta)
    assert mu_of(epsilon=epsilon * more, delta=delta) > mu_of(epsilon=epsilon, delta=delta)
    assert mu_of(epsilon=epsilon, delta=delta / more) < mu_of(epsilon=epsilon, delta=delta)


def test_calibration_reaches_the_ends_of_its_range() -> None:
    for epsilon in (0.0, 1e-9, 20.0):
        for delta in (1e-300, 1e-12, 0.999):
            mu = mu_of(epsilon=epsilon, delta=delta)
            assert delta_of(mu=mu, epsilon=epsilon) == pytest.approx(delta, rel=1e-9, abs=0.0)


# --- composition ------------------------------------------------------------------------------------------------


def test_releases_compose_as_the_root_of_the_sum_of_squares() -> None:
    assert compose([3.0, 4.0]) == 5.0
    assert compose(iter([0.1] * 100)) == pytest.approx(1.0)


def test_rho_adds_up_over_releases() -> None:
    mus = [0.1, 0.2, 0.05]
    assert rho_of(compose(mus)) == pytest.approx(sum(map(rho_of, mus)))


def test_a_person_in_four_equal_plans_has_twice_the_mu_of_one() -> None:
    assert person_in_plans([0.2] * 4) == pytest.approx(0.4)


@pytest.mark.parametrize("sigmas", [(4.2,), (4.2, 8.0, 1.5), (10.0,) * 20])
def test_epsilon_agrees_with_dp_accounting(sigmas: tuple[float, ...]) -> None:
    accountant = PLDAccountant()
    for sigma in sigmas:
        accountant.compose(dp_accounting.GaussianDpEvent(sigma))
    mu = compose(1 / sigma for sigma in sigmas)
    assert epsilon_of(mu=mu, delta=DELTA) == pytest.approx(accountant.get_epsilon(DELTA), rel=0.01)
    epsilon = epsilon_of(mu=mu, delta=DELTA)
    assert accountant.get_delta(epsilon) == pytest.approx(DELTA, rel=0.01)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("sigmas", [(4.2,), (4.2, 8.0, 1.5), (1.0, 1.0)])
def test_epsilon_agrees_with_opacus(sigmas: tuple[float, ...]) -> None:
    # Opacus' PRV accountant at sampling rate 1 returns an upper bound, its error set to 0.005; RDP a looser one.
    prv, rdp = PRVAccountant(), RDPAccountant()
    for sigma in sigmas:
        prv.step(noise_multiplier=sigma, sample_rate=1.0)
        rdp.step(noise_multiplier=sigma, sample_rate=1.0)
    epsilon = epsilon_of(mu=compose(1 / sigma for sigma in sigmas), delta=DELTA)
    upper = prv.get_epsilon(DELTA, eps_error=0.005)
    assert epsilon <= upper
    assert epsilon == pytest.approx(upper, rel=0.01)
    assert epsilon <= rdp.get_epsilon(DELTA)


# --- from a plan to noise ---------------------------------------------------------------------------------------


def test_a_person_moves_the_sum_by_the_clip_and_the_rounding_of_each_row() -> None:
    assert sensitivity_ring_units(l2=2.0, scale=2**20, rows_per_person=4, length=100) == 2.0 * 2**20 + 20.0


@given(
    rows=st.integers(1, 6),
    length=st.integers(1, 40),
    boroughs=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_person_moves_the_rounded_sums_further_than_the_stated_sensitivity(
    rows: int, length: int, boroughs: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    scale = 64  # so small that rounding matters
    vectors = generator.normal(size=(rows, length))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded = np.rint(vectors * scale / rows)
    home = generator.integers(0, boroughs, size=rows)
    parts = np.array([np.linalg.norm(rounded[home == borough].sum(axis=0)) for borough in range(boroughs)])
    bound = sensitivity_ring_units(l2=1.0, scale=scale, rows_per_person=rows, length=length)
    # In the force-wide sum, and in the boroughs' own vectors taken together.
    assert np.linalg.norm(rounded.sum(axis=0)) <= bound + 1e-9
    assert np.linalg.norm(parts) <= bound + 1e-9


def test_the_honest_boroughs_add_up_to_the_planned_sigma() -> None:
    own = local_sigma(sigma=100.0, min_boroughs=22, colluding=1)
    assert own * math.sqrt(21) == pytest.approx(100.0)


def test_the_realised_sigma_grows_with_every_borough_that_answers() -> None:
    at_least = realised_sigma(sigma=100.0, min_boroughs=22, colluding=1, answered=22)
    everyone = realised_sigma(sigma=100.0, min_boroughs=22, colluding=1, answered=33)
    assert at_least == pytest.approx(100.0 * math.sqrt(22 / 21))
    assert everyone == pytest.approx(100.0 * math.sqrt(33 / 21))


# --- what the mathematics left out ------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("boroughs", [2, 3, 5])
def test_the_distance_of_a_sum_bounds_what_brute_force_finds(sigma: float, boroughs: int) -> None:
    reach = 60
    values = range(-reach, reach + 1)
    with mpmath.workdps(40):

        def law(variance: mpmath.mpf) -> list[mpmath.mpf]:
            weights = [mpmath.exp(-mpmath.mpf(y * y) / (2 * variance)) for y in values]
            total = mpmath.fsum(weights)
            return [weight / total for weight in weights]

        one = law(mpmath.mpf(sigma) ** 2)
        together = one
        for _ in range(boroughs - 1):
            together = [
                mpmath.fsum(
                    together[y - z] * one[z + reach] for z in range(-reach, reach + 1) if 0 <= y - z <= 2 * reach
                )
                for y in range(2 * reach + 1)
            ]
        single = law(boroughs * mpmath.mpf(sigma) ** 2)
        middle = range(reach - 10, reach + 11)  # further out the cut tails show
        worst = max(abs(mpmath.log(together[y] / single[y])) for y in middle)
    assert 0.0 < worst <= sum_distance(local_sigma_ring=sigma, boroughs=boroughs)


def test_the_distance_of_a_sum_is_a_positive_bound_even_where_floats_end() -> None:
    assert 0.0 < sum_distance(local_sigma_ring=SIGMA_MIN, boroughs=33) < 1e-300
    assert sum_distance(local_sigma_ring=SIGMA_MIN, boroughs=1) == 0.0
    assert sum_distance(local_sigma_ring=1.0, boroughs=3) < sum_distance(local_sigma_ring=0.9, boroughs=3)


def realistic_local_sigmas(mu: float) -> list[float]:
    """Return each borough's own sd in ring units for shares .12, .34, .34, .20 of mu^2, 33 boroughs, min 22, c = 1."""
    return [
        local_sigma(
            sigma=sensitivity_ring_units(l2=1.0, scale=2**20, rows_per_person=4, length=length) / (mu * share**0.5),
            min_boroughs=22,
            colluding=1,
        )
        for length, share in zip(LENGTHS, (0.12, 0.34, 0.34, 0.20), strict=True)
    ]


def test_the_extra_delta_of_a_realistic_plan_is_far_below_a_thousandth_of_delta() -> None:
    mu = mu_of(epsilon=1.0, delta=DELTA)
    sigmas = realistic_local_sigmas(mu)
    assert min(sigmas) > SIGMA_MIN
    extra = extra_delta(lengths=LENGTHS, local_sigmas_ring=sigmas, boroughs=33, epsilon=1.0, mu=mu)
    assert 0.0 < extra < DELTA / 1000 / 100


@pytest.mark.parametrize("central", [0.5, 1.0, 4.0, 7.0])
def test_the_extra_delta_of_the_local_statement_is_below_a_thousandth_of_delta(central: float) -> None:
    mu = mu_of(epsilon=central, delta=DELTA)
    local = mu * math.sqrt(21)
    epsilon = epsilon_of(mu=local, delta=DELTA)
    sigmas = realistic_local_sigmas(mu)
    extra = extra_delta(lengths=LENGTHS, local_sigmas_ring=sigmas, boroughs=33, epsilon=epsilon, mu=local)
    assert extra < DELTA / 1000


def test_the_extra_delta_covers_the_growth_of_mu_by_the_lattice() -> None:
    # One sample: what is left is the lattice's part, which must cover delta at the grown mu.
    mu, epsilon, sigma = 3.0, 5.0, SIGMA_MIN
    grown = mu / math.sqrt(1 - 9 / sigma**2)
    growth = float(reference_delta(grown, epsilon) - reference_delta(mu, epsilon))
    extra = extra_delta(lengths=[1], local_sigmas_ring=[sigma], boroughs=1, epsilon=epsilon, mu=mu)
    assert growth <= extra <= growth * 1.001


def test_the_samplers_part_grows_with_length_boroughs_and_epsilon() -> None:
    # At so large an epsilon and so small a mu the lattice's part is 0.
    plan = {"lengths": [100], "local_sigmas_ring": [2.0**30], "boroughs": 5, "epsilon": 20.0, "mu": 0.2}
    base = extra_delta(**plan)
    assert base == pytest.approx((1 + math.exp(20)) * 500 * STATISTICAL_DISTANCE_PER_SAMPLE, rel=1e-9)
    for change in ({"lengths": [200]}, {"boroughs": 10}, {"epsilon": 21.0}, {"lengths": [100, 1]}):
        longer = {**plan, **change}
        longer["local_sigmas_ring"] = [2.0**30] * len(longer["lengths"])
        assert extra_delta(**longer) > base


def test_the_lattices_part_grows_as_the_noise_shrinks() -> None:
    plan = {"lengths": [100], "boroughs": 5, "epsilon": 1.0, "mu": 0.2}
    wide = extra_delta(**plan, local_sigmas_ring=[2.0**20])
    assert extra_delta(**plan, local_sigmas_ring=[SIGMA_MIN]) > 1000 * wide


def test_the_extra_delta_never_exceeds_one() -> None:
    assert extra_delta(lengths=[1], local_sigmas_ring=[2.0**20], boroughs=2, epsilon=1e6, mu=1000.0) == 1.0


def test_a_discrete_gaussian_is_as_private_as_accounting_says() -> None:
    # Brute force at a sigma so small that the lattice shows: delta of N_Z(0, 20^2) against its shift by 10, with the
    # mu grown as the module's docstring says.
    sigma, shift, epsilon = 20.0, 10, 0.4
    y = np.arange(-400, 401)
    weights = np.exp(-0.5 * (y / sigma) ** 2)
    shifted = np.exp(-0.5 * ((y - shift) / sigma) ** 2)
    exact = np.maximum(weights - math.exp(epsilon) * shifted, 0).sum() / weights.sum()
    assert exact <= delta_of(mu=shift / math.sqrt(sigma**2 - 9), epsilon=epsilon)
    assert exact == pytest.approx(delta_of(mu=shift / sigma, epsilon=epsilon), rel=0.01)


# --- statements -------------------------------------------------------------------------------------------------


def central_one() -> tuple[ReleaseEvent, ...]:
    mu = mu_of(epsilon=1.0, delta=DELTA)
    shares = (0.12, 0.34, 0.34, 0.20)
    return tuple(ReleaseEvent(index=i, sensitivity=2.0, sigma=2.0 / (mu * s**0.5)) for i, s in enumerate(shares))


def test_each_adversary_gets_their_own_epsilon() -> None:
    sums, with_borough, servers = statements(central_one(), delta=DELTA, min_boroughs=22, colluding=1, boroughs=33)
    assert sums.adversary == "released sums"
    assert with_borough.adversary == "released sums and 1 borough"
    assert servers.adversary == "coordinator and unmasker together"
    assert with_borough.epsilon == pytest.approx(1.0, rel=1e-9)
    assert sums.mu == pytest.approx(with_borough.mu * math.sqrt(21 / 22))
    assert servers.mu == pytest.approx(with_borough.mu * math.sqrt(21))
    assert sums.epsilon < with_borough.epsilon < servers.epsilon
    assert {sums.delta, with_borough.delta, servers.delta} == {DELTA}


def test_the_local_epsilon_is_about_five_point_four_at_central_one() -> None:
    servers = statements(central_one(), delta=DELTA, min_boroughs=22, colluding=1, boroughs=33)[-1]
    assert servers.epsilon == pytest.approx(5.36, abs=0.01)


def test_the_released_sums_statement_is_what_the_realised_noise_gives() -> None:
    events = central_one()
    sums = statements(events, delta=DELTA, min_boroughs=22, colluding=3, boroughs=33)[0]
    realised = compose(
        event.sensitivity / realised_sigma(sigma=event.sigma, min_boroughs=22, colluding=3, answered=22)
        for event in events
    )
    assert sums.mu == pytest.approx(realised)


def test_values_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        central_one()[0].sigma = 1.0  # type: ignore[misc]


# --- refusals ---------------------------------------------------------------------------------------------------

EVENT = ReleaseEvent(index=0, sensitivity=1.0, sigma=4.0)
PLAN = {"lengths": [10], "local_sigmas_ring": [2.0**20], "boroughs": 5, "epsilon": 1.0, "mu": 0.2}
STATED = {"delta": DELTA, "min_boroughs": 3, "colluding": 1, "boroughs": 5}


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("mu", lambda: delta_of(mu=-1.0, epsilon=1.0)),
        ("mu", lambda: delta_of(mu=math.nan, epsilon=1.0)),
        ("epsilon", lambda: delta_of(mu=1.0, epsilon=-1.0)),
        ("mu", lambda: epsilon_of(mu=math.inf, delta=DELTA)),
        ("delta", lambda: epsilon_of(mu=1.0, delta=0.0)),
        ("delta", lambda: epsilon_of(mu=1.0, delta=1.0)),
        ("epsilon", lambda: mu_of(epsilon=math.inf, delta=DELTA)),
        ("delta", lambda: mu_of(epsilon=1.0, delta=math.nan)),
        ("mus", lambda: compose([0.1, -0.1])),
        ("mus", lambda: person_in_plans([math.nan])),
        ("mu", lambda: rho_of(-0.1)),
        ("l2", lambda: sensitivity_ring_units(l2=0.0, scale=1, rows_per_person=1, length=1)),
        ("scale", lambda: sensitivity_ring_units(l2=1.0, scale=0, rows_per_person=1, length=1)),
        ("rows_per_person", lambda: sensitivity_ring_units(l2=1.0, scale=1, rows_per_person=0, length=1)),
        ("length", lambda: sensitivity_ring_units(l2=1.0, scale=1, rows_per_person=1, length=-1)),
        ("sigma", lambda: local_sigma(sigma=0.0, min_boroughs=3, colluding=1)),
        ("colluding", lambda: local_sigma(sigma=1.0, min_boroughs=3, colluding=0)),
        ("min_boroughs", lambda: local_sigma(sigma=1.0, min_boroughs=3, colluding=3)),
        ("answered", lambda: realised_sigma(sigma=1.0, min_boroughs=3, colluding=1, answered=2)),
        ("boroughs", lambda: sum_distance(local_sigma_ring=1.0, boroughs=0)),
        ("local_sigma_ring", lambda: sum_distance(local_sigma_ring=0.4, boroughs=2)),
        ("local_sigma_ring", lambda: sum_distance(local_sigma_ring=math.inf, boroughs=2)),
        ("local_sigmas_ring", lambda: extra_delta(**{**PLAN, "local_sigmas_ring": [SIGMA_MIN - 1]})),
        ("local_sigmas_ring", lambda: extra_delta(**{**PLAN, "local_sigmas_ring": [2.0**20] * 2})),
        ("local_sigmas_ring", lambda: extra_delta(**{**PLAN, "lengths": [], "local_sigmas_ring": []})),
        ("lengths", lambda: extra_delta(**{**PLAN, "lengths": [0]})),
        ("boroughs", lambda: extra_delta(**{**PLAN, "boroughs": 0})),
        ("epsilon", lambda: extra_delta(**{**PLAN, "epsilon": -1.0})),
        ("mu", lambda: extra_delta(**{**PLAN, "mu": 0.0})),
        ("index", lambda: ReleaseEvent(index=-1, sensitivity=1.0, sigma=1.0)),
        ("sensitivity", lambda: ReleaseEvent(index=0, sensitivity=0.0, sigma=1.0)),
        ("sigma", lambda: ReleaseEvent(index=0, sensitivity=1.0, sigma=0.0)),
        ("events", lambda: statements([], **STATED)),
        ("events", lambda: statements([EVENT, EVENT], **STATED)),
        ("delta", lambda: statements([EVENT], **{**STATED, "delta": 0.0})),
        ("colluding", lambda: statements([EVENT], **{**STATED, "colluding": 0})),
        ("min_boroughs", lambda: statements([EVENT], **{**STATED, "min_boroughs": 1})),
        ("boroughs", lambda: statements([EVENT], **{**STATED, "boroughs": 2})),
    ],
)
def test_an_impossible_value_is_refused_by_name(field: str, call: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match=rf"{field}: "):
        call()


@pytest.mark.parametrize("mu", [0.0, 0.1, 0.237, 1.0, 3.0])
def test_right_guesses_are_what_the_likelihood_ratio_test_gets(mu):
    """Half the area between N(0, 1) and N(mu, 1) above one half, by delta at epsilon 0: (1 + TV) / 2."""
    apart = delta_of(mu=mu, epsilon=0.0) if mu else 0.0
    assert right_guesses(mu=mu) == pytest.approx((1 + apart) / 2, rel=1e-9)
