"""One personnel file, opened in place by an in-memory database, as rows of columns with stated types.

Rules this module keeps: the file is only read, and the database is closed afterwards; it may not fetch extensions;
nothing about a CSV is detected, because detection skips lines that it cannot explain, and those are people; the
database's own messages, which quote the offending line, stop here.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from protocol.errors import TableInvalid

CSV_TYPE = "CSV"
"""The type of a CSV column, which has none of its own: its values are checked instead."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that the database can read, and the names and types of its columns."""

    connection: duckdb.DuckDBPyConnection
    relation: str
    """What stands after FROM."""
    types: dict[str, str]

    @property
    def is_csv(self) -> bool:
        """Say whether every value is still text."""
        return CSV_TYPE in self.types.values()

    def run(self, statement: str, parameters: list[str] | None = None) -> None:
        """Execute a statement for its effect."""
        self.connection.execute(statement, parameters)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.connection.execute(statement).fetchall()

    def columns(self, statement: str) -> dict[str, Any]:
        """Return the columns of a query as numpy arrays."""
        return self.connection.execute(statement).fetchnumpy()


@contextmanager
def opened(path: Path) -> Iterator[OpenFile]:
    """Yield the file, ready to be queried, and close it afterwards.

    Args:
        path: Ends in ``.csv`` (UTF-8, comma, a header line, an empty field is a missing value) or ``.parquet``.
    Raises: TableInvalid if the file is not there, or cannot be read whole, at opening or within the block.
    """
    connection = offline_database()
    try:
        with readable(path):
            yield open_in(connection, path)
    finally:
        connection.close()


def offline_database() -> duckdb.DuckDBPyConnection:
    """Return a new database in memory that never fetches an extension."""
    offline: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = duckdb.connect(":memory:", config=offline)
    # Its bar would stand between the lines of a command's answer.
    connection.execute("SET enable_progress_bar = false")
    return connection


def file_to_read(path: Path) -> Path:
    """Return the whole path of a file that is there. Raises: TableInvalid."""
    full = path.resolve()
    if not full.is_file():
        raise TableInvalid(f"{path}: no such file")
    if re.search(r"[*?\[\]{}]", str(full)):
        # The database would read it as a pattern over several files.
        raise TableInvalid(f"{path}: rename it; a path may not contain * ? [ ] {{ }}")
    return full


def open_in(connection: duckdb.DuckDBPyConnection, path: Path) -> OpenFile:
    """Return the file as something that the database can query. Raises: TableInvalid."""
    full = file_to_read(path)
    match full.suffix.lower():
        case ".csv":
            return _csv(connection, full)
        case ".parquet":
            return _parquet(connection, full)
        case _:
            raise TableInvalid(f"{path.name}: neither .csv nor .parquet; export it as one of them")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the database's errors within the block, which may quote the file's content, into a refusal that does not.

    Raises: TableInvalid.
    """
    try:
        yield
    except duckdb.Error as error:
        line = re.search(r"Line: (\d+)", str(error))
        where = f" at line {line.group(1)}" if line else ""
        reason = f"unreadable or truncated{where} ({type(error).__name__})"
        raise TableInvalid(f"{path.name}: {reason}; export it again") from None


def quoted(name: str) -> str:
    """Return a column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Return column names as an SQL list."""
    return ", ".join(quoted(name) for name in names)


def literal(text: str) -> str:
    """Return a text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> OpenFile:
    # Without the option, a folder named "a=1" on the way to the file would become a column.
    relation = f"read_parquet({literal(str(path))}, hive_partitioning=false)"
    described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return OpenFile(connection, relation, {str(row[0]): str(row[1]) for row in described})


def _csv(connection: duckdb.DuckDBPyConnection, path: Path) -> OpenFile:
    header = _header(path)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header)
    relation = (
        f"read_csv({literal(str(path))}, auto_detect=false, header=true, columns={{{columns}}}, delim=',',"
        " quote='\"', escape='\"', nullstr='', strict_mode=true, null_padding=false, ignore_errors=false,"
        " hive_partitioning=false)"
    )
    return OpenFile(connection, relation, dict.fromkeys(header, CSV_TYPE))


def _header(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            first = file.readline()
            file.seek(max(0, path.stat().st_size - 1))
            last = file.read(1)
        header = next(csv.reader([first.decode("utf-8-sig")], strict=True), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableInvalid(f"{path.name}: no readable header line ({type(error).__name__}); export as UTF-8") from None
    if not header:
        raise TableInvalid(f"{path.name}: the file is empty; export it again")
    if last != b"\n":
        # A cut within the last field would otherwise read as a shorter number.
        raise TableInvalid(f"{path.name}: truncated, the last line has no line break; export it again")
    if len({name.lower() for name in header}) != len(header) or "" in header:
        raise TableInvalid(f"{path.name}: the header line names a column twice or leaves one unnamed; rename it")
    return header
