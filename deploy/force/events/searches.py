"""Searches in police systems: for cases, out of curiosity, and for somebody in particular.

Rules this module keeps: whom a search is for follows from the case, so an honest officer comes back to the same
people; subjects and cases are hashes, so a key says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.force.events.cases import NEVER
from deploy.force.events.crew import Crew, World
from deploy.force.events.duties import Duties
from deploy.force.events.outages import LOOKUPS, Outages
from deploy.force.events.people import ROLES, BoolArray, IntArray
from deploy.force.events.period import DAY_SECONDS
from deploy.force.events.roster import ABSENCE, LEAVE

SYSTEMS = ("crime", "intelligence", "custody", "national", "incidents", "public_protection", "vehicles")
VEHICLES = len(SYSTEMS) - 1
PER_DUTY = {
    "response": 0.5,
    "neighbourhood": 0.35,
    "investigation": 0.7,
    "public_protection": 0.9,
    "custody": 0.5,
    "roads": 0.6,
    "public_order": 0.15,
    "intelligence": 1.2,
    "control_room": 1.0,
    "training": 0.02,
    "support": 0.08,
    "command": 0.1,
}
WITHOUT_SUBJECT, VULNERABLE, VULNERABLE_PROTECTED = 0.25, 0.12, 0.5
CASE_DAYS, CASES_AT_ONCE, SUBJECTS_A_CASE = 25, 4, 2
LINK_MEDIAN_DAYS, LINK_SPREAD, LINKED_AFTER_OUTAGE = 6.0, 0.9, 0.8
TARGET_VULNERABLE, ASSOCIATE_VULNERABLE = 0.85, 0.05
KEY_RANGE = 1_000_000_000
CASE, SUBJECT, TARGET, ASSOCIATE, ON_CALL = range(1, 6)
"""What a hash is of; keeps the keys of different things apart."""


@dataclass(frozen=True, slots=True)
class Searches:
    """Searches of one borough in order of time; `NEVER` for no case and no subject."""

    row: IntArray
    at: IntArray
    system: IntArray
    case: IntArray
    linked_at: IntArray
    subject: IntArray
    vulnerable: BoolArray


def key_of(what: int, *parts: IntArray) -> IntArray:
    """Return keys below `KEY_RANGE`, scattered: the same for the same parts.

    Source: the finaliser of splitmix64 (Steele, Lea, Flood 2014).
    """
    mixed = np.full(np.broadcast(*parts).shape, what, dtype=np.uint64)
    for part in parts:
        mixed = _mixed(mixed ^ part.astype(np.uint64))
    return (mixed % np.uint64(KEY_RANGE)).astype(np.int64)


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def draw_searches(rng: np.random.Generator, world: World, crew: Crew, duties: Duties, outages: Outages) -> Searches:
    """Return the searches of one borough."""
    worked = duties.repeated(
        np.flatnonzero((duties.booked_start != NEVER) & (duties.kind != LEAVE) & (duties.kind != ABSENCE))
    )
    parts = [_ordinary(rng, world, crew, worked)]
    habits, person = world.habits.search, crew.person
    parts.append(
        _repeated(
            rng, world, crew, worked, habits.abuse.start[person], habits.abuse.stop[person],
            habits.abuse_targets[person], habits.abuse_per_year[person], habits.abuse_caseless[person],
            habits.abuse_off_duty[person], what=TARGET, vulnerable=TARGET_VULNERABLE,
        )
    )  # fmt: skip
    few = np.full(len(person), 0.1)
    parts.append(
        _repeated(
            rng, world, crew, worked, habits.association.start[person], habits.association.stop[person],
            habits.associates[person], habits.association_per_year[person], 1 - few,
            few, what=ASSOCIATE, vulnerable=ASSOCIATE_VULNERABLE,
        )
    )  # fmt: skip
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Searches.__slots__}
    out = outages.out(LOOKUPS, joined["at"]) & (joined["case"] != NEVER)
    joined["linked_at"] = np.where(
        out & (joined["linked_at"] == NEVER), _linked(rng, joined["at"]), joined["linked_at"]
    )
    lost = out & (rng.random(len(out)) >= LINKED_AFTER_OUTAGE)
    joined["case"][lost], joined["linked_at"][lost] = NEVER, NEVER
    order = np.argsort(joined["at"], kind="stable")
    return Searches(**{name: values[order] for name, values in joined.items()})


def _linked(rng: np.random.Generator, at: IntArray) -> IntArray:
    days = LINK_MEDIAN_DAYS * np.exp(LINK_SPREAD * rng.standard_normal(len(at)))
    return at + 3_600 + (days * DAY_SECONDS).astype(np.int64)


def _within(rng: np.random.Generator, worked: Duties, index: IntArray) -> IntArray:
    """Return a moment within each of these duties."""
    length = (worked.booked_end - worked.booked_start)[index]
    return worked.booked_start[index] + (rng.random(len(index)) * length).astype(np.int64)


def _ordinary(rng: np.random.Generator, world: World, crew: Crew, worked: Duties) -> Searches:
    habits = world.habits.search
    rows = np.arange(len(crew.person))
    first = np.searchsorted(worked.row, rows)
    count = np.searchsorted(worked.row, rows, side="right") - first
    rate = np.array([PER_DUTY[role] for role in ROLES])[world.people.units.role[crew.unit]] * habits.rate[crew.person]
    row = np.repeat(rows, rng.poisson(rate * count))
    size, person = len(row), crew.person[row]
    index = first[row] + (rng.random(size) * count[row]).astype(np.int64)
    at = _within(rng, worked, index)
    off_duty = rng.random(size) < habits.off_duty[person]
    # Off duty: the hours after a duty, at home.
    at = np.where(off_duty, worked.booked_end[index] + rng.integers(1_800, 12 * 3_600, size), at)
    day = worked.day[index]
    case = key_of(CASE, person, day // CASE_DAYS, rng.integers(0, CASES_AT_ONCE, size))
    subject = key_of(SUBJECT, case, rng.integers(0, SUBJECTS_A_CASE, size))
    protects = world.people.role[person] == list(ROLES).index("public_protection")
    vulnerable = subject < KEY_RANGE * np.where(protects, VULNERABLE_PROTECTED, VULNERABLE)
    system = rng.integers(0, VEHICLES, size)
    no_subject = rng.random(size) < WITHOUT_SUBJECT

    on_call = rng.random(size) < habits.on_call[person]
    quarter = day // 90
    case = np.where(on_call, key_of(CASE, person, quarter, np.full(size, CASES_AT_ONCE)), case)
    subject = np.where(on_call, key_of(ON_CALL, person, quarter), subject)
    caseless = ~on_call & (rng.random(size) < habits.without_case[person])
    late = caseless & (rng.random(size) < habits.late_link[person])
    no_subject &= ~on_call
    return Searches(
        row=row,
        at=at,
        system=np.where(no_subject, VEHICLES, system),
        case=np.where(caseless & ~late, NEVER, case),
        linked_at=np.where(late, _linked(rng, at), NEVER),
        subject=np.where(no_subject, NEVER, subject),
        vulnerable=(vulnerable | on_call) & ~no_subject,
    )


def _repeated(
    rng: np.random.Generator,
    world: World,
    crew: Crew,
    worked: Duties,
    start: IntArray,
    stop: IntArray,
    targets: IntArray,
    per_year: NDArray[np.float64],
    caseless: NDArray[np.float64],
    off_duty: NDArray[np.float64],
    *,
    what: int,
    vulnerable: float,
) -> Searches:
    """Return searches for the same few people again and again, from ``start`` to ``stop`` while posted here."""
    days = np.arange(world.period.days)
    length = world.period.days
    active = np.flatnonzero((targets > 0) & (start < length) & (stop > 0))
    here = crew.posted[active] & (start[active][:, None] <= days) & (days < stop[active][:, None])
    expected = per_year[active] * here.sum(axis=1) / 365
    each = np.repeat(active, targets[active])
    number = np.concatenate([np.arange(some) for some in targets[active]]) if len(active) else np.zeros(0, np.int64)
    searched = rng.poisson(np.repeat(expected, targets[active]))
    row, target = np.repeat(each, searched), np.repeat(number, searched).astype(np.int64)
    size = len(row)
    # A duty of the row between start and stop: duties are ordered by row and day.
    place = worked.row * (length + 1) + worked.day
    low = np.searchsorted(place, row * (length + 1) + np.clip(start[row], 0, length))
    high = np.searchsorted(place, row * (length + 1) + np.clip(stop[row], 0, length))
    index = np.minimum(low + (rng.random(size) * (high - low)).astype(np.int64), max(len(place) - 1, 0))
    real = np.flatnonzero(high > low)
    row, target, index = row[real], target[real], index[real]
    size, person = len(row), crew.person[row]
    off = rng.random(size) < off_duty[row]
    at = np.where(off, worked.booked_end[index] + rng.integers(1_800, 14 * 3_600, size), _within(rng, worked, index))
    excuse = key_of(CASE, person, worked.day[index] // CASE_DAYS, rng.integers(0, CASES_AT_ONCE, size))
    subject = key_of(what, person, target)
    return Searches(
        row=row,
        at=at,
        system=rng.integers(0, VEHICLES, size),
        case=np.where(rng.random(size) < caseless[row], NEVER, excuse),
        linked_at=np.full(size, NEVER),
        subject=subject,
        vulnerable=subject < KEY_RANGE * vulnerable,
    )


def first_associate(person: IntArray) -> IntArray:
    """Return the key under which each person's first associate is searched for."""
    return key_of(ASSOCIATE, person, np.zeros(len(person), dtype=np.int64))
