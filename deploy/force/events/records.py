"""The conduct file and the declarations of the whole force: complaints, findings, declarations, confidential reports.

Rules this module keeps: a finding exists because somebody reported the conduct and a panel decided, in that order;
most complaints are about honest people; instants are spread over the day and say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.cases import (
    ABUSE,
    ASSOCIATION,
    ATTENDANCE,
    FRAUD,
    GROSS_SHARE,
    NEVER,
    OFFENCES,
    ROSTER,
    Cases,
)
from deploy.force.events.crew import World
from deploy.force.events.people import ROLES, BoolArray, FloatArray, IntArray
from deploy.force.events.period import DAY_SECONDS
from deploy.force.events.searches import first_associate

ALLEGATIONS = (
    "roster_or_overtime",
    "attendance",
    "expenses_or_theft",
    "sexual_conduct",
    "data_misuse",
    "undeclared_association",
    "dishonesty",
    "use_of_force",
    "incivility",
    "discrimination",
    "neglect_of_duty",
    "other",
)
ALLEGATION_SHARES = np.array([0.01, 0.005, 0.01, 0.01, 0.02, 0.005, 0.02, 0.17, 0.25, 0.08, 0.3, 0.12])
ABOUT = {ROSTER: 0, ATTENDANCE: 1, FRAUD: 2, ABUSE: 3, ASSOCIATION: 5}
"""What a complaint about each offence alleges."""

SOURCES = ("public", "internal")
COMPLAINT_OUTCOMES = ("no_further_action", "acceptable", "learning", "referred_to_misconduct")
COMPLAINT_OUTCOME_SHARES = np.array([0.35, 0.45, 0.17, 0.03])
COMPLAINTS_PER_YEAR, COMPLAINT_SPREAD, COMPLAINT_HISTORY_DAYS = 0.12, 0.6, 730
CASE_COMPLAINT = {ROSTER: 0.05, ATTENDANCE: 0.05, FRAUD: 0.08, ABUSE: 0.30, ASSOCIATION: 0.08}
ALIKE_COMPLAINT, REFERRED_WHEN_REPORTED, COMPLAINT_OPEN = 0.03, 0.6, 0.1

LEVELS = ("reflective_practice", "misconduct", "gross_misconduct")
OUTCOMES = ("learning", "written_warning", "final_written_warning", "reduction_in_rank", "dismissal")
OTHER_FINDINGS_PER_YEAR, OTHER_LESSER_PER_YEAR = 150 / 46_000, 300 / 46_000
FINDING_HISTORY_DAYS = 5 * 365
MISFILED = 0.05

DECLARATION_KINDS = ("business_interest", "secondary_employment", "association", "gift")
DECLARATIONS_PER_YEAR = np.array([0.02, 0.03, 0.012, 0.10])
DECLARATION_HISTORY_DAYS = 5 * 365
DECISIONS = ("approved", "approved_with_conditions", "refused")
DECLARED_LATE = 0.3
"""Share of the undeclared associations that are declared in the end, long after they began."""

REPORTS_PER_YEAR, REPORT_HISTORY_DAYS, ALIKE_REPORT = 0.008, 365, 0.02
CASE_REPORT_SERIOUS, CASE_REPORT_LESSER, CASE_REPORT_ABUSE = 0.15, 0.04, 0.25
ASSESSMENTS = ("no_substance", "intelligence_only", "investigated")


@dataclass(frozen=True, slots=True)
class Complaints:
    """One row per complaint; instants in seconds since the first day, `NO_TIME` where there is none."""

    person: IntArray
    received_at: IntArray
    source: IntArray
    allegation: IntArray
    outcome: IntArray
    outcome_at: IntArray


@dataclass(frozen=True, slots=True)
class Findings:
    """One row per proven breach; ``category`` indexes the offences, one more is ``other``."""

    person: IntArray
    category: IntArray
    level: IntArray
    outcome: IntArray
    conduct_from: IntArray
    conduct_to: IntArray
    found_day: IntArray


@dataclass(frozen=True, slots=True)
class Declarations:
    """One row per declaration."""

    person: IntArray
    kind: IntArray
    declared_at: IntArray
    since: IntArray
    subject: IntArray
    decision: IntArray
    decided_at: IntArray


@dataclass(frozen=True, slots=True)
class Reports:
    """One row per report in confidence."""

    person: IntArray
    day: IntArray
    theme: IntArray
    assessment: IntArray
    assessed_at: IntArray


@dataclass(frozen=True, slots=True)
class Records:
    """The files of the whole force."""

    complaints: Complaints
    findings: Findings
    declarations: Declarations
    reports: Reports


NO_TIME = np.iinfo(np.int64).min
"""No instant, or no day: history goes back before day 0, where `NEVER` would be a day."""


def draw_records(rng: np.random.Generator, world: World) -> Records:
    """Return the files of the whole force."""
    return Records(_complaints(rng, world), _findings(rng, world), _declarations(rng, world), _reports(rng, world))


def _moment(rng: np.random.Generator, day: IntArray) -> IntArray:
    """Return an instant in office hours of each day."""
    return day * DAY_SECONDS + rng.integers(8 * 3_600, 18 * 3_600, len(day))


def _happening(
    rng: np.random.Generator, world: World, per_year: FloatArray, history: int, until: int
) -> tuple[IntArray, IntArray]:
    """Return persons and days of events at each person's rate, while that person serves."""
    person = np.repeat(np.arange(len(per_year)), rng.poisson(per_year * (history + until) / 365))
    day = rng.integers(-history, until, len(person))
    serving = (day >= world.people.joined[person]) & (day < world.people.left[person])
    return person[serving], day[serving]


