"""Badge reads at doors.

Rules this module keeps: a read needs presence, a building with readers, no outage and a badge that was not forgotten;
two reads of one person never bear the same second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.cases import NEVER
from deploy.force.events.crew import Crew, World
from deploy.force.events.duties import Duties
from deploy.force.events.outages import BADGE, Outages
from deploy.force.events.people import IntArray
from deploy.force.events.roster import COURT

DIRECTIONS = ("in", "out", "unknown")
IN, OUT, UNKNOWN = range(3)
READERS = 4
"""Readers of a building; the last one cannot tell directions."""

LEAVES_BY_A_READER, BETWEEN, BOUNCED, COURT_VIA_STATION = 0.93, 0.55, 0.01, 0.3
ROW_BITS, DIRECTION_BITS = 17, 2


@dataclass(frozen=True, slots=True)
class Reads:
    """Badge reads of one borough in order of time."""

    row: IntArray
    at: IntArray
    reader: IntArray
    direction: IntArray


def draw_reads(
    rng: np.random.Generator, world: World, crew: Crew, duties: Duties, came: IntArray, went: IntArray, outages: Outages
) -> Reads:
    """Return the reads that presence left."""
    site = crew.site[duties.row]
    forgets = world.habits.roster.forgets_badge[crew.person[duties.row]]
    size = len(duties.row)
    traced = (came != NEVER) & duties.at_site & crew.has_reader[duties.row] & (rng.random(size) >= forgets)
    traced &= (duties.kind != COURT) | (rng.random(size) < COURT_VIA_STATION)
    row, first, last, site = (values[traced] for values in (duties.row, came, went, site))
    leaves = rng.random(len(row)) < LEAVES_BY_A_READER
    between = np.repeat(np.arange(len(row)), rng.poisson(BETWEEN, len(row)))
    moment = first[between] + (rng.random(len(between)) * (last - first)[between]).astype(np.int64)
    rows = np.r_[row, row[leaves], row[between]]
    at = np.r_[first, last[leaves], moment]
    direction = np.r_[np.full(len(row), IN), np.full(int(leaves.sum()), OUT), rng.integers(IN, OUT + 1, len(between))]
    bounced = np.flatnonzero(rng.random(len(rows)) < BOUNCED)
    rows = np.r_[rows, rows[bounced]]
    at = np.r_[at, at[bounced] + rng.integers(1, 4, len(bounced))]
    direction = np.r_[direction, direction[bounced]]
    silent = outages.out(BADGE, at, crew.site[rows])
    # One sort of one integer orders by time and brings the reads of one person and second together.
    key = ((at[~silent] << ROW_BITS | rows[~silent]) << DIRECTION_BITS) | direction[~silent]
    key.sort()
    key = key[np.r_[True, (key[1:] >> DIRECTION_BITS) != (key[:-1] >> DIRECTION_BITS)]] if len(key) else key
    row = (key >> DIRECTION_BITS) & ((1 << ROW_BITS) - 1)
    reader = rng.integers(0, READERS, len(key))
    return Reads(
        row=row,
        at=key >> (DIRECTION_BITS + ROW_BITS),
        reader=reader,
        direction=np.where(reader == READERS - 1, UNKNOWN, key & ((1 << DIRECTION_BITS) - 1)),
    )
