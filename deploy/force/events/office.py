"""Senior grades and their office days: where they were, and where they say they were.

Rules this module keeps: every office day of a senior grade has one claim; where the person really was decides whether
a badge can be read, the claim never does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.cases import NEVER
from deploy.force.events.crew import Crew, World
from deploy.force.events.duties import Duties
from deploy.force.events.people import BoolArray, IntArray
from deploy.force.events.period import DAY_SECONDS, HOUR_SECONDS
from deploy.force.events.roster import OFFICE_DAY

LOCATIONS = ("office", "home", "off_site_duty")
OFFICE, HOME, OFF_SITE = range(3)
FRIDAY_MONDAY, MIDWEEK = 1.6, 0.6
"""False days crowd at the ends of the week: three days of .6 and two of 1.6 make five."""

ENTERED_BY_OTHERS, CORRECTED = 0.1, 0.04


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of one borough."""

    row: IntArray
    day: IntArray
    location: IntArray
    entered_at: IntArray
    entered_by: IntArray
    amended_at: IntArray


def draw_claims(
    rng: np.random.Generator, world: World, crew: Crew, duties: Duties
) -> tuple[Claims, IntArray, IntArray]:
    """Return the claims, and the duties' ``came`` and ``went`` once people worked at home, off site or briefly."""
    habits, people = world.habits.office, world.people
    which = np.flatnonzero(people.senior[crew.person[duties.row]] & (duties.kind == OFFICE_DAY))
    row, day = duties.row[which], duties.day[which]
    person, size = crew.person[row], len(which)
    spell = habits.spell.covers(person, day)
    weekday = world.period.weekdays()[day]
    tilt = np.where((weekday == 0) | (weekday == 4), FRIDAY_MONDAY, MIDWEEK)

    off_site = rng.random(size) < habits.off_site[person]
    office = ~off_site & (rng.random(size) < habits.office[person])
    skips = office & spell & (rng.random(size) < np.minimum(habits.skips[person] * tilt, 0.95))
    short = office & ~skips & spell & (rng.random(size) < habits.short[person])
    claimed = np.where(off_site, OFF_SITE, np.where(office & ~skips, OFFICE, HOME))
    mistaken: BoolArray = ~office & ~off_site & (rng.random(size) < habits.mistaken[person])
    habitual = off_site & (rng.random(size) < habits.claims_office_off_site[person])
    claimed[mistaken | habitual | (skips & (rng.random(size) < habits.hides[person]))] = OFFICE

    came, went = duties.came.copy(), duties.went.copy()
    absent = which[~office | skips]
    came[absent], went[absent] = NEVER, NEVER
    brief = which[short & (came[which] != NEVER)]
    went[brief] = came[brief] + rng.integers(HOUR_SECONDS, 2 * HOUR_SECONDS + 1, len(brief))

    entered_at = duties.planned_end[which] + (rng.exponential(1.5, size) * DAY_SECONDS).astype(np.int64) + 60
    corrected = rng.random(size) < CORRECTED
    amended_at = entered_at + (rng.exponential(4.0, size) * DAY_SECONDS).astype(np.int64) + 60
    by_others = rng.random(size) < ENTERED_BY_OTHERS
    planner = people.units.planner[crew.unit[row]]
    claims = Claims(
        row=row,
        day=day,
        location=claimed,
        entered_at=entered_at,
        entered_by=np.where(by_others, planner, person),
        amended_at=np.where(corrected, amended_at, NEVER),
    )
    return claims, came, went
