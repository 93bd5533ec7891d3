"""The node's stream: answers go out at fixed slots, and a broken stream is opened again."""

import math
import queue
import threading

import grpc
import pytest

from borough_node import agent as module
from borough_node.agent import Agent
from protocol.errors import MessageTooLarge, PeerUnreachable
from protocol.rpc.status import CODE_KEY
from protocol.rpc.v1 import federation_pb2


class Broken(grpc.RpcError):
    """A stream that the coordinator ended, with a code of ours or without one."""

    def __init__(self, code=None):
        self._code = code

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "gone"

    def trailing_metadata(self):
        return ((CODE_KEY, self._code),) if self._code else ()


class FakeChannel:
    """A channel whose stream delivers what the test puts in and keeps what the node sends, while it takes frames."""

    def __init__(self, deliveries, *, then=None, frames=()):
        self.sent = queue.Queue()
        self.closed = threading.Event()
        self.takes = threading.Event()
        self.takes.set()
        self._frames = iter(
            [
                *frames,
                *(
                    federation_pb2.CoordinatorFrame(delivery=federation_pb2.Delivery(message_id=str(n), message=one))
                    for n, one in enumerate(deliveries)
                ),
            ]
        )
        self._then = then

    def stream_stream(self, path, **_):
        assert path == "/custodes.rpc.v1.Federation/Connect"
        return self._connect

    def _connect(self, outgoing):
        threading.Thread(target=self._take, args=(outgoing,), daemon=True).start()
        return self

    def _take(self, outgoing):
        for frame in outgoing:
            self.takes.wait(20)
            self.sent.put(frame)

    def __iter__(self):
        return self

    def __next__(self):
        frame = next(self._frames, None)
        if frame is None and self._then is not None:
            raise self._then
        if frame is None:
            self.closed.wait(20)
            raise StopIteration
        return frame

    def is_active(self):
        return not self.closed.is_set()

    def close(self):
        self.closed.set()


