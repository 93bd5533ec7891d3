"""Who misbehaves, when, and who of them was found: the planted truth, and the honest look-alikes.

Rules this module keeps: a case says only who does which kind of thing from when to when; the events make of it what
they make of everybody's habits. At each of the two cutoffs exactly the public number of cases is open, that is going
on and unreported; a review after each cutoff finds a share of them, so what the conduct file holds is late and
incomplete.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.people import COMMAND, SUPPORT, BoolArray, IntArray, People
from deploy.force.events.period import Period
from deploy.force.population import scaled_size


@dataclass(frozen=True, slots=True)
class Offence:
    """A kind of misconduct and how many open cases a review meets in a force of 46,000."""

    category: str
    serious: int
    lesser: int
    pair_share: float = 0.0
    """Share of the serious who have a partner in their own unit, who is a case too."""


ROSTER, ATTENDANCE, FRAUD, ABUSE, ASSOCIATION = range(5)
OFFENCES = (
    Offence("roster_manipulation", serious=98, lesser=500, pair_share=0.3),
    Offence("false_attendance", serious=42, lesser=0),
    Offence("fraud", serious=46, lesser=0),
    Offence("abuse_of_position", serious=31, lesser=0),
    Offence("undeclared_association", serious=12, lesser=30),
)
FOUND_SHARE = 0.7
"""Share of the open cases that a review finds."""

FOUND_BEFORE = 0.15
"""Cases found by other ways before the first cutoff, per open case."""

LOOKALIKES_PER_CASE = 2
LEAST_AGE_DAYS = 14
REVIEW_DAYS = 7
"""The public report's review took a week."""

GROSS_SHARE, DISMISSED_SHARE = 0.45, 0.8
"""Of the serious findings, gross misconduct; of that, dismissals (Home Office, police misconduct statistics to March 2024:
45 % of referred officers went to a meeting, the others to hearings)."""

SERIOUS_DECISION_DAYS, LESSER_DECISION_DAYS, DECISION_SPREAD = 75.0, 30.0, 0.6
REFERENCE_HALF = 181
NEVER = -1

LOOKALIKES: dict[int, tuple[str, ...]] = {
    ROSTER: ("busy", "late_paperwork", "delegated_authority", "no_reader", "night_swapper"),
    ATTENDANCE: ("off_site_meetings", "partner_building", "tailgater"),
    FRAUD: ("frequent_claimant", "flat_rates", "resubmitter"),
    ABUSE: ("late_case_links", "safeguarding", "careless_searcher"),
    ASSOCIATION: ("late_declarer", "careless_searcher", "neighbour"),
}
"""What honest people do that resembles each offence."""


@dataclass(frozen=True, slots=True)
class Cases:
    """One row per planted person and category; a person has at most one case in a category."""

    person: IntArray
    offence: IntArray
    serious: BoolArray
    start: IntArray
    stop: IntArray
    """First day without the conduct; the day of the report, or beyond the period."""
    reported: IntArray
    last_proven: IntArray
    """Last day of conduct that a finding would name: a review proves what the records showed on the day it began."""
    found: IntArray
    """Day of the finding; `NEVER` if there is none by the day of the extract."""
    gross: BoolArray
    dismissed: BoolArray
    partner: IntArray

    def of(self, offence: int) -> Cases:
        """Return the cases of one offence."""
        mine = self.offence == offence
        return Cases(*(getattr(self, name)[mine] for name in self.__slots__))

    def is_open_at(self, day: int) -> BoolArray:
        """Say which cases were going on, and unreported, when the day began."""
        return (self.start < day) & (self.stop >= day)


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """Honest people who resemble offenders; ``kind`` indexes `LOOKALIKES` of the offence."""

    person: IntArray
    offence: IntArray
    kind: IntArray

    def who(self, offence: int, kind: str) -> IntArray:
        """Return the people of one kind."""
        return self.person[(self.offence == offence) & (self.kind == LOOKALIKES[offence].index(kind))]


def draw_cases(rng: np.random.Generator, people: People, period: Period) -> tuple[Cases, LookAlikes]:
    """Return the planted cases and the look-alikes."""
    cases: list[Cases] = []
    alikes: list[LookAlikes] = []
    accused = np.zeros(len(people.number), dtype=bool)
    for number, offence in enumerate(OFFENCES):
        free = _eligible(number, people)
        eligible = free.copy()
        planted = []
        for size, serious in ((offence.serious, True), (offence.lesser, False)):
            if size:
                open_cases = scaled_size(size, len(people.number), least=2)
                pairs = offence.pair_share if serious else 0.0
                planted += _planted(rng, people, period, free, accused, open_cases, number, serious, pairs)
        cases += planted
        for some in planted:
            accused[some.person] = True
        wanted = LOOKALIKES_PER_CASE * sum(len(some.person) for some in planted)
        pool = rng.permutation(np.flatnonzero(free & eligible))[:wanted]
        alikes.append(LookAlikes(pool, np.full(len(pool), number), rng.integers(0, len(LOOKALIKES[number]), len(pool))))
    return (
        Cases(*(np.concatenate([getattr(some, name) for some in cases]) for name in Cases.__slots__)),
        LookAlikes(*(np.concatenate([getattr(some, name) for some in alikes]) for name in LookAlikes.__slots__)),
    )


