"""Publishes the log: a checkpoint, cosigned by a majority of witnesses, then the static files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from coordinator.log.appender import Appender, write_static
from protocol.errors import ProtocolError
from protocol.history.mirror import verify_checkpoint
from protocol.ids import PartyId
from protocol.log.note import SignedCheckpoint
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import witness_pb2, witness_pb2_grpc
from protocol.signing.keys import SigningKey

WITNESS_TIMEOUT_SECONDS = 10.0
NO_SIZE = 2**62
"""A size at which no witness stands: asked to go on from there, it only says where it does stand."""

Report = Callable[[str, str], None]
Connect = Callable[[PartyId], grpc.Channel]


class Publisher:
    """Turns appended leaves into witnessed ones."""

    def __init__(
        self, appender: Appender, *, key: SigningKey, directory: Path, connect: Connect, report: Report
    ) -> None:
        self._appender = appender
        self._key = key
        self._directory = directory
        self._connect = connect
        self._report = report
        self._channels: dict[PartyId, grpc.Channel] = {}
        self._sizes: dict[PartyId, int] = {}
        self._rosters: dict[PartyId, int] = {}
        """The newest version of the roster that each witness has said it knows."""
        self._written = 0
        self._lock = threading.Lock()

    def publish(self) -> SignedCheckpoint:
        """Return the latest checkpoint, witnessed by a majority and covering every leaf appended before the call.

        Raises: CheckpointInvalid naming the witnesses that are missing; the leaves stay and the next call covers them.
        """
        with self._lock:
            latest = self._appender.latest()
            history = self._appender.history
            if latest is not None and latest.checkpoint.size == history.tree.size:
                # A kill may have come between the database and the files.
                self._write(latest)
                return latest
            fresh = self._appender.checkpoint(self._key)
            roster = history.public.roster
            witnesses = [party.id for party in roster.with_role("witness")]
            signed = fresh
            # At the same time: one that hangs costs its own timeout and not the sum of all.
            with ThreadPoolExecutor(len(witnesses)) as pool:
                for note in pool.map(lambda witness: self._cosigned(witness, fresh), witnesses):
                    for line in note.signatures:
                        if line not in signed.signatures:
                            signed = signed.with_signature(line)
            verify_checkpoint(signed, roster)
            self._appender.store_checkpoint(signed)
            self._write(signed)
            return signed

    def _write(self, signed: SignedCheckpoint) -> None:
        if signed.checkpoint.size != self._written:
            write_static(self._directory, self._appender.history, signed)
            self._written = signed.checkpoint.size

    def _cosigned(self, witness: PartyId, signed: SignedCheckpoint) -> SignedCheckpoint:
        """Return the note with this witness's line, or as it was: one absent witness must not stop the log."""
        try:
            return self._ask(witness, signed)
        except ProtocolError as error:
            self._report(error.code, f"witness {witness}: {error.detail}")
            self._channels.pop(witness, None)
            # It may have been replaced by a machine that knows less.
            self._rosters.pop(witness, None)
            return signed

    def _ask(self, witness: PartyId, signed: SignedCheckpoint) -> SignedCheckpoint:
        if witness not in self._channels:
            self._channels[witness] = self._connect(witness)
        stub = witness_pb2_grpc.WitnessStub(self._channels[witness])
        history, new = self._appender.history, signed.checkpoint.size
        tree = history.tree
        for _ in range(2):
            old = self._sizes.get(witness, 0)
            request = witness_pb2.AddCheckpointRequest(
                old_size=old,
                consistency_proof=tree.consistency_proof(old, new) if 0 < old < new else [],
                checkpoint=signed.encode(),
                rosters=[
                    witness_pb2.RosterLeaf(
                        index=index,
                        skeleton=history.leaves[index].skeleton_bytes,
                        body_hash=history.leaves[index].body_hash,
                        inclusion_proof=tree.inclusion_proof(index, new),
                    )
                    # Everybody knows the first. Of a tree that has grown meanwhile, only what this checkpoint covers.
                    for index in history.roster_indices[self._rosters.get(witness, 1) :]
                    if index < new
                ],
            )
            try:
                answer = stub.AddCheckpoint(request, timeout=WITNESS_TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None
            self._sizes[witness] = answer.current_size
            self._rosters[witness] = answer.roster_version
            if answer.checkpoint:
                return SignedCheckpoint.decode(answer.checkpoint)
        return signed

    def close(self) -> None:
        """Close the connections to the witnesses."""
        for channel in self._channels.values():
            channel.close()


def size_at(channel: grpc.Channel, signed: SignedCheckpoint) -> int:
    """Return at which size a witness stands. It is shown a checkpoint of its log and asked to sign nothing.

    Raises: PeerUnreachable, or what the witness refuses.
    """
    request = witness_pb2.AddCheckpointRequest(old_size=NO_SIZE, consistency_proof=[], checkpoint=signed.encode())
    try:
        answer = witness_pb2_grpc.WitnessStub(channel).AddCheckpoint(request, timeout=WITNESS_TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
    return int(answer.current_size)
