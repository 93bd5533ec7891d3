"""A party's own copy of the log: every leaf hashed, every checkpoint witnessed, every rule applied.

Rules this module keeps: nothing is believed before a majority of the roster's witnesses cosigned a checkpoint over it;
a party never goes back to a smaller tree; two checkpoints that contradict each other are both kept and end it; no leaf
is dated later than its witnesses' time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from protocol.documents.base import Document
from protocol.documents.roster import Roster
from protocol.errors import (
    CheckpointInvalid,
    DatedAhead,
    ForkDetected,
    MalformedDocument,
    NotLogged,
    ProofInvalid,
    UnknownSigner,
)
from protocol.history.cases import CaseRecord
from protocol.history.leaves import CASE, PUBLIC, skeleton_of
from protocol.history.public import PublicRecord
from protocol.ids import Digest
from protocol.log.leaf import Leaf, Skeleton
from protocol.log.merkle import MerkleTree
from protocol.log.note import SignedCheckpoint, cosignature_times, require_witnesses, verify_log_signature
from protocol.signing.dsse import Envelope

D = TypeVar("D", bound=Document)

DAY_TOLERANCE = timedelta(days=1)
"""How far a leaf's day may lie ahead of its witnesses' clocks. Days decide what a budget's window still holds."""


def log_origin(force: str) -> str:
    """Return the C2SP origin line of a force's log."""
    return f"{force}.custodes/log"


def witness_keys(roster: Roster) -> dict[str, bytes]:
    """Return the raw keys of the roster's witnesses by name."""
    return {party.id: bytes.fromhex(party.signing_key) for party in roster.with_role("witness")}


def verify_checkpoint(signed: SignedCheckpoint, roster: Roster) -> None:
    """Return if the coordinator signed the checkpoint and a majority of witnesses cosigned it.

    Raises: CheckpointInvalid.
    """
    origin = log_origin(roster.force)
    if signed.checkpoint.origin != origin:
        raise CheckpointInvalid(f"origin {signed.checkpoint.origin!r} instead of {origin!r}")
    key = bytes.fromhex(roster.with_role("coordinator")[0].signing_key)
    verify_log_signature(signed, origin, public_key=key)
    require_witnesses(signed, witness_keys(roster), threshold=roster.witness_majority)


