"""How each person behaves: everybody's habits, the look-alikes' honest ones, and the offenders' additions.

Rules this module keeps: every rate is drawn for each person from a wide distribution, so the ranges of offenders and
of honest people overlap; a case adds to a person's own habits and never replaces them; the numbers stand in
deploy/force/README.md and were fixed before any detector saw the events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.force.events.cases import (
    ABUSE,
    ASSOCIATION,
    ATTENDANCE,
    FRAUD,
    NEVER,
    ROSTER,
    Cases,
    LookAlikes,
)
from deploy.force.events.people import INSPECTOR, SERGEANT, BoolArray, FloatArray, IntArray, People


@dataclass(frozen=True, slots=True)
class Spell:
    """From when to when each person of the force has a case of one offence; an empty spell for everybody else."""

    start: IntArray
    stop: IntArray
    serious: BoolArray

    def covers(self, person: IntArray, day: IntArray) -> BoolArray:
        """Say for each (person, day), broadcast, whether the conduct goes on."""
        return (self.start[person] <= day) & (day < self.stop[person])


@dataclass(frozen=True, slots=True)
class RosterHabits:
    """Rates are per worked duty unless their name says otherwise."""

    overtime: FloatArray
    """Multiplies the role's rate of overtime."""
    amend: FloatArray
    amend_self: FloatArray
    """Share of the amendments that the person enters."""
    authorise_self: FloatArray
    rest_day: FloatArray
    """Worked rest days, per rest day."""
    swaps_per_year: FloatArray
    premium_taste: FloatArray
    """Share of the swaps for which nights are looked for."""
    forgets_badge: FloatArray
    spell: Spell
    inflate: FloatArray
    """Overtime that was not worked."""
    phantom: FloatArray
    """Rest days booked and not worked, per rest day."""
    greedy_swaps_per_year: FloatArray
    false_self: FloatArray
    """Share of the false overtime that the person authorises, where no partner does."""
    partner: IntArray


@dataclass(frozen=True, slots=True)
class OfficeHabits:
    """Of senior grades; shares of working days."""

    office: FloatArray
    off_site: FloatArray
    claims_office_off_site: FloatArray
    """Share of the off-site days entered as office days, out of habit."""
    mistaken: FloatArray
    """Share of the days at home entered as office days by mistake."""
    spell: Spell
    skips: FloatArray
    """Share of the office days spent at home."""
    hides: FloatArray
    """Share of those that are entered as office days all the same."""
    short: FloatArray
    """Share of the remaining office days that last an hour or two."""


@dataclass(frozen=True, slots=True)
class MoneyHabits:
    """Of claimants; shares of claims."""

    per_year: FloatArray
    round_share: FloatArray
    near_limit: FloatArray
    resubmits: FloatArray
    misdates: FloatArray
    spell: Spell
    false_per_year: FloatArray
    false_kinds: FloatArray
    """Shares of duplicates, round sums, sums just below the limit, claims on leave days; shape (people, 4)."""


@dataclass(frozen=True, slots=True)
class SearchHabits:
    """Of users of police systems; shares of searches."""

    rate: FloatArray
    """Multiplies the role's rate."""
    without_case: FloatArray
    late_link: FloatArray
    """Share of those without a case at first that are linked later."""
    off_duty: FloatArray
    on_call: FloatArray
    """Share of the searches for one vulnerable subject of a case, at any hour."""
    abuse: Spell
    abuse_targets: IntArray
    abuse_per_year: FloatArray
    """Searches for each target."""
    abuse_caseless: FloatArray
    abuse_off_duty: FloatArray
    association: Spell
    associates: IntArray
    association_per_year: FloatArray


@dataclass(frozen=True, slots=True)
class Habits:
    """Everything that events are drawn from."""

    roster: RosterHabits
    office: OfficeHabits
    money: MoneyHabits
    search: SearchHabits


def draw_habits(rng: np.random.Generator, people: People, cases: Cases, alikes: LookAlikes) -> Habits:
    """Return the habits of everybody."""
    return Habits(
        roster=_roster(rng, people, cases.of(ROSTER), alikes),
        office=_office(rng, people, cases.of(ATTENDANCE), alikes),
        money=_money(rng, people, cases.of(FRAUD), alikes),
        search=_search(rng, people, cases, alikes),
    )


