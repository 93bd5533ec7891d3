"""The register as version 0.1.0 made it: log, checkpoints, proposals, flags, mailbox, rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "leaves",
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("skeleton", sa.LargeBinary, nullable=False),
        sa.Column("body_hash", sa.LargeBinary, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("body", sa.LargeBinary),
    )
    op.create_index("ix_leaves_kind", "leaves", ["kind"])
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "proposals",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("envelope", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "flags",
        sa.Column("flag_id", sa.String, primary_key=True),
        sa.Column("header", sa.String, nullable=False, unique=True),
        sa.Column("policy", sa.String, nullable=False),
        sa.Column("borough", sa.String, nullable=False),
        sa.Column("category", sa.String, nullable=False),
        sa.Column("leaf", sa.Integer, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("sealed_shares", sa.JSON, nullable=False),
    )
    op.create_index("ix_flags_policy", "flags", ["policy"])
    op.create_table(
        "mailbox",
        sa.Column("message_id", sa.String, primary_key=True),
        sa.Column("borough", sa.String, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
        sa.Column("reply", sa.LargeBinary),
    )
    op.create_index("ix_mailbox_borough", "mailbox", ["borough"])
    op.create_table(
        "rounds",
        sa.Column("plan", sa.String, primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("tag_seed", sa.String, nullable=False),
        sa.Column("statements", sa.JSON),
        sa.Column("burnt", sa.String),
        sa.Column("masked_sum", sa.LargeBinary),
    )
