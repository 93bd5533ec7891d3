"""Who serves: people, their latent habits, their teams, and where each served from when to when.

Rules this module keeps: sex, ethnicity and age are drawn from a stream of their own and nothing else reads them;
staff numbers are dealt out at random, so a number says nothing; a stint is one person in one unit of one borough,
and every event belongs to a stint.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.force.events.period import IntArray, Period
from deploy.force.population import borough_sizes, scaled_size

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SENIORS = 1_500
FEWEST_SENIORS = 12
ROLES: dict[str, tuple[float, str]] = {
    "response": (0.32, "rotating"),
    "neighbourhood": (0.14, "days"),
    "investigation": (0.17, "days"),
    "public_protection": (0.05, "days"),
    "custody": (0.04, "rotating"),
    "roads": (0.02, "rotating"),
    "public_order": (0.04, "rotating"),
    "intelligence": (0.03, "days"),
    "control_room": (0.04, "rotating"),
    "training": (0.02, "office_hours"),
    "support": (0.13, "office_hours"),
    "command": (0.0, "office_hours"),
}
"""Share of the people who are not of a senior grade, and the shift pattern. Senior grades are ``command``."""

ROLE_NAMES = tuple(ROLES)
COMMAND = ROLE_NAMES.index("command")
SUPPORT = ROLE_NAMES.index("support")
RANKS = (
    "constable",
    "sergeant",
    "inspector",
    "chief_inspector",
    "superintendent",
    "chief_superintendent",
    "pcso",
    "police_staff",
)
SERGEANT, INSPECTOR, PCSO, POLICE_STAFF = 1, 2, 6, 7
SENIOR_SHARES = {3: 0.55, 4: 0.33, 5: 0.12}
STAFF_ROLES = ("control_room", "support")
TEAM_SIZE = 14
BUSY_TEAMS, LATE_TEAMS = 0.06, 0.08
SITES_PER_BOROUGH = 6
WITHOUT_READER = 0.1
TRANSFER_SHARE, JOINER_SHARE, LEAVER_SHARE, SECONDED_SHARE = 0.05, 0.03, 0.03, 0.02
LONG_AGO = -40 * 365


@dataclass(frozen=True, slots=True)
class Stints:
    """Who served in which unit from when to when; one or two rows a person, ordered by borough and unit."""

    person: IntArray
    borough: IntArray
    unit: IntArray
    first_day: IntArray
    """Negative for those who served before the period."""
    last_day: IntArray
    """First day after it; the length of the period, or more, while open."""


@dataclass(frozen=True, slots=True)
class Units:
    """Teams: everybody in one shares supervisors, a building and, in part, a workload."""

    borough: IntArray
    role: IntArray
    site: IntArray
    """Number of the building within the borough."""
    phase: IntArray
    """Where in its shift pattern a team stands on day 0."""
    busy: BoolArray
    late: BoolArray
    """Enters its times late, honestly."""
    supervisors: IntArray
    """Two people a unit, shape (units, 2); those of another unit where a unit has none."""
    inspector: IntArray
    planner: IntArray


@dataclass(frozen=True, slots=True)
class People:
    """Everybody, in an order that means nothing."""

    number: IntArray
    """What the staff number is made of: a random permutation."""
    rank: IntArray
    role: IntArray
    senior: BoolArray
    joined: IntArray
    left: IntArray
    """Day of leaving, or far in the future."""
    vetted: IntArray
    """Day of the last vetting; `LONG_AGO` if unknown."""
    sex: IntArray
    ethnicity: IntArray
    age_band: IntArray
    workload: FloatArray
    unit: IntArray
    seconded_from: IntArray
    seconded_to: IntArray
    """Equal where nobody is seconded."""
    stints: Stints
    units: Units
    boroughs: int
    readers: BoolArray
    """Whether a building has working badge readers, shape (boroughs, sites)."""


SEXES, SEX_SHARES = ("f", "m"), (0.35, 0.65)
ETHNICITIES, ETHNICITY_SHARES = ("asian", "black", "mixed", "white", "other"), (0.07, 0.04, 0.04, 0.83, 0.02)
AGE_BANDS, AGE_SHARES = ("under_30", "30_44", "45_plus"), (0.22, 0.46, 0.32)


def draw_people(seeds: np.random.SeedSequence, period: Period, *, people: int, boroughs: int) -> People:
    """Return the force of this seed.

    Raises: ConfigurationError if there are fewer people than boroughs.
    """
    plain, protected = (np.random.default_rng(seed) for seed in seeds.spawn(2))
    borough = plain.permutation(np.repeat(np.arange(boroughs), borough_sizes(plain, people, boroughs)))
    senior = np.zeros(people, dtype=bool)
    senior[plain.choice(people, scaled_size(SENIORS, people, least=FEWEST_SENIORS), replace=False)] = True
    shares = np.array([share for share, _ in ROLES.values()])
    role = np.where(senior, COMMAND, plain.choice(len(ROLES), people, p=shares / shares.sum()))
    unit, unit_borough, unit_role, place = _teams(plain, borough, role)
    rank = _ranks(plain, role, place, unit, senior)
    units = _units(plain, unit, unit_borough, unit_role, rank, role, boroughs)
    joined = -np.minimum(plain.gamma(2.5, 5.0, people) * 365, -LONG_AGO - 1).astype(np.int64) - 1
    joiners = plain.random(people) < JOINER_SHARE
    joined[joiners] = plain.integers(1, period.days, joiners.sum())
    left = np.full(people, period.extract_day + 1, dtype=np.int64)
    leavers = (plain.random(people) < LEAVER_SHARE) & ~joiners
    left[leavers] = plain.integers(1, period.days, leavers.sum())
    busy = np.where(units.busy[unit], 1.0, 0.0)
    workload = 0.6 * plain.standard_normal(len(unit_borough))[unit] + 0.8 * plain.standard_normal(people) + busy
    vetted = -plain.integers(0, 9 * 365, people)
    vetted[plain.random(people) < 0.02] = LONG_AGO
    seconded_from, seconded_to = _secondments(plain, people, period)
    return People(
        number=plain.permutation(people) + 1,
        rank=rank,
        role=role,
        senior=senior,
        joined=joined,
        left=left,
        vetted=vetted,
        sex=protected.choice(len(SEXES), people, p=SEX_SHARES),
        ethnicity=protected.choice(len(ETHNICITIES), people, p=ETHNICITY_SHARES),
        age_band=protected.choice(len(AGE_BANDS), people, p=AGE_SHARES),
        workload=workload,
        unit=unit,
        seconded_from=seconded_from,
        seconded_to=seconded_to,
        stints=_stints(plain, period, borough, unit, units, joined, left),
        units=units,
        boroughs=boroughs,
        readers=plain.random((boroughs, SITES_PER_BOROUGH)) >= WITHOUT_READER,
    )


def without_the_gone(people: People) -> People:
    """Return the same people with no stint beyond the day of leaving."""
    stints = people.stints
    last = np.minimum(stints.last_day, people.left[stints.person])
    kept = stints.first_day < last
    rows = {name: getattr(stints, name)[kept] for name in Stints.__slots__}
    return dataclasses.replace(people, stints=Stints(**rows | {"last_day": last[kept]}))


def _teams(
    rng: np.random.Generator, borough: IntArray, role: IntArray
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return each person's unit, each unit's borough and role, and each person's place within the unit."""
    people = len(borough)
    order = np.lexsort((rng.random(people), role, borough))
    group = borough[order] * len(ROLES) + role[order]
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    place = np.arange(people) - np.repeat(starts, np.diff(np.r_[starts, people]))
    first = np.flatnonzero(place % TEAM_SIZE == 0)
    unit = np.empty(people, dtype=np.int64)
    unit[order] = np.cumsum(place % TEAM_SIZE == 0) - 1
    placed = np.empty(people, dtype=np.int64)
    placed[order] = place % TEAM_SIZE
    return unit, borough[order][first], role[order][first], placed


