"""Bytes that nobody foresaw, to every decoder, every rule of the log and every RPC: foreseen errors come back, no other.

Attackers sign what they damage with their own keys, so that damage gets behind the signatures. Every run tries the same
examples; ``FUZZ_EXAMPLES`` multiplies them and draws others.
"""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from borough_node.client_app import answer_bytes, build_app
from coordinator.services.log import LogService
from protocol.aggregation import accounting
from protocol.documents.base import Document
from protocol.documents.flags import FlagHeader, SealedFlag
from protocol.documents.plan import ReleaseRequest
from protocol.errors import ConfigurationError, ProtocolError
from protocol.history.leaves import PUBLIC, leaf_for
from protocol.log.leaf import Skeleton
from protocol.log.note import SignedCheckpoint
from protocol.log.vkey import VerifierKey
from protocol.rpc.access import ACCESS
from protocol.rpc.identity import Identity
from protocol.rpc.log_reader import LogReader
from protocol.rpc.server import BUG
from protocol.rpc.status import CODE_KEY, error_classes, status_of
from protocol.rpc.v1 import federation_pb2, log_pb2, register_pb2, unmasker_pb2, witness_pb2
from protocol.signing.dsse import Envelope, Signature, pre_authentication_encoding
from tests.adversaries.damage import NONSENSE, damage, damage_message
from tests.loopback import Loopback
from tests.wire import SECONDS, Puppet, Wire
from tests.world import BY, FORCE, REASON

# isort: split
from flwr.app import ConfigRecord, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

from coordinator.server_app import RELEASE, _answer
from coordinator.store.mail import Reply

TIMES = int(os.environ.get("FUZZ_EXAMPLES", "1"))
SEEDS = st.integers(min_value=0, max_value=2**64 - 1)


def fuzz(examples):
    """Run a test with so many seeds, the same ones every time unless more are asked for."""
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# --- samples ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wire(tmp_path_factory, flagged_template):
    """A force on the wire with a finished plan, flags, an opened one among them, and another plan in progress."""
    made = Wire.create(tmp_path_factory.mktemp("fuzz") / "force")
    made.become(flagged_template[0])
    header = flagged_template[3][0]
    warrant = made.warrant(header)
    made.issuer().issue(warrant)
    for number in (1, 2):
        made.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    made.custodian(3).decide(warrant.digest(), header.flag_id, decision="refuse", reasons=REASON)
    made.investigator().open(warrant.digest(), header.flag_id)
    made.issuer().flags(by=BY, reason=REASON)
    yield made
    made.close()


@pytest.fixture(scope="module")
def begun(wire):
    """A plan in progress: (digest, request, statements)."""
    plan = wire.approve()
    request, replies = wire.answers(plan)
    return plan, request, [reply.statement for reply in replies.values()]


@pytest.fixture(scope="module")
def signed(wire, begun):
    """A valid signed document of every kind that the wire carries."""
    public = {one.kind: one.document for one in wire.appender.history.skeletons if one.kind in PUBLIC}
    cases = {case.kind: case.envelope for case in wire.cases.case_documents()}
    found = {kind: Envelope.decode(document.encode()) for kind, document in public.items()}
    found |= {kind: Envelope.decode(envelope) for kind, envelope in cases.items()}
    found["flag"] = Envelope.decode(wire.cases.all_flags()[0].envelope)
    found["statement"] = Envelope.decode(begun[2][0])
    found["proposal"] = wire.signed(wire.draft(), "custodian-1")
    wire.proposals.propose("plan", found["proposal"])
    assert set(found) > {"roster", "catalogue", "plan", "receipt", "release", "closure", "policy", "flag"}
    assert set(found) > {"triage", "consultation", "warrant", "approval", "refusal", "opening", "statement"}
    return found


def forged(wire, envelope, rng):
    """The document damaged, and signed again by those who signed it."""
    payload = damage(envelope.payload_bytes(), rng)
    message = pre_authentication_encoding(envelope.payloadType, payload)
    names = {key.key_id: key for key in wire.keys.values()}
    return Envelope(
        payload=base64.b64encode(payload).decode(),
        payloadType=envelope.payloadType,
        signatures=tuple(
            Signature(keyid=one.keyid, sig=base64.b64encode(names[one.keyid].sign(message)).decode())
            for one in envelope.signatures
        ),
    )


# --- documents --------------------------------------------------------------------------------------------------


def documents(kind=Document):
    """Every kind of document: those that have a payload type."""
    for one in kind.__subclasses__():
        if "payload_type" in vars(one):
            yield one
        yield from documents(one)


