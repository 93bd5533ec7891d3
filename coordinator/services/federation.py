"""The boroughs' stream: what waits for a borough goes out once a stream, what it answers goes to disk.

Rules this module keeps: a borough says its version first, then answers what this stream has delivered, each message once;
a stream on which anything else is said ends with ``stream.invalid``. Nothing of a reply is held before its commit but
the reply itself, and a stream reads its next one after that: what boroughs send at once is at most one message each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import grpc

from coordinator.store.mail import Bell, Letter, Mailbox, Reply
from protocol.documents.roster import Party, Roster
from protocol.errors import ProtocolError, StreamInvalid
from protocol.ids import PartyId
from protocol.rpc.server import caller_of
from protocol.rpc.v1 import federation_pb2, federation_pb2_grpc

HELLO_SECONDS = 20.0
PROTOCOL_VERSION = 1


class Stream:
    """One stream of one borough: a thread that reads, and the call's own that delivers."""

    def __init__(self, mailbox: Mailbox, borough: PartyId, cancel: Callable[[], object]) -> None:
        self._mailbox = mailbox
        self._borough = borough
        self._cancel = cancel
        self._posted: Bell = mailbox.posted(borough)
        self._greeted = threading.Event()
        self._ended = threading.Event()
        # On this stream and not yet answered. A message that was answered and is asked again goes out again.
        self._delivered: set[str] = set()
        self._refused: ProtocolError | None = None

    @property
    def is_open(self) -> bool:
        """Whether the borough has said its version and may be sent to."""
        return self._greeted.is_set() and not self._ended.is_set()

    def end(self) -> None:
        """Let reading and delivering end."""
        self._ended.set()
        self._greeted.set()
        self._posted.ring()

    def cancel(self) -> None:
        """End the call at once, also if the borough takes nothing that is sent to it; the borough sees why."""
        self._cancel()
        self.end()

    def read(self, frames: Iterator[federation_pb2.BoroughFrame]) -> None:
        """Store replies until the stream ends."""
        try:
            self._greet(next(frames, None))
            # Without a name of its own here: a stream that waits for its next frame must not hold its last one.
            while self._store(next(frames, None)):
                pass
        except grpc.RpcError:
            # The borough went away; what it had not answered is delivered again on its next stream.
            pass
        except ProtocolError as error:
            self._refused = error
        finally:
            self.end()

    def _greet(self, frame: federation_pb2.BoroughFrame | None) -> None:
        if frame is None:
            return
        if frame.WhichOneof("frame") != "hello" or frame.hello.protocol_version != PROTOCOL_VERSION:
            raise StreamInvalid(f"borough {self._borough} did not begin with version {PROTOCOL_VERSION}")
        self._greeted.set()

    def _store(self, frame: federation_pb2.BoroughFrame | None) -> bool:
        """Store a reply and return whether to go on."""
        if frame is None:
            return False
        if frame.WhichOneof("frame") != "reply":
            raise StreamInvalid(f"borough {self._borough} sent something that is no reply")
        if frame.reply.message_id not in self._delivered:
            raise StreamInvalid(f"borough {self._borough} answered what this stream had not delivered")
        self._mailbox.store_reply(Reply(frame.reply.message_id, self._borough, frame.reply.message))
        # After the commit: before it, the message would look as if it had to be delivered again.
        self._delivered.discard(frame.reply.message_id)
        return True

    def deliver(self) -> Iterator[federation_pb2.CoordinatorFrame]:
        """Yield what waits for the borough, until the stream ends. Raises: StreamInvalid, or what storing raised."""
        if not self._greeted.wait(HELLO_SECONDS):
            raise StreamInvalid(f"borough {self._borough} said nothing for {HELLO_SECONDS:.0f} s")
        while not self._ended.is_set():
            heard = self._posted.rings
            letters = self._mailbox.pending(self._borough, now=time.time(), delivered=tuple(self._delivered))
            while letters:
                yield self._delivery(letters.pop(0))
            self._posted.wait(heard)
        if self._refused is not None:
            raise self._refused

    def _delivery(self, letter: Letter) -> federation_pb2.CoordinatorFrame:
        self._delivered.add(letter.message_id)
        frame = federation_pb2.CoordinatorFrame()
        frame.delivery.message_id, frame.delivery.message = letter.message_id, letter.message
        return frame


class FederationService(federation_pb2_grpc.FederationServicer):
    """One stream per borough; a new stream ends the borough's earlier one."""

    def __init__(self, mailbox: Mailbox, roster: Callable[[], Roster]) -> None:
        self._mailbox = mailbox
        self._roster = roster
        self._current: dict[PartyId, tuple[Party, Stream]] = {}
        """Each borough's stream, and the borough as the roster named it when the stream was opened."""
        self._lock = threading.Lock()

    def connected(self) -> tuple[PartyId, ...]:
        """Return the boroughs with an open stream."""
        with self._lock:
            return tuple(sorted(borough for borough, (_, stream) in self._current.items() if stream.is_open))

    def admit_only(self, roster: Roster) -> None:
        """End the streams of boroughs that a new roster does not name, or names with another TLS key."""
        named = roster.by_id.get("borough", {})
        with self._lock:
            current = list(self._current.values())
        for admitted, stream in current:
            entry = named.get(admitted.id)
            if entry is None or entry.tls_key != admitted.tls_key:
                stream.cancel()

    def Connect(
        self, request_iterator: Iterator[federation_pb2.BoroughFrame], context: grpc.ServicerContext
    ) -> Iterator[federation_pb2.CoordinatorFrame]:
        """Serve one borough until its stream ends. Raises: PeerNotInRoster, StreamInvalid, StorageError."""
        party = caller_of(context, self._roster())
        borough, stream = party.id, Stream(self._mailbox, party.id, context.cancel)
        with self._lock:
            earlier = self._current.get(borough)
            self._current[borough] = (party, stream)
        if earlier is not None:
            earlier[1].cancel()
        if not context.add_callback(stream.end):
            stream.end()
        threading.Thread(target=stream.read, args=(request_iterator,), daemon=True).start()
        try:
            # The roster may have changed after the door was passed and before the stream could be found to be ended.
            caller_of(context, self._roster())
            yield from stream.deliver()
        finally:
            stream.end()
            with self._lock:
                if self._current.get(borough) == (party, stream):
                    del self._current[borough]
