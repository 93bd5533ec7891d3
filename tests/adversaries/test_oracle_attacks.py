"""Callers who ask in order to learn what exists, and callers who ask until nobody else is served."""

from __future__ import annotations

import threading

import grpc
import pytest

from protocol.documents.cases import Opening, Withdrawal
from protocol.errors import NotLogged, TooManyCalls
from protocol.rpc.access import ACCESS
from protocol.rpc.server import serve
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import log_pb2, log_pb2_grpc, register_pb2
from tests.wire import SECONDS, Wire, refused
from tests.world import REASON

REGISTER = "/custodes.rpc.v1.Register"
STREAMED = {"Shares", "Flags", "Cases"}


@pytest.fixture(scope="module")
def flagged_wire(tmp_path_factory, flagged_template):
    """A force over gRPC with flags, and a warrant for the first of them."""
    template, _, _, headers = flagged_template
    wire = Wire.create(tmp_path_factory.mktemp("oracle") / "force")
    wire.become(template)
    warrant = wire.warrant(headers[0])
    wire.log("warrant", warrant, "issuer")
    yield wire, list(headers), warrant
    wire.close()


def answer(wire, name, method, request):
    """Everything that a caller gets who is refused: status, text, and both sets of metadata, byte for byte."""
    channel, method = wire.channel(name, "coordinator"), f"{REGISTER}/{method}"
    try:
        if method.rsplit("/", 1)[1] in STREAMED:
            list(channel.unary_stream(method)(request, timeout=SECONDS))
        else:
            channel.unary_unary(method)(request, timeout=SECONDS)
    except grpc.RpcError as error:
        return error.code(), error.details(), tuple(error.trailing_metadata()), tuple(error.initial_metadata())
    raise AssertionError("it was answered")


def opening(wire, name, header, warrant):
    document = Opening(
        warrant=warrant,
        flag_id=header.flag_id,
        header=header.digest(),
        investigator=name,
        approvals=("1" * 64, "2" * 64),
        opened_at=wire.clock.now(),
    )
    return register_pb2.SignedDocument(envelope=wire.signed(document, name).encode()).SerializeToString()


def withdrawal(wire, name, warrant):
    document = Withdrawal(warrant=warrant, issuer=name, reason=REASON, withdrawn_at=wire.clock.now())
    envelope = wire.signed(document, name).encode()
    return register_pb2.Submission(kind="withdrawal", envelope=envelope).SerializeToString()


def absent(header):
    return header.model_copy(update={"flag_id": "9" * 32})


@pytest.mark.parametrize("name", ["borough-1", "auditor", "witness-1", "unmasker", "investigator", "custodian-1"])
def test_a_role_that_may_not_ask_reads_the_same_whether_the_flag_exists_or_not(flagged_wire, name):
    """The borough that raised the flag is among them: it must not learn whether anybody looks for it."""
    wire, headers, warrant = flagged_wire
    closed = [method for method in ("Open", "Submit", "Shares", "Flags", "Cases") if not admits(wire, name, method)]
    assert closed
    for method in closed:
        answers = {
            answer(wire, name, method, request)
            for request in (
                opening(wire, name, headers[0], warrant.digest()),
                opening(wire, name, absent(headers[0]), warrant.digest()),
                opening(wire, name, headers[0], "8" * 64),
                register_pb2.SharesRequest(held=[headers[0].flag_id]).SerializeToString(),
                b"",
            )
        }
        assert len(answers) == 1, method


def admits(wire, name, method):
    return wire.role(name) in ACCESS[f"{REGISTER}/{method}"]


def test_another_investigators_warrant_looks_like_one_that_does_not_exist(flagged_wire):
    wire, headers, warrant = flagged_wire
    theirs = answer(wire, "investigator-2", "Open", opening(wire, "investigator-2", headers[0], warrant.digest()))
    nobodys = answer(wire, "investigator-2", "Open", opening(wire, "investigator-2", headers[0], "8" * 64))
    assert theirs == nobodys
    assert dict(theirs[2])["custodes-code"] == NotLogged.code
    own = answer(wire, "investigator", "Open", opening(wire, "investigator", headers[0], warrant.digest()))
    assert own != theirs, "whose it is learns what is missing"


def test_under_a_warrant_of_ones_own_a_flag_that_it_does_not_name_looks_like_none(flagged_wire):
    wire, headers, warrant = flagged_wire
    there, missing = (
        answer(wire, "investigator", "Open", opening(wire, "investigator", header, warrant.digest()))
        for header in (headers[1], absent(headers[1]))
    )
    assert there == missing


def test_another_issuers_warrant_looks_like_one_that_does_not_exist(flagged_wire):
    wire, _, warrant = flagged_wire
    theirs, nobodys = (
        answer(wire, "issuer-2", "Submit", withdrawal(wire, "issuer-2", digest))
        for digest in (warrant.digest(), "8" * 64)
    )
    assert theirs == nobodys


# --- asking without end -----------------------------------------------------------------------------------------


class Slow(log_pb2_grpc.LogServicer):
    """A log whose reading takes until the test says so."""

    def __init__(self):
        self.release = threading.Event()
        self.reading = threading.Semaphore(0)

    def read(self, request, context):
        self.reading.release()
        if request.start:
            self.release.wait(SECONDS)
        yield log_pb2.ReadResponse(checkpoint=b"synthetic")

    Read = read


@pytest.fixture
def slow(flagged_wire, monkeypatch):
    """A server with few threads and a small allowance, in the coordinator's place."""
    wire, log = flagged_wire[0], Slow()
    server, port = serve(
        "127.0.0.1:0",
        files=wire.files("coordinator"),
        roster=lambda: wire.roster,
        report=lambda *said: None,
        register=lambda server: log_pb2_grpc.add_LogServicer_to_server(log, server),
        threads=16,
        calls_per_minute=60,
    )
    channels = {}
    monkeypatch.setitem(wire._servers, "coordinator", (server, f"127.0.0.1:{port}"))

    def read(name, start=0):
        if name not in channels:
            channels[name] = wire._open(name, "coordinator")
        return log_pb2_grpc.LogStub(channels[name]).Read(log_pb2.ReadRequest(start=start), timeout=SECONDS)

    yield log, read
    log.release.set()
    for channel in channels.values():
        channel.close()
    server.stop(0).wait()


def test_a_caller_above_its_allowance_is_refused_and_nobody_else(slow):
    _, read = slow
    for _ in range(60):
        assert len(list(read("auditor"))) == 1
    with refused(TooManyCalls):
        list(read("auditor"))
    assert len(list(read("custodian-1"))) == 1


def test_a_caller_that_lets_its_calls_stand_does_not_take_the_threads_of_others(slow):
    log, read = slow
    standing = [read("auditor", start=1) for _ in range(20)]
    for _ in range(4):
        assert log.reading.acquire(timeout=SECONDS)
    assert len(list(read("custodian-1"))) == 1
    log.release.set()
    ended = []
    for call in standing:
        try:
            ended.append(len(list(call)))
        except grpc.RpcError as error:
            ended.append(type(from_rpc_error(error)))
    assert ended.count(1) == 4
    assert ended.count(TooManyCalls) == 16
