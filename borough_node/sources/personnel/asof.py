"""What was known at a cutoff: the only rows of a borough's tables that features may read.

Rules this module keeps: a row that was recorded, or is dated, on or after the cutoff is not there; a value that was
entered or amended on or after it is empty; of events only those within the window are there. Sickness is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import polars as pl
from polars import col

from borough_node.sources.contract import TABLES, Table
from borough_node.sources.contract.column import DTYPES
from borough_node.sources.contract.cutoffs import date_of, window_start
from borough_node.sources.contract.people import SENIOR_RANKS
from borough_node.sources.personnel.settings import PersonnelSettings
from borough_node.sources.personnel.staging import Staged

WITHHELD = ("sickness", "conduct_findings")
"""Tables that are not there as they are: sickness not at all, of findings only those made before the window."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Known:
    """A borough's tables as of a cutoff."""

    settings: PersonnelSettings
    cutoff: int
    tables: dict[str, pl.LazyFrame]
    """By name, with ``person``; without those that are withheld, and without rows of nobody in staff."""
    findings_before: pl.LazyFrame
    """Findings made before the window."""

    def __repr__(self) -> str:
        return "Known(<redacted>)"

    @property
    def day(self) -> date:
        """Return the day at whose start the cutoff lies."""
        return date_of(self.cutoff)

    @property
    def start(self) -> date:
        """Return the first day of the window."""
        return window_start(self.cutoff)

    @property
    def sees_badges(self) -> bool:
        """Say whether badges can show anything at all."""
        return not {"access_events", "sites"} & set(self.settings.absent)

    def members(self) -> pl.DataFrame:
        """Return one row per person who is in the borough at the cutoff, in order of staff number."""
        day = pl.lit(self.day)
        home = self.tables["postings"].filter(col("kind") == "home", col("valid_from") < day)
        latest = home.sort("valid_from", "recorded_at", "posting_id").unique("person", keep="last", maintain_order=True)
        here = latest.filter(
            col("borough") == self.settings.borough, col("valid_to").is_null() | (col("valid_to") >= day)
        ).select("person", "unit", "role", "rank", "shift_pattern", "valid_from")
        serving = self.tables["staff"].filter(
            col("service_end").is_null() | (col("service_end") >= day), col("service_start") < day
        )
        joined = serving.join(here, on="person")
        return joined.with_columns(senior=col("rank").is_in(SENIOR_RANKS)).sort("person").collect()

    def local_minutes(self, instant: pl.Expr) -> pl.Expr:
        """Return the whole minutes since 1970, by local clocks, of an instant within the window or a few days around it."""
        minutes = instant.to_physical() // 60_000_000
        offset, changes = _offsets(self.settings.time_zone, self.start, self.day)
        local = minutes + offset
        for change, later in changes:
            local = pl.when(minutes < change).then(local).otherwise(minutes + later)
        return local

    def instant_of(self, day: pl.Expr, hour: int) -> pl.Expr:
        """Return the instant of a local hour of a day; no clock changes between six in the morning and midnight."""
        local = day.cast(DTYPES["time"]) + timedelta(hours=hour)
        # Read as if it were UTC, the hour is on the same side of every change as the instant that is meant.
        offset = self.local_minutes(local) - local.to_physical() // 60_000_000
        return local - pl.duration(minutes=offset)


def as_of(staged: Staged, cutoff: int) -> Known:
    """Return what was known at a cutoff."""
    tables = {
        name: _known(frame, TABLES[name], cutoff) for name, frame in staged.frames.items() if name not in WITHHELD
    }
    findings = _known(staged.frames["conduct_findings"], TABLES["conduct_findings"], cutoff)
    before = findings.filter(col("found_at") < _literal(window_start(cutoff), DTYPES["time"]))
    return Known(staged.settings, cutoff, tables, before)


@cache
def _offsets(zone: str, start: date, day: date) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return the minutes that local clocks are ahead of UTC a week before a window, and what they are from each minute
    since 1970 on at which they change, until a week after it."""
    moment = datetime.combine(start, datetime.min.time(), UTC) - timedelta(days=7)
    last = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=7)
    first = offset = _offset(moment, zone)
    changes = []
    # Offsets change on the hour, a few times a year at most.
    while moment < last:
        step = timedelta(days=1) if _offset(moment + timedelta(days=1), zone) == offset else timedelta(hours=1)
        moment += step
        if (later := _offset(moment, zone)) != offset:
            changes.append((int(moment.timestamp()) // 60, later))
            offset = later
    return first, tuple(changes)


def _offset(moment: datetime, zone: str) -> int:
    offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


def _known(frame: pl.DataFrame, table: Table, cutoff: int) -> pl.LazyFrame:
    schema = table.schema
    dating = {column.name: {*column.known_from} for column in table.columns}
    for column in table.columns:
        # A time from which other values are known is itself known only from then.
        if any(column.name in other.known_from for other in table.columns):
            dating[column.name].add(column.name)
    columns = []
    for name, times in dating.items():
        late = [col(known) >= _literal(date_of(cutoff), schema[known]) for known in sorted(times)]
        columns.append(
            pl.when(pl.any_horizontal(late)).then(None).otherwise(col(name)).alias(name) if late else col(name)
        )
    conditions = [col(name) < _literal(date_of(cutoff), schema[name]) for name in {table.recorded: 0, table.dated: 0}]
    if table.windowed and table.name != "outages":
        conditions.append(col(table.dated) >= _literal(window_start(cutoff), schema[table.dated]))
    if "person" in frame.columns:
        conditions.append(col("person").is_not_null())
        columns.append(col("person"))
    return frame.lazy().filter(conditions).select(columns)


def _literal(day: date, dtype: pl.DataType) -> pl.Expr:
    return pl.lit(day).cast(dtype)
