"""The ledger's tables, and what SQLite itself refuses to let happen to them.

Rules this module keeps: a row's content is stored once. What queries look for in it are generated columns, which SQLite
computes from the content and nobody can set; their indexes are checked against the rows by ``PRAGMA integrity_check``.
The guards are a belt: whoever can write the file can drop them, and then the chain shows what was done.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from borough_node.ledger.rows import ChainedRows, chained_columns, make_guards, refusal, row_guards
from protocol.history.anchors import GENESIS

SCHEMA_VERSION = 2

DERIVED = ("kind", "plan", "index", "request", "purpose", "at", "policy")
"""Fields of a row's content that queries look for."""

metadata = sa.MetaData()


def _derived(field: str) -> sa.Column[Any]:
    computed = sa.Computed(f"json_extract(CAST(content AS TEXT), '$.{field}')", persisted=False)
    return sa.Column(field, sa.Integer if field == "index" else sa.String, computed)


entries = sa.Table(
    "entries",
    metadata,
    *chained_columns(),
    *(_derived(field) for field in DERIVED),
    # A negative charge would give spent budget back.
    sa.CheckConstraint("coalesce(json_extract(CAST(content AS TEXT), '$.rho'), 0) >= 0"),
)
ROWS = ChainedRows(entries, GENESIS, "ledger")
answers = sa.Table(
    "answers",
    metadata,
    sa.Column("plan", sa.String, primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("request", sa.String, nullable=False),
    sa.Column("statement", sa.LargeBinary, nullable=False),
    sa.Column("vector", sa.LargeBinary),
)
sealed_flags = sa.Table(
    "flags",
    metadata,
    sa.Column("flag_id", sa.String, primary_key=True),
    sa.Column("policy", sa.String, nullable=False),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    sa.Column("sealed_shares", sa.JSON, nullable=False),
    sa.Column("log_index", sa.Integer),
)
secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("note", sa.LargeBinary, nullable=False),
    sa.Column("is_evidence", sa.Boolean, nullable=False),
)


GUARDS = dict(
    (
        ("one_charge_for_a_release", 'CREATE UNIQUE INDEX one_charge_for_a_release ON entries (plan, "index")'),
        ("one_raising_for_a_policy", "CREATE UNIQUE INDEX one_raising_for_a_policy ON entries (policy)"),
        ("charges_of_a_purpose", "CREATE INDEX charges_of_a_purpose ON entries (purpose, at)"),
        ("flags_of_a_policy", "CREATE INDEX flags_of_a_policy ON flags (policy)"),
        *row_guards("entries", "ledger"),
        refusal(
            "answers_are_paid_for",
            "answers",
            "INSERT",
            "an answer needs its charge",
            'NOT EXISTS (SELECT 1 FROM entries WHERE plan = NEW.plan AND "index" = NEW."index" '
            "AND request = NEW.request)",
        ),
        refusal("answers_stay", "answers", "DELETE", "an answer is never deleted"),
        refusal(
            "answers_only_lose_their_vector",
            "answers",
            "UPDATE",
            "an answer is never changed",
            'NEW.vector IS NOT NULL OR (NEW.plan, NEW."index", NEW.request, NEW.statement) '
            'IS NOT (OLD.plan, OLD."index", OLD.request, OLD.statement)',
        ),
        refusal("flags_stay", "flags", "DELETE", "a flag is never deleted"),
        refusal("evidence_stays", "checkpoints", "DELETE", "evidence is never deleted", "OLD.is_evidence"),
    )
)
"""Name and text of every index and trigger, as SQLite keeps it; ``verification`` compares them."""

make_guards(metadata, GUARDS)
