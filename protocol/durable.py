"""State that survives a kill: files replaced whole, and SQLite databases of one known schema."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from protocol.errors import StorageError

JOURNAL_ATTEMPTS = 50
JOURNAL_WAIT_SECONDS = 0.1


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that after a crash it holds either the old or the new bytes. Raises: StorageError."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


class DurableDatabase:
    """One SQLite file, readable by its owner only; a committed transaction is on disk, a deleted value overwritten."""

    def __init__(
        self,
        path: Path,
        *,
        tables: sa.MetaData,
        schema_version: int,
        journal_mode: Literal["WAL", "DELETE"],
    ) -> None:
        """Open or create the file.

        Args:
            journal_mode: WAL lets others read meanwhile, but keeps deleted values until its next checkpoint; a party
                that destroys keys uses DELETE.
        Raises: StorageError if the file is of another schema.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

        def configure(connection: Any, record: Any) -> None:
            _set_journal_mode(connection, journal_mode)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")

        sa.event.listen(self._engine, "connect", configure)
        with self.transaction() as connection:
            # Another process may open the same new file now: one of the two makes the tables, the other waits.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version not in (0, schema_version):
                raise StorageError(f"{path} has schema {version}, this version knows {schema_version}")
            tables.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {schema_version}")
        path.chmod(0o600)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Yield a connection; commit durably at the end, roll back on any error. Raises: StorageError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            # The statement's parameters may hold a person's data; its type and the database's own words do not.
            raise StorageError(f"database: {type(error.orig).__name__}: {error.orig}") from error

    def scrub(self) -> None:
        """Empty the write-ahead log, where values just deleted would otherwise linger until its next checkpoint.

        Best effort while others read; the next call makes up for it.
        """
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()


def _set_journal_mode(connection: Any, mode: str) -> None:
    """Switch the journal mode; SQLite does not wait for a lock here by itself, so we do."""
    for attempt in range(JOURNAL_ATTEMPTS):
        try:
            connection.execute(f"PRAGMA journal_mode={mode}")
            return
        except sqlite3.OperationalError:
            if attempt == JOURNAL_ATTEMPTS - 1:
                raise
            time.sleep(JOURNAL_WAIT_SECONDS)
