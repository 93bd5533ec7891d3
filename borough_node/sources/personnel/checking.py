"""Whether staged tables may be used, and if not, what to do: the report of ``custodes node check``.

Rules this module keeps: a table is refused whole; a message names a column, a rule and the keys of the first rows,
never another value; keys that are themselves sensitive are left out; the counts are for the operator's screen only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from borough_node.sources.contract import TABLES, Column, Table
from borough_node.sources.file import literal, quoted
from borough_node.sources.personnel.rules import OVERLAPS, ROW_RULES, Rule
from borough_node.sources.personnel.staging import Problem, Staged
from protocol.errors import TableInvalid

MOST_KEYS = 5
"""Offending rows that are shown for each rule."""

SHOWN_KEYS = ("operational", "personal")
"""Sensitivities of key columns that may be shown."""

MIDNIGHT_SHARE, LEAST_ROWS = 0.95, 100
"""A time column of so many rows with so large a share at midnight carries no time of day."""

THIN_SHARE = 0.2
"""A month with less than this share of the median month is worth a question."""

STEADY = ("duties", "access_events", "attendance_claims", "expenses", "lookups")
"""Tables that have rows in every month."""

SKEW_MINUTES, SKEW_TOLERANCE = 60, 12
"""Badges that come, in the median, about a whole hour before or after booked starts tell of two time zones."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found."""

    rows: dict[str, int]
    absent: tuple[str, ...]
    coverage: dict[str, dict[str, int]]
    """Table of events to rows by month of its date."""
    problems: tuple[Problem, ...]

    @property
    def usable(self) -> bool:
        """Say whether there is no error."""
        return not self.errors()

    def errors(self) -> list[Problem]:
        """Return what refuses the tables."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def require_usable(self) -> None:
        """Return if the tables may be used. Raises: TableInvalid naming the first error."""
        if errors := self.errors():
            first = errors[0]
            where = first.table if first.column is None else f"{first.table}.{first.column}"
            rest = f" ({len(errors) - 1} more errors)" if len(errors) > 1 else ""
            raise TableInvalid(f"table {where}: {first.advice}{rest}")


def check(staged: Staged, *, now: datetime) -> Report:
    """Return the report of all staged tables at a moment (UTC)."""
    checks = Checks(staged, now.replace(tzinfo=None).isoformat(sep=" "))
    problems = list(staged.unreadable)
    rows: dict[str, int] = {}
    for name in staged.tables:
        rows[name], found = checks.table(TABLES[name])
        problems += found
    problems += checks.overlaps()
    problems += checks.home_borough()
    problems += checks.badge_clock()
    coverage = {}
    for name in staged.tables:
        if TABLES[name].windowed and rows[name]:
            coverage[name] = checks.coverage(TABLES[name])
            problems += _gaps(name, coverage[name]) if name in STEADY else []
    absent = tuple(name for name in staged.tables if name in staged.settings.absent)
    return Report(rows, absent, coverage, tuple(problems))


class Checks:
    """The checks of one staged set; each asks the database once and returns what it found."""

    def __init__(self, staged: Staged, now: str) -> None:
        self._staged = staged
        self._now = f"TIMESTAMP {literal(now)}"

    def table(self, table: Table) -> tuple[int, list[Problem]]:
        """Return the number of rows and every rule that rows break."""
        rules = [*self._column_rules(table), *(rule for rule in ROW_RULES if rule.table == table.name)]
        counted = ", ".join(f"count(*) FILTER ({rule.condition})" for rule in rules)
        counts = self._staged.rows(f"SELECT count(*), {counted} FROM {table.name}")[0]
        total = int(counts[0])
        problems = [
            self._problem(table, rule, int(count), f"SELECT * FROM {table.name} WHERE {rule.condition}")
            for rule, count in zip(rules, counts[1:], strict=True)
            if count
        ]
        if total == 0 and table.required:
            advice = "the table has no rows; export it again"
            problems.append(Problem(table.name, None, "empty", "error", 0, (), advice))
        problems += self._duplicates(table)
        problems += self._midnight(table, total)
        return total, problems

    def _column_rules(self, table: Table) -> Iterator[Rule]:
        for place, name in enumerate(self._staged.castable.get(table.name, ())):
            kind = table.column(name).kind
            advice = f"not readable as a {kind}; correct it, or state the format in the settings"
            yield Rule(table.name, "type", f"(_failed & {1 << place}) <> 0", advice, column=name)
        for name in self._staged.local.get(table.name, ()):
            yield from self._zone_rules(table.name, name)
        for column in table.columns:
            yield from self._value_rules(table, column)
        if any(column.name == "staff_no" for column in table.columns) and table.name != "staff":
            advice = "no such person in staff; add the person to the export of staff, or leave the row out"
            yield Rule(table.name, "orphan", "person IS NULL AND staff_no IS NOT NULL", advice, column="staff_no")

    def _zone_rules(self, table: str, name: str) -> Iterator[Rule]:
        local = quoted(name + "__local")
        zone = self._staged.settings.zone_of_naive
        if zone is None:
            advice = "a time without time zone; export it with one, or set naive_times in the settings"
            yield Rule(table, "naive", f"{local} IS NOT NULL", advice, column=name)
            return
        back = f"timezone({literal(zone)}, timezone({literal(zone)}, {local}))"
        advice = (
            "no such local time: clocks had gone forward; the source's times are in another zone than the settings say"
        )
        yield Rule(table, "nonexistent", f"{local} <> {back}", advice, column=name)
        instant = f"timezone({literal(zone)}, {local})"
        twice = " OR ".join(
            f"timezone({literal(zone)}, {instant} {sign} INTERVAL 1 HOUR) = {local}" for sign in ("+", "-")
        )
        advice = (
            "a local time that came twice, as clocks went back: one hour may be wrong; export times in UTC if you can"
        )
        yield Rule(table, "ambiguous", f"({twice})", advice, "warning", name)

    def _value_rules(self, table: Table, column: Column) -> Iterator[Rule]:
        name = quoted(column.name)
        failed = self._staged.castable.get(table.name, [])
        read = f" AND (_failed & {1 << failed.index(column.name)}) = 0" if column.name in failed else ""
        if not column.optional:
            yield Rule(table.name, "null", f"{name} IS NULL{read}", "empty; fill it in", column=column.name)
        if column.allowed:
            values = ", ".join(map(literal, column.allowed))
            advice = f"a value that the contract does not know; translate it under values.{table.name}.{column.name}"
            yield Rule(table.name, "value", f"{name} NOT IN ({values})", advice, column=column.name)
        if column.low is not None and column.high is not None:
            advice = f"outside {column.low:g} to {column.high:g}; correct it, or its unit"
            yield Rule(
                table.name, "range", f"{name} NOT BETWEEN {column.low} AND {column.high}", advice, column=column.name
            )
        is_moment = column.kind == "time" and not column.name.startswith("planned_")
        if is_moment or column.name == table.recorded:
            advice = "in the future; the source's clock or time zone is wrong"
            yield Rule(table.name, "future", f"{name} > {self._now}", advice, column=column.name)
        if column.refers == "sites" and "sites" in self._staged.tables and "sites" not in self._staged.settings.absent:
            advice = "no such site in sites; add it there"
            condition = f"{name} NOT IN (SELECT site FROM sites WHERE site IS NOT NULL)"
            yield Rule(table.name, "orphan", condition, advice, column=column.name)

    def _duplicates(self, table: Table) -> list[Problem]:
        key = ", ".join(map(quoted, table.key))
        # Hashes first: counting the distinct values of three columns of a million rows takes far longer.
        count, distinct = self._staged.rows(f"SELECT count(*), count(DISTINCT hash({key})) FROM {table.name}")[0]
        if count == distinct:
            return []
        repeated = f"SELECT {key} FROM {table.name} GROUP BY {key} HAVING count(*) > 1"
        found = int(self._staged.rows(f"SELECT count(*) FROM ({repeated})")[0][0])
        rule = Rule(table.name, "duplicate", "", f"the key ({', '.join(table.key)}) occurs twice; export each row once")
        return [self._problem(table, rule, found, repeated)] if found else []

    def _midnight(self, table: Table, total: int) -> list[Problem]:
        names = [column.name for column in table.columns if column.kind == "time"]
        if total < LEAST_ROWS or not names:
            return []
        shares = ", ".join(f"count({q}), count(*) FILTER (epoch_us({q}) % 86400000000 = 0)" for q in map(quoted, names))
        counts = self._staged.rows(f"SELECT {shares} FROM {table.name}")[0]
        found = []
        for name, filled, midnight in zip(names, counts[0::2], counts[1::2], strict=True):
            if filled >= LEAST_ROWS and midnight > MIDNIGHT_SHARE * filled:
                advice = "nearly all at midnight: the source lost the time of day; export times, not dates"
                found.append(Problem(table.name, name, "midnight", "warning", int(midnight), (), advice))
        return found

    def overlaps(self) -> list[Problem]:
        """Return home postings, and worked duties, of one person that overlap."""
        found = []
        for rule in OVERLAPS:
            if rule.table in self._staged.tables:
                key = TABLES[rule.table].key[0]
                counted = f"SELECT count(*), min({quoted(key)}, {MOST_KEYS}) FROM ({rule.condition}) WHERE collides"
                count, first = self._staged.rows(counted)[0]
                if count:
                    keys = tuple(_key_text([key], (value,)) for value in first)
                    problem = Problem(rule.table, rule.column, rule.name, rule.severity, int(count), keys, rule.advice)
                    found.append(problem)
        return found

    def home_borough(self) -> list[Problem]:
        """Return a problem if no home posting names this borough: then nobody is in it."""
        if "postings" not in self._staged.tables:
            return []
        borough = literal(self._staged.settings.borough)
        query = f"SELECT count(*) FROM postings WHERE kind = 'home' AND borough = {borough}"
        if self._staged.rows(query)[0][0]:
            return []
        advice = (
            "no home posting names the borough of the settings; correct borough there, or translate the values here"
        )
        return [Problem("postings", "borough", "borough", "error", 0, (), advice)]

    def badge_clock(self) -> list[Problem]:
        """Return a warning if badges and booked starts lie a whole hour or more apart, as two time zones would."""
        if not {"duties", "access_events"} <= set(self._staged.tables):
            return []
        first = (
            "SELECT d.person, d.booked_start, min(a.at) AS first FROM (SELECT person, booked_start FROM duties"
            " WHERE booked_start IS NOT NULL AND site IS NOT NULL USING SAMPLE 5000 ROWS (reservoir, 1)) AS d"
            " JOIN access_events AS a ON a.person = d.person AND a.direction = 'in'"
            " AND a.at BETWEEN d.booked_start - INTERVAL 3 HOUR AND d.booked_start + INTERVAL 3 HOUR GROUP BY ALL"
        )
        count, gap = self._staged.rows(f"SELECT count(*), median(epoch(first - booked_start)) / 60 FROM ({first})")[0]
        if count < LEAST_ROWS or gap is None or abs(gap) < SKEW_MINUTES - SKEW_TOLERANCE:
            return []
        away = "after" if gap > 0 else "before"
        advice = (
            f"badges come {abs(gap):.0f} minutes {away} booked starts in the median: is one of the two in another zone?"
        )
        return [Problem("access_events", "at", "skew", "warning", int(count), (), advice)]

    def coverage(self, table: Table) -> dict[str, int]:
        """Return the rows of each month, by the table's date."""
        dated = quoted(table.dated)
        rows = self._staged.rows(
            f"SELECT date_trunc('month', {dated}) AS month, count(*) FROM {table.name} WHERE {dated} IS NOT NULL"
            " GROUP BY month ORDER BY month"
        )
        return {month.strftime("%Y-%m"): int(count) for month, count in rows}

    def _problem(self, table: Table, rule: Rule, count: int, offending: str) -> Problem:
        shown = [name for name in table.key if table.column(name).sensitivity in SHOWN_KEYS]
        keys: tuple[str, ...] = ()
        if shown:
            names = ", ".join(map(quoted, shown))
            order = ", ".join(f"{quoted(name)} NULLS LAST" for name in shown)
            first = self._staged.rows(f"SELECT {names} FROM ({offending}) ORDER BY {order} LIMIT {MOST_KEYS}")
            keys = tuple(_key_text(shown, row) for row in first)
        return Problem(table.name, rule.column, rule.name, rule.severity, count, keys, rule.advice)


def _key_text(names: list[str], row: tuple[Any, ...]) -> str:
    return ", ".join(f"{name}={'(empty)' if value is None else value}" for name, value in zip(names, row, strict=True))


def _gaps(table: str, months: dict[str, int]) -> list[Problem]:
    """Return a warning if a month between the first and the last is empty or thin."""
    if len(months) < 3:
        return []
    first, last = min(months), max(months)
    year, month = map(int, first.split("-"))
    spanned = []
    while (name := f"{year:04d}-{month:02d}") <= last:
        spanned.append(name)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    median = sorted(months.values())[len(months) // 2]
    thin = [name for name in spanned[1:-1] if months.get(name, 0) < THIN_SHARE * median]
    if not thin:
        return []
    advice = f"far fewer rows than usual in {', '.join(thin[:6])}; is the export whole, or was the system out?"
    return [Problem(table, TABLES[table].dated, "gap", "warning", 0, (), advice)]


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as what ``--json`` prints."""
    return {
        "usable": report.usable,
        "rows": report.rows,
        "absent": list(report.absent),
        "coverage": report.coverage,
        "problems": [dataclasses.asdict(problem) for problem in report.problems],
    }
