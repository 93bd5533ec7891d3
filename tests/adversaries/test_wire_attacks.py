"""Attackers on the wire of a private sum: strangers, replays of whole calls, boroughs that come early, late or twice."""

from __future__ import annotations

import datetime as dt
import time

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from borough_node.client_app import answer_bytes, build_app
from coordinator.rounds import Reply
from coordinator.server_app import RELEASE, _answer, _group
from deploy.certificates import ForceCA
from oversight.unmasker.unmasker import KeyDestroyed
from protocol.aggregation.exchange import DuplicateSigner, StatementReplayed
from protocol.aggregation.masks import MaskKeyInvalid
from protocol.documents.plan import Burn, Closure, Receipt, ReleaseRequest, Statement
from protocol.errors import (
    AlreadyAnswered,
    CohortTooSmall,
    DigestMismatch,
    MalformedDocument,
    NotLogged,
    PeerNotInRoster,
    PeerUnreachable,
    RoleForbidden,
    SparesSpent,
    UnknownSigner,
)
from protocol.history.anchors import GENESIS, chain
from protocol.ids import digest_of
from protocol.rpc.attachment import attach, detach
from protocol.rpc.channel import OPTIONS
from protocol.rpc.identity import Identity
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import unmasker_pb2, unmasker_pb2_grpc
from protocol.signing.dsse import Envelope, Signature
from tests.wire import SECONDS, refused
from tests.world import CHOICES, FORCE, one_by_one

# isort: split
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

# --- who may speak to the unmasker ------------------------------------------------------------------------------

UNMASKER = Identity(FORCE, "unmasker", "unmasker")


def reveal_as(wire, *, certificate, key, ca=None):
    """Call the unmasker with any TLS material; return the error as our client sees it."""
    credentials = grpc.ssl_channel_credentials(ca or wire.ca.certificate, key, certificate)
    options = (*OPTIONS, ("grpc.ssl_target_name_override", UNMASKER.hostname))
    return reveal_on(grpc.secure_channel(wire.address("unmasker"), credentials, options=options))


def reveal_on(channel):
    with channel, pytest.raises(grpc.RpcError) as raised:
        unmasker_pb2_grpc.UnmaskerStub(channel).Reveal(unmasker_pb2.RevealRequest(), timeout=SECONDS)
    return from_rpc_error(raised.value)


def self_signed(identity):
    """A certificate that says what the coordinator's says, signed by nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, identity.id)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity.uri)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def dated(wire, days):
    """A certificate of the force's own CA in the coordinator's name, begun so many days from now; it lives 365."""
    now, wire.ca._now = wire.ca._now, wire.ca._now + dt.timedelta(days=days)
    certificate, key, _ = wire.ca.issue(Identity(FORCE, "coordinator", "coordinator"))
    wire.ca._now = now
    return certificate, key


@pytest.mark.parametrize(
    "stranger", ["plaintext", "no certificate", "self-signed", "other CA", "expired", "of the future"]
)
def test_stranger_does_not_get_through_the_unmaskers_tls(shared_wire, stranger):
    """Each is refused before a byte of a call is read: to the stranger nobody is there."""
    wire, coordinator = shared_wire, Identity(FORCE, "coordinator", "coordinator")
    if stranger == "plaintext":
        error = reveal_on(grpc.insecure_channel(wire.address("unmasker")))
    else:
        certificate, key = {
            "no certificate": lambda: (None, None),
            "self-signed": lambda: self_signed(coordinator),
            "other CA": lambda: ForceCA(FORCE, now=dt.datetime.now(dt.UTC)).issue(coordinator)[:2],
            "expired": lambda: dated(wire, -366),
            "of the future": lambda: dated(wire, 2),
        }[stranger]()
        error = reveal_as(wire, certificate=certificate, key=key)
    assert type(error) is PeerUnreachable
    assert "UNAVAILABLE" in error.detail


@pytest.mark.parametrize(
    "identity",
    [
        Identity("otherforce", "coordinator", "coordinator"),
        Identity(FORCE, "coordinator", "coordinator"),
        Identity(FORCE, "coordinator", "borough-1"),
        Identity(FORCE, "borough", "borough-9"),
    ],
    ids=["other force", "second certificate", "borough as coordinator", "unknown borough"],
)
def test_certificate_that_the_roster_does_not_pin_is_refused_by_the_unmasker(shared_wire, identity):
    """The force's own CA issued it; that is not enough."""
    certificate, key, _ = shared_wire.ca.issue(identity)
    assert type(reveal_as(shared_wire, certificate=certificate, key=key)) is PeerNotInRoster


