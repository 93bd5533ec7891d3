"""The node's stream: answers go out at fixed slots, and a broken stream is opened again."""

import math
import queue
import threading

import grpc
import pytest

from borough_node import agent as module
from borough_node.agent import Agent
from protocol.errors import PeerUnreachable
from protocol.rpc.v1 import federation_pb2


class Broken(grpc.RpcError):
    """A stream that ended."""

    def code(self):
        return grpc.StatusCode.UNAVAILABLE


class FakeChannel:
    """A channel whose stream delivers what the test puts in and keeps what the node sends."""

    def __init__(self, deliveries, *, then=None):
        self.sent = queue.Queue()
        self.closed = threading.Event()
        self._deliveries = deliveries
        self._then = then

    def stream_stream(self, path, **_):
        assert path == "/custodes.rpc.v1.Federation/Connect"
        return self._connect

    def _connect(self, outgoing):
        threading.Thread(target=lambda: [self.sent.put(frame) for frame in outgoing], daemon=True).start()
        for number, message in enumerate(self._deliveries):
            delivery = federation_pb2.Delivery(message_id=str(number), message=message)
            yield federation_pb2.CoordinatorFrame(delivery=delivery)
        if self._then is not None:
            raise self._then
        self.closed.wait(20)

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


def test_broken_stream_is_reported_and_opened_again(monkeypatch):
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.001)
    channels = [FakeChannel([], then=Broken()), FakeChannel([b"one"])]
    left, reports = list(channels), []
    node = Agent(
        lambda: left.pop(0), lambda message: (message, 1e-6), report=lambda code, detail: reports.append((code, detail))
    )
    thread = run(node)
    channels[1].sent.get(timeout=20)
    assert channels[1].sent.get(timeout=20).reply.message == b"one"
    node.stop()
    thread.join(20)
    assert reports == [("stream.broken", "UNAVAILABLE")]
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