def _eligible(offence: int, people: People) -> BoolArray:
    if offence == ROSTER:  # senior grades are paid no overtime
        return people.role != COMMAND
    if offence == ATTENDANCE:
        return people.senior.copy()
    if offence == ABUSE:
        return people.role != SUPPORT
    return np.ones(len(people.number), dtype=bool)


def _planted(
    rng: np.random.Generator,
    people: People,
    period: Period,
    free: BoolArray,
    accused: BoolArray,
    open_cases: int,
    offence: int,
    serious: bool,
    pair_share: float,
) -> list[Cases]:
    """Draw the cases of one offence and gravity; those drawn are taken out of ``free``, and the dismissed leave.

    Ages of open cases are exponential with such a mean that a share `FOUND_SHARE` is younger than half a period.
    Exponential ages have no memory, so the cases open at the second cutoff, what was left plus what began since, have
    the ages that those open at the first one had.
    """
    half, first, second = period.training_day, period.training_day, period.days
    mean_age = half / -np.log1p(-FOUND_SHARE)
    found_first = round(FOUND_SHARE * open_cases)
    groups = (
        ("found_first", found_first, first, first),
        ("lasting", open_cases - found_first, first, second),
        ("new", found_first, second, second),
        ("found_before", round(FOUND_BEFORE * open_cases), 0, 0),
    )
    planted = []
    for group, size, open_from, open_until in groups:
        pool = free & (people.joined < max(open_from, LEAST_AGE_DAYS + 1) - LEAST_AGE_DAYS) & (people.left > open_until)
        person, partner = _pick(rng, pool, size, round(pair_share * size / 2), people.unit)
        free[person] = False
        age = np.maximum(rng.exponential(mean_age, len(person)).astype(np.int64), LEAST_AGE_DAYS)
        never = np.full(len(person), NEVER)
        after = 1 + rng.integers(0, REVIEW_DAYS, len(person))
        if group == "new":
            # The inverse of the exponential's distribution function, cut off at half a period.
            share = rng.random(len(person)) * FOUND_SHARE
            age = np.clip((-mean_age * np.log1p(-share)).astype(np.int64), LEAST_AGE_DAYS, half - 1)
        if group == "found_before":
            reported = rng.integers(min(LEAST_AGE_DAYS, first - 1), first, len(person))
            start = reported - age
        elif group == "found_first":
            reported, start = first + after, first - age
        else:
            found = rng.random(len(person)) < FOUND_SHARE
            reported, start = np.where(found, second + after, never), open_from - age
        reported = np.where((reported != NEVER) & (reported < people.left[person]), reported, NEVER)
        median = SERIOUS_DECISION_DAYS if serious else LESSER_DECISION_DAYS
        scale = min(1.0, half / REFERENCE_HALF)
        delay = np.ceil(scale * median * np.exp(DECISION_SPREAD * rng.standard_normal(len(person)))).astype(np.int64)
        found_on = np.where(reported == NEVER, NEVER, reported + delay)
        stop = np.where(reported == NEVER, np.minimum(people.left[person], period.extract_day), reported)
        gross = np.full(len(person), serious) & (rng.random(len(person)) < GROSS_SHARE)
        # Whoever has a case of another kind stays, or that one would end before its time.
        dismissed = gross & ~accused[person] & (rng.random(len(person)) < DISMISSED_SHARE)
        planted.append(
            Cases(
                person=person,
                offence=np.full(len(person), offence),
                serious=np.full(len(person), serious),
                start=np.maximum(start, people.joined[person]),
                stop=stop,
                reported=reported,
                last_proven=(open_until if open_until else stop) - np.ones(len(person), dtype=np.int64),
                found=np.where(found_on < period.extract_day, found_on, NEVER),
                gross=gross,
                dismissed=dismissed,
                partner=partner,
            )
        )
    for some in planted:
        gone = some.dismissed & (some.found != NEVER)
        people.left[some.person[gone]] = np.minimum(people.left[some.person[gone]], np.maximum(some.found[gone], 1))
    return planted


def _pick(
    rng: np.random.Generator, pool: BoolArray, size: int, pairs: int, unit: IntArray
) -> tuple[IntArray, IntArray]:
    """Return ``size`` people of the pool and each one's partner or `NEVER`; partners serve in one unit."""
    order = rng.permutation(np.flatnonzero(pool))
    chosen: dict[int, int] = {}
    for one in order[:pairs]:
        mates = np.flatnonzero(pool & (unit == unit[one]))
        mates = mates[~np.isin(mates, [*chosen, one])]
        if one not in chosen and len(mates) and len(chosen) + 2 <= size:
            mate = int(rng.choice(mates))
            chosen[int(one)], chosen[mate] = mate, int(one)
    rest = order[~np.isin(order, list(chosen))][: size - len(chosen)]
    person = np.r_[np.array(list(chosen), dtype=np.int64), rest]
    return person, np.r_[np.array(list(chosen.values()), dtype=np.int64), np.full(len(rest), NEVER)]