def witnessed_at(signed: SignedCheckpoint, roster: Roster) -> datetime:
    """Return a time that has passed as surely as the log holds: a majority of witnesses cosigned then or later.

    Of a verified checkpoint; a minority of witnesses with wrong clocks cannot move it forward.
    """
    times = sorted(cosignature_times(signed, witness_keys(roster)).values(), reverse=True)
    return datetime.fromtimestamp(times[roster.witness_majority - 1], UTC)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two signed checkpoints of one log that cannot both be true."""

    earlier: bytes
    later: bytes


class History:
    """Leaves applied in order: the public record, the cases, and the tree over them."""

    def __init__(self, *, genesis: Digest) -> None:
        self.tree = MerkleTree()
        self.leaves: list[Leaf] = []
        self.skeletons: list[Skeleton] = []
        self.public = PublicRecord(genesis=genesis)
        self.cases = CaseRecord()
        self.roster_indices: list[int] = []
        """Where each version of the roster stands."""

    def roster_at(self, index: int) -> Roster:
        """Return the roster under which the leaf at ``index`` was logged. Raises: UnknownSigner before the first."""
        version = bisect_right(self.roster_indices, index)
        if version == 0:
            raise UnknownSigner(f"no roster stands in the log up to index {index}")
        return self.public.rosters[version - 1]

    def documents(self, kind: type[D]) -> Iterator[tuple[Skeleton, D]]:
        """Yield every public document of a kind with its leaf's skeleton, in the log's order."""
        for skeleton in self.skeletons:
            if PUBLIC.get(skeleton.kind) is kind and skeleton.document is not None:
                yield skeleton, Envelope.decode(skeleton.document.encode()).document(kind)

    def apply(self, leaf: Leaf) -> int:
        """Add a leaf, if the rules allow it, and return its index.

        Raises: the error of the rule it breaks; nothing is added then.
        """
        skeleton = leaf.skeleton()
        if self.skeletons and skeleton.day < self.skeletons[-1].day:
            raise MalformedDocument("a leaf is dated before its predecessor")
        if skeleton.kind in PUBLIC:
            if skeleton.document is None:
                raise MalformedDocument(f"a {skeleton.kind} leaf carries no document")
            envelope = Envelope.decode(skeleton.document.encode())
            # Otherwise the other fields could carry anything, for ever.
            if skeleton != skeleton_of(skeleton.kind, envelope, day=skeleton.day):
                raise MalformedDocument(f"a {skeleton.kind} leaf says other things than its document")
            self.public.apply(skeleton.kind, envelope, date.fromisoformat(skeleton.day))
        elif skeleton.kind in CASE:
            if skeleton.document is not None:
                raise MalformedDocument(f"a {skeleton.kind} is a case document and must not be public")
            self.cases.apply(
                skeleton,
                roster=self.public.roster,
                flag_cap=self.public.flag_cap,
            )
        else:
            raise MalformedDocument(f"the log holds no documents of kind {skeleton.kind}")
        if skeleton.kind == "roster":
            self.roster_indices.append(len(self.leaves))
        self.leaves.append(leaf)
        self.skeletons.append(skeleton)
        return self.tree.append(leaf.entry())


class Mirror:
    """A ``History`` that grows only under witnessed checkpoints."""

    def __init__(self, *, genesis: Digest, remembered: SignedCheckpoint | None) -> None:
        """Start empty. ``remembered`` is the last checkpoint this party accepted, from its own disk."""
        self.history = History(genesis=genesis)
        self.checkpoint: SignedCheckpoint | None = None
        self.evidence: Evidence | None = None
        self._remembered = remembered

    @property
    def size(self) -> int:
        """How many leaves are witnessed."""
        return self.history.tree.size

    def extend(self, leaves: Sequence[Leaf], signed: SignedCheckpoint) -> None:
        """Accept the leaves that follow the present ones, up to a signed checkpoint.

        Raises: ForkDetected, CheckpointInvalid, ProofInvalid, or the error of the rule that a leaf breaks. After ForkDetected
            ``evidence`` holds both checkpoints and the mirror accepts nothing more.
        """
        if self.evidence is not None:
            raise ForkDetected("this party has stopped on an earlier fork")
        before, target = self.checkpoint, signed.checkpoint
        if before is not None and target.size <= self.size:
            verify_checkpoint(signed, self.history.public.roster)
            if self.history.tree.root(target.size) != target.root:
                self._stop(before, signed)
            if target.size < self.size:
                raise CheckpointInvalid(f"the checkpoint is of size {target.size}, this party has seen {self.size}")
            return
        for leaf in leaves:
            self.history.apply(leaf)
        verify_checkpoint(signed, self.history.public.roster)
        if target.size != self.size or self.history.tree.root() != target.root:
            # Not yet proof of a fork: the leaves may be wrong. Read anew from the start, what was remembered decides.
            raise ProofInvalid("the leaves do not add up to the checkpoint")
        last = self.history.skeletons[-1].day
        if date.fromisoformat(last) > (witnessed_at(signed, self.history.public.roster) + DAY_TOLERANCE).date():
            raise DatedAhead(f"the last leaf is of {last}")
        earlier = self._remembered
        if earlier is not None:
            size = earlier.checkpoint.size
            if size > target.size:
                # An old checkpoint, replayed or restored: no contradiction, and nothing to believe.
                raise CheckpointInvalid(f"the checkpoint is of size {target.size}, this party has seen {size}")
            if self.history.tree.root(size) != earlier.checkpoint.root:
                self._stop(earlier, signed)
            self._remembered = None
        self.checkpoint = signed

    def _stop(self, earlier: SignedCheckpoint, later: SignedCheckpoint) -> None:
        self.evidence = Evidence(earlier.encode(), later.encode())
        raise ForkDetected(f"checkpoints of sizes {earlier.checkpoint.size} and {later.checkpoint.size} disagree")

    def require_logged(self, index: int, leaf: Leaf) -> None:
        """Return if ``leaf`` is the witnessed leaf at ``index``. Raises: NotLogged."""
        if not 0 <= index < self.size or self.history.leaves[index] != leaf:
            raise NotLogged(f"the witnessed log does not hold this document at index {index}")

    def require_subject(self, index: int, kind: str, subject: Digest) -> None:
        """Return if the witnessed leaf at ``index`` is of this kind and about this subject. Raises: NotLogged."""
        if not 0 <= index < self.size:
            raise NotLogged(f"the witnessed log does not reach index {index}")
        skeleton = self.history.skeletons[index]
        if (skeleton.kind, skeleton.subject) != (kind, subject):
            raise NotLogged(f"the witnessed log does not hold this {kind} at index {index}")
