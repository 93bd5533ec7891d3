"""Copies of the coordinator's database, and the proof that one is what the log says and not behind it.

Rules this module keeps: a copy is one moment of the database, in a SQLite file, whichever kind the original is; nothing is
restored from a copy that is not proven, nor into a database that holds anything. What the log does not cover is taken as it
is: proposals carry their signatures, what stands in the mailbox and of open releases is asked for again or refused by those
whom it concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from coordinator.store.copying import copy_rows
from coordinator.store.database import Database, flags, leaves, metadata
from coordinator.store.leaves import LeafStore
from coordinator.store.place import Place
from protocol.documents.casework import Erasure
from protocol.documents.flags import SealedFlag
from protocol.documents.roster import Roster
from protocol.errors import BackupAltered, BehindLog, CheckpointInvalid, ConfigurationError, ProtocolError
from protocol.history.mirror import History, verify_checkpoint
from protocol.ids import Digest, PartyId, digest_of
from protocol.log.leaf import Leaf, verify_disclosure
from protocol.log.note import SignedCheckpoint
from protocol.signing.dsse import Envelope

AskSize = Callable[[Roster, PartyId, SignedCheckpoint], int]
"""Asks a witness of a roster, showing it a checkpoint of its log, at which size it stands. Raises: ProtocolError."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a copy holds, and the largest checkpoint that it was compared with."""

    leaves: int
    flags: int
    witnessed: int


def back_up(place: Place, copy: Path) -> None:
    """Write one moment of the database into a new SQLite file, readable by its owner only; the coordinator may run.

    Raises: ConfigurationError if the file exists; SchemaOutdated, SchemaUnknown, StorageError.
    """
    if copy.exists():
        raise ConfigurationError(f"{copy} exists; a backup never replaces a file")
    source = Database(place)
    target = Database(copy)
    try:
        with source.snapshot() as reading, target.transaction() as writing:
            copy_rows(reading, writing)
    finally:
        source.close()
        target.close()


def restore(copy: Path, place: Place) -> None:
    """Fill an empty database from a copy that was proven, all or nothing.

    Raises: ConfigurationError if the database holds anything; SchemaOutdated, SchemaUnknown, StorageError.
    """
    source, target = Database(copy), Database(place)
    try:
        with source.snapshot() as reading, target.transaction() as writing:
            for table in metadata.sorted_tables:
                if writing.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
                    raise ConfigurationError(f"the database to restore into is not empty: table {table.name}")
            copy_rows(reading, writing)
    finally:
        source.close()
        target.close()


def prove(copy: Path, *, genesis: Digest, published: SignedCheckpoint | None, ask: AskSize) -> Proven:
    """Return what a copy holds if every leaf, body and flag in it is what the log committed to, up to the log's end.

    Args:
        published: The checkpoint in the log's static files; None if they are lost too.
        ask: Called for every witness of the copy's roster, of whom a majority must answer.
    Raises: BackupAltered; BehindLog if the log goes on where the copy ends; CheckpointInvalid if too few witnesses answer;
        the error of the first rule that a leaf breaks.
    """
    if not copy.exists():
        raise ConfigurationError(f"{copy} is not there")
    database = Database(copy)
    try:
        _compare_types(database)
        history = _replayed(database, genesis)
        latest = LeafStore(database).latest_checkpoint()
        if latest is None:
            raise BehindLog("the copy holds no witnessed checkpoint")
        for name, one in (("copy's own", latest), ("published", published)):
            if one is not None:
                _compare(history, one, name)
        _compare_bodies(database, history)
        count = _compare_flags(database)
    finally:
        database.close()
    seen = _witnessed_size(history, latest, ask)
    if seen > history.tree.size:
        raise BehindLog(f"the copy holds {history.tree.size} leaves, a witness has seen {seen}")
    compared = max(seen, latest.checkpoint.size, 0 if published is None else published.checkpoint.size)
    return Proven(history.tree.size, count, compared)


def _compare_types(database: Database) -> None:
    """Return if all that should be bytes is: a SQLite file takes text there too, and what reads it would stumble."""
    with database.transaction() as connection:
        for table in metadata.sorted_tables:
            for column in table.columns:
                if isinstance(column.type, sa.LargeBinary):
                    other = sa.func.typeof(column).not_in(["blob", "null"])
                    if connection.execute(sa.select(column).where(other).limit(1)).first() is not None:
                        raise BackupAltered(f"table {table.name} holds text in {column.name}")