KINDS = [Envelope, Skeleton, SignedCheckpoint, *documents()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_bytes_that_are_no_document_are_malformed(kind):
    """Deep nesting, huge integers, numbers that are none, names twice, text that is no text, a megabyte of nothing."""
    for content in NONSENSE:
        if content == NONSENSE[-1] and kind is Envelope:
            continue  # the one that is a document: an envelope around nothing
        with pytest.raises(ProtocolError):
            kind.decode(content)


def test_a_hundred_megabytes_of_nothing_are_malformed():
    for content in (bytes(100 * 2**20), b"[" * (100 * 2**20)):
        for kind in (Envelope, ReleaseRequest, SignedCheckpoint):
            with pytest.raises(ProtocolError):
                kind.decode(content)


@fuzz(600)
@given(seed=SEEDS)
def test_damaged_documents_are_refused_by_an_error_of_ours(wire, signed, begun, seed):
    rng = random.Random(seed)
    kinds = {kind.payload_type: kind for kind in documents()}
    envelope = rng.choice(list(signed.values()))
    leaf = rng.choice(wire.appender.history.leaves)
    decode, sample = rng.choice(
        [
            (Envelope.decode, envelope.encode()),
            (kinds[envelope.payloadType].decode, envelope.payload_bytes()),
            (ReleaseRequest.decode, begun[1]),
            (FlagHeader.decode, signed["flag"].document(SealedFlag).header.encode()),
            (Skeleton.decode, leaf.skeleton_bytes),
            (SignedCheckpoint.decode, wire.appender.latest().encode()),
            (lambda text: VerifierKey.decode(text.decode("utf-8", "surrogateescape")), b"name+abcdef01+" + b"A" * 44),
        ]
    )
    with suppress(ProtocolError):
        again = decode(damage(sample, rng))
        assert decode(again.encode()) == again if isinstance(again, Document) else again is not None


@fuzz(200)
@given(seed=SEEDS)
def test_signed_documents_with_damage_break_a_rule_of_the_log_or_none(wire, signed, seed):
    """What a party signs of its own free will meets every rule that the log's readers know."""
    rng = random.Random(seed)
    kind = rng.choice([kind for kind in signed if kind not in ("statement", "proposal")])
    history = wire.appender.history
    size = history.tree.size
    try:
        history.apply(leaf_for(kind, forged(wire, signed[kind], rng), now=wire.clock.now()).leaf)
    except ProtocolError:
        assert history.tree.size == size
    else:
        wire.appender._history = None


@pytest.mark.parametrize("epsilon", [1e308, 5e-324])
def test_epsilon_that_no_noise_gives_does_not_stop_who_reads_the_plan(epsilon):
    """A draft that nobody signed is computed before its quorum is counted: it must end, whatever it says."""
    with pytest.raises(ConfigurationError, match="epsilon"):
        accounting.mu_of(epsilon=epsilon, delta=5e-324 if epsilon < 1 else 1e-6)


# --- the log, as a lying coordinator serves it ------------------------------------------------------------------


class LyingLog(LogService):
    """Damages what it streams."""

    def __init__(self, appender, rng):
        super().__init__(appender)
        self._rng = rng

    def Read(self, request, context):  # noqa: N802
        parts = list(super().Read(request, context))
        for _ in range(self._rng.choice((1, 2))):
            place = self._rng.randrange(len(parts))
            match self._rng.randrange(4):
                case 0:
                    del parts[place]
                case 1:
                    parts.insert(place, parts[self._rng.randrange(len(parts))])
                case _:
                    with suppress(Exception):
                        parts[place] = log_pb2.ReadResponse.FromString(damage_message(parts[place], self._rng))
            parts = parts or [log_pb2.ReadResponse()]
        return iter(parts)


@fuzz(60)
@given(seed=SEEDS)
def test_log_that_was_damaged_is_refused_by_its_readers_and_nothing_of_it_stays(shared_wire, seed):
    reader = LogReader(
        lambda: Loopback(LyingLog(shared_wire.appender, random.Random(seed))),
        genesis=shared_wire.roster.digest(),
        remembered=None,
        remember=lambda signed: None,
        keep_evidence=lambda evidence: None,
        learn=lambda rosters: None,
        clock=shared_wire.clock_of("auditor"),
    )
    try:
        reader.sync()
    except ProtocolError:
        assert reader.mirror.size == 0
    else:
        assert reader.mirror.history.tree.root() == shared_wire.appender.history.tree.root()


# --- every RPC of every service ---------------------------------------------------------------------------------

STREAMS = {"Read", "Shares", "Flags", "Cases", "Connect"}
SERVERS = {"Unmasker": "unmasker", "Witness": "witness-1", "Health": "unmasker"}
CALLERS = {"borough": "borough-1", "custodian": "custodian-1", "witness": "witness-1"}


def requests(wire, signed, begun, rng):
    """A request of every RPC whose documents may be forged by their own signers."""

    def envelope(kind):
        return (forged(wire, signed[kind], rng) if rng.random() < 0.6 else signed[kind]).encode()

    plan, request, statements = begun
    texts = list(statements)
    if rng.random() < 0.8:
        texts[1] = forged(wire, Envelope.decode(texts[1]), rng).encode()
    flag = wire.cases.all_flags()[0]
    kinds = (
        "warrant",
        "approval",
        "refusal",
        "opening",
        "withdrawal",
        "plan",
        "triage",
        "review",
        "erasure",
        "request",
        "",
    )
    kind = rng.choice(kinds)
    tree = wire.appender.history.tree
    return {
        "Log/Read": log_pb2.ReadRequest(start=3),
        "Register/Proposals": register_pb2.Empty(),
        "Register/Endorse": register_pb2.SignedDocument(envelope=envelope(rng.choice(("plan", "proposal", "policy")))),
        "Register/RaiseFlags": register_pb2.FlagBatch(
            flags=[
                register_pb2.Flag(
                    envelope=envelope("flag"), ciphertext=flag.ciphertext, sealed_shares=flag.sealed_shares
                )
            ]
        ),
        "Register/Shares": register_pb2.SharesRequest(held=[flag.flag_id]),
        "Register/Flags": register_pb2.FlagsRequest(envelope=envelope("consultation"), after=flag.flag_id, limit=3),
        "Register/Submit": register_pb2.Submission(kind=kind, envelope=envelope(kind if kind in signed else "warrant")),
        "Register/Cases": register_pb2.CasesRequest(warrant="0" * 64),
        "Register/Open": register_pb2.SignedDocument(envelope=envelope("opening")),
        "Unmasker/NewPlanKey": unmasker_pb2.NewPlanKeyRequest(plan_id="0" * 32),
        "Unmasker/Commit": unmasker_pb2.CommitRequest(
            request=request if rng.random() < 0.7 else damage(request, rng), statements=texts
        ),
        "Unmasker/Reveal": unmasker_pb2.RevealRequest(plan=plan, index=0),
        "Unmasker/ClosePlan": unmasker_pb2.ClosePlanRequest(plan=plan[::-1]),
        "Witness/AddCheckpoint": witness_pb2.AddCheckpointRequest(
            old_size=tree.size - 1,
            consistency_proof=tree.consistency_proof(tree.size - 1, tree.size),
            checkpoint=wire.appender.checkpoint(wire.keys["coordinator"]).encode(),
        ),
        "Health/Check": health_pb2.HealthCheckRequest(),
    }


def full_name(name):
    return f"/grpc.health.v1.{name}" if name.startswith("Health") else f"/custodes.rpc.v1.{name}"


def call(wire, name, caller, content):
    """Send raw bytes; return None for an answer and the error otherwise."""
    service, method = name.split("/")
    channel = wire.channel(caller, SERVERS.get(service, "coordinator"))
    multi = channel.unary_stream if method in STREAMS else channel.unary_unary
    try:
        answer = multi(full_name(name))(content, timeout=SECONDS)
        if method in STREAMS:
            list(answer)
    except grpc.RpcError as error:
        return error
    return None


def require_foreseen(error):
    """An error says its class's code, status and public message, or that the bytes are no message; never more."""
    code = dict(error.trailing_metadata() or ()).get(CODE_KEY)
    if code is None:
        own = {
            (grpc.StatusCode.INTERNAL, "Exception deserializing request!"),
            (grpc.StatusCode.NOT_FOUND, ""),  # of the health service
        }
        assert (error.code(), error.details()) in own
        return
    kind = next(kind for kind in error_classes() if kind.code == code)
    assert (error.code(), error.details()) == (status_of(kind()).grpc, kind.public_message)


def test_every_rpc_is_fuzzed(wire, signed, begun):
    fuzzed = {full_name(name) for name in requests(wire, signed, begun, random.Random(0))}
    assert fuzzed | {"/custodes.rpc.v1.Federation/Connect"} == set(ACCESS)


@fuzz(400)
@given(seed=SEEDS)
def test_every_rpc_answers_whatever_it_is_sent_and_says_no_more_than_it_should(wire, signed, begun, seed):
    rng = random.Random(seed)
    name, message = rng.choice(list(requests(wire, signed, begun, rng).items()))
    role = rng.choice(sorted(ACCESS[full_name(name)]))
    content = message.SerializeToString() if rng.random() < 0.3 else damage_message(message, rng)
    error = call(wire, name, CALLERS.get(role, role), content)
    if error is not None:
        require_foreseen(error)
    assert [said for said in wire.said if said[1] == BUG] == []


def test_servers_that_were_fuzzed_still_serve(wire):
    """Runs after the test above, or without it: the honest path is open."""
    plan = wire.approve()
    request, replies = wire.answers(plan)
    receipt = wire.commit(request, [reply.statement for reply in replies.values()])
    assert receipt.document(PUBLIC["receipt"]).plan == plan
    assert call(wire, "Register/Proposals", "custodian-1", b"") is None


def test_fault_of_our_own_tells_a_peer_nothing(wire, monkeypatch):
    """gRPC would send an exception's text along, and that may quote a record."""

    def faulty(*_):
        raise RuntimeError("X-0001 has 37 hours of overtime")

    monkeypatch.setattr(wire.unmasker, "reveal", faulty)
    monkeypatch.setattr(wire.appender, "latest", faulty)
    for name, caller in (("Unmasker/Reveal", "coordinator"), ("Log/Read", "auditor")):
        before = len(wire.said)
        error = call(wire, name, caller, b"")
        assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, ProtocolError.public_message)
        assert "X-0001" not in repr((error.details(), error.trailing_metadata(), error.debug_error_string()))
        ((method, code, detail),) = wire.said[before:]
        assert (method, code) == (full_name(name), BUG)
        assert "RuntimeError" in detail
        assert "X-0001" not in detail
    wire.said.clear()


