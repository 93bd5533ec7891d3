"""Duties as the duty system holds them: planned, booked, amended, authorised, and by whom and when.

Rules this module keeps: what really happened (`came`, `went`) is kept apart from what was booked and never written;
honest entries book the truth, late or not, and amendments bring a first entry to it; a false entry adds time after
the fact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.cases import NEVER
from deploy.force.events.crew import Crew, World, supervisor_of
from deploy.force.events.outages import DUTY_SYSTEM, Outages
from deploy.force.events.people import ROLES, BoolArray, IntArray
from deploy.force.events.period import DAY_SECONDS, HOUR_SECONDS, seconds_of
from deploy.force.events.roster import (
    ABSENCE,
    LEAVE,
    LENGTH_MINUTES,
    MAJOR_INCIDENT,
    OFFICE_DAY,
    REST_DAY_WORKED,
    START_MINUTES,
    Roster,
)

QUARTER = 15
OVERTIME_PER_DUTY = {"rotating": 0.12, "days": 0.10, "office_hours": 0.03}
OVERTIME_MEDIAN_MINUTES, OVERTIME_SPREAD, MOST_OVERTIME = 80.0, 0.5, 360
INCIDENT_OVERTIME = 0.8
UNBOOKED, DUPLICATED, UNAUTHORISED = 0.005, 0.002, 0.04
BOOKED_SELF, BOOKING_DELAY_HOURS = 0.7, 14.0
AMENDED_WITH_OVERTIME, MOST_AMENDED = 3.0, 0.7
AMEND_MEDIAN_DAYS, AMEND_SPREAD = 2.0, 0.9
FALSE_DELAY_MEDIAN_DAYS, FALSE_DELAY_SPREAD = 4.0, 0.8
AUTHORISATION_DELAY_HOURS = 36.0
ENTERED_AFTERWARDS = 0.08
"""Share of the worked rest days that were entered after the fact, honestly."""


@dataclass(frozen=True, slots=True)
class Duties:
    """Duties of one borough, ordered by row and day; instants in seconds, `NEVER` where there is none; people by number."""

    row: IntArray
    day: IntArray
    kind: IntArray
    operation: IntArray
    at_site: BoolArray
    planned_start: IntArray
    planned_end: IntArray
    booked_start: IntArray
    booked_end: IntArray
    overtime: IntArray
    """Minutes."""
    created_at: IntArray
    created_by: IntArray
    booked_at: IntArray
    booked_by: IntArray
    amended_at: IntArray
    amended_by: IntArray
    amended_minutes: IntArray
    authorised_at: IntArray
    authorised_by: IntArray
    swapped_at: IntArray
    swapped_with: IntArray
    came: IntArray
    """When the person really came and went; `NEVER` if not at all. Not written."""
    went: IntArray

    def repeated(self, which: IntArray) -> Duties:
        """Return these rows."""
        return Duties(*(getattr(self, name)[which] for name in self.__slots__))


def draw_duties(rng: np.random.Generator, world: World, crew: Crew, roster: Roster, outages: Outages) -> Duties:
    """Return the duties of one borough."""
    row, day = (index.astype(np.int64) for index in np.nonzero(roster.kind >= 0))
    size = len(row)
    kind, person = roster.kind[row, day].astype(np.int64), crew.person[row]
    habits, units = world.habits.roster, world.people.units
    planned_start, planned_end = _times(roster.planned[row, day], day, crew, row, world)
    start, end = _times(roster.worked[row, day], day, crew, row, world)
    works = (kind != LEAVE) & (kind != ABSENCE)
    false_duty = roster.false_duty[row, day]

    real = _overtime(rng, world, crew, row, kind, works)
    spell = habits.spell.covers(person, day)
    inflates = works & ~false_duty & spell & (rng.random(size) < habits.inflate[person])
    false = np.where(inflates, QUARTER * rng.integers(2, 13, size), 0)
    rest = kind == REST_DAY_WORKED
    shift_minutes = (end - start) // 60
    real = np.where(rest, 0, real)
    false = np.where(rest, 0, false)
    overtime = np.where(rest, shift_minutes, real + false)
    inflates &= ~rest

    supervisor = supervisor_of(rng, world, crew, row)
    planner = units.planner[crew.unit[row]]
    alone = rng.random(size) < habits.false_self[person]
    partner = habits.partner[person]

    # Entered into the plan weeks before; a worked rest day a few days before, or afterwards.
    created_at = planned_start - rng.integers(28 * 24, 56 * 24, size) * HOUR_SECONDS
    created_by = planner.copy()
    created_at[rest] = planned_start[rest] - rng.integers(6, 150, int(rest.sum())) * HOUR_SECONDS
    created_by[rest] = supervisor[rest]
    afterwards = rest & ((rng.random(size) < ENTERED_AFTERWARDS) | false_duty)
    later = end[afterwards] + rng.integers(1, 96, int(afterwards.sum())) * HOUR_SECONDS
    created_at[afterwards] = later
    by_hand = np.where(partner != NEVER, np.where(alone, person, partner), person)
    created_by[afterwards] = np.where(false_duty, by_hand, np.where(rng.random(size) < 0.5, person, supervisor))[
        afterwards
    ]

    went = end + 60 * np.where(rest, 0, real)
    booked_at = went + (rng.exponential(BOOKING_DELAY_HOURS, size) * HOUR_SECONDS).astype(np.int64) + 60
    booked_at, was_out = outages.after(rng, DUTY_SYSTEM, booked_at)
    booked_at = np.maximum(booked_at, created_at + 60)
    booked_by = np.where((rng.random(size) < BOOKED_SELF) & ~was_out, person, supervisor)

    # An honest first entry is off by the amended minutes, and the amendment brings it to the truth.
    chance = habits.amend[person] * np.where(overtime > 0, AMENDED_WITH_OVERTIME, 1.0) * np.where(was_out, 2.0, 1.0)
    honest = works & ~inflates & ~rest & (rng.random(size) < np.minimum(chance, MOST_AMENDED))
    step = QUARTER * rng.integers(1, 9, size)
    up = rng.random(size) < np.where(real > 0, 0.65, 0.35)
    minutes = np.where(inflates, false, np.where(up, np.minimum(step, np.maximum(real, QUARTER)), -step))
    late = world.people.units.late[crew.unit[row]]
    delay_days = np.where(
        inflates,
        FALSE_DELAY_MEDIAN_DAYS * np.exp(FALSE_DELAY_SPREAD * rng.standard_normal(size)),
        np.where(late, 2.0, 1.0) * AMEND_MEDIAN_DAYS * np.exp(AMEND_SPREAD * rng.standard_normal(size)),
    )
    amended = inflates | honest
    amended_at = np.where(amended, booked_at + 60 + (delay_days * DAY_SECONDS).astype(np.int64), NEVER)
    own = inflates & (alone | (partner == NEVER)) | honest & (rng.random(size) < habits.amend_self[person])
    amended_by = np.where(own, person, np.where(inflates, partner, supervisor))

    paid = works & (overtime > 0)
    authorised = paid & (rng.random(size) >= UNAUTHORISED)
    entered = np.maximum(booked_at, amended_at)
    authorised_at = entered + 60 + (rng.exponential(AUTHORISATION_DELAY_HOURS, size) * HOUR_SECONDS).astype(np.int64)
    is_false = inflates | false_duty
    self_authorised = np.where(is_false & (partner == NEVER), alone, rng.random(size) < habits.authorise_self[person])
    authorised_by = np.where(self_authorised, person, np.where(is_false & (partner != NEVER), partner, supervisor))

    booked = works & (rng.random(size) >= UNBOOKED)
    swapped_with = roster.swapped_with[row, day].astype(np.int64)
    swapped_at = planned_start - rng.integers(12, 240, size) * HOUR_SECONDS
    drift = rng.integers(0, 14 * 60, size)
    there = booked & ~false_duty
    duties = Duties(
        row=row,
        day=day,
        kind=kind,
        operation=roster.operation[row, day].astype(np.int64),
        at_site=works & (roster.operation[row, day] < 0) & ~crew.seconded[row, day],
        planned_start=planned_start,
        planned_end=planned_end,
        booked_start=np.where(booked, start, NEVER),
        booked_end=np.where(booked, end + 60 * np.where(rest, 0, overtime), NEVER),
        overtime=np.where(booked, overtime, NEVER),
        created_at=created_at,
        created_by=created_by,
        booked_at=np.where(booked, booked_at, NEVER),
        booked_by=np.where(booked, booked_by, NEVER),
        amended_at=np.where(booked, amended_at, NEVER),
        amended_by=np.where(booked & amended, amended_by, NEVER),
        amended_minutes=np.where(booked & amended, minutes, 0),
        authorised_at=np.where(booked & authorised, authorised_at, NEVER),
        authorised_by=np.where(booked & authorised, authorised_by, NEVER),
        swapped_at=np.where(swapped_with >= 0, swapped_at, NEVER),
        swapped_with=np.where(swapped_with >= 0, swapped_with, NEVER),
        came=np.where(there, start - drift, NEVER),
        went=np.where(there, went + rng.integers(0, 12 * 60, size), NEVER),
    )
    return _with_duplicates(rng, duties)


def _times(shift: np.ndarray, day: IntArray, crew: Crew, row: IntArray, world: World) -> tuple[IntArray, IntArray]:
    # Office hours differ by team: the phase of the unit moves them by up to an hour and a half.
    offset = np.where(shift == len(START_MINUTES) - 1, 30 * (world.people.units.phase[crew.unit[row]] % 4), 0)
    start = START_MINUTES[shift] + offset
    return seconds_of(day, start), seconds_of(day, start + LENGTH_MINUTES[shift])


def _overtime(
    rng: np.random.Generator, world: World, crew: Crew, row: IntArray, kind: IntArray, works: BoolArray
) -> IntArray:
    """Return the overtime that was really worked, in minutes; none for grades above inspector."""
    person, size = crew.person[row], len(row)
    by_role = np.array([OVERTIME_PER_DUTY[pattern] for _, pattern in ROLES.values()])
    chance = by_role[world.people.units.role[crew.unit[row]]] * world.habits.roster.overtime[person]
    chance = np.where(kind == MAJOR_INCIDENT, INCIDENT_OVERTIME, np.minimum(chance, 0.8))
    has = works & ~world.people.senior[person] & (rng.random(size) < chance)
    minutes = OVERTIME_MEDIAN_MINUTES * np.exp(OVERTIME_SPREAD * rng.standard_normal(size))
    rounded = QUARTER * np.ceil(minutes / QUARTER).astype(np.int64)
    return np.where(has, np.minimum(rounded, MOST_OVERTIME), 0)


def _with_duplicates(rng: np.random.Generator, duties: Duties) -> Duties:
    """Append duties that were planned twice by mistake; the second one is never booked."""
    size = len(duties.row)
    twice = np.flatnonzero((rng.random(size) < DUPLICATED) & (duties.kind != OFFICE_DAY))
    again = duties.repeated(twice)
    for name in ("booked_start", "booked_end", "overtime", "booked_at", "booked_by", "amended_at", "amended_by"):
        getattr(again, name)[:] = NEVER
    for name in ("authorised_at", "authorised_by", "swapped_at", "swapped_with", "came", "went"):
        getattr(again, name)[:] = NEVER
    again.amended_minutes[:] = 0
    again.created_at[:] += 600
    return Duties(*(np.concatenate([getattr(duties, name), getattr(again, name)]) for name in Duties.__slots__))
