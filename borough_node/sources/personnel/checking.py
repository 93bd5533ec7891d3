"""Whether staged tables may be used, and if not, what to do: the report of ``custodes node check``.

Rules this module keeps: a table is refused whole; a message names a column, a rule and the keys of the first rows,
never another value; keys that are themselves sensitive are left out; the counts are for the operator's screen only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

import polars as pl
from polars import col

from borough_node.sources.contract import TABLES, Column, Table
from borough_node.sources.contract.column import DTYPES
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

SKEW_MINUTES, SKEW_TOLERANCE, SKEW_SAMPLE = 60, 12, 5_000
"""Badges that come, in the median, about a whole hour before or after booked starts tell of two time zones.
So many duties are looked at."""

DAY_MICROSECONDS = 86_400_000_000

AT_A_TIME = 2
"""Tables that are checked at a time."""


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
    checks = Checks(staged, now)
    work: list[Callable[[], list[Problem]]] = [
        *(partial(checks.table, TABLES[name], frame) for name, frame in staged.frames.items()),
        checks.overlaps,
        checks.home_borough,
        checks.badge_clock,
    ]
    # Most of the work is done outside the interpreter's lock.
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(lambda step: step(), work))
    problems = [*staged.unreadable, *chain.from_iterable(found)]
    coverage = {}
    for name, frame in staged.frames.items():
        if TABLES[name].windowed and frame.height:
            coverage[name] = _coverage(frame[TABLES[name].dated])
            problems += _gaps(name, coverage[name]) if name in STEADY else []
    rows = {name: frame.height for name, frame in staged.frames.items()}
    absent = tuple(name for name in staged.frames if name in staged.settings.absent)
    return Report(rows, absent, coverage, tuple(problems))


class Checks:
    """The checks of one staged set; each goes over a table once and returns what it found."""

    def __init__(self, staged: Staged, now: datetime) -> None:
        self._staged, self._frames, self._settings = staged, staged.frames, staged.settings
        self._now = pl.lit(now).cast(DTYPES["time"])

    def table(self, table: Table, frame: pl.DataFrame) -> list[Problem]:
        """Return every rule that rows break."""
        rules = [*self._column_rules(table), *(rule for rule in ROW_RULES if rule.table == table.name)]
        counts = frame.select(rule.condition.sum().alias(str(place)) for place, rule in enumerate(rules)).row(0)
        problems = [
            _problem(table, rule, count, frame.filter(rule.condition))
            for rule, count in zip(rules, counts, strict=True)
            if count
        ]
        if frame.is_empty() and table.required:
            advice = "the table has no rows; export it again"
            problems.append(Problem(table.name, None, "empty", "error", 0, (), advice))
        return [*problems, *_duplicates(table, frame), *_midnight(table, frame)]

    def _column_rules(self, table: Table) -> Iterator[Rule]:
        castable = self._staged.castable.get(table.name, [])
        for name in castable:
            kind = table.column(name).kind
            advice = f"not readable as a {kind}; correct it, or state the format in the settings"
            yield Rule(table.name, "type", col(f"{name}__failed"), advice, column=name)
        for name in self._staged.local.get(table.name, ()):
            yield from self._zone_rules(table.name, name)
        for column in table.columns:
            yield from self._value_rules(table, column, can_fail=column.name in castable)
        if "staff_no" in table.schema and table.name != "staff" and "staff" in self._frames:
            advice = "no such person in staff; add the person to the export of staff, or leave the row out"
            condition = col("person").is_null() & col("staff_no").is_not_null()
            yield Rule(table.name, "orphan", condition, advice, column="staff_no")

    def _zone_rules(self, table: str, name: str) -> Iterator[Rule]:
        local = col(f"{name}__local")
        zone = self._settings.zone_of_naive
        if zone is None:
            advice = "a time without time zone; export it with one, or set naive_times in the settings"
            yield Rule(table, "naive", local.is_not_null(), advice, column=name)
            return
        first = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        advice = (
            "no such local time: clocks had gone forward; the source's times are in another zone than the settings say"
        )
        yield Rule(table, "nonexistent", local.is_not_null() & first.is_null(), advice, column=name)
        only = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
        advice = (
            "a local time that came twice, as clocks went back: one hour may be wrong; export times in UTC if you can"
        )
        yield Rule(table, "ambiguous", first.is_not_null() & only.is_null(), advice, "warning", name)

    def _value_rules(self, table: Table, column: Column, *, can_fail: bool) -> Iterator[Rule]:
        name, value = column.name, col(column.name)
        if not column.optional:
            empty = value.is_null() & ~col(f"{name}__failed") if can_fail else value.is_null()
            yield Rule(table.name, "null", empty, "empty; fill it in", column=name)
        if column.allowed:
            advice = f"a value that the contract does not know; translate it under values.{table.name}.{name}"
            yield Rule(table.name, "value", ~value.is_in(column.allowed), advice, column=name)
        if column.low is not None and column.high is not None:
            advice = f"outside {column.low:g} to {column.high:g}; correct it, or its unit"
            yield Rule(table.name, "range", ~value.is_between(column.low, column.high), advice, column=name)
        is_moment = column.kind == "time" and not name.startswith("planned_")
        if is_moment or name == table.recorded:
            advice = "in the future; the source's clock or time zone is wrong"
            yield Rule(table.name, "future", value > self._now, advice, column=name)
        if column.refers == "sites" and "sites" in self._frames and "sites" not in self._settings.absent:
            advice = "no such site in sites; add it there"
            sites = self._frames["sites"]["site"].drop_nulls().implode()
            yield Rule(table.name, "orphan", ~value.is_in(sites), advice, column=name)

    def overlaps(self) -> list[Problem]:
        """Return home postings, and worked duties, of one person that overlap."""
        found = []
        for rule in OVERLAPS:
            if (frame := self._frames.get(rule.table)) is None:
                continue
            spans = frame.lazy().select("person", start=col(rule.start), end=rule.end, chosen=rule.chosen)
            spans = spans.with_row_index("row").filter("chosen", col("person").is_not_null())
            follows = col("start").shift(-1).over("person")
            rows = spans.sort("start").filter(follows < col("end")).select("row").collect()["row"]
            if rows.len():
                told = Rule(rule.table, "overlap", rule.chosen, rule.advice, rule.severity)
                found.append(_problem(TABLES[rule.table], told, rows.len(), frame[rows]))
        return found

    def home_borough(self) -> list[Problem]:
        """Return a problem if no home posting names this borough: then nobody is in it."""
        if (postings := self._frames.get("postings")) is None:
            return []
        if not postings.filter(col("kind") == "home", col("borough") == self._settings.borough).is_empty():
            return []
        advice = (
            "no home posting names the borough of the settings; correct borough there, or translate the values here"
        )
        return [Problem("postings", "borough", "borough", "error", 0, (), advice)]

    def badge_clock(self) -> list[Problem]:
        """Return a warning if badges and booked starts lie a whole hour or more apart, as two time zones would."""
        duties, events = self._frames.get("duties"), self._frames.get("access_events")
        if duties is None or events is None:
            return []
        around = timedelta(hours=3)
        placed = duties.lazy().filter(col("site").is_not_null()).select("person", "booked_start").drop_nulls().collect()
        few = placed.sample(min(SKEW_SAMPLE, placed.height), seed=1)
        left = few.with_columns(begins=col("booked_start") - around).sort("begins")
        entries = (
            events.lazy().filter(col("direction") == "in").select("person", "at").drop_nulls().sort("at").collect()
        )
        first = left.join_asof(
            entries, left_on="begins", right_on="at", by="person", strategy="forward", tolerance=2 * around,
            check_sortedness=False,
        ).drop_nulls("at")  # fmt: skip
        minutes = first.select((col("at") - col("booked_start")).dt.total_seconds() / 60).to_series()
        gap = minutes.median()
        if not isinstance(gap, float) or minutes.len() < LEAST_ROWS or abs(gap) < SKEW_MINUTES - SKEW_TOLERANCE:
            return []
        away = "after" if gap > 0 else "before"
        advice = (
            f"badges come {abs(gap):.0f} minutes {away} booked starts in the median: is one of the two in another zone?"
        )
        return [Problem("access_events", "at", "skew", "warning", minutes.len(), (), advice)]


def _duplicates(table: Table, frame: pl.DataFrame) -> list[Problem]:
    key = frame.select(table.key)
    # Hashes first: counting the distinct values of three columns of a million rows takes far longer.
    if key.hash_rows().n_unique() == key.height:
        return []
    repeated = key.group_by(table.key).len().filter(col("len") > 1)
    rule = Rule(
        table.name, "duplicate", pl.lit(True), f"the key ({', '.join(table.key)}) occurs twice; export each row once"
    )
    return [_problem(table, rule, repeated.height, repeated)] if repeated.height else []


def _midnight(table: Table, frame: pl.DataFrame) -> list[Problem]:
    names = [column.name for column in table.columns if column.kind == "time"]
    if frame.height < LEAST_ROWS or not names:
        return []
    midnight = frame.select((col(name).to_physical() % DAY_MICROSECONDS == 0).sum() for name in names).row(0)
    found = []
    for name, count in zip(names, midnight, strict=True):
        filled = frame.height - frame[name].null_count()
        if filled >= LEAST_ROWS and count > MIDNIGHT_SHARE * filled:
            advice = "nearly all at midnight: the source lost the time of day; export times, not dates"
            found.append(Problem(table.name, name, "midnight", "warning", count, (), advice))
    return found


def _coverage(dated: pl.Series) -> dict[str, int]:
    """Return the rows of each month."""
    # By day first: a year of days has few enough months to be asked for.
    days = dated.to_physical() // (1 if dated.dtype == pl.Date else DAY_MICROSECONDS)
    counted = days.alias("day").drop_nulls().value_counts(name="rows")
    months = counted.group_by(month=col("day").cast(pl.Int32).cast(pl.Date).dt.strftime("%Y-%m"))
    return dict(months.agg(col("rows").sum()).sort("month").iter_rows())


def _problem(table: Table, rule: Rule, count: int, offending: pl.DataFrame) -> Problem:
    shown = [name for name in table.key if table.column(name).sensitivity in SHOWN_KEYS]
    keys: tuple[str, ...] = ()
    if shown:
        first = offending.select(shown).sort(shown, nulls_last=True).head(MOST_KEYS)
        keys = tuple(_key_text(shown, row) for row in first.iter_rows())
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
