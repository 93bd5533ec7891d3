"""Builds the coordinator from its settings: log, register, federation, and the runner of plans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from coordinator.grid import GrpcGrid
from coordinator.log.appender import Appender
from coordinator.log.publisher import Publisher, size_at
from coordinator.registry.proposals import Proposals
from coordinator.rounds import PlanRunner, UnmaskerClient
from coordinator.server_app import collect_flags, run_plan
from coordinator.services.federation import FederationService
from coordinator.services.log import LogService
from coordinator.services.register import RegisterService
from coordinator.settings import CoordinatorSettings
from coordinator.store.backup import Proven, prove, restore
from coordinator.store.cases import CaseStore
from coordinator.store.database import Database
from coordinator.store.mail import Mailbox
from coordinator.store.place import database_place
from coordinator.store.runs import Runs
from coordinator.warrants.register import Register
from protocol.clock import Clock
from protocol.documents.base import Document
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.roster import Roster
from protocol.errors import ConfigurationError, RefusalError, VerificationError
from protocol.ids import Digest, HexKey, PartyId, Role
from protocol.log.note import SignedCheckpoint
from protocol.rpc.channel import open_channel
from protocol.rpc.party import Party
from protocol.rpc.server import serve
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import (
    federation_pb2_grpc,
    log_pb2_grpc,
    register_pb2_grpc,
    unmasker_pb2,
    unmasker_pb2_grpc,
)
from protocol.signing.dsse import Envelope, sign

UNMASKER_TIMEOUT_SECONDS = 120.0

Report = Callable[[str, str], None]
Progress = Callable[[Digest, int, int, int], None]
"""Called with (plan, index, replies so far, boroughs asked)."""


class Coordinator:
    """The coordinator, serving until stopped."""

    def __init__(self, settings: CoordinatorSettings, *, clock: Clock, report: Report, on_progress: Progress) -> None:
        """Open state and log. Raises: ConfigurationError, StorageError, the error of a rule that a stored leaf breaks."""
        self.settings = settings
        self.party = Party.open(settings)
        self._report = report
        self._on_progress = on_progress
        self._database = Database(database_place(settings))
        self.appender = Appender(self._database, genesis=settings.genesis, clock=clock)
        self.publisher = Publisher(
            self.appender,
            key=self.party.signing_key,
            directory=settings.log_directory,
            connect=self._connect_witness,
            report=report,
        )
        self.cases = CaseStore(self._database)
        self.proposals = Proposals(self.appender, self.cases)
        self._mailbox = Mailbox(self._database)
        self.federation = FederationService(self._mailbox, self.roster)
        self._runner = PlanRunner(
            appender=self.appender,
            publish=self.publisher.publish,
            runs=Runs(self._database),
            unmasker=UnmaskerClient(self._commit, self._reveal, self._close),
            key=self.party.signing_key,
            report=report,
        )
        self._logged = threading.Condition()
        self._server: grpc.Server | None = None
        self.port = 0

    def roster(self) -> Roster:
        """Return the roster that counts now: the log's, or before the log begins the configured one."""
        rosters = self.appender.history.public.rosters
        return rosters[-1] if rosters else self.party.roster

    def _connect(self, address: str, role: Role, party_id: PartyId) -> grpc.Channel:
        roster = self.roster()
        server = roster.party(party_id, role)
        return open_channel(address, server=server, roster=roster, files=self.settings.tls())

    def _connect_witness(self, witness: PartyId) -> grpc.Channel:
        if witness not in self.settings.witnesses:
            raise ConfigurationError(f"field witnesses: no address of {witness}, which the roster names")
        return self._connect(self.settings.witnesses[witness], "witness", witness)

    # --- serving ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the log if it is empty, and serve. Witnesses must be reachable: without them nothing is published."""
        if not self.appender.history.leaves:
            self.appender.append("roster", self.party.rosters.envelopes[0])
        self.log_proposed_rosters()
        self.publisher.publish()
        self._server, self.port = serve(
            self.settings.coordinator,
            files=self.settings.tls(),
            roster=self.roster,
            report=lambda method, code, detail: self._report(code, f"{method}: {detail}"),
            register=self._register_services,
            threads=self.settings.server_threads,
            calls_per_minute=self.settings.calls_per_minute,
        )

    def _register_services(self, server: grpc.Server) -> None:
        federation_pb2_grpc.add_FederationServicer_to_server(self.federation, server)
        log_pb2_grpc.add_LogServicer_to_server(LogService(self.appender), server)
        service = RegisterService(
            register=Register(self.appender, self.cases),
            proposals=self.proposals,
            publish=self.publisher.publish,
            roster=self.roster,
            on_logged=self._wake,
        )
        register_pb2_grpc.add_RegisterServicer_to_server(service, server)

    def stop(self, *, grace_seconds: float) -> None:
        """Stop serving, let running calls end within ``grace_seconds``, release files."""
        if self._server is not None:
            self._server.stop(grace_seconds).wait()
        self.publisher.close()
        self._database.close()

    def _wake(self, _: str) -> None:
        with self._logged:
            self._logged.notify_all()

    # --- what the coordinator's team does -----------------------------------------------------------------------

    def log_catalogue(self, catalogue: FeatureCatalogue) -> None:
        """Log a catalogue under the coordinator's signature, once."""
        if catalogue.digest() not in self.appender.history.public.catalogues:
            self.appender.append("catalogue", sign(catalogue, self.party.signing_key))
            self.publisher.publish()

    def new_plan_key(self, plan_id: str) -> HexKey:
        """Return the mask key that the unmasker made for a plan."""
        answer = self._unmasker("NewPlanKey", unmasker_pb2.NewPlanKeyRequest(plan_id=plan_id))
        return bytes(answer.public_key).hex()

    def propose(self, kind: str, document: Document) -> Digest:
        """Offer a plan or policy to the custodians and return its digest."""
        return self.proposals.propose(kind, sign(document, self.party.signing_key))

    def wait_for_quorum(self, digest: Digest, *, timeout_seconds: float) -> bool:
        """Return whether the plan or policy was logged within the time."""

        def is_logged() -> bool:
            public = self.appender.history.public
            return digest in public.plans or digest in public.policies

        with self._logged:
            return self._logged.wait_for(is_logged, timeout_seconds)

    def run_plan(self, plan: Digest) -> None:
        """Run an approved plan to its end, from wherever it stands. Raises: as ``PlanRunner.run``."""
        record = self.appender.history.public.plan(plan)
        grid = GrpcGrid(
            self._mailbox,
            record.plan.borough_ids(),
            on_progress=lambda done, asked: self._on_progress(plan, len(record.releases), done, asked),
        )
        run_plan(plan, grid, self._runner)

    def collect_flags(self, policy: Digest) -> tuple[tuple[PartyId, ...], tuple[PartyId, ...]]:
        """Ask the plan's boroughs to raise their flags under an approved policy; return (confirmed, asked)."""
        document = self.appender.history.public.policy(policy)
        record = self.appender.history.public.plan(document.plan)
        grid = GrpcGrid(self._mailbox, record.plan.borough_ids(), on_progress=lambda done, asked: None)
        return collect_flags(document, grid), record.plan.borough_ids()

    def log_proposed_rosters(self) -> None:
        """Log the rosters that another process published, which a quorum has signed; the new one counts from here on.

        Raises: CheckpointInvalid if too few witnesses cosign, as when this party's own key is another one now: the roster
            is logged then, and the next start, with that key, has it witnessed.
        """
        waiting = [one for one in self.proposals.waiting() if one[1] == "roster"]
        for digest, _, content in sorted(waiting, key=lambda one: Envelope.decode(one[2]).document(Roster).version):
            try:
                self.appender.append("roster", Envelope.decode(content))
                self._report("roster.logged", f"roster {self.roster().version}, digest {digest}")
            except (VerificationError, RefusalError, ConfigurationError) as error:
                # Another one of its version came first, say: it will never follow, and must hold nothing up.
                self._report(error.code, f"roster {digest[:16]} was published and is not logged: {error.detail}")
            self.cases.withdraw_proposal(digest)
        self.party.rosters.learn(self.appender.history.public.roster_envelopes)
        self.federation.admit_only(self.roster())
        if waiting:
            self.publisher.publish()

    def log_proposed_catalogues(self) -> None:
        """Log the catalogues that another process proposed; they need no quorum of their own, the plan's covers them."""
        for digest, kind, envelope in self.proposals.waiting():
            if kind == "catalogue":
                self.log_catalogue(Envelope.decode(envelope).document(FeatureCatalogue))
                self.cases.withdraw_proposal(digest)

    def live_policies(self) -> tuple[Digest, ...]:
        """Return the approved policies that are valid now."""
        now = self.appender.now()
        policies = self.appender.history.public.policies
        return tuple(digest for digest, policy in policies.items() if policy.valid_from <= now < policy.valid_until)

    def unfinished_plans(self) -> tuple[Digest, ...]:
        """Return the approved plans that are not closed."""
        return tuple(digest for digest, record in self.appender.history.public.plans.items() if not record.closed)

    # --- the unmasker -------------------------------------------------------------------------------------------

    def _unmasker(self, method: str, request: Message) -> Any:
        name = self.roster().with_role("unmasker")[0].id
        with self._connect(self.settings.unmasker, "unmasker", name) as channel:
            try:
                return getattr(unmasker_pb2_grpc.UnmaskerStub(channel), method)(
                    request, timeout=UNMASKER_TIMEOUT_SECONDS
                )
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None

    def _commit(self, request: bytes, statements: Sequence[bytes]) -> bytes:
        answer = self._unmasker("Commit", unmasker_pb2.CommitRequest(request=request, statements=list(statements)))
        return bytes(answer.envelope)

    def _reveal(self, plan: Digest, index: int) -> bytes:
        return bytes(self._unmasker("Reveal", unmasker_pb2.RevealRequest(plan=plan, index=index)).mask_sum)

    def _close(self, plan: Digest) -> bytes:
        return bytes(self._unmasker("ClosePlan", unmasker_pb2.ClosePlanRequest(plan=plan)).envelope)


def restore_register(settings: CoordinatorSettings, copy: Path, *, dry_run: bool) -> Proven:
    """Prove a backup against the log's files and its witnesses and, unless it is a dry run, restore from it.

    Raises: as ``prove`` and ``restore``.
    """
    files = settings.log_directory / "checkpoint"

    def ask(roster: Roster, witness: PartyId, shown: SignedCheckpoint) -> int:
        if witness not in settings.witnesses:
            raise ConfigurationError(f"field witnesses: {witness} is not named")
        server = roster.party(witness, "witness")
        with open_channel(settings.witnesses[witness], server=server, roster=roster, files=settings.tls()) as channel:
            return size_at(channel, shown)

    proven = prove(
        copy,
        genesis=settings.genesis,
        published=SignedCheckpoint.decode(files.read_bytes()) if files.exists() else None,
        ask=ask,
    )
    if not dry_run:
        restore(copy, database_place(settings))
    return proven
