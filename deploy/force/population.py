"""Who the synthetic force consists of: boroughs, grades, workload, and every column before anything is planted.

Rules this module keeps: all numbers of the force stand here, or in `deploy.force.generate` if they are about what is
planted, and in the README beside them; a "standard" column has standard deviation 1 in units of its public scale, so
that an effect of two standard deviations is exactly two units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ConfigurationError

CUTOFFS = (2024, 2025)
"""2024: concluded cases, to train on. 2025: to evaluate and to score."""

REFERENCE_PEOPLE = 46_000
"""The force that the rates refer to; a smaller one has proportionally fewer of everything."""

PERSISTENCE = 0.7
"""Correlation of a person's standard columns, and of the workload, between the two cutoffs."""

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standard:
    """A continuous column: ``center + scale * z`` with z standard normal, part of it the person's workload."""

    center: float
    scale: float
    workload: float
    """Correlation of z with the latent workload of the same year."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A count: Poisson, its rate log-normal over people and constant over the years."""

    rate: float
    spread: float
    """Standard deviation of the logarithm of a person's rate."""


STANDARD: dict[str, Standard] = {
    "own_entries_amended": Standard(12, 2, 0.5),
    "self_authorised_overtime": Standard(15, 2.5, 0.6),
    "overtime_without_presence": Standard(6, 1, 0.4),
    "premium_swaps": Standard(9, 1.5, 0.5),
    "shift_swaps_agreed": Standard(10, 1.5, 0.4),
    "rest_days_worked": Standard(18, 3, 0.7),
    "office_claims_without_badge": Standard(12, 2, 0.3),
    "claimed_days_share": Standard(0.5, 0.06, 0.3),
    "badge_gap_days": Standard(30, 5, 0.3),
    "short_office_days": Standard(18, 3, 0.3),
    "remote_days_approved": Standard(40, 6, 0.2),
    "travel_days_booked": Standard(20, 3, 0.4),
    "duplicate_expenses": Standard(6, 1, 0.3),
    "round_sum_claims": Standard(15, 2.5, 0.3),
    "below_limit_claims": Standard(12, 2, 0.3),
    "claims_on_leave": Standard(6, 1, 0.2),
    "expense_claims": Standard(50, 8, 0.5),
    "mileage_claims": Standard(30, 5, 0.5),
    "lookups_without_case": Standard(24, 4, 0.5),
    "repeat_lookups_one_subject": Standard(9, 1.5, 0.4),
    "off_duty_lookups": Standard(6, 1, 0.4),
    "vulnerable_subject_lookups": Standard(12, 2, 0.5),
    "lookups_total": Standard(600, 100, 0.7),
    "vulnerable_cases_assigned": Standard(18, 3, 0.5),
    "overtime_hours": Standard(240, 40, 0.8),
    "mutual_aid_days": Standard(18, 3, 0.5),
    "night_duties": Standard(60, 10, 0.6),
    "major_incident_days": Standard(12, 2, 0.5),
    "secondment_days": Standard(18, 3, 0.3),
}

SENIORS_ONLY = ("office_claims_without_badge", "claimed_days_share", "badge_gap_days", "short_office_days")
"""Recorded for senior grades; everybody else has the center, which is 0 once transformed."""

TALLIES: dict[str, Tally] = {
    "complaints_2y": Tally(0.5, 0.6),
    "warnings_2y": Tally(0.05, 0.5),
    "findings_5y": Tally(0.08, 0.6),
    "gifts_declared_2y": Tally(0.4, 0.5),
    "commendations_5y": Tally(0.6, 0.5),
}

SENIORS = 1_500
FRONTLINE_SHARE = 0.6
DETECTIVE_SHARE = 0.15
VETTING_UNKNOWN_SHARE = 0.02
TRANSFER_SHARE = 0.05
SEX_SHARES = {"a": 0.65, "b": 0.35}
ETHNICITY_SHARES = {"g1": 0.80, "g2": 0.09, "g3": 0.07, "g4": 0.04}
SMALLEST_BOROUGH, LARGEST_BOROUGH, FEWEST_PEOPLE = 700.0, 2_300.0, 20