def _spell(people: People, cases: Cases) -> Spell:
    count = len(people.number)
    start, stop, serious = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
    start[cases.person], stop[cases.person], serious[cases.person] = cases.start, cases.stop, cases.serious
    return Spell(start, stop, serious)


def _spread(rng: np.random.Generator, median: float, log_sd: float, size: int) -> FloatArray:
    return median * np.exp(log_sd * rng.standard_normal(size))


def _placed(people: People, who: IntArray, values: FloatArray) -> FloatArray:
    """Return ``values`` at ``who`` and 0 elsewhere."""
    placed = np.zeros(len(people.number))
    placed[who] = values
    return placed


def _roster(rng: np.random.Generator, people: People, cases: Cases, alikes: LookAlikes) -> RosterHabits:
    count = len(people.number)
    late = people.units.late[people.unit]
    leads = np.isin(people.rank, (SERGEANT, INSPECTOR))
    overtime = np.exp(0.5 * people.workload)
    amend = _spread(rng, 0.05, 0.7, count) * np.where(late, 3.0, 1.0)
    amend_self = np.where(late, rng.beta(4, 2, count), rng.beta(1.2, 3, count))
    authorise_self = np.where(leads, rng.beta(1, 12, count), rng.beta(1, 300, count))
    swaps, taste = _spread(rng, 3.0, 0.8, count), rng.beta(2, 3, count)

    busy = alikes.who(ROSTER, "busy")
    overtime[busy] *= 3.0
    amend[busy] *= 2.0
    paperwork = alikes.who(ROSTER, "late_paperwork")
    amend[paperwork] *= 4.0
    amend_self[paperwork] = rng.beta(6, 2, len(paperwork))
    delegated = alikes.who(ROSTER, "delegated_authority")
    authorise_self[delegated] = rng.beta(3, 4, len(delegated))
    overtime[delegated] *= 1.5
    unread = alikes.who(ROSTER, "no_reader")
    overtime[unread] *= 2.0
    swappers = alikes.who(ROSTER, "night_swapper")
    swaps[swappers] += _spread(rng, 10.0, 0.7, len(swappers))
    taste[swappers] = rng.beta(6, 3, len(swappers))

    forgets = rng.beta(2, 40, count)
    # A look-alike of this kind works where a door is left open: half of the days leave no trace, overtime or not.
    forgets[unread] = rng.beta(5, 5, len(unread))
    tailgaters = alikes.who(ATTENDANCE, "tailgater")
    forgets[tailgaters] = rng.beta(6, 14, len(tailgaters))

    who, size = cases.person, len(cases.person)
    serious = cases.serious
    does = rng.random((3, size)) < np.array([0.8, 0.35, 0.5])[:, None]
    does[0] |= ~does.any(axis=0)
    return RosterHabits(
        overtime=overtime,
        amend=amend,
        amend_self=amend_self,
        authorise_self=authorise_self,
        rest_day=np.minimum(0.015 * np.exp(0.6 * people.workload), 0.3),
        swaps_per_year=swaps,
        premium_taste=taste,
        forgets_badge=forgets,
        spell=_spell(people, cases),
        inflate=_placed(
            people, who, does[0] * np.minimum(np.where(serious, 0.08, 0.03) * _spread(rng, 1, 0.8, size), 0.6)
        ),
        phantom=_placed(
            people, who, does[1] * np.minimum(np.where(serious, 0.03, 0.01) * _spread(rng, 1, 0.8, size), 0.3)
        ),
        greedy_swaps_per_year=_placed(people, who, does[2] * np.where(serious, 18.0, 8.0) * _spread(rng, 1, 0.7, size)),
        false_self=_placed(people, who, np.where(serious, rng.beta(2, 2, size), rng.beta(1, 3, size))),
        partner=_placed(people, who, cases.partner - NEVER).astype(np.int64) + NEVER,
    )


def _office(rng: np.random.Generator, people: People, cases: Cases, alikes: LookAlikes) -> OfficeHabits:
    count = len(people.number)
    off_site, entered = rng.beta(2, 20, count), rng.beta(1, 6, count)
    meetings = alikes.who(ATTENDANCE, "off_site_meetings")
    off_site[meetings] = rng.beta(5, 9, len(meetings))
    entered[meetings] = rng.beta(4, 4, len(meetings))
    partner = alikes.who(ATTENDANCE, "partner_building")
    off_site[partner] = rng.beta(6, 8, len(partner))
    entered[partner] = rng.beta(8, 2, len(partner))
    who, size = cases.person, len(cases.person)
    return OfficeHabits(
        office=rng.beta(16, 4, count),
        off_site=off_site,
        claims_office_off_site=entered,
        mistaken=rng.beta(1, 15, count),
        spell=_spell(people, cases),
        skips=_placed(people, who, rng.beta(1.6, 2.4, size)),
        hides=_placed(people, who, rng.beta(4, 1.2, size)),
        short=_placed(people, who, (rng.random(size) < 0.4) * rng.beta(2, 6, size)),
    )