def _ranks(rng: np.random.Generator, role: IntArray, place: IntArray, unit: IntArray, senior: BoolArray) -> IntArray:
    names = np.array(ROLE_NAMES)[role]
    draw = rng.random(len(role))
    rank = np.zeros(len(role), dtype=np.int64)
    rank[(names == "neighbourhood") & (draw < 0.35)] = PCSO
    rank[np.isin(names, STAFF_ROLES) | ((names == "intelligence") & (draw < 0.4))] = POLICE_STAFF
    officers = ~np.isin(names, STAFF_ROLES)
    rank[officers & (place < 2)] = SERGEANT
    rank[officers & (place == 2) & (unit % 3 == 0)] = INSPECTOR
    rank[senior] = rng.choice(list(SENIOR_SHARES), senior.sum(), p=list(SENIOR_SHARES.values()))
    return rank


def _units(
    rng: np.random.Generator,
    unit: IntArray,
    unit_borough: IntArray,
    unit_role: IntArray,
    rank: IntArray,
    role: IntArray,
    boroughs: int,
) -> Units:
    count = len(unit_borough)
    members = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[members], np.arange(count))
    sizes = np.diff(np.r_[starts, len(members)])
    # The sergeants of a team are its first places. A team of one has itself twice; `supervisor_of` then looks elsewhere.
    by_place = [members[starts + np.minimum(place, sizes - 1)] for place in (0, 1)]
    supervisors = np.stack(by_place, axis=1)
    inspector, planner = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for number in range(boroughs):
        here = np.flatnonzero(unit_borough == number)
        crew = members[np.isin(unit[members], here)]
        for target, wanted in ((inspector, rank == INSPECTOR), (planner, role == SUPPORT)):
            pool = crew[wanted[crew]]
            target[here] = rng.choice(pool if len(pool) else crew, len(here))
    return Units(
        borough=unit_borough,
        role=unit_role,
        site=rng.integers(0, SITES_PER_BOROUGH, count),
        phase=rng.integers(0, 28, count),
        busy=rng.random(count) < BUSY_TEAMS,
        late=rng.random(count) < LATE_TEAMS,
        supervisors=supervisors,
        inspector=inspector,
        planner=planner,
    )


