"""What was known at a cutoff: the only views of a borough's tables that features may read.

Rules this module keeps: a row that was recorded, or is dated, on or after the cutoff is not there; a value that was
entered or amended on or after it is empty; of events only those within the window are there. Sickness has no view.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from borough_node.sources.contract import TABLES, Table
from borough_node.sources.contract.cutoffs import date_of, window_start
from borough_node.sources.contract.people import SENIOR_RANKS
from borough_node.sources.file import literal, quoted
from borough_node.sources.personnel.staging import Staged

WITHHELD = ("sickness", "conduct_findings")
"""Tables without a view as they are: sickness has none at all, findings only those made before the window."""


def create_views(staged: Staged, cutoff: int) -> None:
    """Make, or make anew, ``TABLE_known`` for every staged table, ``findings_before`` and ``members``.

    `members` has one row per person who is in the borough at the cutoff.
    """
    for name in staged.tables:
        if name not in WITHHELD:
            staged.run(f"CREATE OR REPLACE TEMP VIEW {name}_known AS {_known(TABLES[name], cutoff)}")
    findings = TABLES["conduct_findings"]
    before = f"found_at < TIMESTAMP '{window_start(cutoff)}'"
    staged.run(f"CREATE OR REPLACE TEMP VIEW findings_before AS {_known(findings, cutoff)} AND {before}")
    staged.run(f"CREATE OR REPLACE TEMP TABLE members AS {_members(staged.settings.borough, cutoff)}")


def local_time(instant: str, *, zone: str, cutoff: int) -> str:
    """Return SQL of the local time of an instant within the window of a cutoff, or a few days around it."""
    first = datetime.combine(window_start(cutoff), datetime.min.time(), UTC) - timedelta(days=7)
    last = datetime.combine(date_of(cutoff), datetime.min.time(), UTC) + timedelta(days=7)
    changes, offset = [], _offset(first, zone)
    cases = ""
    moment = first
    # Offsets change on the hour, a few times a year at most.
    while moment < last:
        moment += timedelta(hours=1)
        if (later := _offset(moment, zone)) != offset:
            cases += (
                f" WHEN {instant} < TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}' THEN {instant} + INTERVAL {offset} MINUTE"
            )
            changes.append(moment)
            offset = later
    shifted = f"{instant} + INTERVAL {offset} MINUTE"
    return f"(CASE{cases} ELSE {shifted} END)" if changes else f"({shifted})"


def _offset(moment: datetime, zone: str) -> int:
    offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


def _known(table: Table, cutoff: int) -> str:
    columns = []
    for column in table.columns:
        name = quoted(column.name)
        # A time from which other values are known is itself known only from then.
        later = {*column.known_from} | ({column.name} if _dates_others(table, column.name) else set())
        condition = " OR ".join(f"{quoted(known)} >= {_moment(table, known, cutoff)}" for known in sorted(later))
        columns.append(f"CASE WHEN {condition} THEN NULL ELSE {name} END AS {name}" if condition else name)
    numbered = table.name != "staff" and any(column.name == "staff_no" for column in table.columns)
    columns += ["person"] if numbered else []
    conditions = [f"{quoted(name)} < {_moment(table, name, cutoff)}" for name in {table.recorded: 0, table.dated: 0}]
    conditions += ["person IS NOT NULL"] if numbered else []
    if table.windowed and table.name != "outages":
        start = window_start(cutoff)
        kind = "DATE" if table.column(table.dated).kind == "date" else "TIMESTAMP"
        conditions.append(f"{quoted(table.dated)} >= {kind} '{start}'")
    return f"SELECT {', '.join(columns)} FROM {table.name} WHERE {' AND '.join(conditions)}"


def _dates_others(table: Table, name: str) -> bool:
    return any(name in column.known_from for column in table.columns)


def _moment(table: Table, column: str, cutoff: int) -> str:
    kind = "DATE" if table.column(column).kind == "date" else "TIMESTAMP"
    return f"{kind} '{date_of(cutoff)}'"


def _members(borough: str, cutoff: int) -> str:
    day = f"DATE '{date_of(cutoff)}'"
    seniors = ", ".join(map(literal, SENIOR_RANKS))
    latest = (
        "SELECT * FROM postings_known WHERE kind = 'home'"
        f" AND valid_from < {day} QUALIFY row_number() OVER"
        " (PARTITION BY person ORDER BY valid_from DESC, recorded_at DESC, posting_id DESC) = 1"
    )
    return (
        "SELECT n.person, s.staff_no, s.service_start, s.vetting_renewed_on, s.sex, s.ethnicity_group, s.age_band,"
        f" p.unit, p.role, p.rank, p.shift_pattern, p.valid_from, p.rank IN ({seniors}) AS senior"
        " FROM staff_known AS s JOIN person_numbers AS n USING (staff_no)"
        f" JOIN ({latest}) AS p ON p.person = n.person"
        f" WHERE p.borough = {literal(borough)} AND (p.valid_to IS NULL OR p.valid_to >= {day})"
        f" AND (s.service_end IS NULL OR s.service_end >= {day}) AND s.service_start < {day}"
    )
