"""Where each release of a plan stands: the request once made, the set once fixed."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from coordinator.store.database import Database, masked_vectors, rounds
from protocol.ids import Digest, PartyId


@dataclass(frozen=True, slots=True)
class Round:
    """One release in progress."""

    request: bytes
    tag_seed: Digest
    statements: dict[PartyId, str] | None
    """The fixed set U, by borough; None until it is fixed."""
    burnt: str | None
    """Why the index may never be used again."""


class Runs:
    """Durable progress of plans."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, plan: Digest, index: int) -> Round | None:
        """Return a release in progress."""
        with self._database.transaction() as connection:
            row = connection.execute(sa.select(rounds).where(_is(rounds, plan, index))).one_or_none()
        if row is None:
            return None
        return Round(row.request, row.tag_seed, row.statements, row.burnt)

    def vectors(self, plan: Digest, index: int) -> dict[PartyId, bytes]:
        """Return the masked vectors of the fixed set; none before it is fixed and after the release is published."""
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(masked_vectors).where(_is(masked_vectors, plan, index))).all()
        return {row.borough: row.vector for row in rows}

    def begin(self, plan: Digest, index: int, *, request: bytes, tag_seed: Digest) -> None:
        """Store the request, once: it is resent unchanged."""
        with self._database.transaction() as connection:
            connection.execute(sa.insert(rounds).values(plan=plan, index=index, request=request, tag_seed=tag_seed))

    def fix(self, plan: Digest, index: int, *, statements: dict[PartyId, str], vectors: dict[PartyId, bytes]) -> None:
        """Store the set of boroughs whose sum will be asked for, with their vectors; from here on it never changes."""
        with self._database.transaction() as connection:
            is_fixed_now = connection.execute(
                sa.update(rounds)
                .where(_is(rounds, plan, index), rounds.c.statements.is_(None))
                .values(statements=statements)
            ).rowcount
            for borough, vector in vectors.items() if is_fixed_now else ():
                connection.execute(
                    sa.insert(masked_vectors).values(plan=plan, index=index, borough=borough, vector=vector)
                )

    def burn(self, plan: Digest, index: int, *, reason: str) -> None:
        """Mark an index as never to be used again; its charge stays."""
        with self._database.transaction() as connection:
            connection.execute(sa.update(rounds).where(_is(rounds, plan, index)).values(burnt=reason))
            connection.execute(sa.delete(masked_vectors).where(_is(masked_vectors, plan, index)))

    def forget_vectors(self, plan: Digest, index: int) -> None:
        """Delete the masked vectors of a published or burnt release."""
        with self._database.transaction() as connection:
            connection.execute(sa.delete(masked_vectors).where(_is(masked_vectors, plan, index)))
        self._database.scrub()


def _is(table: sa.Table, plan: Digest, index: int) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.plan == plan, table.c.index == index)
