"""The node's one connection: a stream to the coordinator, opened again whenever it breaks.

Replies leave at a multiple of the plan's slot after the message arrived, never when the work is done: how long a
borough computes says something about its rows.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator

import grpc

from protocol.errors import ProtocolError
from protocol.rpc.v1 import federation_pb2, federation_pb2_grpc

PROTOCOL_VERSION = 1
RECONNECT_SECONDS = 0.5

Answer = Callable[[bytes], tuple[bytes, float]]
"""Maps a serialised message to (serialised reply, slot in seconds)."""


class Agent:
    """Answers deliveries one at a time until stopped."""

    def __init__(
        self, connect: Callable[[], grpc.Channel], answer: Answer, *, report: Callable[[str, str], None]
    ) -> None:
        self._connect = connect
        self._answer = answer
        self._report = report
        self._stopped = threading.Event()
        self._channel: grpc.Channel | None = None

    def stop(self) -> None:
        """End the stream and the loop."""
        self._stopped.set()
        if self._channel is not None:
            self._channel.close()

    def run(self) -> None:
        """Serve until stopped; a broken stream is opened again."""
        while not self._stopped.is_set():
            try:
                self._channel = self._connect()
                self._serve(self._channel)
            except grpc.RpcError as error:
                if not self._stopped.is_set():
                    self._report("stream.broken", error.code().name)
            except ProtocolError as error:
                self._report(error.code, error.detail)
            except ValueError:
                # gRPC's answer to using a channel that stop() has just closed.
                if not self._stopped.is_set():
                    raise
            self._stopped.wait(RECONNECT_SECONDS)

    def _serve(self, channel: grpc.Channel) -> None:
        frames: queue.SimpleQueue[federation_pb2.BoroughFrame | None] = queue.SimpleQueue()
        frames.put(federation_pb2.BoroughFrame(hello=federation_pb2.Hello(protocol_version=PROTOCOL_VERSION)))

        def outgoing() -> Iterator[federation_pb2.BoroughFrame]:
            while (frame := frames.get()) is not None:
                yield frame

        try:
            for incoming in federation_pb2_grpc.FederationStub(channel).Connect(outgoing()):
                if incoming.WhichOneof("frame") == "delivery":
                    frames.put(self._reply(incoming.delivery))
        finally:
            frames.put(None)
            channel.close()

    def _reply(self, delivery: federation_pb2.Delivery) -> federation_pb2.BoroughFrame:
        arrived = time.monotonic()
        message, slot_seconds = self._answer(delivery.message)
        elapsed = time.monotonic() - arrived
        self._stopped.wait(math.ceil(elapsed / slot_seconds) * slot_seconds - elapsed)
        return federation_pb2.BoroughFrame(reply=federation_pb2.Reply(message_id=delivery.message_id, message=message))
