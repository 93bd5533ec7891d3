"""Builds the oversight roles from their settings; each is its own process with its own keys and state directory."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc

from oversight.custody.desk import CustodianDesk
from oversight.custody.keys import EnvelopeKeys
from oversight.custody.shares import ShareStore
from oversight.issuing.issuer import IssuerDesk
from oversight.opening.investigator import InvestigatorDesk
from oversight.settings import (
    AuditorSettings,
    CustodianSettings,
    InvestigatorSettings,
    IssuerSettings,
    UnmaskerSettings,
    WitnessSettings,
)
from oversight.unmasker.service import UnmaskerService
from oversight.unmasker.store import UnmaskerStore
from oversight.unmasker.unmasker import Unmasker
from oversight.witness.witness import Witness, WitnessService
from protocol.clock import Clock
from protocol.errors import PeerUnreachable, ProtocolError
from protocol.rpc.channel import CoordinatorChannel
from protocol.rpc.connection import Connection
from protocol.rpc.log_reader import LogReader
from protocol.rpc.party import CheckpointFile, Party
from protocol.rpc.server import serve
from protocol.rpc.v1 import unmasker_pb2_grpc, witness_pb2_grpc

Report = Callable[[str, str], None]
EXPIRY_CHECK_SECONDS = 60.0
"""How soon after its end a plan's key is gone, whoever asks."""
SERVICE_THREADS = 32


class UnmaskerProcess:
    """The unmasker's server."""

    def __init__(self, settings: UnmaskerSettings, *, clock: Clock, report: Report) -> None:
        """Open keys and state. Raises: ConfigurationError, StorageError, ForkDetected."""
        self.settings = settings
        self.party = Party.open(settings)
        self._report = report
        self._clock = clock
        self._memory = CheckpointFile(settings.state)
        self._store = UnmaskerStore(settings.state / "unmasker.sqlite")
        self._memory.load()
        self._server: grpc.Server | None = None
        self._stopped = threading.Event()
        self._closing = threading.Thread(target=self._close_expired, name="close-expired", daemon=True)
        self.port = 0
        self._channel = CoordinatorChannel(settings.coordinator, roster=lambda: self.party.roster, files=settings.tls())
        self.unmasker = Unmasker(store=self._store, connect=self._reader, key=self.party.signing_key, clock=clock)

    def _reader(self) -> LogReader:
        self._channel()
        return LogReader(
            self._channel,
            genesis=self.settings.genesis,
            remembered=self._memory.load(),
            remember=self._memory.remember,
            keep_evidence=self._memory.keep_evidence,
            learn=self.party.rosters.learn,
            clock=self._clock,
        )

    def start(self) -> None:
        """Serve. If the coordinator answers, refuse to start behind the log; if not, the check comes with the first call.

        Raises: BehindLog, ForkDetected.
        """
        try:
            self.unmasker.check_state()
        except PeerUnreachable as error:
            self._report(error.code, "the log is checked before the first answer")
        self._server, self.port = serve(
            self.settings.listen,
            files=self.settings.tls(),
            roster=lambda: self.party.roster,
            report=lambda method, code, detail: self._report(code, f"{method}: {detail}"),
            register=lambda server: unmasker_pb2_grpc.add_UnmaskerServicer_to_server(
                UnmaskerService(self.unmasker), server
            ),
            threads=SERVICE_THREADS,
            calls_per_minute=self.settings.calls_per_minute,
        )
        self._closing.start()

    def _close_expired(self) -> None:
        while not self._stopped.wait(EXPIRY_CHECK_SECONDS):
            try:
                for plan in self.unmasker.close_expired():
                    self._report("plan.expired", f"plan {plan[:16]}: its key is destroyed")
            except ProtocolError as error:
                self._report(error.code, error.detail)

    def stop(self, *, grace_seconds: float) -> None:
        """Stop serving and release files."""
        self._stopped.set()
        if self._server is not None:
            self._server.stop(grace_seconds).wait()
        self._channel.close()
        self._store.close()


class WitnessProcess:
    """A witness's server."""

    def __init__(self, settings: WitnessSettings, *, clock: Clock, report: Report) -> None:
        """Open keys and memory. Raises: ConfigurationError, ForkDetected."""
        self.settings = settings
        self.party = Party.open(settings)
        self._report = report
        self._witness = Witness(
            witness=settings.id,
            key=self.party.signing_key,
            rosters=self.party.rosters,
            memory=CheckpointFile(settings.state),
            clock=clock,
        )
        self._server: grpc.Server | None = None
        self.port = 0

    def start(self) -> None:
        """Serve."""
        self._server, self.port = serve(
            self.settings.listen,
            files=self.settings.tls(),
            roster=lambda: self.party.roster,
            report=lambda method, code, detail: self._report(code, f"{method}: {detail}"),
            register=lambda server: witness_pb2_grpc.add_WitnessServicer_to_server(
                WitnessService(self._witness), server
            ),
            threads=SERVICE_THREADS,
            calls_per_minute=self.settings.calls_per_minute,
        )

    def stop(self, *, grace_seconds: float) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.stop(grace_seconds).wait()


def open_custodian(settings: CustodianSettings, *, clock: Clock) -> tuple[Connection, CustodianDesk]:
    """Return a custodian's connection and desk. Raises: ConfigurationError, TransportError."""
    keys = EnvelopeKeys(settings.envelope_keys.path(), passphrase=settings.passphrase)
    connection = Connection(settings, clock=clock)
    return connection, CustodianDesk(
        connection,
        shares=ShareStore(settings.state / "shares"),
        keys=keys,
        destructions=settings.state / "destructions",
        clock=clock,
    )


def open_issuer(settings: IssuerSettings, *, clock: Clock) -> tuple[Connection, IssuerDesk]:
    """Return an issuer's connection and desk. Raises: ConfigurationError, TransportError."""
    connection = Connection(settings, clock=clock)
    return connection, IssuerDesk(connection, clock=clock)


def open_auditor(settings: AuditorSettings, *, clock: Clock) -> Connection:
    """Return an auditor's connection. Raises: ConfigurationError, TransportError."""
    return Connection(settings, clock=clock)


def open_investigator(settings: InvestigatorSettings, *, clock: Clock) -> tuple[Connection, InvestigatorDesk]:
    """Return an investigator's connection and desk. Raises: ConfigurationError, TransportError."""
    connection = Connection(settings, clock=clock)
    return connection, InvestigatorDesk(connection, keys=settings.state / "keys", clock=clock)
