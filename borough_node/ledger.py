"""The borough's privacy ledger: what was charged, in a hash chain, and what was answered, byte for byte.

Rules this module keeps: a row is durable before the act it pays for; rows are only added; an answer is stored before
it leaves and is never made twice; answers die with their plan. Only this module of the node talks to SQLite.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from protocol.documents.canonical import canonical_bytes
from protocol.durable import DurableDatabase
from protocol.errors import BehindLog, StorageError
from protocol.ids import Digest, digest_of

CHAIN_TAG = b"custodes/ledger/v1\x00"
GENESIS = digest_of(CHAIN_TAG)
SCHEMA_VERSION = 1

_metadata = sa.MetaData()
_entries = sa.Table(
    "entries",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
)
_answers = sa.Table(
    "answers",
    _metadata,
    sa.Column("plan", sa.String, primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("request", sa.String, nullable=False),
    sa.Column("statement", sa.LargeBinary, nullable=False),
    sa.Column("vector", sa.LargeBinary),
)
_flags = sa.Table(
    "flags",
    _metadata,
    sa.Column("flag_id", sa.String, primary_key=True),
    sa.Column("policy", sa.String, nullable=False),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    sa.Column("sealed_shares", sa.JSON, nullable=False),
    sa.Column("log_index", sa.Integer),
)
_secrets = sa.Table(
    "secrets",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
_checkpoints = sa.Table(
    "checkpoints",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("note", sa.LargeBinary, nullable=False),
    sa.Column("is_evidence", sa.Boolean, nullable=False),
)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One row: what was charged or raised, and the hash over it and all before it."""

    number: int
    content: dict[str, Any]
    hash: Digest


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer to one release; the vector is gone once the plan is closed."""

    request: Digest
    statement: bytes
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class StoredFlag:
    """A sealed flag as it was made, and where the log holds it."""

    flag_id: str
    envelope: bytes
    ciphertext: bytes
    sealed_shares: tuple[bytes, ...]
    log_index: int | None


class Ledger(DurableDatabase):
    """The node's durable state, one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises: StorageError if it is of another schema or its chain is broken."""
        super().__init__(path, tables=_metadata, schema_version=SCHEMA_VERSION, journal_mode="WAL")
        self.verify()

    # --- the chain ----------------------------------------------------------------------------------------------

    def entries(self) -> tuple[LedgerEntry, ...]:
        """Return all rows, oldest first."""
        with self.transaction() as connection:
            rows = connection.execute(sa.select(_entries).order_by(_entries.c.number)).all()
        return tuple(LedgerEntry(row.number, json.loads(row.content), row.hash) for row in rows)

    def head(self) -> tuple[int, Digest]:
        """Return the number of rows and the hash of the last."""
        with self.transaction() as connection:
            return _head(connection)

    def verify(self) -> None:
        """Return if every row continues the chain. Raises: StorageError naming the first that does not."""
        with self.transaction() as connection:
            rows = connection.execute(sa.select(_entries).order_by(_entries.c.number)).all()
        previous = GENESIS
        for expected, row in enumerate(rows, start=1):
            previous = chain(previous, row.content)
            if (row.number, row.hash) != (expected, previous):
                raise StorageError(f"ledger row {expected} does not continue the chain")

    def append(self, content: dict[str, Any]) -> LedgerEntry:
        """Add a row durably and return it."""
        with self.transaction() as connection:
            return _append(connection, content)

    def spent(self, purpose: str, *, now: datetime) -> float:
        """Return the rho charged for a purpose in the last 365 days."""
        since = (now - timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return math.fsum(
            entry.content["rho"]
            for entry in self.entries()
            if entry.content["kind"] == "release"
            and entry.content["purpose"] == purpose
            and entry.content["at"] > since
        )

    def is_charged(self, plan: Digest, index: int, request: Digest) -> bool:
        """Whether this very release is paid for already."""
        return any(
            (entry.content["plan"], entry.content["index"], entry.content["request"]) == (plan, index, request)
            for entry in self.entries()
            if entry.content["kind"] == "release"
        )

    def charge(self, *, plan: Digest, index: int, request: Digest, purpose: str, rho: float, at: str) -> None:
        """Make the charge for one release durable; the same release again is charged once.

        Raises: StorageError if the index was charged for another request.
        """
        with self.transaction() as connection:
            for row in connection.execute(sa.select(_entries.c.content)):
                content = json.loads(row.content)
                if content["kind"] == "release" and (content["plan"], content["index"]) == (plan, index):
                    if content["request"] != request:
                        raise StorageError(f"index {index} was charged for another request")
                    return
            _append(
                connection,
                {
                    "kind": "release",
                    "plan": plan,
                    "index": index,
                    "request": request,
                    "purpose": purpose,
                    "rho": rho,
                    "at": at,
                },
            )

    # --- answers ------------------------------------------------------------------------------------------------

    def answer(self, plan: Digest, index: int) -> Answer | None:
        """Return the stored answer to a release, if there is one."""
        with self.transaction() as connection:
            row = connection.execute(
                sa.select(_answers).where(_answers.c.plan == plan, _answers.c.index == index)
            ).one_or_none()
        return None if row is None else Answer(row.request, row.statement, row.vector)

    def store_answer(self, plan: Digest, index: int, answer: Answer) -> Answer:
        """Store an answer, unless one is stored already, and return the stored one."""
        with self.transaction() as connection:
            connection.execute(
                sa.dialects.sqlite.insert(_answers)
                .values(
                    plan=plan, index=index, request=answer.request, statement=answer.statement, vector=answer.vector
                )
                .on_conflict_do_nothing()
            )
        stored = self.answer(plan, index)
        if stored is None:
            raise StorageError("an answer vanished while it was stored")
        return stored

    def forget_vectors(self, plan: Digest) -> None:
        """Delete the masked vectors of a closed plan; the statements stay."""
        with self.transaction() as connection:
            held = _answers.c.vector.is_not(None)
            forgotten = connection.execute(
                sa.update(_answers).where(_answers.c.plan == plan, held).values(vector=None)
            ).rowcount
        if forgotten:
            self.scrub()

    def require_answered(self, plan: Digest, index: int, statement: Digest) -> None:
        """Return if this node's statement that the log shows is among its own.

        Raises: BehindLog: the state directory is older than what this node once said.
        """
        stored = self.answer(plan, index)
        if stored is None or digest_of(stored.statement) != statement:
            raise BehindLog(f"the log shows a statement for index {index} of plan {plan[:16]} that the ledger lacks")

    # --- flags --------------------------------------------------------------------------------------------------

    def store_flags(self, policy: Digest, flags: list[StoredFlag], *, at: str) -> None:
        """Store all flags of a policy and the ledger row about them, in one transaction.

        Raises: StorageError if the policy's flags were stored before.
        """
        with self.transaction() as connection:
            if _policy_row(connection, policy):
                raise StorageError("the flags of this policy were raised before")
            _append(connection, {"kind": "flags", "policy": policy, "count": len(flags), "at": at})
            for flag in flags:
                connection.execute(
                    sa.insert(_flags).values(
                        flag_id=flag.flag_id,
                        policy=policy,
                        envelope=flag.envelope,
                        ciphertext=flag.ciphertext,
                        sealed_shares=[share.hex() for share in flag.sealed_shares],
                    )
                )

    def flags(self, policy: Digest) -> tuple[StoredFlag, ...] | None:
        """Return the stored flags of a policy, or None if it was never scored."""
        with self.transaction() as connection:
            if not _policy_row(connection, policy):
                return None
            rows = connection.execute(
                sa.select(_flags).where(_flags.c.policy == policy).order_by(_flags.c.flag_id)
            ).all()
        return tuple(
            StoredFlag(
                row.flag_id,
                row.envelope,
                row.ciphertext,
                tuple(bytes.fromhex(s) for s in row.sealed_shares),
                row.log_index,
            )
            for row in rows
        )

    def flag_envelopes(self) -> tuple[bytes, ...]:
        """Return every sealed flag's signed envelope."""
        with self.transaction() as connection:
            return tuple(connection.execute(sa.select(_flags.c.envelope)).scalars())

    def locate_flags(self, positions: dict[str, int]) -> None:
        """Store where the log holds each flag."""
        with self.transaction() as connection:
            for flag_id, index in positions.items():
                connection.execute(sa.update(_flags).where(_flags.c.flag_id == flag_id).values(log_index=index))

    # --- keys and checkpoints -----------------------------------------------------------------------------------

    def secret(self, name: str, fresh: bytes) -> bytes:
        """Return the secret of this name, storing ``fresh`` durably as its value if there is none."""
        with self.transaction() as connection:
            connection.execute(
                sa.dialects.sqlite.insert(_secrets).values(name=name, value=fresh).on_conflict_do_nothing()
            )
            value: bytes = connection.execute(sa.select(_secrets.c.value).where(_secrets.c.name == name)).scalar_one()
        return value

    def checkpoint(self) -> bytes | None:
        """Return the last accepted checkpoint."""
        with self.transaction() as connection:
            return connection.execute(
                sa.select(_checkpoints.c.note)
                .where(_checkpoints.c.is_evidence.is_(False))
                .order_by(_checkpoints.c.number.desc())
                .limit(1)
            ).scalar_one_or_none()

    def store_checkpoint(self, note: bytes) -> None:
        """Replace the last accepted checkpoint."""
        with self.transaction() as connection:
            connection.execute(sa.delete(_checkpoints).where(_checkpoints.c.is_evidence.is_(False)))
            connection.execute(sa.insert(_checkpoints).values(note=note, is_evidence=False))

    def store_evidence(self, *notes: bytes) -> None:
        """Keep checkpoints that contradict each other; nothing deletes them."""
        with self.transaction() as connection:
            for note in notes:
                connection.execute(sa.insert(_checkpoints).values(note=note, is_evidence=True))

    def has_evidence(self) -> bool:
        """Whether a fork was seen: the node must not start."""
        with self.transaction() as connection:
            return connection.execute(sa.select(sa.exists().where(_checkpoints.c.is_evidence))).scalar_one()


def chain(previous: Digest, content: bytes) -> Digest:
    """Return the hash of a row: of the one before it and its canonical content."""
    return digest_of(CHAIN_TAG + bytes.fromhex(previous) + content)


def _head(connection: sa.Connection) -> tuple[int, Digest]:
    row = connection.execute(sa.select(_entries).order_by(_entries.c.number.desc()).limit(1)).one_or_none()
    return (0, GENESIS) if row is None else (row.number, row.hash)


def _append(connection: sa.Connection, content: dict[str, Any]) -> LedgerEntry:
    number, previous = _head(connection)
    encoded = canonical_bytes(content)
    entry = LedgerEntry(number + 1, content, chain(previous, encoded))
    connection.execute(sa.insert(_entries).values(number=entry.number, content=encoded, hash=entry.hash))
    return entry


def _policy_row(connection: sa.Connection, policy: Digest) -> bool:
    return any(
        content["kind"] == "flags" and content["policy"] == policy
        for content in (json.loads(row.content) for row in connection.execute(sa.select(_entries.c.content)))
    )
