"""A table of chained rows: added at the end, never changed or deleted, each hash over its content and all rows before it.

The ledger and the journal keep theirs this way, each in a file and under a genesis of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from borough_node.ledger.chain import LedgerEntry, chain
from protocol.documents.canonical import canonical_bytes
from protocol.errors import StorageError
from protocol.ids import Digest


def chained_columns() -> tuple[sa.schema.SchemaItem, ...]:
    """Return the columns of a table of chained rows; a row's content is stored once, as its canonical bytes."""
    return (
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
        sa.CheckConstraint("typeof(content) = 'blob'"),
    )


def refusal(name: str, table: str, event: str, message: str, when: str = "") -> tuple[str, str]:
    """Return the name and text of a trigger by which SQLite refuses a change."""
    condition = f" WHEN {when}" if when else ""
    return name, (
        f"CREATE TRIGGER {name} BEFORE {event} ON {table}{condition} BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )


def row_guards(table: str, what: str) -> tuple[tuple[str, str], ...]:
    """Return the guards of a table of chained rows; ``what`` it is to a person who reads a refusal."""
    return (
        refusal("rows_stay", table, "DELETE", f"a {what} row is never deleted"),
        refusal("rows_stay_as_they_are", table, "UPDATE", f"a {what} row is never changed"),
        refusal(
            "rows_are_added_at_the_end",
            table,
            "INSERT",
            f"a {what} row is added after the last",
            f"NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM {table})",  # noqa: S608 - a constant of ours
        ),
    )


def make_guards(metadata: sa.MetaData, guards: dict[str, str]) -> None:
    """Have the guards made with the file, once: one that is missing later is found, and not quietly put back."""
    for statement in guards.values():
        sa.event.listen(metadata, "after_create", sa.DDL(statement))


@dataclass(frozen=True, slots=True)
class ChainedRows:
    """The rows of one table."""

    table: sa.Table
    genesis: Digest
    """The hash that the first row follows."""
    what: str
    """Names the table to a person: ledger, journal."""

    def entries(self, connection: sa.Connection) -> tuple[LedgerEntry, ...]:
        """Return all rows, oldest first."""
        table = self.table
        rows = connection.execute(
            sa.select(table.c.number, table.c.content, table.c.hash).order_by(table.c.number)
        ).all()
        return tuple(LedgerEntry(row.number, json.loads(row.content), row.hash) for row in rows)

    def head(self, connection: sa.Connection) -> tuple[int, Digest]:
        """Return the number of rows and the hash of the last."""
        table = self.table
        last = sa.select(table.c.number, table.c.hash).order_by(table.c.number.desc()).limit(1)
        row = connection.execute(last).one_or_none()
        return (0, self.genesis) if row is None else (row.number, row.hash)

    def append(self, connection: sa.Connection, content: dict[str, Any]) -> LedgerEntry:
        """Add a row and return it."""
        number, previous = self.head(connection)
        encoded = canonical_bytes(content)
        entry = LedgerEntry(number + 1, content, chain(previous, encoded))
        connection.execute(sa.insert(self.table).values(number=entry.number, content=encoded, hash=entry.hash))
        return entry

    def verify(self, connection: sa.Connection) -> None:
        """Return if every row continues the chain. Raises: StorageError naming the first that does not."""
        previous = self.genesis
        # As SQLite stores it: a content of another type is not converted, and breaks the chain.
        rows = connection.exec_driver_sql(
            f"SELECT number, content, hash FROM {self.table.name} ORDER BY number"  # noqa: S608 - a constant of ours
        )
        for expected, (number, content, stated) in enumerate(rows, start=1):
            previous = chain(previous, content) if isinstance(content, bytes) else ""
            if (number, stated) != (expected, previous):
                raise StorageError(f"{self.what} row {expected} does not continue the chain")

    def verify_guards(self, connection: sa.Connection, guards: dict[str, str]) -> None:
        """Return if the file's indexes and triggers are those that this version makes. Raises: StorageError."""
        kept = connection.exec_driver_sql("SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger')")
        found = {str(name): sql for name, sql in kept if sql is not None}
        for name in sorted(guards.keys() | found.keys()):
            if found.get(name) != guards.get(name):
                raise StorageError(f"the {self.what}'s guard {name} is not as this version made it")

    def verify_pages(self, connection: sa.Connection) -> None:
        """Return if SQLite finds its own pages in order, and every index holds what its rows say. Raises: StorageError."""
        finding = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
        if finding != "ok":
            raise StorageError(f"the {self.what}'s file is damaged: {finding}")