def scaled_size(size: int, people: int, *, least: int) -> int:
    """Return the share of ``size`` that a force of this many people has, at least ``least``."""
    return max(least, round(size * people / REFERENCE_PEOPLE))


def borough_sizes(rng: np.random.Generator, people: int, boroughs: int) -> NDArray[np.int64]:
    """Return how many people each borough has: uneven, none under 20 where that is possible.

    Raises: ConfigurationError if there are fewer people than boroughs.
    """
    if not 1 <= boroughs <= people:
        raise ConfigurationError(f"boroughs: {boroughs} for {people} people; at least one, and a person in each")
    least = min(FEWEST_PEOPLE, people // boroughs)
    weights = rng.uniform(SMALLEST_BOROUGH, LARGEST_BOROUGH, boroughs)
    wanted = least + weights / weights.sum() * (people - least * boroughs)
    sizes: NDArray[np.int64] = np.floor(wanted).astype(np.int64)
    largest_remainders = np.argsort(sizes - wanted, kind="stable")[: people - int(sizes.sum())]
    sizes[largest_remainders] += 1
    return sizes


def postings(rng: np.random.Generator, people: int, boroughs: int) -> NDArray[np.int64]:
    """Return each person's borough number at each cutoff, shape (cutoffs, people).

    Transfers exchange places, so every borough keeps its establishment.
    """
    first = rng.permutation(np.repeat(np.arange(boroughs), borough_sizes(rng, people, boroughs)))
    second = first.copy()
    movers = rng.choice(people, size=round(TRANSFER_SHARE * people), replace=False)
    second[movers] = rng.permutation(second[movers])
    return np.stack([first, second])


def yearly(rng: np.random.Generator, people: int) -> Float64Array:
    """Return standard normal values, shape (cutoffs, people), correlated by ``PERSISTENCE`` within a person."""
    lasting = rng.standard_normal(people)
    passing = rng.standard_normal((len(CUTOFFS), people))
    both: Float64Array = np.sqrt(PERSISTENCE) * lasting + np.sqrt(1 - PERSISTENCE) * passing
    return both


def standard_columns(rng: np.random.Generator, people: int) -> dict[str, Float64Array]:
    """Return z of every standard column, shape (cutoffs, people) each, before anything is planted."""
    workload = yearly(rng, people)
    return {
        name: column.workload * workload + np.sqrt(1 - column.workload**2) * yearly(rng, people)
        for name, column in STANDARD.items()
    }


def tally_columns(rng: np.random.Generator, people: int) -> dict[str, NDArray[np.int64]]:
    """Return every count, shape (cutoffs, people)."""
    return {
        name: rng.poisson(
            tally.rate * np.exp(tally.spread * rng.standard_normal(people) - tally.spread**2 / 2),
            (len(CUTOFFS), people),
        )
        for name, tally in TALLIES.items()
    }


def service_columns(rng: np.random.Generator, people: int) -> dict[str, Float64Array]:
    """Return tenure, time in post and age of the vetting, shape (cutoffs, people); unknown vetting is NaN."""
    passed = np.arange(len(CUTOFFS), dtype=np.float64)[:, None]
    tenure = np.minimum(rng.gamma(2.5, 5.0, people), 38.0) + passed
    in_post: Float64Array = np.minimum(rng.exponential(4.0, (len(CUTOFFS), people)), tenure)
    vetting = rng.uniform(0.0, 9.0, people) + passed
    vetting = np.where(rng.random(people) < VETTING_UNKNOWN_SHARE, np.nan, vetting)
    return {
        "tenure_years": np.round(tenure, 1),
        "years_in_post": np.round(in_post, 1),
        "vetting_age_years": np.round(vetting, 1),
    }
