"""Where each release of a plan stands: the request once made, the set once fixed."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from coordinator.store.database import Database, rounds
from protocol.ids import Digest, PartyId


@dataclass(frozen=True, slots=True)
class Round:
    """One release in progress."""

    request: bytes
    tag_seed: Digest
    statements: dict[PartyId, str] | None
    """The fixed set U, by borough; None until it is fixed."""
    vectors: dict[PartyId, bytes] | None
    burnt: str | None
    """Why the index may never be used again."""


class Runs:
    """Durable progress of plans."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, plan: Digest, index: int) -> Round | None:
        """Return a release in progress."""
        with self._database.transaction() as connection:
            row = connection.execute(
                sa.select(rounds).where(rounds.c.plan == plan, rounds.c.index == index)
            ).one_or_none()
        if row is None:
            return None
        vectors = None if row.vectors is None else {name: bytes.fromhex(v) for name, v in row.vectors.items()}
        return Round(row.request, row.tag_seed, row.statements, vectors, row.burnt)

    def begin(self, plan: Digest, index: int, *, request: bytes, tag_seed: Digest) -> None:
        """Store the request, once: it is resent unchanged."""
        with self._database.transaction() as connection:
            connection.execute(sa.insert(rounds).values(plan=plan, index=index, request=request, tag_seed=tag_seed))

    def fix(self, plan: Digest, index: int, *, statements: dict[PartyId, str], vectors: dict[PartyId, bytes]) -> None:
        """Store the set of boroughs whose sum will be asked for; from here on it never changes."""
        with self._database.transaction() as connection:
            connection.execute(
                sa.update(rounds)
                .where(rounds.c.plan == plan, rounds.c.index == index, rounds.c.statements.is_(None))
                .values(statements=statements, vectors={name: vector.hex() for name, vector in vectors.items()})
            )

    def burn(self, plan: Digest, index: int, *, reason: str) -> None:
        """Mark an index as never to be used again; its charge stays."""
        with self._database.transaction() as connection:
            connection.execute(
                sa.update(rounds)
                .where(rounds.c.plan == plan, rounds.c.index == index)
                .values(burnt=reason, vectors=None)
            )

    def forget_vectors(self, plan: Digest, index: int) -> None:
        """Delete the masked vectors of a published release."""
        with self._database.transaction() as connection:
            connection.execute(
                sa.update(rounds).where(rounds.c.plan == plan, rounds.c.index == index).values(vectors=None)
            )
        self._database.scrub()
