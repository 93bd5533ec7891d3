"""The coordinator's durable state: one SQLAlchemy schema, SQLite by default.

Rules this module keeps: a leaf and what the register keeps of it are written in one transaction; nothing but the
modules of this folder talks SQL.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from protocol.durable import DurableDatabase

SCHEMA_VERSION = 3

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


class Database(DurableDatabase):
    """The coordinator's database."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises: StorageError if it is of another schema."""
        super().__init__(path, tables=metadata, schema_version=SCHEMA_VERSION, journal_mode="WAL")
