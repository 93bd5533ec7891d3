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

from protocol.errors import MessageTooLarge, ProtocolError
from protocol.rpc.channel import MAX_FRAMING_BYTES, MAX_REQUEST_BYTES
from protocol.rpc.status import from_rpc_error
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
                channel = self._channel = self._connect()
                if self._stopped.is_set():
                    channel.close()  # stop() came in between and closed the one before.
                    return
                self._serve(channel)
            except grpc.RpcError as error:
                if not self._stopped.is_set():
                    refused = from_rpc_error(error)
                    self._report(refused.code, refused.detail)
            except ProtocolError as error:
                self._report(error.code, error.detail)
            except ValueError:
                # gRPC's answer to using a channel that stop() has just closed.
                if not self._stopped.is_set():
                    raise
            self._stopped.wait(RECONNECT_SECONDS)

    def _serve(self, channel: grpc.Channel) -> None:
        frames: queue.SimpleQueue[federation_pb2.BoroughFrame | None] = queue.SimpleQueue()
        # A coordinator that takes no replies must not make the node pile them up: one may wait to be sent.
        room = threading.Semaphore(1)

        def outgoing() -> Iterator[federation_pb2.BoroughFrame]:
            yield federation_pb2.BoroughFrame(hello=federation_pb2.Hello(protocol_version=PROTOCOL_VERSION))
            while (frame := frames.get()) is not None:
                yield frame
                room.release()

        try:
            call = federation_pb2_grpc.FederationStub(channel).Connect(outgoing())
            for incoming in call:
                if incoming.WhichOneof("frame") == "delivery":
                    reply = self._reply(incoming.delivery)
                    while not room.acquire(timeout=RECONNECT_SECONDS):
                        if not call.is_active():
                            return
                    if self._stopped.is_set():
                        return  # Woken before its slot, the reply would tell how long the work took.
                    frames.put(reply)
        finally:
            frames.put(None)
            channel.close()

    def _reply(self, delivery: federation_pb2.Delivery) -> federation_pb2.BoroughFrame:
        arrived = time.monotonic()
        message, slot_seconds = self._answer(delivery.message)
        if len(message) > MAX_REQUEST_BYTES - MAX_FRAMING_BYTES:
            # Sent, it would break the stream, and again after each delivery. Empty bytes are no message.
            self._report(MessageTooLarge.code, f"an answer has {len(message)} bytes")
            message = b""
        elapsed = time.monotonic() - arrived
        self._stopped.wait(math.ceil(elapsed / slot_seconds) * slot_seconds - elapsed)
        return federation_pb2.BoroughFrame(reply=federation_pb2.Reply(message_id=delivery.message_id, message=message))
