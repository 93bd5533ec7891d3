"""The coordinator's durable state: one SQLAlchemy schema, in a SQLite file or in PostgreSQL.

Rules this module keeps: a leaf and what the register keeps of it are written in one transaction; whoever finds that a row
was changed since it was read changes nothing and is told so; nothing but the modules of this folder talks SQL. The
tables here are those to which the steps in ``migrations`` lead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from coordinator.store.place import Place
from coordinator.store.schema import Step, migrate, missing_steps, require_latest
from protocol.durable import open_sqlite, storage_errors
from protocol.errors import ConcurrentChange, StorageError

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
    # None is NULL, also in a row that is copied.
    sa.Column("statements", sa.JSON(none_as_null=True)),
    sa.Column("burnt", sa.String),
    sa.Column("masked_sum", sa.LargeBinary),
)


CONFLICTS = frozenset(
    {
        "SQLITE_CONSTRAINT_PRIMARYKEY",
        "SQLITE_CONSTRAINT_UNIQUE",
        "SQLITE_BUSY_SNAPSHOT",
        "23505",  # unique_violation
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
    }
)
"""What the database says when somebody else wrote first: a key that is taken, a row that changed under a transaction."""
SCHEMA_LOCK = 0x637573746F646573
"""Key of PostgreSQL's advisory lock under which one process at a time looks at the schema and changes it."""
POOL, POOL_OVERFLOW = 8, 56
"""Connections kept, and as many more while calls come at once; PostgreSQL allows 100 in all unless it is told otherwise."""


class Database:
    """The coordinator's database."""

    def __init__(self, place: Place) -> None:
        """Open or create it.

        Raises: SchemaOutdated, SchemaUnknown if it is of another schema; StorageError if it cannot be opened, or if
            PostgreSQL does not put on disk what it commits.
        """
        self._engine = _opened(place, lambda connection: require_latest(connection, metadata))

    @staticmethod
    def migrate(place: Place, *, dry_run: bool) -> tuple[Step, ...]:
        """Bring a database to the present schema; return the steps that were, or would be, taken.

        Raises: SchemaUnknown; StorageError if it is not there or cannot be opened.
        """
        if isinstance(place, Path) and not place.exists():
            raise StorageError(f"{place} is not there")
        steps: list[Step] = []
        take = missing_steps if dry_run else migrate
        _opened(place, lambda connection: steps.extend(take(connection))).dispose()
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

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """Yield a connection to which the whole database stays as it is at the first read. Raises: StorageError."""
        with storage_errors(), self._engine.connect() as connection:
            if self._is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT that can say what happens on a conflict."""
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    def scrub(self) -> None:
        """Let values just deleted linger no longer than they must; best effort, the next call makes up for it.

        SQLite: nowhere. PostgreSQL: until their pages and its write-ahead log are used again; it does not overwrite.
        """
        statement = "PRAGMA wal_checkpoint(TRUNCATE)" if self._is_sqlite else "VACUUM mailbox, rounds, flags, leaves"
        with storage_errors(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(statement)

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Release it."""
        self._engine.dispose()


def _opened(place: Place, prepare: Callable[[sa.Connection], None]) -> sa.Engine:
    if isinstance(place, Path):
        return open_sqlite(place, journal_mode="WAL", prepare=prepare)
    engine = sa.create_engine(
        place, pool_size=POOL, max_overflow=POOL_OVERFLOW, pool_pre_ping=True, hide_parameters=True
    )
    try:
        with storage_errors(), engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                if connection.exec_driver_sql(f"SHOW {setting}").scalar_one() == "off":
                    raise StorageError(f"PostgreSQL has {setting} off: what it commits would not survive a power cut")
            prepare(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _code(error: Any) -> str:
    """Return what SQLite or PostgreSQL calls an error."""
    return getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or ""