# --- the boroughs' streams --------------------------------------------------------------------------------------


@fuzz(40)
@given(seed=SEEDS)
def test_borough_that_sends_garbage_frames_ends_its_own_stream_at_most(shared_wire, seed):
    rng = random.Random(seed)
    reply = federation_pb2.Reply(message_id="0" * 32, message=b"message")
    frames = [
        damage_message(sample, rng) if rng.random() < 0.7 else rng.randbytes(rng.randrange(200))
        for sample in (
            federation_pb2.BoroughFrame(hello=federation_pb2.Hello(protocol_version=1)),
            federation_pb2.BoroughFrame(reply=reply),
            federation_pb2.BoroughFrame(),
        )
    ]
    puppet = Puppet(shared_wire.channel("borough-1", "coordinator"))
    for frame in frames:
        puppet.say(frame)
    puppet.hang_up()
    assert [said for said in shared_wire.said if said[1] == BUG] == []


def test_borough_whose_stream_was_garbage_is_served_again(shared_wire):
    puppet = Puppet(shared_wire.channel("borough-1", "coordinator"))
    puppet.say(b"\xff\xff\xff")
    assert puppet.ended.wait(SECONDS)
    assert len(shared_wire.answers(shared_wire.approve())[1]) == 4


def valid_delivery(wire, plan, request, seed):
    """A release request as a borough gets it."""
    grid = wire.grid(plan, ["borough-1"])
    content = {"request": ConfigRecord({"request": request, "tag_seed": seed})}
    message = grid.create_message(RecordDict(content), RELEASE, next(iter(grid.get_node_ids())), "release-0")
    message.metadata.__dict__["_message_id"] = "0" * 32
    return message_to_proto(message)