def _money(rng: np.random.Generator, people: People, cases: Cases, alikes: LookAlikes) -> MoneyHabits:
    count = len(people.number)
    per_year = _spread(rng, 5.0, 0.9, count)
    rounds, near, resubmits = rng.beta(2, 14, count), rng.beta(1.5, 25, count), rng.beta(1, 120, count)
    frequent = alikes.who(FRAUD, "frequent_claimant")
    per_year[frequent] = _spread(rng, 30.0, 0.5, len(frequent))
    flat = alikes.who(FRAUD, "flat_rates")
    per_year[flat] *= 2.0
    rounds[flat], near[flat] = rng.beta(6, 3, len(flat)), rng.beta(3, 4, len(flat))
    again = alikes.who(FRAUD, "resubmitter")
    per_year[again] *= 2.0
    resubmits[again] = rng.beta(3, 20, len(again))
    who, size = cases.person, len(cases.person)
    kinds = np.zeros((count, 4))
    kinds[:, 0] = 1.0
    kinds[who] = rng.dirichlet(np.ones(4), size)
    return MoneyHabits(
        per_year=per_year,
        round_share=rounds,
        near_limit=near,
        resubmits=resubmits,
        misdates=rng.beta(1, 60, count),
        spell=_spell(people, cases),
        false_per_year=_placed(people, who, _spread(rng, 15.0, 0.8, size)),
        false_kinds=kinds,
    )


def _search(rng: np.random.Generator, people: People, cases: Cases, alikes: LookAlikes) -> SearchHabits:
    count = len(people.number)
    without, late = rng.beta(1.5, 20, count), rng.beta(2, 5, count)
    off_duty, on_call = rng.beta(1, 80, count), np.zeros(count)
    links = alikes.who(ABUSE, "late_case_links")
    without[links], late[links] = rng.beta(6, 6, len(links)), rng.beta(12, 2, len(links))
    guard = alikes.who(ABUSE, "safeguarding")
    on_call[guard], off_duty[guard] = rng.beta(3, 9, len(guard)), rng.beta(2, 20, len(guard))
    for offence in (ABUSE, ASSOCIATION):
        careless = alikes.who(offence, "careless_searcher")
        without[careless] = rng.beta(5, 8, len(careless))
    abuse, association = cases.of(ABUSE), cases.of(ASSOCIATION)
    who, size = abuse.person, len(abuse.person)
    targets, associates = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    targets[who] = 1 + rng.poisson(1.0, size)
    per_target, caseless, off = _spread(rng, 30.0, 0.7, size), rng.beta(3, 2, size), rng.beta(1.5, 3, size)
    friends, number = association.person, len(association.person)
    associates[friends] = 1 + rng.poisson(0.7, number)
    per_friend = np.where(association.serious, 12.0, 6.0) * _spread(rng, 1, 0.7, number)
    # An honest neighbour looks somebody up a few times, out of curiosity: wrong, and no undeclared association.
    neighbours = alikes.who(ASSOCIATION, "neighbour")
    nosy = _placed(people, friends, per_friend)
    nosy[neighbours], associates[neighbours] = _spread(rng, 4.0, 0.6, len(neighbours)), 1
    spell = _spell(people, association)
    spell.stop[neighbours] = np.iinfo(np.int32).max
    return SearchHabits(
        rate=np.exp(0.3 * people.workload + 0.5 * rng.standard_normal(count)),
        without_case=without,
        late_link=late,
        off_duty=off_duty,
        on_call=on_call,
        abuse=_spell(people, abuse),
        abuse_targets=targets,
        abuse_per_year=_placed(people, who, per_target),
        abuse_caseless=_placed(people, who, caseless),
        abuse_off_duty=_placed(people, who, off),
        association=spell,
        associates=associates,
        association_per_year=nosy,
    )
