"""Reading the log over gRPC into a verified mirror."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

import grpc

from protocol.clock import Clock
from protocol.errors import CheckpointInvalid, ClockSkewed, ForkDetected, ProtocolError
from protocol.history.mirror import Evidence, History, Mirror, witnessed_at
from protocol.history.public import PublicRecord
from protocol.ids import Digest
from protocol.log.leaf import Leaf
from protocol.log.note import SignedCheckpoint
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import log_pb2, log_pb2_grpc
from protocol.signing.dsse import Envelope

CLOCK_TOLERANCE = timedelta(minutes=5)


class LogReader:
    """One party's mirror of the log, brought up to date on demand."""

    def __init__(
        self,
        channel: Callable[[], grpc.Channel],
        *,
        genesis: Digest,
        remembered: SignedCheckpoint | None,
        remember: Callable[[SignedCheckpoint], None],
        keep_evidence: Callable[[Evidence], None],
        learn: Callable[[Sequence[Envelope]], None],
        clock: Clock,
    ) -> None:
        """Read nothing yet.

        Args:
            channel: Returns the channel to the coordinator; asked anew for every reading, as a roster may change it.
            learn: Called with every version of the roster that the witnessed log shows, from the first.
            clock: This party's own. It judges validity by it, so it may not be behind the witnesses'.
            remembered: The last checkpoint that this party stored, if any.
            remember: Stores a checkpoint durably; called after each that was accepted.
            keep_evidence: Stores both checkpoints of a fork durably.
        """
        self._channel = channel
        self._genesis = genesis
        self._remembered = remembered
        self._remember = remember
        self._keep_evidence = keep_evidence
        self._learn = learn
        self._clock = clock
        self._lock = threading.Lock()
        self.mirror = Mirror(genesis=genesis, remembered=remembered)

    @property
    def history(self) -> History:
        """The verified leaves."""
        return self.mirror.history

    @property
    def public(self) -> PublicRecord:
        """The verified public documents."""
        return self.mirror.history.public

    def sync(self, *, timeout_seconds: float = 60.0) -> None:
        """Bring the mirror up to the coordinator's latest witnessed checkpoint.

        Raises: PeerUnreachable; ForkDetected, after both checkpoints are stored; any rule that a leaf breaks;
            ClockSkewed if this machine's clock is behind the witnesses' by more than ``CLOCK_TOLERANCE``. After a
            failure other than a fork the mirror is read anew from the start, so that nothing unwitnessed stays in it.
        """
        with self._lock:
            try:
                self._extend(timeout_seconds)
            except ForkDetected:
                if self.mirror.evidence is not None:
                    self._keep_evidence(self.mirror.evidence)
                raise
            except ProtocolError:
                self.mirror = Mirror(genesis=self._genesis, remembered=self._remembered)
                raise

    def _extend(self, timeout_seconds: float) -> None:
        leaves, checkpoint = [], None
        try:
            stub = log_pb2_grpc.LogStub(self._channel())
            for part in stub.Read(log_pb2.ReadRequest(start=self.mirror.size), timeout=timeout_seconds):
                if part.WhichOneof("part") == "leaf":
                    leaves.append(Leaf(part.leaf.skeleton, part.leaf.body_hash))
                else:
                    checkpoint = SignedCheckpoint.decode(part.checkpoint)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        if checkpoint is None:
            raise CheckpointInvalid("the coordinator sent no checkpoint")
        self.mirror.extend(leaves, checkpoint)
        passed, now = witnessed_at(checkpoint, self.public.roster), self._clock.now()
        if now < passed - CLOCK_TOLERANCE:
            raise ClockSkewed(
                f"here it is {now:%Y-%m-%d %H:%M:%S}, the witnesses cosigned at {passed:%Y-%m-%d %H:%M:%S}"
            )
        self._learn(self.public.roster_envelopes)
        if self._remembered != checkpoint:
            self._remember(checkpoint)
            self._remembered = checkpoint