@pytest.mark.parametrize(
    "name", ["borough-1", "custodian-1", "witness-1", "issuer", "investigator", "auditor", "unmasker"]
)
def test_party_of_another_role_is_refused_by_the_unmasker(shared_wire, name):
    """Whoever could ask the unmasker beside the coordinator could take sums that the coordinator's log does not show."""
    error = reveal_as(shared_wire, certificate=shared_wire.certificates[name], key=shared_wire.tls_keys[name])
    assert type(error) is RoleForbidden


def test_key_is_made_for_a_plan_id_and_for_nothing_else(shared_wire):
    """Whatever the unmasker makes a key for, it stores for ever."""
    for plan_id in ("", "a", "G" * 32, "0" * 33, "0" * 32 + "\n", "0" * 1_000_000, "../../unmasker.sqlite"):
        with refused(MalformedDocument):
            shared_wire.unmasker_stub.NewPlanKey(unmasker_pb2.NewPlanKeyRequest(plan_id=plan_id), timeout=SECONDS)


# --- replay of whole calls --------------------------------------------------------------------------------------


def committed(wire):
    """A plan whose first index is committed; its request, its replies and the receipt."""
    plan = wire.approve()
    request, replies = wire.answers(plan)
    texts = [reply.statement for reply in replies.values()]
    return plan, request, texts, wire.commit(request, texts)


def test_commit_that_is_replayed_gives_the_same_receipt_and_no_second_one(wire):
    """Before and after the log shows it, after a restart and after the close: one index has one receipt."""
    plan, request, texts, receipt = committed(wire)
    assert wire.commit(request, texts) == receipt
    wire.log("receipt", receipt.document(Receipt), "unmasker")
    first = wire.reveal(plan, 0)
    wire.restart_unmasker(wire.root / "unmasker" / "unmasker.sqlite")
    assert wire.commit(request, texts) == receipt
    assert wire.reveal(plan, 0) == first
    with pytest.raises(AlreadyAnswered):
        wire.log("receipt", receipt.document(Receipt), "unmasker")
    wire.log("closure", wire.close_plan(plan).document(Closure), "unmasker")
    assert wire.commit(request, texts) == receipt
    with refused(KeyDestroyed):
        wire.reveal(plan, 0)


def test_statements_of_a_burnt_index_do_not_serve_its_spare(wire):
    """The spare asks for the same release: with old statements it would be the old, perhaps spoilt, vectors again."""
    plan = wire.approve(CHOICES.model_copy(update={"spares": 1}))
    request, replies = wire.answers(plan)
    old = [reply.statement for reply in replies.values()]
    receipt = wire.commit(request, old).document(Receipt)
    wire.log("receipt", receipt, "unmasker")
    wire.log("burn", Burn(plan=plan, index=0, receipt=receipt.digest()), "coordinator")
    spare, fresh = wire.answers(plan)
    with refused(StatementReplayed):
        wire.commit(spare, old)
    with refused(AlreadyAnswered):
        wire.commit(request, old[:3])
    new = [reply.statement for reply in fresh.values()]
    assert wire.commit(spare, new).document(Receipt).index == 1
    keys = [Envelope.decode(text).document(Statement).public_key for text in (*old, *new)]
    assert len(set(keys)) == len(keys)


