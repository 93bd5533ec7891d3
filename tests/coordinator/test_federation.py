"""The boroughs' stream: what waits goes out once a stream and again when it is asked again; what is no answer ends it."""

from __future__ import annotations

import datetime as dt
import queue
import threading
import time
import types

import grpc
import pytest

from coordinator.services import federation as module
from coordinator.services.federation import FederationService, Stream
from coordinator.store.database import Database
from coordinator.store.mail import Letter, Mailbox, Reply
from deploy.certificates import ForceCA
from protocol.errors import StorageError, StreamInvalid
from protocol.rpc.channel import CLIENT_OPTIONS, MAX_REQUEST_BYTES, TLSFiles, open_channel
from protocol.rpc.identity import Identity
from protocol.rpc.server import serve
from protocol.rpc.status import CODE_KEY
from protocol.rpc.v1 import federation_pb2, federation_pb2_grpc
from tests.world import FORCE, World

SOON = 4e9
PATIENCE_SECONDS = 20
PARTIES = ("coordinator", "borough-1", "borough-2")
UNLIMITED = tuple((name, -1 if "length" in name else value) for name, value in CLIENT_OPTIONS)


def hello(version=1):
    return federation_pb2.BoroughFrame(hello=federation_pb2.Hello(protocol_version=version))


def reply(message_id, message=b"reply"):
    return federation_pb2.BoroughFrame(reply=federation_pb2.Reply(message_id=message_id, message=message))


def letter(message_id, message=b"ask", borough="borough-1"):
    return Letter(message_id, borough, message, SOON)


def eventually(reached):
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def mailbox(tmp_path):
    database = Database(tmp_path / "c.sqlite")
    yield Mailbox(database)
    database.close()


# --- one stream, without a wire ---------------------------------------------------------------------------------


class Talk:
    """A stream whose borough says what a test puts, read in a thread as the service does it."""

    def __init__(self, mailbox):
        self._said = queue.SimpleQueue()
        self.pulled = 0
        self.cancelled = threading.Event()
        self.stream = Stream(mailbox, "borough-1", self.cancelled.set)
        self.deliveries = self.stream.deliver()
        self._thread = threading.Thread(target=self.stream.read, args=(self._frames(),), daemon=True)
        self._thread.start()

    def _frames(self):
        while (frame := self._said.get()) is not None:
            self.pulled += 1
            yield frame

    def say(self, *frames):
        for frame in frames:
            self._said.put(frame)

    def next(self):
        return next(self.deliveries).delivery

    def end(self):
        self.say(None)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture
def talk(mailbox):
    made = Talk(mailbox)
    yield made
    made.end()


def test_waiting_messages_are_delivered_in_order_and_once(mailbox, talk):
    mailbox.put([letter("m1", b"one"), letter("m2", b"two"), letter("m3", b"not theirs", "borough-2")])
    talk.say(hello())
    assert [talk.next().message for _ in range(2)] == [b"one", b"two"]
    mailbox.put([letter("m4", b"four")])
    assert talk.next().message == b"four"


def test_message_that_is_asked_again_after_an_error_is_delivered_again_on_the_same_stream(mailbox, talk):
    """A borough that could not answer for a moment must not wait for its stream to break."""
    mailbox.put([letter("m1", b"first time")])
    talk.say(hello())
    assert talk.next().message == b"first time"
    talk.say(reply("m1", b"an error"))
    eventually(lambda: mailbox.answered_among(["m1"]))
    mailbox.discard(["m1"])
    mailbox.put([letter("m1", b"second time")])
    assert talk.next().message == b"second time"


def test_message_that_is_pushed_again_while_the_borough_works_on_it_does_not_go_out_twice(mailbox, talk):
    mailbox.put([letter("m1")])
    talk.say(hello())
    assert talk.next().message_id == "m1"
    mailbox.put([letter("m1", b"renewed")])
    mailbox.put([letter("m2")])
    assert talk.next().message_id == "m2"


