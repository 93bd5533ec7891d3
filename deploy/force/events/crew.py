"""One borough's stints as rows of arrays: what every table of the borough is drawn over.

Rules this module keeps: a row is a stint, so whoever transfers has rows in two boroughs and events in each only
while posted there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.cases import Cases, LookAlikes
from deploy.force.events.habits import Habits
from deploy.force.events.people import INSPECTOR, SERGEANT, BoolArray, IntArray, People
from deploy.force.events.period import Period


@dataclass(frozen=True, slots=True)
class World:
    """The whole force before its events."""

    period: Period
    people: People
    habits: Habits
    cases: Cases
    alikes: LookAlikes


@dataclass(frozen=True, slots=True)
class Crew:
    """The rows of one borough."""

    borough: int
    person: IntArray
    unit: IntArray
    posted: BoolArray
    """Whether the row's person serves here on a day, shape (rows, days)."""
    seconded: BoolArray
    """Whether that person is lent out on a day, shape (rows, days)."""
    last_day: IntArray
    """First day after the stint."""
    site: IntArray
    has_reader: BoolArray
    """Whether the row's building has badge readers."""


def crew_of(world: World, borough: int) -> Crew:
    """Return the rows of one borough."""
    stints, people = world.people.stints, world.people
    rows = np.flatnonzero(stints.borough == borough)
    person, unit = stints.person[rows], stints.unit[rows]
    days = np.arange(world.period.days)
    site = people.units.site[unit]
    return Crew(
        borough=borough,
        person=person,
        unit=unit,
        posted=(stints.first_day[rows][:, None] <= days) & (days < stints.last_day[rows][:, None]),
        seconded=(people.seconded_from[person][:, None] <= days) & (days < people.seconded_to[person][:, None]),
        last_day=stints.last_day[rows],
        site=site,
        has_reader=people.readers[borough, site],
    )


def covered(rows: IntArray, starts: IntArray, lengths: IntArray, shape: tuple[int, int]) -> BoolArray:
    """Say which (row, day) lies in one of these intervals."""
    edges = np.zeros((shape[0], shape[1] + 1), dtype=np.int16)
    np.add.at(edges, (rows, np.minimum(starts, shape[1])), 1)
    np.add.at(edges, (rows, np.minimum(starts + lengths, shape[1])), -1)
    inside: BoolArray = np.cumsum(edges[:, :-1], axis=1, dtype=np.int16) > 0
    return inside


def supervisor_of(rng: np.random.Generator, world: World, crew: Crew, row: IntArray) -> IntArray:
    """Return who supervises each row: a sergeant of the unit, an inspector for sergeants, never the person itself."""
    units = world.people.units
    unit, person = crew.unit[row], crew.person[row]
    pick = rng.integers(0, 2, len(row))
    mine = units.supervisors[unit, pick]
    other = units.supervisors[unit, 1 - pick]
    leads = np.isin(world.people.rank[person], (SERGEANT, INSPECTOR))
    chosen = np.where(leads | (mine == person), units.inspector[unit], mine)
    chosen = np.where(chosen == person, other, chosen)
    return np.where(chosen == person, units.planner[unit], chosen)
