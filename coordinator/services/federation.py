"""The boroughs' stream: what waits for a borough goes out once a stream, what it answers goes to disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import grpc

from coordinator.store.mail import Letter, Mailbox
from protocol.documents.roster import Roster
from protocol.ids import PartyId
from protocol.rpc.server import caller_of
from protocol.rpc.v1 import federation_pb2, federation_pb2_grpc

IDLE_SECONDS = 1.0
PROTOCOL_VERSION = 1


class FederationService(federation_pb2_grpc.FederationServicer):
    """One stream per borough; a new stream ends the borough's earlier one."""

    def __init__(self, mailbox: Mailbox, roster: Callable[[], Roster], report: Callable[[str, str], None]) -> None:
        self._mailbox = mailbox
        self._report = report
        self._roster = roster
        self._current: dict[PartyId, threading.Event] = {}
        self._lock = threading.Lock()

    def connected(self) -> tuple[PartyId, ...]:
        """Return the boroughs with an open stream."""
        with self._lock:
            return tuple(sorted(self._current))

    def Connect(
        self, request_iterator: Iterator[federation_pb2.BoroughFrame], context: grpc.ServicerContext
    ) -> Iterator[federation_pb2.CoordinatorFrame]:
        """Serve one borough until its stream ends."""
        borough = caller_of(context, self._roster()).id
        ended = threading.Event()
        with self._lock:
            earlier = self._current.pop(borough, None)
            self._current[borough] = ended
        if earlier is not None:
            earlier.set()
        context.add_callback(lambda: self._end(borough, ended))
        reader = threading.Thread(target=self._read, args=(request_iterator, borough, ended), daemon=True)
        reader.start()
        try:
            yield from self._deliver(borough, ended)
        finally:
            with self._lock:
                if self._current.get(borough) is ended:
                    del self._current[borough]

    def _end(self, borough: PartyId, ended: threading.Event) -> None:
        ended.set()
        self._mailbox.wake(borough)

    def _read(self, frames: Iterator[federation_pb2.BoroughFrame], borough: PartyId, ended: threading.Event) -> None:
        try:
            for frame in frames:
                if frame.WhichOneof("frame") == "hello" and frame.hello.protocol_version != PROTOCOL_VERSION:
                    self._report("stream.version", f"borough {borough} speaks version {frame.hello.protocol_version}")
                    return
                if frame.WhichOneof("frame") == "reply":
                    self._mailbox.store_reply(frame.reply.message_id, borough, frame.reply.message)
        except grpc.RpcError:
            # The borough went away; what it had not answered is delivered again on its next stream.
            pass
        finally:
            self._end(borough, ended)

    def _deliver(self, borough: PartyId, ended: threading.Event) -> Iterator[federation_pb2.CoordinatorFrame]:
        # Whole letters, not ids: one that was answered with an error and is asked again has the same id.
        sent: set[Letter] = set()
        while not ended.is_set():
            pending = self._mailbox.pending(borough, now=time.time())
            sent.intersection_update(pending)
            for letter in pending:
                if letter not in sent:
                    sent.add(letter)
                    delivery = federation_pb2.Delivery(message_id=letter.message_id, message=letter.message)
                    yield federation_pb2.CoordinatorFrame(delivery=delivery)
            waiting = self._mailbox.waiting(borough)
            with waiting:
                waiting.wait(IDLE_SECONDS)