def _during(
    rng: np.random.Generator, world: World, cases: Cases, chance: FloatArray | float
) -> tuple[IntArray, IntArray]:
    """Return which cases, by place, something came of, and the day of it, while the conduct went on."""
    drawn = np.flatnonzero(rng.random(len(cases.person)) < chance)
    low = cases.start[drawn]
    high = np.minimum(np.minimum(cases.stop[drawn], world.period.days), world.people.left[cases.person[drawn]])
    day = low + (rng.random(len(drawn)) * np.maximum(high - low, 1)).astype(np.int64)
    return drawn, day


def _complaints(rng: np.random.Generator, world: World) -> Complaints:
    people, cases, alikes = world.people, world.cases, world.alikes
    busy = np.isin(
        np.array(list(ROLES))[people.role], ("response", "neighbourhood", "roads", "custody", "public_order")
    )
    rate = (
        COMPLAINTS_PER_YEAR
        * np.where(busy, 1.3, 0.5)
        * np.exp(COMPLAINT_SPREAD * rng.standard_normal(len(people.number)))
    )
    person, day = _happening(rng, world, rate, COMPLAINT_HISTORY_DAYS, world.period.extract_day)
    about = rng.choice(len(ALLEGATIONS), len(person), p=ALLEGATION_SHARES)
    source = (rng.random(len(person)) < 0.15).astype(np.int64)
    alleged = np.array([ABOUT[number] for number in range(len(OFFENCES))])
    chance = np.array([CASE_COMPLAINT[number] for number in range(len(OFFENCES))])

    drawn, drawn_day = _during(rng, world, cases, chance[cases.offence])
    suspected = np.flatnonzero(rng.random(len(alikes.person)) < ALIKE_COMPLAINT)
    suspected_day = rng.integers(0, world.period.days, len(suspected))
    serving = (suspected_day >= people.joined[alikes.person[suspected]]) & (
        suspected_day < people.left[alikes.person[suspected]]
    )
    suspected, suspected_day = suspected[serving], suspected_day[serving]
    reported = np.flatnonzero((cases.reported != NEVER) & (rng.random(len(cases.person)) < REFERRED_WHEN_REPORTED))
    person = np.r_[person, cases.person[drawn], alikes.person[suspected], cases.person[reported]]
    day = np.r_[day, drawn_day, suspected_day, cases.reported[reported]]
    offence = np.r_[cases.offence[drawn], alikes.offence[suspected], cases.offence[reported]]
    about = np.r_[about, alleged[offence]]
    from_public = (offence == ABUSE) & (rng.random(len(offence)) < 0.7)
    source = np.r_[source, np.where(from_public, 0, 1)]
    size = len(person)
    received_at = _moment(rng, day)
    outcome = rng.choice(len(COMPLAINT_OUTCOMES), size, p=COMPLAINT_OUTCOME_SHARES)
    outcome[size - len(reported) :] = COMPLAINT_OUTCOMES.index("referred_to_misconduct")
    delay = np.where(np.arange(size) >= size - len(reported), 10.0, 60.0) * np.exp(0.7 * rng.standard_normal(size))
    outcome_at = received_at + (delay * DAY_SECONDS).astype(np.int64) + 3_600
    pending = (outcome_at >= world.period.extract_day * DAY_SECONDS) | (rng.random(size) < COMPLAINT_OPEN)
    return Complaints(
        person, received_at, source, about, np.where(pending, NEVER, outcome), np.where(pending, NO_TIME, outcome_at)
    )