def test_unanswered_message_is_delivered_again_on_the_next_stream(mailbox, talk):
    mailbox.put([letter("m1"), letter("m2")])
    talk.say(hello())
    assert [talk.next().message_id for _ in range(2)] == ["m1", "m2"]
    talk.say(reply("m1"))
    eventually(lambda: mailbox.answered_among(["m1"]))
    again = Talk(mailbox)
    again.say(hello())
    assert again.next().message_id == "m2"
    again.end()


def test_nothing_is_delivered_before_the_borough_has_said_its_version(mailbox, talk, monkeypatch):
    monkeypatch.setattr(module, "HELLO_SECONDS", 0.01)
    mailbox.put([letter("m1")])
    with pytest.raises(StreamInvalid):
        talk.next()


@pytest.mark.parametrize(
    "first", [hello(version=2), reply("m1"), federation_pb2.BoroughFrame(), hello(version=0)], ids=str
)
def test_borough_that_begins_with_anything_but_its_version_is_refused(mailbox, talk, first):
    mailbox.put([letter("m1")])
    talk.say(first)
    with pytest.raises(StreamInvalid):
        talk.next()
    assert mailbox.answered_among(["m1"]) == set()


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(hello(), id="its version again"),
        pytest.param(federation_pb2.BoroughFrame(), id="a frame without content"),
        pytest.param(federation_pb2.BoroughFrame.FromString(b"\x7a\x03abc"), id="a frame of a field nobody knows"),
        pytest.param(reply("nobody-sent-this"), id="an answer to nothing"),
        pytest.param(reply(""), id="an answer without an id"),
        pytest.param(reply("m" * 100_000), id="an answer to an endless id"),
        pytest.param(reply("of-borough-2"), id="an answer in another's place"),
        pytest.param(reply("not-yet"), id="an answer to what it cannot have read"),
    ],
)
def test_borough_that_says_what_is_no_answer_ends_its_stream_and_changes_nothing(mailbox, talk, second):
    mailbox.put([letter("m1"), letter("of-borough-2", borough="borough-2")])
    talk.say(hello())
    assert talk.next().message_id == "m1"
    with mailbox._writing:  # Nothing of it may even reach the database.
        talk.say(second)
        with pytest.raises(StreamInvalid):
            talk.next()
    mailbox.put([letter("not-yet")])
    assert mailbox.answered_among(["m1", "of-borough-2", "not-yet", "nobody-sent-this", ""]) == set()
    assert [one.message_id for one in mailbox.pending("borough-2", now=0)] == ["of-borough-2"]


def test_borough_that_answers_twice_cannot_change_its_first_answer(mailbox, talk):
    mailbox.put([letter("m1")])
    talk.say(hello())
    talk.next()
    talk.say(reply("m1", b"first"), reply("m1", b"second"))
    with pytest.raises(StreamInvalid):
        talk.next()
    assert mailbox.replies(["m1"]) == [Reply("m1", "borough-1", b"first")]


def test_borough_that_floods_is_read_no_faster_than_its_replies_are_written(mailbox, talk):
    """What it sends beyond waits in its own socket, and not in the coordinator's memory."""
    mailbox.put([letter(f"m{n}") for n in range(9)])
    talk.say(hello())
    for _ in range(9):
        talk.next()
    with mailbox._writing:
        talk.say(*(reply(f"m{n}", bytes(1000)) for n in range(9)))
        eventually(lambda: talk.pulled == 2)
        assert len(mailbox._arrivals) == 1
        assert talk.pulled == 2
    eventually(lambda: len(mailbox.answered_among([f"m{n}" for n in range(9)])) == 9)


