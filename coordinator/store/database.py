"""The coordinator's durable state: one SQLAlchemy schema, SQLite by default.

Rules this module keeps: a leaf and what the register keeps of it are written in one transaction; nothing but the
modules of this folder talks SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from protocol.errors import StorageError

SCHEMA_VERSION = 1

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
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
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
    sa.Column("vectors", sa.JSON),
    sa.Column("burnt", sa.String),
)


class Database:
    """A transaction source."""

    def __init__(self, path: Path) -> None:
        """Open or create the database. Raises: StorageError if it is of another schema."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        sa.event.listen(self._engine, "connect", _make_durable)
        with self.transaction() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version not in (0, SCHEMA_VERSION):
                raise StorageError(f"{path} has schema {version}, this coordinator knows {SCHEMA_VERSION}")
            metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        path.chmod(0o600)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Yield a connection; commit durably at the end, roll back on any error. Raises: StorageError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise StorageError(f"database: {type(error.orig).__name__}: {error.orig}") from error

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()


def _make_durable(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    # Deleted vectors and bodies are overwritten, not left in free pages.
    connection.execute("PRAGMA secure_delete=ON")
