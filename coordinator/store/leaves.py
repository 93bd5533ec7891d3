"""The log's leaves and checkpoints, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from coordinator.store.database import Database, checkpoints, leaves
from protocol.history.leaves import LoggedLeaf
from protocol.log.leaf import Leaf
from protocol.log.note import SignedCheckpoint

Transaction = sa.Connection
"""What ``Database.transaction`` yields; passed on so that a leaf and what belongs to it are written together."""


class LeafStore:
    """Reads and writes; the rules are the appender's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Iterator[Leaf]:
        """Yield every leaf, in order."""
        public = sa.select(leaves.c.skeleton, leaves.c.body_hash)
        with self._database.transaction() as connection:
            for row in connection.execute(public.order_by(leaves.c.index)):
                yield Leaf(*row)

    def count(self, connection: Transaction | None = None) -> int:
        """Return how many leaves are stored, seen from a transaction or on its own."""
        if connection is None:
            with self._database.transaction() as own:
                return self.count(own)
        # They are numbered without a gap, and the last number is found without counting.
        last = connection.execute(sa.select(sa.func.max(leaves.c.index))).scalar_one()
        return 0 if last is None else int(last) + 1

    def insert(self, connection: Transaction, start: int, logged: Sequence[LoggedLeaf]) -> None:
        """Store leaves with their salts and bodies, the first of them at index ``start``."""
        rows = [
            {
                "index": index,
                "kind": one.kind,
                "skeleton": one.leaf.skeleton_bytes,
                "body_hash": one.leaf.body_hash,
                "salt": one.salt,
                "body": one.body,
            }
            for index, one in enumerate(logged, start=start)
        ]
        if rows:
            connection.execute(sa.insert(leaves), rows)

    def latest_checkpoint(self) -> SignedCheckpoint | None:
        """Return the last witnessed checkpoint."""
        with self._database.transaction() as connection:
            note = connection.execute(
                sa.select(checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1)
            ).scalar_one_or_none()
        return None if note is None else SignedCheckpoint.decode(note)

    def store_checkpoint(self, signed: SignedCheckpoint) -> None:
        """Store a witnessed checkpoint."""
        note = signed.encode()
        with self._database.transaction() as connection:
            connection.execute(
                self._database.insert(checkpoints)
                .values(size=signed.checkpoint.size, note=note)
                .on_conflict_do_update(index_elements=["size"], set_={"note": note})
            )