class FakeTime:
    """A monotonic clock that only moves when work or waiting says so."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(
    ("work", "slot", "expected"),
    [(0.3, 1.0, 1.0), (1.0, 1.0, 1.0), (1.01, 1.0, 2.0), (7.9, 0.5, 8.0), (1e-9, 2.0, 2.0)],
)
def test_reply_leaves_at_a_multiple_of_the_slot_however_long_the_work_took(monkeypatch, work, slot, expected):
    clock = FakeTime()
    monkeypatch.setattr(module, "time", clock)

    def answer(message):
        clock.now += work
        return b"reply", slot

    node = Agent(lambda: None, answer, report=lambda code, detail: None)
    node._stopped.wait = lambda seconds: setattr(clock, "now", clock.now + seconds)
    frame = node._reply(federation_pb2.Delivery(message_id="m", message=b"message"))
    assert math.isclose(clock.now - 100.0, expected, abs_tol=1e-6)
    assert (frame.reply.message_id, frame.reply.message) == ("m", b"reply")


def run(node):
    thread = threading.Thread(target=node.run, daemon=True)
    thread.start()
    return thread


def test_node_says_hello_and_answers_deliveries_in_order():
    channel = FakeChannel([b"one", b"two"])
    node = Agent(lambda: channel, lambda message: (message.upper(), 1e-6), report=lambda code, detail: None)
    thread = run(node)
    frames = [channel.sent.get(timeout=20) for _ in range(3)]
    node.stop()
    thread.join(20)
    assert frames[0].hello.protocol_version == 1
    assert [(frame.reply.message_id, frame.reply.message) for frame in frames[1:]] == [("0", b"ONE"), ("1", b"TWO")]
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("code", "detail"), [(None, "gRPC status UNAVAILABLE: gone"), ("stream.invalid", "(said by the peer)")]
)
def test_broken_stream_is_reported_and_opened_again(monkeypatch, code, detail):
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.001)
    channels = [FakeChannel([], then=Broken(code)), FakeChannel([b"one"])]
    left, reports = list(channels), []
    node = Agent(
        lambda: left.pop(0), lambda message: (message, 1e-6), report=lambda code, detail: reports.append((code, detail))
    )
    thread = run(node)
    channels[1].sent.get(timeout=20)
    assert channels[1].sent.get(timeout=20).reply.message == b"one"
    node.stop()
    thread.join(20)
    assert reports == [(code or "peer.unreachable", detail)]
    assert all(channel.closed.is_set() for channel in channels)


def test_unreachable_coordinator_is_tried_again(monkeypatch):
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.001)
    channel, tries, reports = FakeChannel([]), [], []

    def connect():
        tries.append(1)
        if len(tries) < 4:
            raise PeerUnreachable("nobody listens")
        return channel

    node = Agent(connect, lambda message: (message, 1.0), report=lambda code, detail: reports.append(code))
    thread = run(node)
    assert channel.sent.get(timeout=20).HasField("hello")
    node.stop()
    thread.join(20)
    assert reports == ["peer.unreachable"] * 3


def quiet(code, detail):
    """Report to nobody."""


def test_frames_that_are_no_delivery_are_passed_over():
    empty = federation_pb2.CoordinatorFrame()
    unknown = federation_pb2.CoordinatorFrame.FromString(b"\x7a\x03abc")
    channel = FakeChannel([b"one"], frames=[empty, unknown])
    node = Agent(lambda: channel, lambda message: (message, 1e-6), report=quiet)
    thread = run(node)
    assert channel.sent.get(timeout=20).HasField("hello")
    assert channel.sent.get(timeout=20).reply.message == b"one"
    node.stop()
    thread.join(20)


def test_coordinator_that_takes_no_replies_does_not_make_the_node_pile_them_up():
    """It delivers and delivers. While hello is on its way one reply waits, one looks for room, and no third is made."""
    channel, answered, second = FakeChannel([b"x"] * 50), [], threading.Event()

    def answer(message):
        answered.append(message)
        if len(answered) == 2:
            second.set()
        return message, 1e-6

    channel.takes.clear()
    node = Agent(lambda: channel, answer, report=quiet)
    thread = run(node)
    assert second.wait(20)
    thread.join(0.1)
    assert len(answered) == 2
    channel.takes.set()
    assert [channel.sent.get(timeout=20) for _ in range(51)][-1].reply.message_id == "49"
    node.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_node_whose_stream_dies_while_replies_wait_opens_another(monkeypatch):
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.001)
    stuck, fresh = FakeChannel([b"x"] * 50), FakeChannel([b"one"])
    stuck.takes.clear()
    left = [stuck, fresh]
    node = Agent(lambda: left.pop(0), lambda message: (message, 1e-6), report=quiet)
    thread = run(node)
    thread.join(0.05)
    stuck.closed.set()
    assert fresh.sent.get(timeout=20).HasField("hello")
    assert fresh.sent.get(timeout=20).reply.message == b"one"
    node.stop()
    thread.join(20)
    stuck.takes.set()


def test_answer_that_the_wire_cannot_carry_is_reported_and_sent_as_no_message(monkeypatch):
    """Sent whole it would break the stream, and again after each delivery."""
    monkeypatch.setattr(module, "MAX_REQUEST_BYTES", module.MAX_FRAMING_BYTES + 100)
    channel, reports = FakeChannel([b"a" * 100, b"a" * 101]), []
    node = Agent(
        lambda: channel, lambda message: (message, 1e-6), report=lambda code, detail: reports.append((code, detail))
    )
    thread = run(node)
    frames = [channel.sent.get(timeout=20) for _ in range(3)]
    node.stop()
    thread.join(20)
    assert [frame.reply.message for frame in frames[1:]] == [b"a" * 100, b""]
    assert reports == [(MessageTooLarge.code, "an answer has 101 bytes")]


def test_node_that_is_stopped_before_its_slot_sends_nothing():
    """A reply that left when the node was stopped would tell how long its work took."""
    channel, answered = FakeChannel([b"one"]), threading.Event()

    def answer(message):
        answered.set()
        return message, 1000.0

    node = Agent(lambda: channel, answer, report=quiet)
    thread = run(node)
    assert channel.sent.get(timeout=20).HasField("hello")
    assert answered.wait(20)
    node.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert channel.sent.empty()


def test_node_that_is_stopped_while_it_connects_keeps_no_stream():
    """stop() closes the channel it sees; the one that is being opened must not outlive it."""
    channel = FakeChannel([])

    def connect():
        node.stop()
        return channel

    node = Agent(connect, lambda message: (message, 1.0), report=quiet)
    node.run()
    assert channel.closed.is_set()
    assert channel.sent.empty()
