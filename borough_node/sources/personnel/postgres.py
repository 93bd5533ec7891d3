"""Relations of a PostgreSQL database as Arrow tables: the needed columns and dates only.

Rules this module keeps: one read-only transaction for all tables, so that they are of one moment; the connection URI
comes from a file and appears in no message; the server's own messages, which may quote values, stop here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Protocol

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from borough_node.sources.file import quoted
from protocol.errors import TableInvalid


class Relations(Protocol):
    """A database that relations can be read from."""

    def columns(self, relation: str) -> list[str]:
        """Return the names of a relation's columns. Raises: TableInvalid."""

    def read(self, relation: str, columns: list[str], *, since: tuple[str, date] | None) -> pa.Table:
        """Return the columns; with ``since``, of rows whose column is not before a date. Raises: TableInvalid."""


@contextmanager
def connected(uri_file: Path) -> Iterator[Relations]:
    """Yield the database of a connection URI, within one read-only transaction.

    Raises: TableInvalid if the file or the server cannot be read.
    """
    try:
        uri = uri_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TableInvalid(f"{uri_file}: not readable ({type(error).__name__}); put the connection URI there") from None
    try:
        connection = dbapi.connect(uri)
    except adbc_driver_manager.Error as error:
        reason = f"the database does not answer ({type(error).__name__})"
        raise TableInvalid(f"{uri_file.name}: {reason}; check URI, network and password") from None
    try:
        yield _Database(connection)
    finally:
        connection.rollback()
        connection.close()


class _Database:
    def __init__(self, connection: dbapi.Connection) -> None:
        self._connection = connection
        self._begin()

    def _begin(self) -> None:
        self._connection.rollback()
        with self._connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def columns(self, relation: str) -> list[str]:
        return self._query(f"SELECT * FROM {_name(relation)} LIMIT 0", relation).column_names

    def read(self, relation: str, columns: list[str], *, since: tuple[str, date] | None) -> pa.Table:
        where = "" if since is None else f" WHERE {quoted(since[0])} >= '{since[1].isoformat()}'"
        return self._query(f"SELECT {', '.join(map(quoted, columns))} FROM {_name(relation)}{where}", relation)

    def _query(self, statement: str, relation: str) -> pa.Table:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetch_arrow_table()
        except adbc_driver_manager.Error as error:
            # The others are still checked. They are of another moment then, and none is used.
            self._begin()
            reason = f"relation {relation}: the database refused the query ({type(error).__name__})"
            raise TableInvalid(f"{reason}; check its name, its columns and the right to read it") from None


def _name(relation: str) -> str:
    return ".".join(quoted(part) for part in relation.split("."))
