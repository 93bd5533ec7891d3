"""When systems recorded nothing: badge readers of a building, the duty system, the linking of searches to cases.

Rules this module keeps: every outage is in the borough's own table, because silence then proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.people import SITES_PER_BOROUGH, BoolArray, IntArray
from deploy.force.events.period import DAY_SECONDS, HOUR_SECONDS, Period

BADGE, DUTY_SYSTEM, LOOKUPS = range(3)
SYSTEMS = ("badge", "duty", "lookups")
PER_YEAR = {BADGE: 1.5, DUTY_SYSTEM: 2.0, LOOKUPS: 1.0}
"""Of each building for badge readers; of the borough for the others."""

LONGEST_HOURS = {BADGE: 96, DUTY_SYSTEM: 60, LOOKUPS: 36}


@dataclass(frozen=True, slots=True)
class Outages:
    """Rows of one borough; ``site`` is -1 where everything was out."""

    system: IntArray
    site: IntArray
    start: IntArray
    end: IntArray

    def out(self, system: int, at: IntArray, site: IntArray | None = None) -> BoolArray:
        """Say which instants, at which sites, lie in an outage of the system."""
        result = np.zeros(len(at), dtype=bool)
        for row in np.flatnonzero(self.system == system):
            within = (at >= self.start[row]) & (at < self.end[row])
            result |= within if site is None else within & (site == self.site[row])
        return result

    def after(self, rng: np.random.Generator, system: int, at: IntArray) -> tuple[IntArray, BoolArray]:
        """Move instants within an outage to the three days after it; say which were moved."""
        moved, result = np.zeros(len(at), dtype=bool), at
        for row in np.flatnonzero(self.system == system):
            within = (at >= self.start[row]) & (at < self.end[row])
            result = np.where(within, self.end[row] + rng.integers(600, 3 * DAY_SECONDS, len(at)), result)
            moved |= within
        return result, moved


def draw_outages(rng: np.random.Generator, period: Period) -> Outages:
    """Return the outages of one borough."""
    years = period.days / 365
    system = [
        np.repeat(number, rng.poisson(rate * years * (SITES_PER_BOROUGH if number == BADGE else 1)))
        for number, rate in PER_YEAR.items()
    ]
    systems = np.concatenate(system)
    start = rng.integers(0, period.days * DAY_SECONDS, len(systems))
    longest = np.array(list(LONGEST_HOURS.values()))[systems]
    end = start + rng.integers(2, longest + 1) * HOUR_SECONDS
    site = np.where(systems == BADGE, rng.integers(0, SITES_PER_BOROUGH, len(systems)), -1)
    return Outages(systems, site, start, end)
