"""The coordinator's durable state: one SQLAlchemy schema, in a SQLite file or in PostgreSQL.

Rules this module keeps: a leaf and what the register keeps of it are written in one transaction; whoever finds that a row
was changed since it was read changes nothing and is told so; nothing but the modules of this folder talks SQL. The
tables here are those to which the steps in ``migrations`` lead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from coordinator.store.schema import Step, migrate, missing_steps, require_latest
from protocol.durable import open_sqlite, storage_errors
from protocol.errors import ConcurrentChange, StorageError

DATABASE = "coordinator.sqlite"
"""The file's name in the coordinator's state directory."""

metadata = sa.MetaData()

leaves = sa.Table(
    "leaves",
    metadata,
    sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("skeleton", sa.LargeBinary, nullable=False),
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    sa.Column("salt", sa.LargeBinary),
    sa.Column("body", sa.LargeBinary),
)
checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("note", sa.LargeBinary, nullable=False),
)
proposals = sa.Table(
    "proposals",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Column("changes", sa.Integer, nullable=False, server_default="0"),
)
flags = sa.Table(
    "flags",
    metadata,
    sa.Column("flag_id", sa.String, primary_key=True),
    sa.Column("header", sa.String, nullable=False, unique=True),
    sa.Column("policy", sa.String, nullable=False, index=True),
    sa.Column("borough", sa.String, nullable=False),
    sa.Column("category", sa.String, nullable=False),
    sa.Column("leaf", sa.Integer, nullable=False),
    sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    sa.Column("sealed_shares", sa.JSON, nullable=False),
)
mailbox = sa.Table(
    "mailbox",
    metadata,
    sa.Column("message_id", sa.String, primary_key=True),
    sa.Column("borough", sa.String, nullable=False, index=True),
    sa.Column("expires_at", sa.Float, nullable=False),
    # Last, because SQLite reads through a long value to reach what stands behind it.
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Column("reply", sa.LargeBinary),
)
rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("plan", sa.String, primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("request", sa.LargeBinary, nullable=False),
    sa.Column("tag_seed", sa.String, nullable=False),
    sa.Column("statements", sa.JSON),
    sa.Column("burnt", sa.String),
    sa.Column("masked_sum", sa.LargeBinary),
)


CONFLICTS = frozenset(
    {"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_ROWID", "SQLITE_BUSY_SNAPSHOT"}
)
"""What the database says when somebody else wrote first: a key that is taken, a row that changed under a transaction."""


class Database:
    """The coordinator's database."""

    def __init__(self, place: Path) -> None:
        """Open or create it.

        Raises: SchemaOutdated, SchemaUnknown if it is of another schema; StorageError if it cannot be opened.
        """
        self._engine = open_sqlite(
            place, journal_mode="WAL", prepare=lambda connection: require_latest(connection, metadata)
        )

    @staticmethod
    def migrate(place: Path, *, dry_run: bool) -> tuple[Step, ...]:
        """Bring a database to the present schema; return the steps that were, or would be, taken.

        Raises: SchemaUnknown; StorageError if it is not there or cannot be opened.
        """
        if not place.exists():
            raise StorageError(f"{place} is not there")
        steps: list[Step] = []
        take = missing_steps if dry_run else migrate
        open_sqlite(place, journal_mode="WAL", prepare=lambda connection: steps.extend(take(connection))).dispose()
        return tuple(steps)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Yield a connection; commit durably at the end, roll back on any error.

        Raises: ConcurrentChange if somebody else wrote first; StorageError.
        """
        try:
            with storage_errors(), self._engine.begin() as connection:
                yield connection
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, sa.exc.DBAPIError) and _code(cause.orig) in CONFLICTS:
                raise ConcurrentChange(error.detail) from cause
            raise

    def insert(self, table: sa.Table) -> sqlite.Insert:
        """Return an INSERT that can say what happens on a conflict."""
        return sqlite.insert(table)

    def scrub(self) -> None:
        """Let values just deleted linger nowhere; best effort while others read, the next call makes up for it."""
        with storage_errors(), self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Release it."""
        self._engine.dispose()


def _code(error: Any) -> str:
    return getattr(error, "sqlite_errorname", "")
