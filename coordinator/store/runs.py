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
    burnt: str | None
    """Why the index may never be used again."""


_state = sa.select(rounds.c.request, rounds.c.tag_seed, rounds.c.statements, rounds.c.burnt)


class Runs:
    """Durable progress of plans."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, plan: Digest, index: int) -> Round | None:
        """Return a release in progress."""
        with self._database.transaction() as connection:
            row = connection.execute(_state.where(_is(plan, index))).one_or_none()
        if row is None:
            return None
        return Round(row.request, row.tag_seed, row.statements, row.burnt)

    def masked_sum(self, plan: Digest, index: int) -> bytes | None:
        """Return the sum of the fixed set's masked vectors; None before it is fixed and once the release is published."""
        with self._database.transaction() as connection:
            return connection.execute(sa.select(rounds.c.masked_sum).where(_is(plan, index))).scalar_one_or_none()

    def begin(self, plan: Digest, index: int, *, request: bytes, tag_seed: Digest) -> None:
        """Store the request, once: it is resent unchanged."""
        with self._database.transaction() as connection:
            connection.execute(sa.insert(rounds).values(plan=plan, index=index, request=request, tag_seed=tag_seed))

    def fix(self, plan: Digest, index: int, *, statements: dict[PartyId, str], masked_sum: bytes) -> None:
        """Store the set of boroughs whose sum will be asked for, with that sum; from here on it never changes."""
        with self._database.transaction() as connection:
            connection.execute(
                sa.update(rounds)
                .where(_is(plan, index), rounds.c.statements.is_(None))
                .values(statements=statements, masked_sum=masked_sum)
            )

    def burn(self, plan: Digest, index: int, *, reason: str) -> None:
        """Mark an index as never to be used again; its charge stays."""
        with self._database.transaction() as connection:
            connection.execute(sa.update(rounds).where(_is(plan, index)).values(burnt=reason, masked_sum=None))

    def forget_sum(self, plan: Digest, index: int) -> None:
        """Delete the masked sum of a published or burnt release."""
        with self._database.transaction() as connection:
            connection.execute(sa.update(rounds).where(_is(plan, index)).values(masked_sum=None))
        self._database.scrub()


def _is(plan: Digest, index: int) -> sa.ColumnElement[bool]:
    return sa.and_(rounds.c.plan == plan, rounds.c.index == index)