def test_reply_that_cannot_be_stored_ends_the_stream_with_the_reason(mailbox, talk, monkeypatch):
    def full(replies):
        raise StorageError("disk full")

    mailbox.put([letter("m1")])
    talk.say(hello())
    talk.next()
    monkeypatch.setattr(mailbox, "_commit", full)
    talk.say(reply("m1"))
    with pytest.raises(StorageError):
        talk.next()
    monkeypatch.undo()
    assert [one.message_id for one in mailbox.pending("borough-1", now=0)] == ["m1"]


class OverAlready:
    """A call that its client gave up before it was served."""

    def add_callback(self, callback):
        return False

    def cancel(self):
        raise AssertionError("there is nothing to cancel")


def test_call_that_is_over_before_it_is_served_holds_nothing(mailbox, monkeypatch):
    monkeypatch.setattr(module, "caller_of", lambda context, roster: roster)
    service = FederationService(mailbox, lambda: types.SimpleNamespace(id="borough-1"))
    mailbox.put([letter("m1")])
    assert list(service.Connect(iter([hello()]), OverAlready())) == []
    assert service.connected() == ()


# --- over mutual TLS --------------------------------------------------------------------------------------------


class Wire:
    """The service behind a real door, and boroughs that send what they like."""

    def __init__(self, folder, files, roster):
        self._files, self._roster = files, roster
        self.database = Database(folder / "c.sqlite")
        self.mailbox = Mailbox(self.database)
        self.service = FederationService(self.mailbox, lambda: roster)
        self.said = []
        self._server, port = serve(
            "127.0.0.1:0",
            files=files["coordinator"],
            roster=lambda: roster,
            report=lambda *said: self.said.append(said),
            register=lambda server: federation_pb2_grpc.add_FederationServicer_to_server(self.service, server),
            threads=6,
        )
        self.address = f"127.0.0.1:{port}"

    def channel(self, borough):
        server = self._roster.party("coordinator", "coordinator")
        return open_channel(self.address, server=server, roster=self._roster, files=self._files[borough])

    def unlimited_channel(self, borough):
        """A channel without our own limits: what an attacker would open."""
        files = self._files[borough]
        credentials = grpc.ssl_channel_credentials(
            files.ca.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes()
        )
        name = Identity(FORCE, "coordinator", "coordinator").hostname
        options = (*UNLIMITED, ("grpc.ssl_target_name_override", name))
        return grpc.secure_channel(self.address, credentials, options=options)

    def stop(self):
        self._server.stop(0).wait()
        self.database.close()


class Line:
    """One real stream: frames or raw bytes out, deliveries in."""

    def __init__(self, channel, compression=None):
        self._out = queue.SimpleQueue()
        method = channel.stream_stream(
            "/custodes.rpc.v1.Federation/Connect",
            request_serializer=lambda frame: frame if isinstance(frame, bytes) else frame.SerializeToString(),
            response_deserializer=federation_pb2.CoordinatorFrame.FromString,
        )
        self.call = method(iter(self._out.get, None), timeout=PATIENCE_SECONDS, compression=compression)

    def say(self, *frames):
        for frame in frames:
            self._out.put(frame)

    def next(self):
        return next(self.call).delivery

    def ending(self):
        """Return (gRPC status, our code) of the end of the stream."""
        with pytest.raises(grpc.RpcError) as raised:
            list(self.call)
        self._out.put(None)
        return raised.value.code(), dict(raised.value.trailing_metadata() or ()).get(CODE_KEY)


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """TLS files of today for a force's coordinator and two boroughs, and the roster that names them."""
    folder = tmp_path_factory.mktemp("certified")
    world = World.create(folder / "world")
    # TLS looks at the machine's clock, the world has its own.
    ca, files, keys = ForceCA(FORCE, now=dt.datetime.now(dt.UTC)), {}, {}
    (folder / "ca.pem").write_bytes(ca.certificate)
    for party in world.roster.parties:
        if party.id in PARTIES:
            certificate, key, keys[party.id] = ca.issue(Identity(FORCE, party.role, party.id))
            (folder / f"{party.id}.pem").write_bytes(certificate)
            (folder / f"{party.id}.key").write_bytes(key)
            files[party.id] = TLSFiles(folder / "ca.pem", folder / f"{party.id}.pem", folder / f"{party.id}.key")
    parties = tuple(one.model_copy(update={"tls_key": keys.get(one.id, one.tls_key)}) for one in world.roster.parties)
    world.close()
    return files, world.roster.model_copy(update={"parties": parties})


