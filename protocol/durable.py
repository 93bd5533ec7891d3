"""State that survives a kill: files replaced whole, and SQLite databases of one known schema."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

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
        _sync_directory(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def open_sqlite(
    path: Path, *, journal_mode: Literal["WAL", "DELETE"], prepare: Callable[[sa.Connection], None]
) -> sa.Engine:
    """Open or create a SQLite file as ``DurableDatabase`` promises it, and return its engine.

    Args:
        prepare: Called once under the file's write lock: another process may open the same new file now, and one of the
            two makes the tables, the other waits.
    Raises: what ``prepare`` raises; nothing is changed then.
    """
    is_new_directory = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30}, hide_parameters=True)

    def configure(connection: Any, record: Any) -> None:
        _set_journal_mode(connection, journal_mode)
        connection.execute("PRAGMA synchronous=EXTRA")
        connection.execute("PRAGMA secure_delete=ON")

    sa.event.listen(engine, "connect", configure)
    try:
        with storage_errors(), engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            prepare(connection)
    except BaseException:
        engine.dispose()
        raise
    path.chmod(0o600)
    _sync_directory(path.parent)
    if is_new_directory:
        _sync_directory(path.parent.parent)
    return engine


class DurableDatabase:
    """One SQLite file, readable by its owner only; a committed transaction is on disk, a deleted value overwritten.

    "On disk" is what ``fsync`` promises: with ``synchronous=EXTRA`` SQLite calls it before a commit returns, also on the
    directory, without which a power cut could bring a deleted rollback journal back and undo the commit. A disk that
    acknowledges ``fsync`` and keeps the bytes in a volatile cache breaks this, and nothing here can notice.
    """

    def __init__(
        self,
        path: Path,
        *,
        tables: sa.MetaData,
        schema_version: int,
        journal_mode: Literal["WAL", "DELETE"],
        read_only: bool = False,
    ) -> None:
        """Open or create the file.

        Args:
            journal_mode: WAL lets others read meanwhile, but keeps deleted values until its next checkpoint; a party
                that destroys keys uses DELETE.
            read_only: Change nothing, also not beside the file: for looking at a copy, or at a running party's file.
        Raises: StorageError if the file is of another schema, cannot be opened, or is to be read and not there.
        """
        if read_only:
            self._open_to_read(path, schema_version)
            return

        def prepare(connection: sa.Connection) -> None:
            if _schema_of(connection, path, (0, schema_version)) == 0:
                tables.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {schema_version}")

        self._engine = open_sqlite(path, journal_mode=journal_mode, prepare=prepare)

    def _open_to_read(self, path: Path, schema_version: int) -> None:
        if not path.exists():
            raise StorageError(f"{path} is not there")
        has_log = path.with_name(f"{path.name}-wal").exists()
        # A file without a write-ahead log is whole in itself. SQLite is told that nobody writes to it: otherwise it
        # would make files beside it, which a read-only copy forbids.
        query = {"mode": "ro", "uri": "true"} | ({} if has_log else {"immutable": "1"})
        url = sa.URL.create("sqlite", database=f"file:{quote(str(path))}", query=query)
        self._engine = sa.create_engine(url, connect_args={"timeout": 30})
        try:
            with self._engine.connect() as connection:
                _schema_of(connection, path, (schema_version,))
        except sa.exc.DBAPIError as error:
            hint = "; to read its write-ahead log, copy both to a folder that can be written" if has_log else ""
            raise StorageError(f"{path}: {error.orig}{hint}") from error

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Yield a connection; commit durably at the end, roll back on any error. Raises: StorageError."""
        with storage_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection that holds the write lock from its first read on: what it reads is what it writes about.

        Raises: StorageError.
        """
        with self.transaction() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def scrub(self) -> None:
        """Empty the write-ahead log, where values just deleted would otherwise linger until its next checkpoint.

        Best effort while others read; the next call makes up for it.
        """
        with storage_errors(), self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what the database raises inside into StorageError, its cause kept."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        # The statement's parameters may hold a person's data, and PostgreSQL repeats a value from its second line on.
        said = str(error.orig).partition("\n")[0]
        raise StorageError(f"database: {type(error.orig).__name__}: {said}") from error


def _schema_of(connection: sa.Connection, path: Path, known: tuple[int, ...]) -> int:
    version: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version not in known:
        raise StorageError(
            f"{path} has schema {version}, this version knows {known[-1]}; nothing was changed, "
            "and the version of Custodes that wrote it still opens it"
        )
    return version


def _sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a file that was just created is otherwise lost with them."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
