"""The unmasker's durable state: plan keys until their plan closes, receipts and mask sums, closures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from protocol.durable import DurableDatabase
from protocol.ids import Digest, HexKey

SCHEMA_VERSION = 1

_metadata = sa.MetaData()
_keys = sa.Table(
    "keys",
    _metadata,
    sa.Column("plan_id", sa.String, primary_key=True),
    sa.Column("public", sa.String, nullable=False, unique=True),
    sa.Column("private", sa.LargeBinary),
)
_receipts = sa.Table(
    "receipts",
    _metadata,
    sa.Column("plan", sa.String, primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Column("mask_sum", sa.LargeBinary),
)
_closures = sa.Table(
    "closures",
    _metadata,
    sa.Column("plan", sa.String, primary_key=True),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt as it was signed; the mask sum is gone once the plan is closed."""

    envelope: bytes
    mask_sum: bytes | None


class UnmaskerStore(DurableDatabase):
    """One SQLite file, without a write-ahead log: that would keep a copy of a destroyed key."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises: StorageError if it is of another schema."""
        super().__init__(path, tables=_metadata, schema_version=SCHEMA_VERSION, journal_mode="DELETE")

    def plan_key(self, plan_id: str, *, public: HexKey, private: bytes) -> HexKey:
        """Store a fresh key for a plan unless one is stored already; return the stored public key."""
        with self.transaction() as connection:
            connection.execute(
                sa.dialects.sqlite.insert(_keys)
                .values(plan_id=plan_id, public=public, private=private)
                .on_conflict_do_nothing()
            )
            found: HexKey = connection.execute(sa.select(_keys.c.public).where(_keys.c.plan_id == plan_id)).scalar_one()
        return found

    def private_key(self, public: HexKey) -> bytes | None:
        """Return the private half of a plan key, or None once it is destroyed or if it was never made here."""
        with self.transaction() as connection:
            return connection.execute(sa.select(_keys.c.private).where(_keys.c.public == public)).scalar_one_or_none()

    def receipt(self, plan: Digest, index: int) -> StoredReceipt | None:
        """Return the receipt for an index."""
        with self.transaction() as connection:
            row = connection.execute(
                sa.select(_receipts).where(_receipts.c.plan == plan, _receipts.c.index == index)
            ).one_or_none()
        return None if row is None else StoredReceipt(row.envelope, row.mask_sum)

    def store_receipt(self, plan: Digest, index: int, receipt: StoredReceipt) -> None:
        """Store a receipt and its mask sum; an index has one for ever."""
        with self.transaction() as connection:
            connection.execute(
                sa.insert(_receipts).values(
                    plan=plan, index=index, envelope=receipt.envelope, mask_sum=receipt.mask_sum
                )
            )

    def closure(self, plan: Digest) -> bytes | None:
        """Return the signed closure of a plan."""
        with self.transaction() as connection:
            return connection.execute(
                sa.select(_closures.c.envelope).where(_closures.c.plan == plan)
            ).scalar_one_or_none()

    def destroy(self, plan: Digest, public: HexKey, closure: bytes) -> None:
        """Destroy a plan's private key and mask sums and store the closure, in one transaction."""
        with self.transaction() as connection:
            connection.execute(sa.update(_keys).where(_keys.c.public == public).values(private=None))
            connection.execute(sa.update(_receipts).where(_receipts.c.plan == plan).values(mask_sum=None))
            connection.execute(sa.insert(_closures).values(plan=plan, envelope=closure))
