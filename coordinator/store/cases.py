"""Proposals that wait for the quorum, and sealed flags."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from coordinator.store.database import Database, flags, leaves, proposals
from protocol.documents.flags import SealedFlag
from protocol.errors import ConcurrentChange, NotLogged
from protocol.history.leaves import CASE
from protocol.ids import Digest, PartyId, RandomId

ROWS_AT_ONCE = 500
"""Keys in one statement; SQLite takes a limited number."""


@dataclass(frozen=True, slots=True)
class StoredFlag:
    """A flag as the register holds it."""

    flag_id: RandomId
    header: Digest
    borough: PartyId
    leaf: int
    envelope: bytes
    salt: bytes
    ciphertext: bytes
    sealed_shares: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StoredCase:
    """A case document as the register holds it."""

    kind: str
    index: int
    envelope: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class StoredProposal:
    """A proposal that waits, as it was read."""

    digest: Digest
    kind: str
    envelope: bytes
    changes: int
    """How often it was changed before: who writes says what was read."""


class CaseStore:
    """Reads and writes; what may be written is decided in ``coordinator.warrants``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def propose(self, digest: Digest, kind: str, envelope: bytes) -> None:
        """Store a proposal; one that waits already keeps the signatures that it has."""
        with self._database.transaction() as connection:
            connection.execute(
                self._database.insert(proposals)
                .values(digest=digest, kind=kind, envelope=envelope)
                .on_conflict_do_nothing(index_elements=["digest"])
            )

    def proposals(self) -> list[StoredProposal]:
        """Return the proposals that wait."""
        with self._database.transaction() as connection:
            return [StoredProposal(*row) for row in connection.execute(sa.select(proposals))]

    def proposal(self, digest: Digest) -> StoredProposal | None:
        """Return a proposal that waits."""
        with self._database.transaction() as connection:
            row = connection.execute(sa.select(proposals).where(proposals.c.digest == digest)).one_or_none()
            return None if row is None else StoredProposal(*row)

    def replace_proposal(self, read: StoredProposal, envelope: bytes) -> None:
        """Store other signatures of a proposal. Raises: ConcurrentChange if it is not any more as it was read."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                sa.update(proposals)
                .where(proposals.c.digest == read.digest, proposals.c.changes == read.changes)
                .values(envelope=envelope, changes=read.changes + 1)
            )
            if changed.rowcount != 1:
                raise ConcurrentChange(f"proposal {read.digest[:16]} was signed or settled meanwhile")

    def withdraw_proposal(self, digest: Digest) -> None:
        """Remove a proposal that needs no quorum any more."""
        with self._database.transaction() as connection:
            self.settle(connection, digest)

    def settle(self, connection: sa.Connection, digest: Digest) -> None:
        """Remove a proposal in the transaction that logs it."""
        connection.execute(sa.delete(proposals).where(proposals.c.digest == digest))

    def add_flag(
        self,
        connection: sa.Connection,
        sealed: SealedFlag,
        *,
        leaf: int,
        ciphertext: bytes,
        sealed_shares: tuple[bytes, ...],
    ) -> None:
        """Store a flag in the transaction that logs it."""
        header = sealed.header
        connection.execute(
            sa.insert(flags).values(
                flag_id=header.flag_id,
                header=header.digest(),
                policy=header.policy,
                borough=header.borough,
                category=header.category,
                leaf=leaf,
                ciphertext=ciphertext,
                sealed_shares=[share.hex() for share in sealed_shares],
            )
        )

    def count(self, *, policy: Digest, borough: PartyId) -> dict[str, int]:
        """Return how many flags of a policy a borough has raised, by category."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                sa.select(flags.c.category, sa.func.count())
                .where(flags.c.policy == policy, flags.c.borough == borough)
                .group_by(flags.c.category)
            )
            return {row[0]: row[1] for row in rows}

    def _stored(self, connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Iterator[StoredFlag]:
        query = (
            sa.select(flags, leaves.c.body, leaves.c.salt)
            .join(leaves, leaves.c.index == flags.c.leaf)
            .where(condition, leaves.c.body.is_not(None))
            .order_by(flags.c.leaf)
        )
        for row in connection.execute(query):
            yield StoredFlag(
                row.flag_id,
                row.header,
                row.borough,
                row.leaf,
                row.body,
                row.salt,
                row.ciphertext,
                tuple(bytes.fromhex(share) for share in row.sealed_shares),
            )

    def flag(self, flag_id: RandomId) -> StoredFlag | None:
        """Return a flag, unless it is erased."""
        with self._database.transaction() as connection:
            return next(self._stored(connection, flags.c.flag_id == flag_id), None)

    def all_flags(self) -> list[StoredFlag]:
        """Return all flags that are not erased, in log order."""
        with self._database.transaction() as connection:
            return list(self._stored(connection, sa.true()))

    def leaf_of(self, flag_id: RandomId) -> int:
        """Return where a flag stands in the log, also of an erased one. Raises: NotLogged."""
        with self._database.transaction() as connection:
            leaf = connection.execute(sa.select(flags.c.leaf).where(flags.c.flag_id == flag_id)).scalar_one_or_none()
        if leaf is None:
            raise NotLogged("no flag of this id is held")
        return int(leaf)

    def headers(self, flag_ids: Collection[RandomId], *, start: int = 0, limit: int | None = None) -> list[bytes]:
        """Return the signed headers of these flags, or of all, that are not erased; a page of them, in log order.

        Args:
            start: The leaf to begin with.
        """
        query = (
            sa.select(leaves.c.body)
            .join(flags, leaves.c.index == flags.c.leaf)
            .where(leaves.c.body.is_not(None), leaves.c.index >= start)
            .order_by(leaves.c.index)
            .limit(limit)
        )
        if flag_ids:
            query = query.where(flags.c.flag_id.in_(flag_ids))
        with self._database.transaction() as connection:
            return list(connection.execute(query).scalars())

    def case_documents(
        self, *, start: int = 0, kinds: Collection[str] = CASE, indices: Collection[int] | None = None
    ) -> list[StoredCase]:
        """Return the case documents of these kinds that are not erased, in log order.

        Args:
            start: The leaf to begin with.
            indices: Of these leaves only.
        """
        query = sa.select(leaves.c.kind, leaves.c.index, leaves.c.body, leaves.c.salt).where(
            leaves.c.kind.in_(sorted(kinds)), leaves.c.index >= start, leaves.c.body.is_not(None)
        )
        if indices is not None:
            query = query.where(leaves.c.index.in_(indices))
        with self._database.transaction() as connection:
            return [StoredCase(*row) for row in connection.execute(query.order_by(leaves.c.index))]

    def erase(self, connection: sa.Connection, flag_ids: Sequence[RandomId], indices: Sequence[int]) -> None:
        """Destroy flags' ciphertexts and shares, and leaves' salts and bodies, in the transaction that logs it.

        A flag's row stays without them, so that the policy's cap counts it on.
        """
        for start in range(0, len(flag_ids), ROWS_AT_ONCE):
            chosen = flags.c.flag_id.in_(flag_ids[start : start + ROWS_AT_ONCE])
            connection.execute(sa.update(flags).where(chosen).values(ciphertext=b"", sealed_shares=[]))
        for start in range(0, len(indices), ROWS_AT_ONCE):
            chosen = leaves.c.index.in_(indices[start : start + ROWS_AT_ONCE])
            connection.execute(sa.update(leaves).where(chosen).values(salt=None, body=None))

    def scrub(self) -> None:
        """Leave nothing of what was erased in the database's own journal."""
        self._database.scrub()
