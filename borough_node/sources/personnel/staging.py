"""All tables of a borough in memory, typed as the contract says, with what could not be read.

Rules this module keeps: a source is only read; a value that cannot be read is null here and counted, so that the
check can refuse the table; nothing is dropped. A Parquet table of the contract's own types is read as it stands; all else
(CSV, PostgreSQL, other types, codes to translate) is cast by an in-memory database, which is closed before anybody works
with the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from borough_node.sources.contract import TABLES, Table
from borough_node.sources.file import file_to_read, offline_database, open_in, quoted, readable
from borough_node.sources.personnel.casts import Cast, Reading, cast_of
from borough_node.sources.personnel.plain import read_plain
from borough_node.sources.personnel.postgres import Relations, connected
from borough_node.sources.personnel.settings import POSTGRES, PersonnelSettings
from protocol.errors import TableInvalid

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule that a table breaks, and what to do."""

    table: str
    column: str | None
    rule: str
    """Stable name, as "null" or "orphan"."""
    severity: Severity
    """An error refuses the tables; a warning does not."""
    rows: int
    keys: tuple[str, ...]
    """Keys of the first offending rows, without columns that are sensitive."""
    advice: str
    """What is wrong and what to do."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Staged:
    """The typed tables of one borough."""

    settings: PersonnelSettings
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    """Those that could be read, an absent one empty. Beside the contract's columns: ``person``, the number of the row's
    person in order of staff number (null: an orphan), and what ``castable`` and ``local`` name."""
    unreadable: list[Problem] = field(default_factory=list)
    castable: dict[str, list[str]] = field(default_factory=dict)
    """Table to the columns whose reading can fail; ``NAME__failed`` says in which rows it did."""
    local: dict[str, list[str]] = field(default_factory=dict)
    """Table to the time columns of which some values may have had no zone; ``NAME__local`` holds those."""

    def __repr__(self) -> str:
        return "Staged(<redacted>)"


@contextmanager
def staged(settings: PersonnelSettings, *, names: tuple[str, ...] = tuple(TABLES)) -> Iterator[Staged]:
    """Yield the tables of the contract that were asked for, and forget them afterwards.

    Args:
        names: Only these are read; staff always is.
    """
    result = Staged(settings)
    with ExitStack() as stack:
        sources = _Sources(result, stack)
        for name in sorted({"staff", *names}, key=list(TABLES).index):
            sources.stage(TABLES[name])
    try:
        yield result
    finally:
        result.frames.clear()


class _Sources:
    """Reads the sources of one borough; databases are opened when the first table needs them."""

    def __init__(self, result: Staged, stack: ExitStack) -> None:
        self._result, self._settings, self._stack = result, result.settings, stack
        self._persons = pl.DataFrame(schema={"staff_no": pl.String, "person": pl.UInt32})

    def stage(self, table: Table) -> None:
        """Put the table into the result, or why it cannot be read."""
        try:
            if table.name in self._settings.absent:
                frame = table.schema.to_frame()
            elif (place := self._settings.tables[table.name]).startswith(POSTGRES):
                frame = self._from_relation(table, place.removeprefix(POSTGRES))
            else:
                frame = self._from_file(table, Path(place))
        except TableInvalid as error:
            self._result.unreadable.append(Problem(table.name, None, "unreadable", "error", 0, (), error.detail))
            return
        if table.windowed and self._settings.since is not None:
            # A row whose date cannot be read stays, so that the check finds it.
            dated = pl.col(table.dated)
            frame = frame.filter(
                dated.is_null() | (dated >= pl.lit(self._settings.since).cast(frame.schema[table.dated]))
            )
        if table.name == "staff":
            known = frame.select("staff_no").drop_nulls().unique().sort("staff_no")
            self._persons = known.with_row_index("person").select("staff_no", "person")
        if "staff_no" in frame.columns:
            # Joins and groups by small whole numbers are what makes features fast.
            numbered = frame.select("staff_no").join(self._persons, on="staff_no", how="left", maintain_order="left")
            frame = frame.with_columns(numbered["person"])
        self._result.frames[table.name] = frame

    @cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        connection = self._stack.enter_context(closing(offline_database()))
        # Off: the order of rows means nothing here, and keeping it costs memory and time.
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    @cached_property
    def _relations(self) -> Relations | TableInvalid:
        if self._settings.database is None:
            return TableInvalid("no database is connected; name one under database")
        try:
            return self._stack.enter_context(connected(self._settings.database))
        except TableInvalid as error:
            # Every table of the database is refused for the same reason, without waiting for it again.
            return error

    def _from_file(self, table: Table, path: Path) -> pl.DataFrame:
        full = file_to_read(path)
        if full.suffix.lower() == ".parquet" and (plain := read_plain(full, table, self._settings)) is not None:
            numbers = [column.name for column in table.columns if column.kind == "number"]
            self._result.castable[table.name] = numbers
            return plain.with_columns((~pl.col(name).is_finite()).alias(f"{name}__failed") for name in numbers)
        with readable(path):
            source = open_in(self._database, path)
            return self._cast(table, source.relation, source.types)

    def _from_relation(self, table: Table, relation: str) -> pl.DataFrame:
        settings = self._settings
        if isinstance(self._relations, TableInvalid):
            raise self._relations
        wanted = [name for column in table.columns if (name := settings.source_column(table.name, column.name))]
        _check_columns(wanted, set(self._relations.columns(relation)))
        dated = settings.source_column(table.name, table.dated)
        since = (dated, settings.since) if table.windowed and settings.since is not None else None
        arrow = self._relations.read(relation, list(dict.fromkeys(wanted)), since=since)
        view = f"source_{table.name}"
        self._database.register(view, arrow)
        try:
            described = self._database.execute(f"DESCRIBE {view}").fetchall()
            return self._cast(table, view, {str(row[0]): str(row[1]) for row in described})
        except duckdb.Error as error:
            raise TableInvalid(f"relation {relation}: unreadable ({type(error).__name__}); check its types") from None
        finally:
            self._database.unregister(view)

    def _cast(self, table: Table, relation: str, types: dict[str, str]) -> pl.DataFrame:
        """Return the table as the database casts it. Raises: TableInvalid naming a column that is missing or cannot be read."""
        settings = self._settings
        casts: dict[str, Cast] = {}
        for column in table.columns:
            source = settings.source_column(table.name, column.name)
            if not source:
                casts[column.name] = Cast("NULL", None, None)
                continue
            _check_columns([source], set(types))
            reading = Reading(
                settings.zone_of_naive,
                settings.date_format,
                settings.time_format,
                settings.values.get(table.name, {}).get(column.name, {}),
            )
            casts[column.name] = cast_of(column, source=source, type_name=types[source], settings=reading)
        local = [name for name, cast in casts.items() if cast.local]
        failed = {name: cast.failed for name, cast in casts.items() if cast.failed}
        chosen = [f"{cast.typed} AS {quoted(name)}" for name, cast in casts.items()]
        chosen += [f"{casts[name].local} AS {quoted(name + '__local')}" for name in local]
        chosen += [f"{condition} AS {quoted(name + '__failed')}" for name, condition in failed.items()]
        arrow = self._database.sql(f"SELECT {', '.join(chosen)} FROM {relation}").to_arrow_table()
        frame = pl.DataFrame(pl.from_arrow(arrow))
        self._result.castable[table.name] = list(failed)
        self._result.local[table.name] = local
        # Its instants are in UTC and carry no zone, which is what this cast makes of them.
        return frame.with_columns(pl.col(column.name).cast(column.dtype) for column in table.columns)


def _check_columns(wanted: list[str], there: set[str]) -> None:
    if missing := [name for name in wanted if name not in there]:
        raise TableInvalid(f"column {missing[0]}: missing; add it to the export, or map it in the settings")