def _replayed(database: Database, genesis: Digest) -> History:
    history = History(genesis=genesis)
    for leaf in LeafStore(database).all():
        history.apply(leaf)
    return history


def _compare(history: History, signed: SignedCheckpoint, name: str) -> None:
    size = signed.checkpoint.size
    if size > history.tree.size:
        raise BehindLog(f"the copy holds {history.tree.size} leaves, the {name} checkpoint covers {size}")
    verify_checkpoint(signed, history.public.roster)
    if history.tree.root(size) != signed.checkpoint.root:
        raise BackupAltered(f"the leaves do not add up to the {name} checkpoint of size {size}")


def _witnessed_size(history: History, latest: SignedCheckpoint, ask: AskSize) -> int:
    roster = history.public.roster
    sizes, missing = [], []
    for witness in roster.with_role("witness"):
        try:
            sizes.append(ask(roster, witness.id, latest))
        except ProtocolError as error:
            missing.append(f"{witness.id} ({error.code})")
    required = roster.witness_majority
    if len(sizes) < required:
        raise CheckpointInvalid(
            f"{len(sizes)} of {required} witnesses say how far the log goes; not: {', '.join(missing)}"
        )
    return max(sizes)


def _compare_bodies(database: Database, history: History) -> None:
    """Return if each leaf is stored with the body and salt that it commits to, or an erasure names it and both are gone."""
    with database.transaction() as connection:
        erased = _erased(connection)
        for row in connection.execute(sa.select(leaves).order_by(leaves.c.index)):
            leaf = Leaf(row.skeleton, row.body_hash)
            if row.kind != history.skeletons[row.index].kind:
                raise BackupAltered(f"leaf {row.index} is filed as a {row.kind}")
            if row.index in erased:
                if row.body is not None or row.salt is not None:
                    raise BackupAltered(f"leaf {row.index} was erased, and its body or salt is here")
                continue
            if row.body is None or row.salt is None:
                raise BackupAltered(f"leaf {row.index} lacks its body")
            try:
                verify_disclosure(leaf, salt=row.salt, body=row.body)
            except ProtocolError:
                raise BackupAltered(f"the body of leaf {row.index} is another one") from None


def _erased(connection: sa.Connection) -> set[int]:
    """Return the leaves whose salts and bodies erasures have destroyed."""
    bodies = connection.execute(sa.select(leaves.c.body).where(leaves.c.kind == "erasure", leaves.c.body.is_not(None)))
    erasures = [Envelope.decode(row.body).document(Erasure) for row in bodies]
    return {index for erasure in erasures for index in erasure.leaves}


def _compare_flags(database: Database) -> int:
    """Return how many flags there are, each of them what its leaf's signed body says."""
    query = (
        sa.select(flags, leaves.c.body)
        .select_from(leaves.outerjoin(flags, leaves.c.index == flags.c.leaf))
        .where(leaves.c.kind == "flag")
    )
    count = 0
    with database.transaction() as connection:
        stored = connection.execute(sa.select(sa.func.count()).select_from(flags)).scalar_one()
        for row in connection.execute(query):
            if row.body is None:
                if row.ciphertext or row.sealed_shares:
                    raise BackupAltered("a flag was erased, and its sealed parts are here")
                count += 1
                continue
            sealed = Envelope.decode(row.body).document(SealedFlag)
            header = sealed.header
            expected = (header.flag_id, header.digest(), header.policy, header.borough, header.category)
            if (row.flag_id, row.header, row.policy, row.borough, row.category) != expected:
                raise BackupAltered("a flag differs from its leaf, or is missing")
            parts = tuple(digest_of(bytes.fromhex(share)) for share in row.sealed_shares)
            if (digest_of(row.ciphertext), parts) != (sealed.ciphertext, sealed.sealed_shares):
                raise BackupAltered("a flag's sealed parts are not those that its borough signed")
            count += 1
    if count != stored:
        raise BackupAltered(f"{stored} flags for {count} leaves")
    return count
