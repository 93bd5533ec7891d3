"""Builds a borough node from its settings and runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc
import torch

from borough_node.agent import Agent
from borough_node.client_app import answer_bytes, build_app
from borough_node.gate import Gate, Noise
from borough_node.ledger import Ledger
from borough_node.ledger.reviews import Reviews
from borough_node.records import Records, reader_of
from borough_node.settings import NodeSettings
from protocol.aggregation.encoding import Int64Array
from protocol.aggregation.noise import SYSTEM_ENTROPY, discrete_gaussian
from protocol.clock import Clock
from protocol.log.note import SignedCheckpoint
from protocol.rpc.channel import CoordinatorChannel
from protocol.rpc.log_reader import LogReader
from protocol.rpc.party import Party
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import register_pb2, register_pb2_grpc

Report = Callable[[str, str], None]


def system_noise(length: int, sigma: float) -> Int64Array:
    """Return discrete Gaussian samples from the operating system's cryptographic source."""
    return discrete_gaussian(length, sigma=sigma, entropy=SYSTEM_ENTROPY)


class Node:
    """A borough node: the gate, the reader of the log, and the stream."""

    def __init__(self, settings: NodeSettings, *, clock: Clock, report: Report, noise: Noise = system_noise) -> None:
        """Open keys, ledger and channel.

        Args:
            noise: Another than the system's only where an audit must be seen to fail; no setting reaches it.
        Raises: ConfigurationError, StorageError, TransportError.
        """
        torch.set_num_threads(1)
        self.party = Party.open(settings)
        self.settings = settings
        self.ledger = Ledger(settings.state / "ledger.sqlite")
        self.reviews = Reviews(settings.state / "reviews.sqlite")
        self._report = report
        self._channel = CoordinatorChannel(settings.coordinator, roster=lambda: self.party.roster, files=settings.tls())
        self._channel()
        stored = self.ledger.checkpoint()
        self.reader = LogReader(
            self._channel,
            genesis=settings.genesis,
            remembered=None if stored is None else SignedCheckpoint.decode(stored),
            remember=lambda signed: self.ledger.store_checkpoint(signed.encode()),
            keep_evidence=lambda evidence: self.ledger.store_evidence(evidence.earlier, evidence.later),
            learn=self.party.rosters.learn,
            clock=clock,
        )
        self.records = Records(reader_of(settings, clock=clock, report=report), self.reviews)
        self.gate = Gate(
            borough=settings.id,
            signing_key=self.party.signing_key,
            ledger=self.ledger,
            records=self.records,
            reviews=self.reviews,
            reader=self.reader,
            clock=clock,
            noise=noise,
        )
        self._app = build_app(self.gate, self.raise_flags)
        self._agent = Agent(self._channel.fresh, self._answer, report=report)
        self._thread = threading.Thread(target=self._agent.run, name=f"node-{settings.id}", daemon=True)

    def _answer(self, message: bytes) -> tuple[bytes, float]:
        reply = answer_bytes(self._app, message, report=self._report)
        slots = [record.plan.reply_slot_seconds for record in self.reader.public.plans.values() if not record.closed]
        return reply, max([self.settings.reply_slot_seconds, *slots])

    def raise_flags(self, policy: str) -> None:
        """Seal this borough's flags under a policy, submit them and see them in the log."""
        flags = self.gate.flags(policy)
        batch = register_pb2.FlagBatch(
            flags=[
                register_pb2.Flag(envelope=flag.envelope, ciphertext=flag.ciphertext, sealed_shares=flag.sealed_shares)
                for flag in flags
            ]
        )
        try:
            positions = register_pb2_grpc.RegisterStub(self._channel()).RaiseFlags(batch, timeout=120)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        self.gate.confirm_flags(policy, tuple(positions.indices))

    def start(self) -> None:
        """Check that the ledger is not behind the log, then serve in the background. Raises: BehindLog, ForkDetected."""
        self.gate.check_state()
        self._thread.start()

    def stop(self, *, grace_seconds: float) -> None:
        """Stop serving, let a running answer end within ``grace_seconds``, release files and connections."""
        self._agent.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=grace_seconds)
        self._channel.close()
        self.reviews.close()
        self.ledger.close()
