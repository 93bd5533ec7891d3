"""All tables of a borough in one database in memory, typed as the contract says, with what could not be read.

Rules this module keeps: a source is only read; a value that cannot be read is NULL here and counted, so that the
check can refuse the table; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import duckdb

from borough_node.sources.contract import TABLES, Table
from borough_node.sources.file import literal, offline_database, open_in, quoted, readable
from borough_node.sources.personnel.casts import Cast, Reading, cast_of
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

    connection: duckdb.DuckDBPyConnection
    settings: PersonnelSettings
    tables: list[str] = field(default_factory=list)
    """Those that could be read; an absent one is there and empty."""
    unreadable: list[Problem] = field(default_factory=list)
    castable: dict[str, list[str]] = field(default_factory=dict)
    """Table to the columns whose reading can fail, in the order of the bits of ``_failed``."""
    local: dict[str, list[str]] = field(default_factory=dict)
    """Table to the time columns of which some values may have had no zone; ``NAME__local`` holds those."""

    def __repr__(self) -> str:
        return "Staged(<redacted>)"

    def run(self, statement: str) -> None:
        """Execute a statement for its effect."""
        self.connection.execute(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.connection.execute(statement).fetchall()

    def columns(self, statement: str) -> dict[str, Any]:
        """Return the columns of a query as numpy arrays."""
        return self.connection.execute(statement).fetchnumpy()


@contextmanager
def staged(
    settings: PersonnelSettings, *, names: tuple[str, ...] = tuple(TABLES), threads: int | None = None
) -> Iterator[Staged]:
    """Yield the tables of the contract that were asked for, and close the database afterwards.

    Args:
        names: Only these are read; staff always is.
        threads: Most threads of the database; None: as many as there are cores.
    """
    connection = offline_database()
    if threads is not None:
        connection.execute(f"SET threads = {threads}")
    # Off: the order of rows means nothing here, and keeping it costs memory and time.
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET TimeZone = 'UTC'")
    result = Staged(connection, settings)
    try:
        with ExitStack() as stack:
            database: Relations | None = None
            if settings.database is not None:
                try:
                    database = stack.enter_context(connected(settings.database))
                except TableInvalid as error:
                    for name in (name for name, place in settings.tables.items() if place.startswith(POSTGRES)):
                        result.unreadable.append(_unreadable(name, error))
            for name in sorted({"staff", *names}, key=list(TABLES).index):
                _stage(result, TABLES[name], database)
        yield result
    finally:
        connection.close()


def _stage(result: Staged, table: Table, database: Relations | None) -> None:
    settings = result.settings
    if any(problem.table == table.name for problem in result.unreadable):
        return
    try:
        if table.name in settings.absent:
            _create_empty(result, table)
        elif (place := settings.tables[table.name]).startswith(POSTGRES):
            if database is None:
                raise TableInvalid(f"{place}: no database is connected; name one under database")
            _from_database(result, table, database, place.removeprefix(POSTGRES))
        else:
            _from_file(result, table, Path(place))
    except TableInvalid as error:
        result.unreadable.append(_unreadable(table.name, error))
        return
    result.tables.append(table.name)
    if table.name == "staff":
        result.run(
            "CREATE TABLE person_numbers AS SELECT staff_no, CAST(row_number() OVER (ORDER BY staff_no) AS INTEGER)"
            " AS person FROM (SELECT DISTINCT staff_no FROM staff WHERE staff_no IS NOT NULL)"
        )


def _unreadable(table: str, error: TableInvalid) -> Problem:
    return Problem(table, None, "unreadable", "error", 0, (), error.detail)


def _from_file(result: Staged, table: Table, path: Path) -> None:
    with readable(path):
        source = open_in(result.connection, path)
        _create(result, table, source.relation, source.types, cut=True)


def _from_database(result: Staged, table: Table, database: Relations, relation: str) -> None:
    settings = result.settings
    there = database.columns(relation)
    wanted = [name for column in table.columns if (name := settings.source_column(table.name, column.name))]
    _check_columns(wanted, set(there), result)
    dated = settings.source_column(table.name, table.dated)
    since = (dated, settings.since) if table.windowed and settings.since is not None else None
    arrow = database.read(relation, list(dict.fromkeys(wanted)), since=since)
    view = f"source_{table.name}"
    result.connection.register(view, arrow)
    try:
        types = {str(row[0]): str(row[1]) for row in result.rows(f"DESCRIBE {view}")}
        _create(result, table, view, types, cut=False)
    except duckdb.Error as error:
        raise TableInvalid(f"relation {relation}: unreadable ({type(error).__name__}); check its types") from None
    finally:
        result.connection.unregister(view)


def _check_columns(wanted: list[str], there: set[str], result: Staged) -> None:
    if missing := [name for name in wanted if name not in there]:
        raise TableInvalid(f"column {missing[0]}: missing; add it to the export, or map it in the settings")


def _create(result: Staged, table: Table, relation: str, types: dict[str, str], *, cut: bool) -> None:
    """Create the table. Raises: TableInvalid if a column is missing or of a type that cannot be read."""
    settings = result.settings
    casts: dict[str, Cast] = {}
    for column in table.columns:
        source = settings.source_column(table.name, column.name)
        if not source:
            casts[column.name] = Cast(f"CAST(NULL AS {_SQL[column.kind]})", None, None)
            continue
        _check_columns([source], set(types), result)
        reading = Reading(
            settings.zone_of_naive,
            settings.date_format,
            settings.time_format,
            settings.values.get(table.name, {}).get(column.name, {}),
        )
        casts[column.name] = cast_of(column, source=source, type_name=types[source], settings=reading)
    castable = [name for name, cast in casts.items() if cast.failed]
    local = [name for name, cast in casts.items() if cast.local]
    chosen = [f"{cast.typed} AS {quoted(name)}" for name, cast in casts.items()]
    chosen += [f"{casts[name].local} AS {quoted(name + '__local')}" for name in local]
    bits = " + ".join(f"CAST({casts[name].failed} AS BIGINT) * {1 << place}" for place, name in enumerate(castable))
    chosen += [f"{bits} AS _failed"] if bits else []
    statement = f"SELECT {', '.join(chosen)} FROM {relation}"
    if cut and table.windowed and settings.since is not None:
        # A row whose date cannot be read stays, so that the check finds it.
        dated = quoted(table.dated)
        statement = (
            f"SELECT * FROM ({statement}) WHERE {dated} IS NULL OR {dated} >= DATE {literal(str(settings.since))}"
        )
    result.run(f"CREATE TABLE {table.name} AS {_with_person(table, statement)}")
    result.castable[table.name] = castable
    result.local[table.name] = local


def _create_empty(result: Staged, table: Table) -> None:
    columns = ", ".join(f"CAST(NULL AS {_SQL[column.kind]}) AS {quoted(column.name)}" for column in table.columns)
    result.run(f"CREATE TABLE {table.name} AS SELECT * FROM ({_with_person(table, f'SELECT {columns}')}) LIMIT 0")


def _with_person(table: Table, statement: str) -> str:
    """Number the person of each row: joins on small integers are what makes features fast. NULL: an orphan."""
    if table.name == "staff" or not any(column.name == "staff_no" for column in table.columns):
        return statement
    return f"SELECT source.*, numbered.person FROM ({statement}) AS source LEFT JOIN person_numbers AS numbered USING (staff_no)"


_SQL = {
    "text": "VARCHAR",
    "whole": "BIGINT",
    "number": "DOUBLE",
    "flag": "BOOLEAN",
    "date": "DATE",
    "time": "TIMESTAMP",
}
