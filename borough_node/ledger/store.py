"""The node's durable state: the ledger's rows, answers, sealed flags, secrets and checkpoints, in one SQLite file."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from borough_node.ledger.chain import LedgerEntry, window_start
from borough_node.ledger.schema import (
    ROWS,
    SCHEMA_VERSION,
    answers,
    checkpoints,
    entries,
    metadata,
    sealed_flags,
    secrets,
)
from borough_node.ledger.verification import verify, verify_statements
from protocol.documents.plan import Statement
from protocol.durable import DurableDatabase
from protocol.errors import BehindLog, StorageError
from protocol.ids import Digest, digest_of
from protocol.sealing.pseudonym import PSEUDONYM_KEY_BYTES, PseudonymKey
from protocol.signing.dsse import Envelope


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
    """One borough's ledger. What it is asked about one release, policy or purpose is looked up, not searched."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file.

        Args:
            read_only: Look at a running node's ledger, or at a copy, and change nothing.
        Raises: StorageError if it is of another schema or not whole.
        """
        super().__init__(path, tables=metadata, schema_version=SCHEMA_VERSION, journal_mode="WAL", read_only=read_only)
        self.verify()
        if not read_only:
            # A node that was killed between forgetting vectors and scrubbing would keep them in its write-ahead log.
            self.scrub()

    # --- the chain ----------------------------------------------------------------------------------------------

    def entries(self) -> tuple[LedgerEntry, ...]:
        """Return all rows, oldest first."""
        with self.transaction() as connection:
            return ROWS.entries(connection)

    def head(self) -> tuple[int, Digest]:
        """Return the number of rows and the hash of the last."""
        with self.transaction() as connection:
            return ROWS.head(connection)

    def row_digests(self, *, after: int) -> tuple[Digest, ...]:
        """Return the digest of each row's content after the first ``after`` rows."""
        later = sa.select(entries.c.content).where(entries.c.number > after).order_by(entries.c.number)
        with self.transaction() as connection:
            return tuple(digest_of(content) for content in connection.execute(later).scalars())

    def verify(self) -> None:
        """Return if the ledger is whole; ``verification`` says what is checked.

        Raises: StorageError naming the first row that does not continue the chain, or what else is wrong.
        """
        with self.transaction() as connection:
            verify(connection)

    def verify_statements(self) -> int:
        """Return how many answers are stored, if each is what its statement says, rows then included.

        Raises: StorageError naming the first that is not; MalformedDocument if a statement is none.
        """
        with self.transaction() as connection:
            return verify_statements(connection)

    def append(self, content: dict[str, Any]) -> LedgerEntry:
        """Add a row durably and return it."""
        with self.writing() as connection:
            return ROWS.append(connection, content)

    def spent(self, purpose: str, *, now: datetime) -> float:
        """Return the rho charged for a purpose in the last 365 days.

        Reads the purpose's rows in the window and no others; the amounts are those of the rows' own content.
        """
        charged = sa.select(entries.c.content).where(
            entries.c.purpose == purpose, entries.c.at > window_start(now), entries.c.kind == "release"
        )
        with self.transaction() as connection:
            return math.fsum(json.loads(content)["rho"] for content in connection.execute(charged).scalars())

    def is_charged(self, plan: Digest, index: int, request: Digest) -> bool:
        """Whether this very release is paid for already."""
        with self.transaction() as connection:
            return _charged_request(connection, plan, index) == request

    def charge(self, *, plan: Digest, index: int, request: Digest, purpose: str, rho: float, at: str) -> None:
        """Make the charge for one release durable; the same release again is charged once.

        Raises: StorageError if the index was charged for another request.
        """
        content = {
            "kind": "release",
            "plan": plan,
            "index": index,
            "request": request,
            "purpose": purpose,
            "rho": rho,
            "at": at,
        }
        with self.writing() as connection:
            charged = _charged_request(connection, plan, index)
            if charged is None:
                ROWS.append(connection, content)
            elif charged != request:
                raise StorageError(f"index {index} was charged for another request")

    # --- answers ------------------------------------------------------------------------------------------------

    def answer(self, plan: Digest, index: int) -> Answer | None:
        """Return the stored answer to a release, if there is one."""
        with self.transaction() as connection:
            return _answer(connection, plan, index)

    def store_answer(self, plan: Digest, index: int, answer: Answer) -> Answer:
        """Store an answer, unless one is stored already, and return the stored one.

        Raises: StorageError if the release was not charged.
        """
        with self.writing() as connection:
            stored = _answer(connection, plan, index)
            if stored is None:
                connection.execute(
                    sa.insert(answers).values(
                        plan=plan, index=index, request=answer.request, statement=answer.statement, vector=answer.vector
                    )
                )
            return stored or answer

    def forget_vectors(self, plan: Digest) -> None:
        """Delete the masked vectors of a closed plan; the statements stay."""
        with self.writing() as connection:
            held = answers.c.vector.is_not(None)
            forgotten = connection.execute(
                sa.update(answers).where(answers.c.plan == plan, held).values(vector=None)
            ).rowcount
        if forgotten:
            self.scrub()

    def require_answered(self, plan: Digest, index: int, statement: Digest) -> None:
        """Return if this node's statement that the log shows is among its own, and speaks of this ledger.

        Raises: BehindLog: the state directory is older than what this node once said, or its rows are not those that
            the statement counted.
        """
        stored = self.answer(plan, index)
        if stored is None or digest_of(stored.statement) != statement:
            raise BehindLog(f"the log shows a statement for index {index} of plan {plan[:16]} that the ledger lacks")
        said = Envelope.decode(stored.statement).document(Statement)
        with self.transaction() as connection:
            hash_then = connection.execute(
                sa.select(entries.c.hash).where(entries.c.number == said.ledger_length)
            ).scalar_one_or_none()
        if hash_then != said.ledger_head:
            raise BehindLog(
                f"the statement for index {index} of plan {plan[:16]} counted {said.ledger_length} ledger rows; "
                "this ledger has fewer, or other ones"
            )

    # --- flags --------------------------------------------------------------------------------------------------

    def store_flags(self, policy: Digest, flags: list[StoredFlag], *, at: str) -> None:
        """Store all flags of a policy and the ledger row about them, in one transaction.

        Raises: StorageError if the policy's flags were stored before.
        """
        with self.writing() as connection:
            if _is_raised(connection, policy):
                raise StorageError("the flags of this policy were raised before")
            ROWS.append(connection, {"kind": "flags", "policy": policy, "count": len(flags), "at": at})
            for flag in flags:
                connection.execute(
                    sa.insert(sealed_flags).values(
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
            if not _is_raised(connection, policy):
                return None
            rows = connection.execute(
                sa.select(sealed_flags).where(sealed_flags.c.policy == policy).order_by(sealed_flags.c.flag_id)
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
            return tuple(connection.execute(sa.select(sealed_flags.c.envelope)).scalars())

    def locate_flags(self, positions: dict[str, int]) -> None:
        """Store where the log holds each flag."""
        with self.writing() as connection:
            for flag_id, index in positions.items():
                connection.execute(
                    sa.update(sealed_flags).where(sealed_flags.c.flag_id == flag_id).values(log_index=index)
                )

    # --- keys and checkpoints -----------------------------------------------------------------------------------

    def pseudonym_key(self, plan: Digest) -> PseudonymKey:
        """Return this borough's key for the pseudonyms of a plan, made at its first use."""
        return PseudonymKey(self.secret(f"pseudonym/{plan}", os.urandom(PSEUDONYM_KEY_BYTES)))

    def secret(self, name: str, fresh: bytes) -> bytes:
        """Return the secret of this name, storing ``fresh`` durably as its value if there is none."""
        with self.writing() as connection:
            connection.execute(sqlite.insert(secrets).values(name=name, value=fresh).on_conflict_do_nothing())
            value: bytes = connection.execute(sa.select(secrets.c.value).where(secrets.c.name == name)).scalar_one()
        return value

    def checkpoint(self) -> bytes | None:
        """Return the last accepted checkpoint."""
        with self.transaction() as connection:
            return connection.execute(
                sa.select(checkpoints.c.note)
                .where(checkpoints.c.is_evidence.is_(False))
                .order_by(checkpoints.c.number.desc())
                .limit(1)
            ).scalar_one_or_none()

    def store_checkpoint(self, note: bytes) -> None:
        """Replace the last accepted checkpoint."""
        with self.writing() as connection:
            connection.execute(sa.delete(checkpoints).where(checkpoints.c.is_evidence.is_(False)))
            connection.execute(sa.insert(checkpoints).values(note=note, is_evidence=False))

    def store_evidence(self, *notes: bytes) -> None:
        """Keep checkpoints that contradict each other; nothing deletes them."""
        with self.writing() as connection:
            for note in notes:
                connection.execute(sa.insert(checkpoints).values(note=note, is_evidence=True))

    def has_evidence(self) -> bool:
        """Whether a fork was seen: the node must not start."""
        with self.transaction() as connection:
            return connection.execute(sa.select(sa.exists().where(checkpoints.c.is_evidence))).scalar_one()


def _answer(connection: sa.Connection, plan: Digest, index: int) -> Answer | None:
    row = connection.execute(
        sa.select(answers.c.request, answers.c.statement, answers.c.vector).where(
            answers.c.plan == plan, answers.c["index"] == index
        )
    ).one_or_none()
    return None if row is None else Answer(row.request, row.statement, row.vector)


def _charged_request(connection: sa.Connection, plan: Digest, index: int) -> Digest | None:
    """Return the request that an index was charged for."""
    return connection.execute(
        sa.select(entries.c.request).where(entries.c.plan == plan, entries.c["index"] == index)
    ).scalar_one_or_none()


def _is_raised(connection: sa.Connection, policy: Digest) -> bool:
    """Whether the flags of a policy were stored."""
    return connection.execute(sa.select(sa.exists().where(entries.c.policy == policy))).scalar_one()