def test_plan_whose_spares_are_spent_moves_neither_borough_nor_unmasker(shared_wire):
    """A coordinator that burns on purpose gets as many second sums as the plan has budgeted, and then nothing."""
    plan, request, _, receipt = committed(shared_wire)
    shared_wire.log("receipt", receipt.document(Receipt), "unmasker")
    burn = Burn(plan=plan, index=0, receipt=receipt.document(Receipt).digest())
    shared_wire.log("burn", burn, "coordinator")
    seed = shared_wire.runs.get(plan, 0).tag_seed
    again = ReleaseRequest.decode(request).model_copy(update={"index": 1}).encode()
    with refused(SparesSpent):
        shared_wire.commit(again, [])
    assert shared_wire.refusal(plan, "borough-1", again, seed) == SparesSpent.code


def test_nothing_is_burnt_that_was_not_unmasked(shared_wire):
    """A burn without the unmasker's receipt would skip an index, and say that a sum failed which nobody saw."""
    plan = shared_wire.approve()
    shared_wire.begun(plan)
    with pytest.raises(DigestMismatch):
        shared_wire.log("burn", Burn(plan=plan, index=0, receipt="0" * 64), "coordinator")


def test_receipt_of_another_plan_reveals_nothing(shared_wire):
    """The signed receipt of one plan is logged; the other plan's mask sum stays where it is."""
    _, _, _, receipt = committed(shared_wire)
    other, _, _, _ = committed(shared_wire)
    shared_wire.log("receipt", receipt.document(Receipt), "unmasker")
    with refused(NotLogged):
        shared_wire.reveal(other, 0)


def test_statement_with_signatures_of_nobody_is_refused(shared_wire):
    """Every statement stands in the log for ever: beside its borough's signature it may carry nothing else, or one
    borough could write what it likes there, or make a set too large to be sent to the unmasker.
    """
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    texts = [Envelope.decode(reply.statement) for reply in replies.values()]
    noise = tuple(Signature(keyid=digest_of(bytes([n])), sig="A" * 1000) for n in range(50))
    padded = texts[0].model_copy(update={"signatures": (*texts[0].signatures, *noise)})
    with refused(UnknownSigner):
        shared_wire.commit(request, [padded, *texts[1:]])
    runner, reports = shared_wire.runner(), len(shared_wire.reports)

    def ask(document, index, request, seed):
        return {name: reply for name, reply in replies.items() if name != "borough-2"} | {
            "borough-1": Reply(padded.encode(), replies["borough-1"].vector)
        }

    with pytest.raises(CohortTooSmall):
        runner.run(plan, one_by_one(ask), forget=lambda index: None)
    assert [code for code, _ in shared_wire.reports[reports:]] == [UnknownSigner.code]


def test_statement_with_more_rows_than_a_ledger_adds_is_refused(shared_wire):
    """The rows of an invented ledger lead to its head as well as any: a statement of 50 MB would stop the plan for good,
    because the set is fixed before the unmasker is asked, and no message to the unmasker could carry it.
    """
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    texts = [reply.statement for reply in replies.values()]
    rows, head = ("ab" * 32,) * 1025, GENESIS
    for row in rows:
        head = chain(head, row)
    long = shared_wire.resigned(texts[0], ledger_rows=rows, ledger_length=len(rows), ledger_head=head)
    with refused(MalformedDocument):
        shared_wire.commit(request, [long, *texts[1:]])


def test_mask_key_of_small_order_is_refused(shared_wire):
    """RFC 7748, section 6.1: its shared secret is zero whatever the unmasker's key; anybody could compute that mask."""
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    texts = [reply.statement for reply in replies.values()]
    for point in (
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ):
        weak = shared_wire.resigned(texts[0], public_key=point.hex())
        with refused(MaskKeyInvalid):
            shared_wire.commit(request, [weak, *texts[1:]])


