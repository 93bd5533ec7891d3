"""A witness: cosigns a checkpoint only if it extends the last one it cosigned, and remembers before it signs.

A witness does not read the log. The coordinator shows it each new roster with its proof of inclusion in the checkpoint:
from then on that roster says who the coordinator is, at the door and over checkpoints.

Source: C2SP tlog-witness and tlog-cosignature.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from protocol.clock import Clock
from protocol.documents.roster import Roster
from protocol.errors import CheckpointInvalid, ForkDetected
from protocol.history.mirror import Evidence, log_origin
from protocol.ids import PartyId
from protocol.log.leaf import Leaf
from protocol.log.merkle import leaf_hash, verify_consistency, verify_inclusion
from protocol.log.note import SignedCheckpoint, cosign, verify_log_signature
from protocol.rpc.party import CheckpointFile
from protocol.rpc.rosters import RosterBook
from protocol.rpc.v1 import witness_pb2, witness_pb2_grpc
from protocol.signing.dsse import Envelope
from protocol.signing.keys import SigningKey


@dataclass(frozen=True, slots=True)
class RosterProof:
    """A version of the roster as the log holds it, and its proof of inclusion in a checkpoint's tree."""

    index: int
    leaf: Leaf
    proof: tuple[bytes, ...]


class Witness:
    """One witness's memory and key."""

    def __init__(
        self, *, witness: PartyId, key: SigningKey, rosters: RosterBook, memory: CheckpointFile, clock: Clock
    ) -> None:
        """Remember what was cosigned before. Raises: ForkDetected if evidence of a fork is kept."""
        self._witness = witness
        self._key = key
        self._rosters = rosters
        self._memory = memory
        self._clock = clock
        self._latest = memory.load()
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def roster_version(self) -> int:
        """The newest version of the roster that this witness knows."""
        return self._rosters.current.version

    def add_checkpoint(
        self,
        signed: SignedCheckpoint,
        *,
        old_size: int,
        proof: Sequence[bytes],
        rosters: Sequence[RosterProof] = (),
    ) -> tuple[SignedCheckpoint | None, int]:
        """Return the checkpoint with this witness's cosignature, or None if ``old_size`` is not where it stands.

        Args:
            rosters: Versions in the checkpoint's tree, in order; those that are known here are passed over.
        Returns: (cosigned or None, the size at which this witness stands now).
        Raises: CheckpointInvalid, ProofInvalid, and what breaks a rule in a roster; ForkDetected, after which it signs
            nothing more. Nothing is learned then.
        """
        with self._lock:
            if self._stopped:
                raise ForkDetected("this witness has stopped on a fork")
            new = self._new_rosters(signed, rosters)
            roster = self._rosters.checked(new)
            origin = log_origin(roster.force)
            if signed.checkpoint.origin != origin:
                raise CheckpointInvalid("the checkpoint is of another log")
            log_key = bytes.fromhex(roster.with_role("coordinator")[0].signing_key)
            verify_log_signature(signed, origin, public_key=log_key)
            current = self._latest.checkpoint.size if self._latest is not None else 0
            if old_size != current:
                return None, current
            self._require_extension(signed, proof)
            self._rosters.learn((*self._rosters.envelopes, *new))
            self._memory.remember(signed)
            self._latest = signed
            seconds = int(self._clock.now().timestamp())
            cosigned = cosign(signed, self._witness, private_key=self._key.private, time_seconds=seconds)
            return cosigned, signed.checkpoint.size

    def _new_rosters(self, signed: SignedCheckpoint, shown: Sequence[RosterProof]) -> list[Envelope]:
        """Return the versions that are new here, each proven to stand in the checkpoint's tree."""
        new = []
        for one in shown:
            skeleton = one.leaf.skeleton()
            if skeleton.kind != "roster" or skeleton.document is None:
                raise CheckpointInvalid(f"leaf {one.index} is not a roster")
            envelope = Envelope.decode(skeleton.document.encode())
            if envelope.document(Roster).version > self.roster_version:
                verify_inclusion(
                    leaf_hash=leaf_hash(one.leaf.entry()),
                    index=one.index,
                    size=signed.checkpoint.size,
                    proof=one.proof,
                    root=signed.checkpoint.root,
                )
                new.append(envelope)
        return new

    def _require_extension(self, signed: SignedCheckpoint, proof: Sequence[bytes]) -> None:
        if self._latest is None:
            return
        old, new = self._latest.checkpoint, signed.checkpoint
        if new.size < old.size:
            raise CheckpointInvalid(f"the checkpoint is of size {new.size}, this witness has seen {old.size}")
        if new.size == old.size and new.root != old.root:
            self._stopped = True
            self._memory.keep_evidence(Evidence(self._latest.encode(), signed.encode()))
            raise ForkDetected(f"two roots at size {new.size}")
        verify_consistency(
            old_size=old.size, new_size=new.size, old_root=old.root, new_root=new.root, proof=tuple(proof)
        )


class WitnessService(witness_pb2_grpc.WitnessServicer):
    """The witness over gRPC."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def AddCheckpoint(
        self, request: witness_pb2.AddCheckpointRequest, context: grpc.ServicerContext
    ) -> witness_pb2.Cosignature:
        """Cosign a checkpoint that extends what was seen."""
        signed = SignedCheckpoint.decode(request.checkpoint)
        cosigned, size = self._witness.add_checkpoint(
            signed,
            old_size=request.old_size,
            proof=list(request.consistency_proof),
            rosters=[
                RosterProof(shown.index, Leaf(shown.skeleton, shown.body_hash), tuple(shown.inclusion_proof))
                for shown in request.rosters
            ],
        )
        return witness_pb2.Cosignature(
            checkpoint=b"" if cosigned is None else cosigned.encode(),
            current_size=size,
            roster_version=self._witness.roster_version,
        )