def _findings(rng: np.random.Generator, world: World) -> Findings:
    cases, until = world.cases, world.period.extract_day
    count = len(world.people.number)
    graver, graver_day = _happening(rng, world, np.full(count, OTHER_FINDINGS_PER_YEAR), FINDING_HISTORY_DAYS, until)
    lesser, lesser_day = _happening(rng, world, np.full(count, OTHER_LESSER_PER_YEAR), FINDING_HISTORY_DAYS, until)
    found = np.flatnonzero(cases.found != NEVER)
    person = np.r_[graver, lesser, cases.person[found]]
    day = np.r_[graver_day, lesser_day, cases.found[found]]
    serious: BoolArray = np.r_[np.ones(len(graver), bool), np.zeros(len(lesser), bool), cases.serious[found]]
    others = len(graver) + len(lesser)
    other = len(OFFENCES)
    misfiled = rng.random(len(found)) < MISFILED
    category = np.r_[np.full(others, other), np.where(misfiled, other, cases.offence[found])]
    gross: BoolArray = np.r_[serious[:others] & (rng.random(others) < GROSS_SHARE), cases.gross[found]]
    level = np.where(gross, 2, np.where(serious, 1, 0))
    draw = rng.random(len(person))
    dismissed = np.r_[np.zeros(others, bool), cases.dismissed[found]]
    warned = np.where(draw < 0.6, 1, np.where(draw < 0.9, 2, 3))
    outcome = np.select([dismissed, level == 2, level == 1], [4, 2, warned], 0)
    before = 30 + rng.integers(0, 300, others)
    conduct_to = np.r_[day[:others] - before, cases.last_proven[found]]
    conduct_from = np.r_[conduct_to[:others] - rng.integers(0, 60, others), cases.start[found]]
    joined = world.people.joined[person]
    return Findings(
        person, category, level, outcome, np.maximum(conduct_from, joined), np.maximum(conduct_to, joined), day
    )


def _declarations(rng: np.random.Generator, world: World) -> Declarations:
    people, cases, alikes = world.people, world.cases, world.alikes
    persons, days, kinds = [], [], []
    for kind, rate in enumerate(DECLARATIONS_PER_YEAR):
        person, day = _happening(
            rng, world, np.full(len(people.number), rate), DECLARATION_HISTORY_DAYS, world.period.days
        )
        persons.append(person)
        days.append(day)
        kinds.append(np.full(len(person), kind))
    association = DECLARATION_KINDS.index("association")
    late_alike = alikes.who(ASSOCIATION, "late_declarer")
    hidden = cases.of(ASSOCIATION)
    drawn, drawn_day = _during(rng, world, hidden, DECLARED_LATE)
    late = np.r_[late_alike, hidden.person[drawn]]
    late_day = np.r_[rng.integers(0, world.period.days, len(late_alike)), drawn_day]
    serving = (late_day >= people.joined[late]) & (late_day < people.left[late])
    late, late_day = late[serving], late_day[serving]
    person, day = np.r_[*persons, late], np.r_[*days, late_day]
    kind = np.r_[*kinds, np.full(len(late), association)]
    size = len(person)
    is_late = np.arange(size) >= size - len(late)
    age = np.where(is_late, rng.integers(365, 6 * 365, size), rng.exponential(40.0, size).astype(np.int64))
    known = (kind == association) & (rng.random(size) < 0.5)
    stated = (kind != DECLARATION_KINDS.index("gift")) & (rng.random(size) < 0.9)
    declared_at = _moment(rng, day)
    decided_at = declared_at + (rng.exponential(20.0, size) * DAY_SECONDS).astype(np.int64) + 3_600
    pending = decided_at >= world.period.extract_day * DAY_SECONDS
    return Declarations(
        person=person,
        kind=kind,
        declared_at=declared_at,
        since=np.where(stated, day - age, NO_TIME),
        subject=np.where(known, first_associate(person), NEVER),
        decision=np.where(pending, NEVER, rng.choice(len(DECISIONS), size, p=[0.8, 0.15, 0.05])),
        decided_at=np.where(pending, NO_TIME, decided_at),
    )


def _reports(rng: np.random.Generator, world: World) -> Reports:
    cases, alikes, people = world.cases, world.alikes, world.people
    rate = np.full(len(people.number), REPORTS_PER_YEAR)
    person, day = _happening(rng, world, rate, REPORT_HISTORY_DAYS, world.period.extract_day)
    theme = rng.integers(0, len(ALLEGATIONS), len(person))
    chance = np.where(cases.serious, CASE_REPORT_SERIOUS, CASE_REPORT_LESSER)
    drawn, drawn_day = _during(rng, world, cases, np.where(cases.offence == ABUSE, CASE_REPORT_ABUSE, chance))
    suspected = np.flatnonzero(rng.random(len(alikes.person)) < ALIKE_REPORT)
    suspected_day = rng.integers(0, world.period.days, len(suspected))
    mistaken = alikes.person[suspected]
    serving = (suspected_day >= people.joined[mistaken]) & (suspected_day < people.left[mistaken])
    suspected, suspected_day = suspected[serving], suspected_day[serving]
    alleged = np.array([ABOUT[number] for number in range(len(OFFENCES))])
    person = np.r_[person, cases.person[drawn], alikes.person[suspected]]
    day = np.r_[day, drawn_day, suspected_day]
    theme = np.r_[theme, alleged[np.r_[cases.offence[drawn], alikes.offence[suspected]]]]
    size = len(person)
    assessed_at = _moment(rng, day + 1 + rng.exponential(25.0, size).astype(np.int64))
    pending = (assessed_at >= world.period.extract_day * DAY_SECONDS) | (rng.random(size) < 0.2)
    return Reports(
        person=person,
        day=day,
        theme=theme,
        assessment=np.where(pending, NEVER, rng.choice(len(ASSESSMENTS), size, p=[0.5, 0.35, 0.15])),
        assessed_at=np.where(pending, NO_TIME, assessed_at),
    )
