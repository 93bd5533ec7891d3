"""A witness: cosigns a checkpoint only if it extends the last one it cosigned, and remembers before it signs.

Source: C2SP tlog-witness and tlog-cosignature.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import grpc

from protocol.clock import Clock
from protocol.documents.roster import Roster
from protocol.errors import CheckpointInvalid, ForkDetected
from protocol.history.mirror import Evidence, log_origin
from protocol.ids import PartyId
from protocol.log.merkle import verify_consistency
from protocol.log.note import SignedCheckpoint, cosign, verify_log_signature
from protocol.rpc.party import CheckpointFile
from protocol.rpc.v1 import witness_pb2, witness_pb2_grpc
from protocol.signing.keys import SigningKey


class Witness:
    """One witness's memory and key."""

    def __init__(
        self, *, witness: PartyId, key: SigningKey, roster: Roster, memory: CheckpointFile, clock: Clock
    ) -> None:
        """Remember what was cosigned before. Raises: ForkDetected if evidence of a fork is kept."""
        self._witness = witness
        self._key = key
        self._roster = roster
        self._memory = memory
        self._clock = clock
        self._latest = memory.load()
        self._stopped = False
        self._lock = threading.Lock()

    def add_checkpoint(
        self, signed: SignedCheckpoint, *, old_size: int, proof: Sequence[bytes]
    ) -> tuple[SignedCheckpoint | None, int]:
        """Return the checkpoint with this witness's cosignature, or None if ``old_size`` is not where it stands.

        Returns: (cosigned or None, the size at which this witness stands now).
        Raises: CheckpointInvalid, ProofInvalid; ForkDetected, after which it signs nothing more.
        """
        with self._lock:
            if self._stopped:
                raise ForkDetected("this witness has stopped on a fork")
            origin = log_origin(self._roster.force)
            if signed.checkpoint.origin != origin:
                raise CheckpointInvalid("the checkpoint is of another log")
            log_key = bytes.fromhex(self._roster.with_role("coordinator")[0].signing_key)
            verify_log_signature(signed, origin, public_key=log_key)
            current = self._latest.checkpoint.size if self._latest is not None else 0
            if old_size != current:
                return None, current
            self._require_extension(signed, proof)
            self._memory.remember(signed)
            self._latest = signed
            seconds = int(self._clock.now().timestamp())
            cosigned = cosign(signed, self._witness, private_key=self._key.private, time_seconds=seconds)
            return cosigned, signed.checkpoint.size

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
            signed, old_size=request.old_size, proof=list(request.consistency_proof)
        )
        return witness_pb2.Cosignature(checkpoint=b"" if cosigned is None else cosigned.encode(), current_size=size)
