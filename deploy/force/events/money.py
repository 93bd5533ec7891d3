"""Expenses: what people spent and claimed, and what they only claimed.

Rules this module keeps: mistakes are honest and happen to everybody; a false claim is drawn beside the person's own
true ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.cases import NEVER
from deploy.force.events.crew import Crew, World, supervisor_of
from deploy.force.events.duties import Duties
from deploy.force.events.people import BoolArray, IntArray
from deploy.force.events.period import DAY_SECONDS
from deploy.force.events.roster import ABSENCE, LEAVE

CATEGORIES = ("mileage", "subsistence", "accommodation", "travel", "equipment", "other")
CATEGORY_SHARES = np.array([0.25, 0.30, 0.05, 0.22, 0.06, 0.12])
MEDIAN_PENCE = np.array([1_200, 1_200, 9_500, 1_500, 2_500, 1_500])
SPREAD = np.array([0.8, 0.45, 0.3, 0.8, 0.6, 0.8])
LIMIT_PENCE = np.array([NEVER, 2_000, 14_000, NEVER, 5_000, NEVER])
LIMITED = np.flatnonzero(LIMIT_PENCE != NEVER)
ROUND_PENCE, MOST_PENCE = 500, 1_000_000
RECEIPT, FALSE_RECEIPT, APPROVED = 0.92, 0.55, 0.96
SUBMITTED_AFTER_DAYS, RESUBMITTED_AFTER_DAYS, APPROVED_AFTER_DAYS = 9.0, (10, 61), 6.0
DUPLICATE, ROUND, NEAR_LIMIT, ON_LEAVE = range(4)


@dataclass(frozen=True, slots=True)
class Expenses:
    """Claims of one borough; `NEVER` for no limit and no approval."""

    row: IntArray
    day: IntArray
    submitted_at: IntArray
    category: IntArray
    pence: IntArray
    limit: IntArray
    receipt: BoolArray
    approved_at: IntArray
    approved_by: IntArray


@dataclass(frozen=True, slots=True)
class Items:
    """What is claimed, before it is submitted and approved."""

    row: IntArray
    day: IntArray
    category: IntArray
    pence: IntArray
    submitted_at: IntArray
    receipt: BoolArray

    def repeated(self, which: IntArray) -> Items:
        """Return these rows."""
        return Items(*(getattr(self, name)[which] for name in self.__slots__))


def draw_expenses(rng: np.random.Generator, world: World, crew: Crew, duties: Duties) -> Expenses:
    """Return the claims of one borough, in order of submission."""
    habits = world.habits.money
    away = (duties.kind == LEAVE) | (duties.kind == ABSENCE)
    worked = _Days(duties, np.flatnonzero((duties.booked_start != NEVER) & ~away), world.period.days)
    leave = _Days(duties, np.flatnonzero(duties.kind == LEAVE), world.period.days)
    honest = _honest(rng, world, crew, worked, leave)
    again = np.flatnonzero(rng.random(len(honest.row)) < habits.resubmits[crew.person[honest.row]])
    false = _false(rng, world, crew, worked, leave, honest)
    items = [honest, _resubmitted(rng, honest.repeated(again)), *false]
    joined = Items(*(np.concatenate([getattr(part, name) for part in items]) for name in Items.__slots__))
    joined = joined.repeated(np.argsort(joined.submitted_at, kind="stable"))
    size = len(joined.row)
    approved = rng.random(size) < APPROVED
    delay = (rng.exponential(APPROVED_AFTER_DAYS, size) * DAY_SECONDS).astype(np.int64) + 600
    return Expenses(
        row=joined.row,
        day=joined.day,
        submitted_at=joined.submitted_at,
        category=joined.category,
        pence=joined.pence,
        limit=LIMIT_PENCE[joined.category],
        receipt=joined.receipt,
        approved_at=np.where(approved, joined.submitted_at + delay, NEVER),
        approved_by=np.where(approved, supervisor_of(rng, world, crew, joined.row), NEVER),
    )


class _Days:
    """Some duties of each row, by row and day, to choose days from."""

    def __init__(self, duties: Duties, which: IntArray, length: int) -> None:
        self._length = length + 1
        # Duplicates of duties stand at the end, out of order.
        place = np.sort(duties.row[which] * self._length + duties.day[which])
        self._place = place

    def choose(self, rng: np.random.Generator, row: IntArray, start: IntArray, stop: IntArray) -> IntArray:
        """Return a day of each row from ``start`` to ``stop``, or `NEVER` if the row has none."""
        low = np.searchsorted(self._place, row * self._length + np.clip(start, 0, self._length - 1))
        high = np.searchsorted(self._place, row * self._length + np.clip(stop, 0, self._length - 1))
        chosen = low + (rng.random(len(row)) * (high - low)).astype(np.int64)
        if not len(self._place):
            return np.full(len(row), NEVER)
        return np.where(high > low, self._place[np.minimum(chosen, len(self._place) - 1)] % self._length, NEVER)


def _amounts(rng: np.random.Generator, category: IntArray) -> IntArray:
    pence = MEDIAN_PENCE[category] * np.exp(SPREAD[category] * rng.standard_normal(len(category)))
    limit = np.where(LIMIT_PENCE[category] == NEVER, MOST_PENCE, LIMIT_PENCE[category])
    return np.clip(pence.astype(np.int64), 100, limit)


def _rounded(pence: IntArray) -> IntArray:
    return np.maximum((pence + ROUND_PENCE // 2) // ROUND_PENCE * ROUND_PENCE, ROUND_PENCE)


def _near(rng: np.random.Generator, category: IntArray) -> IntArray:
    return (LIMIT_PENCE[category] * rng.uniform(0.95, 0.999, len(category))).astype(np.int64)


def _submitted(rng: np.random.Generator, day: IntArray) -> IntArray:
    after = 10 * 3_600 + (rng.exponential(SUBMITTED_AFTER_DAYS, len(day)) * DAY_SECONDS).astype(np.int64)
    return (day + 1) * DAY_SECONDS + after


def _honest(rng: np.random.Generator, world: World, crew: Crew, worked: _Days, leave: _Days) -> Items:
    habits = world.habits.money
    years = crew.posted.sum(axis=1) / 365
    row = np.repeat(np.arange(len(crew.person)), rng.poisson(habits.per_year[crew.person] * years))
    person, size = crew.person[row], len(row)
    start, stop = np.zeros(size, dtype=np.int64), np.full(size, world.period.days)
    day = worked.choose(rng, row, start, stop)
    on_leave = leave.choose(rng, row, start, stop)
    day = np.where((rng.random(size) < habits.misdates[person]) & (on_leave != NEVER), on_leave, day)
    category = rng.choice(len(CATEGORIES), size, p=CATEGORY_SHARES)
    pence = _amounts(rng, category)
    draw = rng.random(size)
    pence = np.where(draw < habits.round_share[person], _rounded(pence), pence)
    near = (draw > 1 - habits.near_limit[person]) & (LIMIT_PENCE[category] != NEVER)
    pence = np.where(near, _near(rng, category), pence)
    items = Items(row, day, category, pence, _submitted(rng, day), rng.random(size) < RECEIPT)
    return items.repeated(np.flatnonzero(day != NEVER))


def _resubmitted(rng: np.random.Generator, items: Items) -> Items:
    after = rng.integers(*RESUBMITTED_AFTER_DAYS, len(items.row)) * DAY_SECONDS + rng.integers(
        0, DAY_SECONDS, len(items.row)
    )
    return Items(items.row, items.day, items.category, items.pence, items.submitted_at + after, items.receipt)


def _false(
    rng: np.random.Generator, world: World, crew: Crew, worked: _Days, leave: _Days, honest: Items
) -> list[Items]:
    """Return claims for nothing: again, round, just below the limit, or dated on leave."""
    habits, days = world.habits.money, np.arange(world.period.days)
    active = np.flatnonzero(habits.false_per_year[crew.person] > 0)
    here = crew.posted[active] & habits.spell.covers(crew.person[active][:, None], days)
    row = np.repeat(active, rng.poisson(habits.false_per_year[crew.person[active]] * here.sum(axis=1) / 365))
    person, size = crew.person[row], len(row)
    start, stop = habits.spell.start[person], habits.spell.stop[person]
    kind = (rng.random(size)[:, None] > np.cumsum(habits.false_kinds[person], axis=1)[:, :3]).sum(axis=1)

    # A claim to submit again: one of the person's own, spent while the conduct went on.
    order = np.lexsort((honest.day, honest.row))
    place = honest.row[order] * (world.period.days + 1) + honest.day[order]
    low = np.searchsorted(place, row * (world.period.days + 1) + np.clip(start, 0, world.period.days))
    high = np.searchsorted(place, row * (world.period.days + 1) + np.clip(stop, 0, world.period.days))
    copied = np.flatnonzero((kind == DUPLICATE) & (high > low))
    source = order[low[copied] + (rng.random(len(copied)) * (high - low)[copied]).astype(np.int64)]
    duplicates = _resubmitted(rng, honest.repeated(source))

    kind[(kind == DUPLICATE) & (high <= low)] = ROUND
    on_leave = leave.choose(rng, row, start, stop)
    kind[(kind == ON_LEAVE) & (on_leave == NEVER)] = ROUND
    day = np.where(kind == ON_LEAVE, on_leave, worked.choose(rng, row, start, stop))
    category = rng.choice(len(CATEGORIES), size, p=CATEGORY_SHARES)
    category = np.where(kind == NEAR_LIMIT, rng.choice(LIMITED, size), category)
    pence = _amounts(rng, category)
    pence = np.where(kind == ROUND, _rounded(pence), np.where(kind == NEAR_LIMIT, _near(rng, category), pence))
    made_up = Items(row, day, category, pence, _submitted(rng, day), rng.random(size) < FALSE_RECEIPT)
    return [duplicates, made_up.repeated(np.flatnonzero((kind != DUPLICATE) & (day != NEVER)))]