@fuzz(400)
@given(seed=SEEDS)
def test_node_survives_whatever_is_delivered(shared_wire, delivered, seed):
    rng = random.Random(seed)
    gate, _, message = delivered
    reports = []
    content = answer_bytes(
        build_app(gate, lambda policy: None),
        damage_message(message, rng),
        report=lambda code, detail: reports.append(code),
    )
    assert BUG not in reports
    if content:
        reply = message_from_proto(ProtoMessage.FromString(content))
        assert reply.has_error() == bool(reports)
    else:
        assert reports == ["document.malformed"]


@pytest.fixture(scope="module")
def delivered(shared_wire):
    """A gate, a plan, and the valid message that asks the gate for its first release."""
    plan = shared_wire.approve()
    request, seed = shared_wire.begun(plan)
    return shared_wire.gate("borough-1"), plan, valid_delivery(shared_wire, plan, request, seed)


def test_value_without_a_value_ends_neither_node_nor_coordinator(shared_wire, delivered):
    """Flower's parser answers it with an AttributeError, which nothing caught: it ended the node, and any borough could
    stop a plan with it for good, because the reply was stored.
    """
    gate, plan, message = delivered
    hollow = ProtoMessage()
    hollow.CopyFrom(message)
    hollow.content.items[0].config_record.items[0].value.Clear()
    reports = []
    app = build_app(gate, lambda policy: None)
    assert answer_bytes(app, hollow.SerializeToString(), report=lambda code, _: reports.append(code)) == b""
    assert reports == ["document.malformed"]
    grid = shared_wire.grid(plan, ["borough-1"])
    asked = grid.create_message(RecordDict(), RELEASE, next(iter(grid.get_node_ids())), "hollow")
    ids = list(grid.push_messages([asked]))
    shared_wire.mailbox.store_reply(Reply(ids[0], "borough-1", hollow.SerializeToString()))
    assert grid.pull_messages(ids) == []


