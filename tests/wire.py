"""The made-up force of ``tests.world`` over real gRPC: mutual TLS, one server a party, one stream a borough.

An attacker is a party, or a stranger: it holds that party's own TLS key and signing key, and says what it likes by the
generated stubs. What it reads is what anybody reads: a status and a code.
"""

from __future__ import annotations

import queue
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import grpc
import pytest

from borough_node.agent import PROTOCOL_VERSION, Agent
from borough_node.client_app import answer_bytes, build_app
from coordinator.grid import GrpcGrid
from coordinator.log.appender import Appender
from coordinator.log.publisher import Publisher
from coordinator.rounds import Reply, UnmaskerClient
from coordinator.server_app import RELEASE, _answer, _group, _run_id, run_plan
from coordinator.services.federation import FederationService
from coordinator.services.log import LogService
from coordinator.store.mail import Mailbox
from oversight.unmasker.service import UnmaskerService
from oversight.witness.witness import WitnessService
from protocol.documents.plan import Statement, TrainingPlan
from protocol.errors import ProtocolError, ReleaseUnavailable, StreamInvalid
from protocol.ids import Digest, PartyId, Role, digest_of
from protocol.rpc.channel import TLSFiles, open_channel
from protocol.rpc.log_reader import LogReader
from protocol.rpc.party import CheckpointFile
from protocol.rpc.server import serve
from protocol.rpc.status import from_rpc_error, status_of
from protocol.rpc.v1 import (
    federation_pb2,
    federation_pb2_grpc,
    log_pb2_grpc,
    register_pb2_grpc,
    unmasker_pb2,
    unmasker_pb2_grpc,
    witness_pb2_grpc,
)
from protocol.signing.dsse import Envelope
from tests.world import World

# isort: split
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.run import Run

SECONDS = 20.0
"""How long a call may take before a test fails."""
SLOT_SECONDS = 0.001
THREADS = 32

Register = Callable[[grpc.Server], None]


@contextmanager
def refused(expected: type[ProtocolError]) -> Iterator[None]:
    """What runs inside is answered with this very class: its code, its status, its public message and not a word more."""
    with pytest.raises(grpc.RpcError) as raised:
        yield
    error = from_rpc_error(raised.value)
    assert type(error) is expected, f"{error.code}: {error.detail}"
    assert raised.value.code() == status_of(error).grpc
    assert raised.value.details() == expected.public_message


