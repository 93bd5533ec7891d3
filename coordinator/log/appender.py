"""The only writer of the log: rules first, then one transaction for the leaf and what the register keeps of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from coordinator.store.database import Database
from coordinator.store.leaves import LeafStore, Transaction
from protocol.clock import Clock
from protocol.documents.canonical import canonical_bytes
from protocol.errors import ConcurrentChange
from protocol.history.leaves import leaf_for
from protocol.history.mirror import History, log_origin
from protocol.ids import Digest
from protocol.log.note import Checkpoint, SignedCheckpoint, sign_checkpoint
from protocol.log.tiles import bundles_for, tiles_for
from protocol.signing.dsse import Envelope
from protocol.signing.keys import SigningKey

AlsoWrite = Callable[[Transaction, int], None]
"""Writes what belongs to a leaf in the leaf's own transaction; gets the leaf's index."""


class Appender:
    """Appends leaves and keeps the history that they add up to."""

    def __init__(self, database: Database, *, genesis: Digest, clock: Clock) -> None:
        """Replay the stored leaves. Raises: the error of the first rule that a stored leaf breaks."""
        self._database = database
        self._store = LeafStore(database)
        self._genesis = genesis
        self._clock = clock
        self._lock = threading.RLock()
        self._history: History | None = self._replayed()

    @property
    def history(self) -> History:
        """What the stored leaves add up to. Raises: StorageError if a failure made it uncertain and no leaf can be read."""
        with self._lock:
            if self._history is None:
                self._history = self._replayed()
            return self._history

    def _replayed(self) -> History:
        history = History(genesis=self._genesis)
        for leaf in self._store.all():
            history.apply(leaf)
        return history

    def append(self, kind: str, envelope: Envelope, *, also: AlsoWrite | None = None) -> int:
        """Log a signed document and return its index.

        Raises: the error of the rule that it breaks; nothing is written then.
        """
        with self._lock:
            return self.append_all([(kind, envelope, also)])[0]

    def append_all(self, documents: list[tuple[str, Envelope, AlsoWrite | None]]) -> list[int]:
        """Log several documents, all or none, and return their indices.

        Raises: ConcurrentChange if another process appended since this one last looked; its leaves are known afterwards.
        """
        with self._lock:
            history = self.history
            before = history.tree.size
            try:
                with self._database.transaction() as connection:
                    if self._store.count(connection) != before:
                        raise ConcurrentChange("another process appended to the log")
                    new = [leaf_for(kind, envelope, now=self._clock.now()) for kind, envelope, _ in documents]
                    for logged in new:
                        history.apply(logged.leaf)
                    self._store.insert(connection, before, new)
                    for index, (_, _, also) in enumerate(documents, start=before):
                        if also is not None:
                            also(connection, index)
            except ConcurrentChange:
                self._history = None
                raise
            except BaseException:
                if history.tree.size != before:
                    # What was applied here is not, or not surely, what is stored.
                    self._history = None
                raise
            return list(range(before, before + len(new)))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep this process's other threads from appending: what is checked inside still holds when it is appended."""
        with self._lock:
            yield

    def checkpoint(self, key: SigningKey) -> SignedCheckpoint:
        """Return a fresh checkpoint over all leaves, signed by the log and not yet by witnesses."""
        with self._lock:
            origin = log_origin(self.history.public.roster.force)
            tree = self.history.tree
            return sign_checkpoint(Checkpoint(origin, tree.size, tree.root()), origin, private_key=key.private)

    def now(self) -> datetime:
        """Return the present instant of the log's clock."""
        return self._clock.now()

    def latest(self) -> SignedCheckpoint | None:
        """Return the last witnessed checkpoint."""
        return self._store.latest_checkpoint()

    def store_checkpoint(self, signed: SignedCheckpoint) -> None:
        """Store a witnessed checkpoint."""
        self._store.store_checkpoint(signed)


def write_static(directory: Path, history: History, signed: SignedCheckpoint) -> None:
    """Write the log as static files: tiles, entry bundles, leaves, and last the checkpoint that covers them.

    Layout: C2SP tlog-tiles, plus ``leaf/NNNNNN.json`` with each public skeleton and body hash.
    """
    size = signed.checkpoint.size
    recorded = directory / "checkpoint"
    old = SignedCheckpoint.decode(recorded.read_bytes()).checkpoint.size if recorded.exists() else 0

    def entries(start: int, end: int) -> list[bytes]:
        return [leaf.entry() for leaf in history.leaves[start:end]]

    for path, content in (*tiles_for(history.tree, old, size), *bundles_for(entries, old, size)):
        _write(directory / path, content)
    for index in range(old, size):
        leaf = history.leaves[index]
        fields = {"body_hash": leaf.body_hash.hex(), "skeleton": leaf.skeleton_bytes.decode()}
        _write(directory / "leaf" / f"{index:06d}.json", canonical_bytes(fields))
    _write(recorded, signed.encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
