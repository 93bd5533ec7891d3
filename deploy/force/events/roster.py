"""The plan: who is on which shift on which day, who is away, and who swapped with whom.

Rules this module keeps: codes are small integers in arrays of shape (rows, days); a person on leave or sick keeps the
planned shift, because that is when the absence lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.force.events.crew import Crew, World, covered
from deploy.force.events.people import ROLES, BoolArray, IntArray

Int8Array = NDArray[np.int8]

OFF, EARLY, LATE, NIGHT, DAY = range(5)
START_MINUTES = np.array([0, 7 * 60, 14 * 60, 22 * 60, 8 * 60])
LENGTH_MINUTES = np.array([0, 8 * 60, 9 * 60, 9 * 60, 8 * 60])
DUTY_TYPES = (
    "shift",
    "office_day",
    "court",
    "training",
    "mutual_aid",
    "major_incident",
    "rest_day_worked",
    "annual_leave",
    "other_absence",
)
SHIFT, OFFICE_DAY, COURT, TRAINING, MUTUAL_AID, MAJOR_INCIDENT, REST_DAY_WORKED, LEAVE, ABSENCE = range(9)
NO_DUTY = -1

ROTATION = np.array([EARLY, EARLY, LATE, LATE, NIGHT, NIGHT, OFF, OFF, OFF, OFF], dtype=np.int8)
FORTNIGHT = np.array([EARLY] * 5 + [OFF] * 2 + [LATE] * 5 + [OFF] * 2, dtype=np.int8)
FRONT = ("response", "neighbourhood", "public_order", "roads")
LEAVE_BLOCKS_PER_YEAR, LEAVE_DAYS = 5.0, (3, 13)
SICK_SPELLS_PER_YEAR, SICK_MEDIAN_DAYS, SICK_SPREAD, LONGEST_SICKNESS = 1.3, 3.0, 1.1, 120
DEPLOYMENTS_PER_YEAR, DEPLOYED_SHARE = 1.2, 0.6
INCIDENTS_PER_YEAR, INCIDENT_SHARE = 3.0, 0.4


@dataclass(frozen=True, slots=True)
class Roster:
    """What was planned for a (row, day), after swaps."""

    planned: Int8Array
    """Shift as first published; `OFF` where there is none."""
    worked: Int8Array
    """Shift after swaps."""
    kind: Int8Array
    """Index into `DUTY_TYPES`, or `NO_DUTY`."""
    operation: NDArray[np.int16]
    """Number of the mutual aid or major incident, or -1."""
    swapped_with: IntArray
    """Person, or -1."""
    false_duty: BoolArray
    """Rest days that will be booked and were not worked."""
    sick_rows: IntArray
    sick_starts: IntArray
    sick_lengths: IntArray


def draw_roster(rng: np.random.Generator, world: World, crew: Crew) -> Roster:
    """Return the plan of one borough."""
    planned = np.where(crew.posted, _pattern(world, crew), OFF).astype(np.int8)
    shape = planned.shape
    years = world.period.days / 365
    kind = np.full(shape, NO_DUTY, dtype=np.int8)
    pattern = np.array([name == "office_hours" for _, name in ROLES.values()])
    role = world.people.units.role[crew.unit]
    on_duty = planned != OFF
    kind[on_duty] = SHIFT
    kind[on_duty & pattern[role][:, None]] = OFFICE_DAY
    front = np.isin(np.array(list(ROLES))[role], FRONT)
    draw = rng.random(shape, dtype=np.float32)
    detectives = np.isin(np.array(list(ROLES))[role], ("response", "investigation", "public_protection"))
    kind[on_duty & (draw < 0.02) & detectives[:, None]] = COURT
    kind[on_duty & (draw > 0.98)] = TRAINING
    operation = _operations(rng, world, crew, kind, on_duty, front, years)

    leave_rows = np.repeat(np.arange(shape[0]), rng.poisson(LEAVE_BLOCKS_PER_YEAR * years, shape[0]))
    leave = covered(
        leave_rows,
        rng.integers(0, shape[1], len(leave_rows)),
        rng.integers(*LEAVE_DAYS, len(leave_rows)),
        shape,
    )
    kind[on_duty & leave] = LEAVE
    sick_rows, sick_starts, sick_lengths, sick = _sickness(rng, crew, years)
    kind[on_duty & sick] = ABSENCE
    operation[(kind == LEAVE) | (kind == ABSENCE)] = -1

    habits = world.habits.roster
    resting = crew.posted & ~on_duty & ~leave & ~sick & ~crew.seconded & ~world.people.senior[crew.person][:, None]
    draw = rng.random(shape, dtype=np.float32)
    extra = resting & (draw < habits.rest_day[crew.person][:, None])
    spell = habits.spell.covers(crew.person[:, None], np.arange(shape[1]))
    false_duty = resting & ~extra & spell & (rng.random(shape, dtype=np.float32) < habits.phantom[crew.person][:, None])
    added = extra | false_duty
    planned[added] = rng.integers(EARLY, NIGHT + 1, int(added.sum()))
    kind[added] = REST_DAY_WORKED

    worked = planned.copy()
    swapped_with = _swap(rng, world, crew, worked, kind, spell, years)
    return Roster(planned, worked, kind, operation, swapped_with, false_duty, sick_rows, sick_starts, sick_lengths)


def _pattern(world: World, crew: Crew) -> Int8Array:
    """Return the published shift of every (row, day), as if everybody were there."""
    period, units = world.period, world.people.units
    days, weekday, working = np.arange(period.days), period.weekdays(), period.working_days()
    phase, role = units.phase[crew.unit][:, None], units.role[crew.unit]
    rotating = ROTATION[(days + phase) % len(ROTATION)]
    monday = (days - weekday) // 7
    fortnight = FORTNIGHT[weekday + 7 * ((monday + phase) % 2)]
    office = np.broadcast_to(np.where(working, DAY, OFF), rotating.shape)
    # Detectives work office days and one Saturday in eight.
    saturday = (weekday == 5) & ((monday + phase) % 8 == 0)
    detectives = np.where(saturday, LATE, office)
    names = np.array(list(ROLES))[role][:, None]
    by_pattern = np.array([pattern for _, pattern in ROLES.values()])[role][:, None]
    pattern: Int8Array = np.select(
        [by_pattern == "rotating", names == "neighbourhood", by_pattern == "days"],
        [rotating, fortnight, detectives],
        office,
    ).astype(np.int8)
    return pattern


def _operations(
    rng: np.random.Generator,
    world: World,
    crew: Crew,
    kind: Int8Array,
    on_duty: BoolArray,
    front: BoolArray,
    years: float,
) -> NDArray[np.int16]:
    """Send teams on mutual aid, and much of the borough to its major incidents; return the number of the operation."""
    shape = kind.shape
    operation = np.full(shape, -1, dtype=np.int16)
    units = np.unique(crew.unit[front])
    number = 0
    deployments = np.repeat(units, rng.poisson(DEPLOYMENTS_PER_YEAR * years, len(units)))
    for unit in deployments:
        start, length = int(rng.integers(0, shape[1])), int(rng.integers(2, 7))
        rows = np.flatnonzero((crew.unit == unit) & (rng.random(len(crew.unit)) < DEPLOYED_SHARE))
        days = np.arange(start, min(start + length, shape[1]))
        block = np.ix_(rows, days)
        kind[block] = np.where(on_duty[block], MUTUAL_AID, kind[block])
        operation[block] = np.where(on_duty[block], number, operation[block])
        number += 1
    for _ in range(rng.poisson(INCIDENTS_PER_YEAR * years)):
        start, length = int(rng.integers(0, shape[1])), int(rng.integers(1, 4))
        rows = np.flatnonzero(front & (rng.random(len(front)) < INCIDENT_SHARE))
        block = np.ix_(rows, np.arange(start, min(start + length, shape[1])))
        kind[block] = np.where(on_duty[block], MAJOR_INCIDENT, kind[block])
        operation[block] = np.where(on_duty[block], number, operation[block])
        number += 1
    return operation


def _sickness(rng: np.random.Generator, crew: Crew, years: float) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """Return the spells that begin while posted here, none touching another of the same row, and the days covered."""
    shape = crew.posted.shape
    rows = np.repeat(np.arange(shape[0]), rng.poisson(SICK_SPELLS_PER_YEAR * years, shape[0]))
    starts = rng.integers(0, shape[1], len(rows))
    lengths = np.ceil(SICK_MEDIAN_DAYS * np.exp(SICK_SPREAD * rng.standard_normal(len(rows)))).astype(np.int64)
    lengths = np.minimum(lengths, LONGEST_SICKNESS)
    order = np.lexsort((starts, rows))
    rows, starts, lengths = rows[order], starts[order], lengths[order]
    next_start = np.r_[
        np.where(rows[1:] == rows[:-1], starts[1:], shape[1] + LONGEST_SICKNESS + 1), shape[1] + LONGEST_SICKNESS + 1
    ]
    lengths = np.minimum(np.minimum(lengths, next_start - starts - 1), crew.last_day[rows] - starts)
    kept = (lengths > 0) & crew.posted[rows, starts]
    rows, starts, lengths = rows[kept], starts[kept], lengths[kept]
    return rows, starts, lengths, covered(rows, starts, lengths, shape)


def _swap(
    rng: np.random.Generator,
    world: World,
    crew: Crew,
    worked: Int8Array,
    kind: Int8Array,
    spell: BoolArray,
    years: float,
) -> IntArray:
    """Exchange the shifts of pairs of colleagues of one role on the day, in place; return who swapped with whom."""
    habits = world.habits.roster
    swapped_with = np.full(worked.shape, -1, dtype=np.int32)
    rotating = np.array([pattern == "rotating" for _, pattern in ROLES.values()])[world.people.units.role[crew.unit]]
    able = np.flatnonzero(rotating)
    if len(able) < 2:
        return swapped_with
    person = crew.person[able]
    usual = rng.poisson(habits.swaps_per_year[person] * years)
    in_spell = spell[able].mean(axis=1)
    greedy = rng.poisson(habits.greedy_swaps_per_year[person] * in_spell * years)
    row = np.repeat(np.r_[able, able], np.r_[usual, greedy])
    wants_night = np.r_[
        rng.random(usual.sum()) < np.repeat(habits.premium_taste[person], usual), np.ones(greedy.sum(), dtype=bool)
    ]
    day = rng.integers(0, worked.shape[1], len(row))
    is_greedy = np.arange(len(row)) >= usual.sum()
    shift = (kind == SHIFT) & ~crew.seconded
    fits = shift[row, day] & (~is_greedy | spell[row, day])
    row, day, wants_night = row[fits], day[fits], wants_night[fits]
    # A cell takes part in one swap: the first that claims it, in an order drawn at random.
    order = rng.permutation(len(row))
    row, day, wants_night = row[order], day[order], wants_night[order]
    for _ in range(6):
        mate = rng.choice(able, len(row))
        mine, theirs = worked[row, day], worked[mate, day]
        better = np.where(wants_night, (theirs == NIGHT) & (mine != NIGHT), (theirs != mine) & (mine != OFF))
        free = (swapped_with[row, day] < 0) & (swapped_with[mate, day] < 0)
        works = np.flatnonzero(better & free & shift[mate, day] & (mate != row))
        cells = np.stack([row[works] * worked.shape[1] + day[works], mate[works] * worked.shape[1] + day[works]])
        _, first = np.unique(cells.T.ravel(), return_index=True)
        is_first = np.zeros(cells.size, dtype=bool)
        is_first[first] = True
        works = works[is_first.reshape(-1, 2).all(axis=1)]
        a, b, d = row[works], mate[works], day[works]
        worked[a, d], worked[b, d] = worked[b, d], worked[a, d].copy()
        swapped_with[a, d], swapped_with[b, d] = crew.person[b], crew.person[a]
        left = np.ones(len(row), dtype=bool)
        left[works] = False
        row, day, wants_night = row[left], day[left], wants_night[left]
    return swapped_with