@dataclass(repr=False)
class Wire(World):
    """A ``World`` whose parties reach each other over gRPC only; servers and streams start when first needed."""

    said: list[tuple[str, str, str]] = field(default_factory=list)
    """What each server's door wrote to its own log: (method, code, detail)."""
    node_reports: dict[PartyId, list[str]] = field(default_factory=dict)
    """Codes that each borough's node told its own operator."""
    unmasker_servicer: unmasker_pb2_grpc.UnmaskerServicer | None = None
    """What serves with the unmasker's keys, if it is not our own code."""
    _servers: dict[PartyId, tuple[grpc.Server, str]] = field(default_factory=dict)
    _channels: dict[tuple[PartyId, PartyId], grpc.Channel] = field(default_factory=dict)
    _agents: dict[PartyId, tuple[Agent, threading.Thread]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    """The coordinator asks its witnesses at the same time; each server and channel is opened once."""

    # --- servers and channels ---------------------------------------------------------------------------------------

    def files(self, name: str) -> TLSFiles:
        """Write a party's TLS material and return where it is."""
        folder = self.root / "tls" / name
        found = TLSFiles(folder / "ca.pem", folder / "tls.pem", folder / "tls.key")
        if not folder.exists():
            folder.mkdir(parents=True)
            found.ca.write_bytes(self.ca.certificate)
            found.certificate.write_bytes(self.certificates[name])
            found.key.write_bytes(self.tls_keys[name])
        return found

    def role(self, name: PartyId) -> Role:
        """Return a party's role."""
        return next(party.role for party in self.roster.parties if party.id == name)

    def _services(self, name: PartyId) -> Register:
        match self.role(name):
            case "coordinator":
                return self._coordinator_services
            case "unmasker":
                unmasker = self.unmasker_servicer or UnmaskerService(self.unmasker)
                return lambda server: unmasker_pb2_grpc.add_UnmaskerServicer_to_server(unmasker, server)
            case "witness":
                witness = WitnessService(self.witnesses[name])
                return lambda server: witness_pb2_grpc.add_WitnessServicer_to_server(witness, server)
            case role:
                raise AssertionError(f"a {role} serves nothing")

    def _coordinator_services(self, server: grpc.Server) -> None:
        federation = FederationService(self.mailbox, lambda: self.roster)
        federation_pb2_grpc.add_FederationServicer_to_server(federation, server)
        log_pb2_grpc.add_LogServicer_to_server(LogService(self.appender), server)
        register_pb2_grpc.add_RegisterServicer_to_server(self.register_service, server)

    def address(self, name: PartyId) -> str:
        """Return where a party serves; it starts now if it does not run."""
        if name not in self._servers:
            server, port = serve(
                "127.0.0.1:0",
                files=self.files(name),
                roster=lambda: self.roster,
                report=lambda *said: self.said.append(said),
                register=self._services(name),
                threads=THREADS,
            )
            self._servers[name] = (server, f"127.0.0.1:{port}")
        return self._servers[name][1]

    def stop(self, name: PartyId) -> None:
        """Stop a party's server; the next call to it starts another."""
        server, _ = self._servers.pop(name)
        server.stop(0).wait()
        for pair in [pair for pair in self._channels if pair[1] == name]:
            self._channels.pop(pair).close()

    def channel(self, name: PartyId, server: PartyId) -> grpc.Channel:
        """Return a party's channel to a server, as our own code opens it."""
        with self._lock:
            if (name, server) not in self._channels:
                self._channels[name, server] = self._open(name, server)
            return self._channels[name, server]

    def _open(self, name: PartyId, server: PartyId) -> grpc.Channel:
        party = self.roster.party(server, self.role(server))
        with self._lock:
            address, files = self.address(server), self.files(name)
        return open_channel(address, server=party, roster=self.roster, files=files)

    def restart_unmasker(self, path: Path, *, servicer: unmasker_pb2_grpc.UnmaskerServicer | None = None) -> None:
        """Have the unmasker serve from another state file, or something else serve with its keys."""
        self.unmasker, self.unmasker_servicer = self.new_unmasker(path), servicer
        if "unmasker" in self._servers:
            self.stop("unmasker")

    def close(self) -> None:
        """Stop everything and release files."""
        for agent, _ in self._agents.values():
            agent.stop()
        for _, thread in self._agents.values():
            thread.join(SECONDS)
        # In a thread of its own: once in some hundred runs gRPC did not return from here, and five minutes were lost.
        ending = threading.Thread(target=self._end_connections, daemon=True)
        ending.start()
        ending.join(SECONDS)
        if ending.is_alive():
            where = "".join(traceback.format_stack(sys._current_frames()[ending.ident or 0])[-4:])
            warnings.warn(f"gRPC did not end within {SECONDS:.0f} s; it is in\n{where}", stacklevel=1)
        self._agents, self._channels, self._servers = {}, {}, {}
        super().close()

    def _end_connections(self) -> None:
        for channel in self._channels.values():
            channel.close()
        for stopped in [server.stop(0) for server, _ in self._servers.values()]:
            stopped.wait()

    # --- the world's parties, over the wire -------------------------------------------------------------------------

    @cached_property
    def mailbox(self) -> Mailbox:
        """What the coordinator sends to boroughs and what they answered."""
        return Mailbox(self.database)

    @cached_property
    def publisher(self) -> Publisher:
        """The log's publisher, who asks the witnesses over gRPC."""
        return Publisher(
            self.appender,
            key=self.keys["coordinator"],
            directory=self.root / "log",
            connect=lambda name: self.channel("coordinator", name),
            report=self.report,
        )

    def reader(self, name: PartyId, *, appender: Appender | None = None) -> LogReader:
        """Return a party's reader of the log; its memory is the party's folder."""
        assert appender is None, "over the wire there is one log"
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        memory = CheckpointFile(folder)
        return LogReader(
            lambda: self.channel(name, "coordinator"),
            genesis=self.genesis,
            remembered=memory.load(),
            remember=memory.remember,
            keep_evidence=memory.keep_evidence,
            learn=self.rosters(name).learn,
            clock=self.clock_of(name),
        )

    @property
    def unmasker_stub(self) -> unmasker_pb2_grpc.UnmaskerStub:
        """The unmasker, as the holder of the coordinator's TLS key calls it."""
        return unmasker_pb2_grpc.UnmaskerStub(self.channel("coordinator", "unmasker"))

    def commit(self, request: bytes, statements: Iterable[bytes | Envelope]) -> Envelope:
        """Send a Commit of any content; return the receipt."""
        texts = [one if isinstance(one, bytes) else one.encode() for one in statements]
        answer = self.unmasker_stub.Commit(
            unmasker_pb2.CommitRequest(request=request, statements=texts), timeout=SECONDS
        )
        return Envelope.decode(answer.envelope)

    def reveal(self, plan: Digest, index: int) -> bytes:
        """Ask for a mask sum."""
        answer = self.unmasker_stub.Reveal(unmasker_pb2.RevealRequest(plan=plan, index=index), timeout=SECONDS)
        return bytes(answer.mask_sum)

    def close_plan(self, plan: Digest) -> Envelope:
        """Ask for the destruction of a plan's key."""
        answer = self.unmasker_stub.ClosePlan(unmasker_pb2.ClosePlanRequest(plan=plan), timeout=SECONDS)
        return Envelope.decode(answer.envelope)

    def unmasker_client(self) -> UnmaskerClient:
        """Return the unmasker as the honest coordinator calls it: refusals arrive as our errors."""

        def ours(call: Callable[[], bytes]) -> bytes:
            try:
                return call()
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None

        return UnmaskerClient(
            commit=lambda request, texts: ours(lambda: self.commit(request, texts).encode()),
            reveal=lambda plan, index: ours(lambda: self.reveal(plan, index)),
            close=lambda plan: ours(lambda: self.close_plan(plan).encode()),
        )

    # --- boroughs ---------------------------------------------------------------------------------------------------

    def join(self, borough: PartyId) -> None:
        """Have a borough's node open its stream, if it has none."""
        if borough in self._agents:
            return
        app = build_app(self.gate(borough), lambda policy: None)
        reports = self.node_reports.setdefault(borough, [])

        def answer(message: bytes) -> tuple[bytes, float]:
            return answer_bytes(app, message, report=lambda code, _: reports.append(code)), SLOT_SECONDS

        agent = Agent(lambda: self._open(borough, "coordinator"), answer, report=lambda code, _: reports.append(code))
        thread = threading.Thread(target=agent.run, name=borough, daemon=True)
        thread.start()
        self._agents[borough] = (agent, thread)

    def leave(self, borough: PartyId) -> None:
        """Have a borough's node go away."""
        agent, thread = self._agents.pop(borough)
        agent.stop()
        thread.join(SECONDS)

    def grid(self, plan: Digest, boroughs: Sequence[PartyId]) -> GrpcGrid:
        """Return the coordinator's Grid over these boroughs."""
        grid = GrpcGrid(self.mailbox, boroughs, on_progress=lambda done, asked: None)
        grid.set_run(Run.create_empty(_run_id(plan)))
        return grid

    def send(
        self, plan: Digest, boroughs: Sequence[PartyId], request: bytes, tag_seed: Digest, *, group: str
    ) -> dict[PartyId, Message]:
        """Send any request to boroughs over their streams; return their Flower replies."""
        grid, messages = self._messages(plan, boroughs, request, tag_seed, group=group)
        replies = grid.send_and_receive(messages, timeout=SECONDS)
        return {grid.borough_of(reply.metadata.src_node_id): reply for reply in replies}

    def _messages(
        self, plan: Digest, boroughs: Sequence[PartyId], request: bytes, tag_seed: Digest, *, group: str
    ) -> tuple[GrpcGrid, list[Message]]:
        """Return a grid over boroughs, all of which have joined, and a request for each of them."""
        for borough in boroughs:
            self.join(borough)
        grid = self.grid(plan, boroughs)
        content = {"request": ConfigRecord({"request": request, "tag_seed": tag_seed})}
        return grid, [
            grid.create_message(RecordDict(dict(content)), RELEASE, node, group) for node in grid.get_node_ids()
        ]

    def ask(self, plan: TrainingPlan, index: int, request: bytes, tag_seed: Digest) -> dict[PartyId, Reply]:
        """Ask every borough of a plan over its stream."""
        return self.answered(plan.digest(), plan.borough_ids(), request, tag_seed, group=_group(index))

    def answered(
        self, plan: Digest, boroughs: Sequence[PartyId], request: bytes, tag_seed: Digest, *, group: str
    ) -> dict[PartyId, Reply]:
        """Send any request to boroughs over their streams; return the answers of those that do not refuse."""
        grid, messages = self._messages(plan, boroughs, request, tag_seed, group=group)
        answers = {
            grid.borough_of(reply.metadata.src_node_id): _answer(reply, vector)
            for reply, vector in grid.receive_each(messages, timeout=SECONDS)
        }
        return {name: answer for name, answer in answers.items() if answer is not None}

    def refusal(self, plan: Digest, borough: PartyId, request: bytes, tag_seed: Digest) -> str:
        """Send any request to one borough; return the code that its node told its own operator.

        The coordinator, who asked, reads ``release.unavailable`` and nothing else.
        """
        before = len(self.node_reports.setdefault(borough, []))
        (reply,) = self.send(plan, [borough], request, tag_seed, group=digest_of(request)).values()
        assert reply.has_error()
        assert reply.error.reason == ReleaseUnavailable.public_message
        (code,) = self.node_reports[borough][before:]
        return code

    def run_honestly(self, plan: Digest) -> None:
        """Run a plan to its end as the coordinator's process does, Flower's ServerApp and all."""
        boroughs = self.record(plan).plan.borough_ids()
        for borough in boroughs:
            self.join(borough)
        run_plan(plan, self.grid(plan, boroughs), self.runner())

    def puppet(self, borough: PartyId) -> Puppet:
        """Return a stream that the borough's keys opened and a test speaks on."""
        if borough in self._agents:
            self.leave(borough)
        return Puppet(self.channel(borough, "coordinator"))

    # --- statements -------------------------------------------------------------------------------------------------

    def answers(self, plan: Digest) -> tuple[bytes, dict[PartyId, Reply]]:
        """Return the next request of a plan and every borough's honest reply to it, in the order of a Commit."""
        request, seed = self.begun(plan)
        record = self.record(plan)
        replies = self.ask(record.plan, record.next_index, request, seed)
        return request, dict(sorted(replies.items()))

    def resigned(self, envelope: bytes | Envelope, signer: PartyId | None = None, **fields: object) -> Envelope:
        """Return a statement with other fields, signed by its own borough or by somebody else."""
        if isinstance(envelope, bytes):
            envelope = Envelope.decode(envelope)
        statement = envelope.document(Statement)
        return self.signed(statement.model_copy(update=fields), signer or statement.borough)


class Puppet:
    """One borough's end of the stream, in the hands of a test: it hears deliveries and says any frame."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._deliveries: queue.SimpleQueue[federation_pb2.Delivery] = queue.SimpleQueue()
        method = "/custodes.rpc.v1.Federation/Connect"
        self._stream = channel.stream_stream(method)(iter(self._frames.get, None))
        self.ended = threading.Event()
        self.error: grpc.RpcError | None = None
        """What ended the stream, unless it was the test."""
        threading.Thread(target=self._hear, daemon=True).start()
        hello = federation_pb2.Hello(protocol_version=PROTOCOL_VERSION)
        self.say(federation_pb2.BoroughFrame(hello=hello).SerializeToString())

    def _hear(self) -> None:
        try:
            for content in self._stream:
                self._deliveries.put(federation_pb2.CoordinatorFrame.FromString(content).delivery)
        except grpc.RpcError as error:
            self.error = error
        finally:
            self.ended.set()

    def say(self, frame: bytes) -> None:
        """Send the bytes of a frame."""
        self._frames.put(frame)

    def reply(self, message_id: str, message: bytes) -> None:
        """Send a reply to any message."""
        reply = federation_pb2.Reply(message_id=message_id, message=message)
        self.say(federation_pb2.BoroughFrame(reply=reply).SerializeToString())

    def delivery(self, message_id: str) -> federation_pb2.Delivery:
        """Return this message from the coordinator; what waited from before is passed over."""
        while (delivery := self._deliveries.get(timeout=SECONDS)).message_id != message_id:
            pass
        return delivery

    def require_refused(self) -> None:
        """Return once the coordinator has ended the stream because of what was said on it."""
        assert self.ended.wait(SECONDS)
        assert self.error is not None
        assert type(from_rpc_error(self.error)) is StreamInvalid
        assert self.error.details() == StreamInvalid.public_message

    def hang_up(self) -> None:
        """End the stream."""
        self._frames.put(None)
        self._stream.cancel()
        assert self.ended.wait(SECONDS)