@fuzz(100)
@given(seed=SEEDS)
def test_coordinator_leaves_out_a_borough_whatever_it_replies(shared_wire, replied, seed):
    rng = random.Random(seed)
    plan, message = replied
    grid = shared_wire.grid(plan, shared_wire.borough_ids)
    probe = [grid.create_message(RecordDict(), RELEASE, node, f"fuzz-{seed}") for node in grid.get_node_ids()]
    ids = list(grid.push_messages(probe))
    shared_wire.mailbox.store_reply(Reply(ids[0], "borough-1", damage_message(message, rng)))
    for reply, vector in grid._each_reply(ids):
        _answer(reply, vector)
    shared_wire.mailbox.discard(ids)


@pytest.fixture(scope="module")
def replied(shared_wire, delivered):
    """A plan and a valid reply of a borough to its first request."""
    gate, plan, message = delivered
    content = answer_bytes(
        build_app(gate, lambda policy: None), message.SerializeToString(), report=lambda code, detail: None
    )
    return plan, ProtoMessage.FromString(content)


# --- size -------------------------------------------------------------------------------------------------------

ATTACKER = """
import sys, grpc
address, hostname, ca, certificate, key = sys.argv[1:]
read = lambda path: open(path, "rb").read()
credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(certificate))
options = (("grpc.ssl_target_name_override", hostname), ("grpc.max_send_message_length", -1))
channel = grpc.secure_channel(address, credentials, options=options)
content = bytes(300 * 2**20)
for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
    try:
        channel.unary_unary("/custodes.rpc.v1.Unmasker/Commit")(content, timeout=60, compression=compression)
    except grpc.RpcError as error:
        print(error.code().name)
"""


def peak_megabytes():
    """The most memory that this process has held since it was last asked."""
    status = Path("/proc/self/status").read_text()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads this process's memory from /proc")
def test_oversized_message_is_refused_and_takes_no_memory(shared_wire):
    """300 MB, plain and as a gzip bomb of 300 kB, from another process; a server takes 16 MiB."""
    files, identity = shared_wire.files("coordinator"), Identity(FORCE, "unmasker", "unmasker")
    arguments = [shared_wire.address("unmasker"), identity.hostname, files.ca, files.certificate, files.key]
    peak_megabytes()
    before = peak_megabytes()
    done = subprocess.run(
        [sys.executable, "-c", ATTACKER, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["RESOURCE_EXHAUSTED"] * 2
    assert peak_megabytes() - before < 100
    assert call(shared_wire, "Unmasker/Reveal", "coordinator", b"") is not None


def test_commit_of_a_hundred_thousand_statements_is_refused_by_the_first(shared_wire):
    """Too many for a plan of four: it costs the unmasker their parsing, and no signature but the first."""
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    first, *rest = (reply.statement for reply in replies.values())
    unsigned = b'{"payload":"","payloadType":"","signatures":[]}'
    for texts, code in (
        ([unsigned] * 100_000, "signature.unknown_signer"),
        ([b""] * 100_000, "document.malformed"),
        ([first, *rest] * 500, "release.duplicate_signer"),
    ):
        message = unmasker_pb2.CommitRequest(request=request, statements=texts)
        error = call(shared_wire, "Unmasker/Commit", "coordinator", message.SerializeToString())
        require_foreseen(error)
        assert dict(error.trailing_metadata())[CODE_KEY] == code
    assert shared_wire.commit(request, [first, *rest])