def _secondments(rng: np.random.Generator, people: int, period: Period) -> tuple[IntArray, IntArray]:
    start = rng.integers(0, period.days, people)
    end = np.where(
        rng.random(people) < SECONDED_SHARE, np.minimum(start + rng.integers(30, 121, people), period.days), start
    )
    return start, end


def _stints(
    rng: np.random.Generator,
    period: Period,
    borough: IntArray,
    unit: IntArray,
    units: Units,
    joined: IntArray,
    left: IntArray,
) -> Stints:
    """Return the stints: those who transfer go to a unit of the same role in another borough, if there is one."""
    people = len(borough)
    movers = np.flatnonzero(rng.random(people) < TRANSFER_SHARE)
    day = rng.integers(1, period.days, len(movers))
    new_unit = np.full(len(movers), -1, dtype=np.int64)
    for role in np.unique(units.role):
        mine = np.flatnonzero(units.role[unit[movers]] == role)
        new_unit[mine] = rng.choice(np.flatnonzero(units.role == role), len(mine))
    real = (units.borough[new_unit] != borough[movers]) & (day > joined[movers]) & (day < left[movers])
    movers, day, new_unit = movers[real], day[real], new_unit[real]
    end = left.copy()
    end[movers] = day
    person = np.r_[np.arange(people), movers]
    units_of = np.r_[unit, new_unit]
    order = np.lexsort((person, units_of, units.borough[units_of]))
    return Stints(
        person=person[order],
        borough=units.borough[units_of][order],
        unit=units_of[order],
        first_day=np.r_[joined, day][order],
        last_day=np.r_[end, left[movers]][order],
    )
