"""The tables of one borough, drawn and written.

Rules this module keeps: whatever a system of the borough itself records stays in the borough where it happened; the
personnel and conduct files follow the person, so both boroughs of somebody who transferred hold them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deploy.force.events.access import DIRECTIONS, READERS, draw_reads
from deploy.force.events.cases import NEVER
from deploy.force.events.columns import Staff, dates, flags, ids, instants, keys, numbers, whole, words, write
from deploy.force.events.crew import Crew, World, crew_of
from deploy.force.events.duties import Duties, draw_duties
from deploy.force.events.files import write_files
from deploy.force.events.money import CATEGORIES, draw_expenses
from deploy.force.events.office import LOCATIONS, OFFICE, Claims, draw_claims
from deploy.force.events.outages import SYSTEMS as OUT_SYSTEMS
from deploy.force.events.outages import Outages, draw_outages
from deploy.force.events.people import (
    AGE_BANDS,
    ETHNICITIES,
    LONG_AGO,
    RANKS,
    ROLE_NAMES,
    ROLES,
    SEXES,
    SITES_PER_BOROUGH,
    IntArray,
)
from deploy.force.events.period import DAY_SECONDS
from deploy.force.events.records import Records
from deploy.force.events.roster import DUTY_TYPES, Roster, draw_roster
from deploy.force.events.searches import SYSTEMS, draw_searches
from deploy.force.events.sources import write_settings

OFFICE_SHARE_DUE = 0.8
SICK_ENTERED_DAYS = 2
LONG_BEFORE = -400 * DAY_SECONDS
"""When buildings were entered."""


def borough_name(number: int) -> str:
    """Return the id of a borough."""
    return f"borough-{number + 1:02d}"


def write_borough(world: World, records: Records, seed: np.random.SeedSequence, directory: Path) -> dict[str, int]:
    """Write every table of the borough that ``directory`` is named after, and its settings; return the rows of each."""
    borough = int(directory.name.removeprefix("borough-")) - 1
    directory.mkdir(parents=True)
    # A stream for each subject: a change to one leaves the others as they were.
    streams = [np.random.default_rng(child) for child in seed.spawn(9)]
    crew = crew_of(world, borough)
    staff = Staff(world.people.number)
    rows = _people(streams[0], world, crew, staff, directory)
    outages = draw_outages(streams[1], world.period)
    rows |= _places(streams[1], world, crew, outages, directory)
    roster = draw_roster(streams[2], world, crew)
    rows["sickness"] = _sickness(streams[2], crew, staff, roster, directory)
    duties = draw_duties(streams[3], world, crew, roster, outages)
    del roster
    rows["duties"] = _duties(streams[3], crew, staff, duties, directory)
    claims, came, went = draw_claims(streams[4], world, crew, duties)
    rows["attendance_claims"] = _claims(crew, staff, claims, directory)
    rows["access_events"] = _reads(streams[5], world, crew, staff, duties, came, went, outages, directory)
    rows["expenses"] = _expenses(streams[6], world, crew, staff, duties, directory)
    rows["lookups"] = _lookups(streams[7], world, crew, staff, duties, outages, directory)
    here = np.zeros(len(world.people.number), dtype=bool)
    here[crew.person] = True
    write_settings(directory)
    return rows | write_files(streams[8], staff, here, records, directory, prefix=f"{borough + 1:02d}-")


def _prefix(letter: str, crew: Crew) -> str:
    return f"{letter}{crew.borough + 1:02d}-"


def _people(rng: np.random.Generator, world: World, crew: Crew, staff: Staff, directory: Path) -> dict[str, int]:
    people = world.people
    person = rng.permutation(np.unique(crew.person))
    left = np.where(people.left[person] > world.period.days, NEVER, people.left[person])
    entered = (people.joined[person] - 14) * DAY_SECONDS + 11 * 3_600
    rows = write(
        directory,
        "staff",
        {
            "staff_no": staff(person),
            "service_start": dates(people.joined[person]),
            "service_end": dates(left, NEVER),
            "service_end_recorded_at": instants(
                np.where(left == NEVER, NEVER, (left - 1) * DAY_SECONDS + 15 * 3_600), NEVER
            ),
            "vetting_renewed_on": dates(
                np.where(
                    people.vetted[person] == LONG_AGO,
                    LONG_AGO,
                    np.maximum(people.vetted[person], people.joined[person]),
                ),
                LONG_AGO,
            ),
            "sex": words(people.sex[person], SEXES),
            "ethnicity_group": words(people.ethnicity[person], ETHNICITIES),
            "age_band": words(people.age_band[person], AGE_BANDS),
            "recorded_at": instants(entered),
        },
        plain=("staff_no",),
    )
    return {"staff": rows, "postings": _postings(rng, world, crew, staff, person, directory)}


def _postings(
    rng: np.random.Generator, world: World, crew: Crew, staff: Staff, person: IntArray, directory: Path
) -> int:
    """Write every posting of these people, in whatever borough, and their secondments."""
    people, stints, units = world.people, world.people.stints, world.people.units
    home = np.flatnonzero(np.isin(stints.person, person))
    lent = person[people.seconded_to[person] > people.seconded_from[person]]
    # Where somebody is lent to: another borough, or one time in three outside the force.
    host = (crew.borough + 1 + lent % max(people.boroughs - 1, 1)) % people.boroughs
    host = np.where((lent % 3 == 0) | (host == crew.borough), people.boroughs, host)
    who = np.r_[stints.person[home], lent]
    unit = np.r_[stints.unit[home], people.unit[lent]]
    first = np.r_[stints.first_day[home], people.seconded_from[lent]]
    last = np.r_[stints.last_day[home], people.seconded_to[lent]]
    is_home = np.arange(len(who)) < len(home)
    borough = np.where(is_home, units.borough[unit], np.r_[np.zeros(len(home), np.int64), host])
    order = rng.permutation(len(who))
    who, unit, first, last, is_home, borough = (values[order] for values in (who, unit, first, last, is_home, borough))
    open_ended = last > world.period.days
    patterns = tuple(dict.fromkeys(pattern for _, pattern in ROLES.values()))
    pattern = np.array([patterns.index(name) for _, name in ROLES.values()])
    return write(
        directory,
        "postings",
        {
            "posting_id": ids(rng, _prefix("P", crew), len(who)),
            "staff_no": staff(who),
            "kind": words((~is_home).astype(np.int64), ("home", "secondment")),
            "borough": words(borough, [*(borough_name(number) for number in range(people.boroughs)), "outside"]),
            "unit": keys("unit-", unit, 5),
            "role": words(people.role[who], ROLE_NAMES),
            "rank": words(people.rank[who], RANKS),
            "shift_pattern": words(pattern[people.role[who]], patterns),
            "office_share_due": numbers(np.where(people.senior[who], OFFICE_SHARE_DUE, np.nan)),
            "valid_from": dates(first),
            "valid_to": dates(np.where(open_ended, NEVER, last), NEVER),
            "end_recorded_at": instants(np.where(open_ended, NEVER, (last - 1) * DAY_SECONDS + 14 * 3_600), NEVER),
            "recorded_at": instants((first - 14) * DAY_SECONDS + 12 * 3_600),
        },
        plain=("posting_id",),
    )


def _site_names(crew: Crew) -> list[str]:
    return [f"site-{crew.borough + 1:02d}-{number + 1}" for number in range(SITES_PER_BOROUGH)]


def _places(rng: np.random.Generator, world: World, crew: Crew, outages: Outages, directory: Path) -> dict[str, int]:
    names = np.arange(SITES_PER_BOROUGH)
    sites = write(
        directory,
        "sites",
        {
            "site": words(names, _site_names(crew)),
            "borough": words(np.zeros_like(names), [borough_name(crew.borough)]),
            "badge_readers": flags(world.people.readers[crew.borough]),
            "recorded_at": instants(np.full(len(names), LONG_BEFORE)),
        },
    )
    count = len(outages.system)
    rows = write(
        directory,
        "outages",
        {
            "outage_id": ids(rng, _prefix("O", crew), count),
            "system": words(outages.system, OUT_SYSTEMS),
            "site": words(outages.site, _site_names(crew), -1),
            "started_at": instants(outages.start),
            "ended_at": instants(outages.end),
            "recorded_at": instants(outages.start + rng.integers(1, 24, count) * 3_600),
        },
    )
    return {"sites": sites, "outages": rows}


def _sickness(rng: np.random.Generator, crew: Crew, staff: Staff, roster: Roster, directory: Path) -> int:
    count = len(roster.sick_rows)
    last = roster.sick_starts + roster.sick_lengths - 1
    recorded = roster.sick_starts * DAY_SECONDS + rng.integers(6 * 3_600, SICK_ENTERED_DAYS * DAY_SECONDS, count)
    return write(
        directory,
        "sickness",
        {
            "absence_id": ids(rng, _prefix("A", crew), count),
            "staff_no": staff(crew.person[roster.sick_rows]),
            "first_day": dates(roster.sick_starts),
            "last_day": dates(last),
            "certified": flags(roster.sick_lengths > 7),
            "recorded_at": instants(recorded),
            "closed_at": instants(
                np.maximum(recorded, (last + 1) * DAY_SECONDS) + rng.integers(3_600, DAY_SECONDS, count)
            ),
        },
        plain=("absence_id",),
    )


def _duties(rng: np.random.Generator, crew: Crew, staff: Staff, duties: Duties, directory: Path) -> int:
    person = crew.person[duties.row]
    site = np.where(duties.at_site, crew.site[duties.row], -1)
    return write(
        directory,
        "duties",
        {
            "duty_id": ids(rng, _prefix("D", crew), len(person)),
            "staff_no": staff(person),
            "duty_type": words(duties.kind, DUTY_TYPES),
            "operation": keys(f"op-{crew.borough + 1:02d}-", duties.operation, 4, NEVER),
            "site": words(site, _site_names(crew), -1),
            "planned_start": instants(duties.planned_start),
            "planned_end": instants(duties.planned_end),
            "booked_start": instants(duties.booked_start, NEVER),
            "booked_end": instants(duties.booked_end, NEVER),
            "overtime_minutes": whole(duties.overtime, NEVER),
            "created_at": instants(duties.created_at),
            "created_by": staff(duties.created_by),
            "booked_at": instants(duties.booked_at, NEVER),
            "booked_by": staff(duties.booked_by, NEVER),
            "amended_at": instants(duties.amended_at, NEVER),
            "amended_by": staff(duties.amended_by, NEVER),
            "amended_minutes": whole(duties.amended_minutes, 0),
            "authorised_at": instants(duties.authorised_at, NEVER),
            "authorised_by": staff(duties.authorised_by, NEVER),
            "swapped_at": instants(duties.swapped_at, NEVER),
            "swapped_with": staff(duties.swapped_with, NEVER),
        },
        plain=("duty_id",),
    )


def _claims(crew: Crew, staff: Staff, claims: Claims, directory: Path) -> int:
    at_office = np.where(claims.location == OFFICE, crew.site[claims.row], -1)
    return write(
        directory,
        "attendance_claims",
        {
            "staff_no": staff(crew.person[claims.row]),
            "claim_date": dates(claims.day),
            "claimed_location": words(claims.location, LOCATIONS),
            "site": words(at_office, _site_names(crew), -1),
            "policy_office_share": numbers(np.full(len(claims.row), OFFICE_SHARE_DUE)),
            "entered_at": instants(claims.entered_at),
            "entered_by": staff(claims.entered_by),
            "amended_at": instants(claims.amended_at, NEVER),
        },
    )


def _reads(
    rng: np.random.Generator,
    world: World,
    crew: Crew,
    staff: Staff,
    duties: Duties,
    came: IntArray,
    went: IntArray,
    outages: Outages,
    directory: Path,
) -> int:
    reads = draw_reads(rng, world, crew, duties, came, went, outages)
    site = crew.site[reads.row]
    readers = [f"{name}-r{number + 1}" for name in _site_names(crew) for number in range(READERS)]
    return write(
        directory,
        "access_events",
        {
            "staff_no": staff(crew.person[reads.row]),
            "at": instants(reads.at),
            "site": words(site, _site_names(crew)),
            "reader": words(site * READERS + reads.reader, readers),
            "direction": words(reads.direction, DIRECTIONS),
        },
        plain=("at",),
    )


def _expenses(rng: np.random.Generator, world: World, crew: Crew, staff: Staff, duties: Duties, directory: Path) -> int:
    expenses = draw_expenses(rng, world, crew, duties)
    return write(
        directory,
        "expenses",
        {
            "expense_id": ids(rng, _prefix("E", crew), len(expenses.row)),
            "staff_no": staff(crew.person[expenses.row]),
            "incurred_on": dates(expenses.day),
            "submitted_at": instants(expenses.submitted_at),
            "category": words(expenses.category, CATEGORIES),
            "amount_pence": whole(expenses.pence),
            "limit_pence": whole(expenses.limit, NEVER),
            "receipt": flags(expenses.receipt),
            "approved_at": instants(expenses.approved_at, NEVER),
            "approved_by": staff(expenses.approved_by, NEVER),
        },
        plain=("expense_id",),
    )


def _lookups(
    rng: np.random.Generator, world: World, crew: Crew, staff: Staff, duties: Duties, outages: Outages, directory: Path
) -> int:
    searches = draw_searches(rng, world, crew, duties, outages)
    return write(
        directory,
        "lookups",
        {
            "lookup_id": ids(rng, _prefix("L", crew), len(searches.row)),
            "staff_no": staff(crew.person[searches.row]),
            "at": instants(searches.at),
            "system": words(searches.system, SYSTEMS),
            "case_ref": keys("case-", searches.case, 9, NEVER),
            "case_linked_at": instants(searches.linked_at, NEVER),
            "subject_ref": keys("subject-", searches.subject, 9, NEVER),
            "subject_vulnerable": flags(searches.vulnerable),
        },
        plain=("lookup_id",),
    )