# --- boroughs that come early, late, twice or for another -------------------------------------------------------


def reply_bytes(wire, borough, message, *, change=lambda answer: answer):
    """A borough's honest reply to a Flower message, or one whose answer its operator changed."""
    app = build_app(wire.gate(borough), lambda policy: None)
    content = answer_bytes(app, message, report=wire.report)
    honest, vector = detach(content)
    answer = change(_answer(message_from_proto(ProtoMessage.FromString(honest)), vector))
    record = ConfigRecord({"statement": answer.statement})
    changed = Message(RecordDict({"answer": record}), reply_to=message_from_proto(ProtoMessage.FromString(message)))
    return attach(message_to_proto(changed).SerializeToString(), bytes(answer.vector))


def other_vector(wire):
    """Another vector of the right length, under a statement that its borough signed: a second answer."""

    def change(answer):
        vector = bytes(len(answer.vector))
        statement = wire.resigned(answer.statement, vector=digest_of(vector), public_key="77" * 32)
        return Reply(statement.encode(), vector)

    return change


def mail(wire, plan, boroughs):
    """Put the next request of a plan into the mailbox; return its messages' ids by borough, and a way to wait for all."""
    request, seed = wire.begun(plan)
    record = wire.record(plan)
    grid = wire.grid(plan, boroughs)
    content = {"request": ConfigRecord({"request": request, "tag_seed": seed})}
    messages = [
        grid.create_message(RecordDict(dict(content)), RELEASE, node, _group(record.next_index))
        for node in grid.get_node_ids()
    ]
    ids = dict(zip(boroughs, grid.push_messages(messages), strict=True))
    return grid, ids


def stored(wire, grid, ids):
    """What the coordinator holds of boroughs' answers."""
    return {
        grid.borough_of(message.metadata.src_node_id): _answer(message, vector)
        for message, vector in grid._each_reply(ids.values())
    }


def wait_until(wire, condition):
    """Return once the mailbox holds what a test waits for."""
    bell, ends = wire.mailbox.answered, time.monotonic() + SECONDS
    while True:
        heard = bell.rings
        if condition():
            return
        left = ends - time.monotonic()
        assert left > 0
        bell.wait(heard, left)


def test_borough_that_answers_twice_is_held_to_its_first_answer(shared_wire):
    wire, plan = shared_wire, shared_wire.approve()
    puppet = wire.puppet("borough-1")
    grid, ids = mail(wire, plan, wire.borough_ids)
    delivery = puppet.delivery(ids["borough-1"])
    honest = reply_bytes(wire, "borough-1", delivery.message)
    puppet.reply(delivery.message_id, honest)
    wait_until(wire, lambda: "borough-1" in stored(wire, grid, ids))
    first = stored(wire, grid, ids)["borough-1"]
    puppet.reply(delivery.message_id, reply_bytes(wire, "borough-1", delivery.message, change=other_vector(wire)))
    puppet.require_refused()
    for name in wire.borough_ids[1:]:
        wire.join(name)
    wait_until(wire, lambda: len(stored(wire, grid, ids)) == 4)
    assert stored(wire, grid, ids)["borough-1"] == first
    puppet.hang_up()


def test_two_answers_of_one_borough_do_not_stand_in_one_set(shared_wire):
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    second = other_vector(shared_wire)(replies["borough-1"]).statement
    with refused(DuplicateSigner):
        shared_wire.commit(request, [second, *(reply.statement for reply in replies.values())])