@pytest.fixture
def wire(tmp_path, certified):
    made = Wire(tmp_path, *certified)
    yield made
    made.stop()


def test_vector_of_a_million_entries_comes_through(wire):
    content = bytes(8_000_024)
    with wire.channel("borough-1") as channel:
        line = Line(channel)
        line.say(hello())
        wire.mailbox.put([letter("m1", content)])
        assert line.next().message == content
        line.say(reply("m1", content))
        eventually(lambda: wire.mailbox.answered_among(["m1"]))
    assert wire.mailbox.replies(["m1"])[0].content == content


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip], ids=["as it is", "compressed to almost nothing"])
def test_borough_that_sends_more_than_the_limit_is_cut_off(wire, compression):
    wire.mailbox.put([letter("m1")])
    with wire.unlimited_channel("borough-1") as channel:
        line = Line(channel, compression)
        line.say(hello())
        line.next()
        line.say(reply("m1", bytes(MAX_REQUEST_BYTES)))
        assert line.ending() == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)
    assert wire.mailbox.answered_among(["m1"]) == set()


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"\x12\xff", b"garbage", b"\x12\x04\x0a\x02\xff\xfe"])
def test_borough_that_sends_bytes_which_are_no_frame_ends_its_own_stream_only(wire, content):
    wire.mailbox.put([letter("m1"), letter("m2", borough="borough-2")])
    with wire.channel("borough-1") as bad, wire.channel("borough-2") as good:
        other, line = Line(good), Line(bad)
        other.say(hello())
        assert other.next().message_id == "m2"
        line.say(hello())
        line.next()
        line.say(content)
        line.ending()
        other.say(reply("m2"))
        eventually(lambda: wire.mailbox.answered_among(["m1", "m2"]) == {"m2"})
        again = Line(bad)
        again.say(hello())
        assert again.next().message_id == "m1"


def test_borough_that_answers_what_nobody_asked_learns_the_code_and_is_named_in_our_log(wire):
    with wire.channel("borough-1") as channel:
        line = Line(channel)
        line.say(hello(), reply("made-up"))
        assert line.ending() == (grpc.StatusCode.INVALID_ARGUMENT, StreamInvalid.code)
    assert [(code, "borough-1" in detail) for _, code, detail in wire.said] == [(StreamInvalid.code, True)]


def test_borough_that_opens_stream_after_stream_holds_one(wire):
    """Each stream holds a thread of the server, which has six: the earlier ones must end at once, unread or not."""
    wire.mailbox.put([letter("m1", bytes(8_000_000))])
    with wire.channel("borough-1") as channel, wire.channel("borough-2") as other:
        lines = [Line(channel) for _ in range(20)]
        for line in lines:
            line.say(hello())
        # The server's threads take the calls in any order; whichever it took last stays.
        eventually(lambda: sum(line.call.is_active() for line in lines) == 1)
        (left,) = (line for line in lines if line.call.is_active())
        assert {line.call.code() for line in lines if line is not left} == {grpc.StatusCode.CANCELLED}
        assert left.next().message_id == "m1"
        theirs = Line(other)
        theirs.say(hello())
        wire.mailbox.put([letter("m2", borough="borough-2")])
        assert theirs.next().message_id == "m2"
        assert wire.service.connected() == ("borough-1", "borough-2")
        left.call.cancel()
        eventually(lambda: wire.service.connected() == ("borough-2",))