def test_late_borough_enters_neither_the_sum_nor_a_second_set(wire):
    """Bonawitz et al. 2017 mask twice against it: a vector that arrives after its sum was unmasked without it. Were it
    accepted, there would be two sums that differ by one borough.
    """
    plan = wire.approve()
    for name in wire.borough_ids[:3]:
        wire.join(name)
    puppet = wire.puppet("borough-4")
    grid, ids = mail(wire, plan, wire.borough_ids)
    delivery = puppet.delivery(ids["borough-4"])
    wait_until(wire, lambda: len(stored(wire, grid, ids)) == 3)
    runner, tried = wire.runner(), []
    real = runner._unmasker

    def commit(request, statements):
        receipt = real.commit(request, statements)
        puppet.reply(delivery.message_id, reply_bytes(wire, "borough-4", delivery.message))
        wait_until(wire, lambda: len(stored(wire, grid, ids)) == 4)
        late = stored(wire, grid, ids)["borough-4"].statement
        with refused(AlreadyAnswered):
            wire.commit(request, [*statements, late])
        with refused(AlreadyAnswered):
            wire.commit(request, [*statements[1:], late])
        tried.append(late)
        return receipt

    class Stop(Exception):
        """Ends the run after the first index."""

    def ask(document, index, request, seed):
        if index:
            raise Stop
        return stored(wire, grid, ids)

    runner._unmasker = type(real)(commit=commit, reveal=real.reveal, close=real.close)
    with pytest.raises(Stop):
        runner.run(plan, one_by_one(ask), forget=lambda index: grid.forget(_group(index), RELEASE))
    assert wire.record(plan).releases[0].boroughs == wire.borough_ids[:3]
    assert stored(wire, grid, ids) == {}
    request, replies = wire.answers(plan)
    with refused(StatementReplayed):
        wire.commit(request, [*(replies[name].statement for name in wire.borough_ids[:3]), *tried])
    puppet.hang_up()


def test_reply_after_the_release_is_published_is_not_kept(shared_wire):
    wire, plan = shared_wire, shared_wire.approve()
    puppet = wire.puppet("borough-1")
    grid, ids = mail(wire, plan, ["borough-1"])
    delivery = puppet.delivery(ids["borough-1"])
    grid.forget(_group(0), RELEASE)
    puppet.reply(delivery.message_id, reply_bytes(wire, "borough-1", delivery.message))
    echo(wire, puppet)
    assert stored(wire, grid, ids) == {}
    puppet.hang_up()


def echo(wire, puppet):
    """Return once all that a puppet said before has been heard: one more exchange on its stream."""
    grid, ids = mail(wire, wire.approve(), ["borough-1"])
    delivery = puppet.delivery(ids["borough-1"])
    puppet.reply(delivery.message_id, reply_bytes(wire, "borough-1", delivery.message))
    wait_until(wire, lambda: stored(wire, grid, ids))


def test_borough_does_not_answer_before_it_is_asked(shared_wire):
    """A message's id follows from public facts; an answer to it that arrives first is not kept until it is asked for."""
    wire, plan = shared_wire, shared_wire.approve()
    puppet = wire.puppet("borough-1")
    wire.begun(plan)
    grid = wire.grid(plan, ["borough-1"])
    message_id = grid._message_id(
        grid.create_message(RecordDict(), RELEASE, next(iter(grid.get_node_ids())), _group(0))
    )
    puppet.reply(message_id, b"an answer to what nobody asked")
    puppet.require_refused()
    grid, ids = mail(wire, plan, ["borough-1"])
    assert ids == {"borough-1": message_id}
    assert wire.mailbox.replies(ids.values()) == []
    puppet = wire.puppet("borough-1")
    assert puppet.delivery(message_id).message
    puppet.hang_up()


def test_borough_does_not_answer_for_another(shared_wire):
    wire, plan = shared_wire, shared_wire.approve()
    puppet = wire.puppet("borough-1")
    if "borough-2" in wire._agents:
        wire.leave("borough-2")
    grid, ids = mail(wire, plan, ["borough-2"])
    puppet.reply(ids["borough-2"], b"an answer in another's name")
    puppet.require_refused()
    assert wire.mailbox.replies(ids.values()) == []
    wire.join("borough-2")
    wait_until(wire, lambda: stored(wire, grid, ids))
