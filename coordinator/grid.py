"""Flower's Grid over our own wire: one gRPC stream per borough, messages and replies on disk.

A message id is a hash of run, destination, group and type, so a coordinator that starts again and pushes the same
message finds the reply that has already arrived. A message without a group, as Flower's own strategies send them, has
a random id: two rounds of FedAvg differ in nothing else that could name them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time

# Before flwr is imported: a coordinator sends no telemetry and asks for no updates.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

from collections.abc import Callable, Iterable, Iterator

from flwr.app import DEFAULT_TTL, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from coordinator.store.mail import Letter, Mailbox, Reply
from protocol.errors import MessageTooLarge
from protocol.ids import PartyId
from protocol.rpc.attachment import detach
from protocol.rpc.channel import MAX_ANSWER_BYTES, MAX_FRAMING_BYTES

SERVER_NODE_ID = 1

# Flower's ``Message`` constructor, which its strategies use, reads the run from the process and refuses if there is
# none. One process runs several plans at once, so what it reads is nobody's, and a grid writes its own run instead.
TaskIdentity.run_id = 0
TaskIdentity.node_id = SERVER_NODE_ID
TaskIdentity.task_id = SERVER_NODE_ID

Progress = Callable[[int, int], None]
"""Called with (replies so far, messages sent)."""


def node_id(borough: PartyId) -> int:
    """Return the Flower node id of a borough: 63 bits of a hash of its roster id, never the server's own."""
    return int.from_bytes(hashlib.sha256(b"custodes/node/" + borough.encode()).digest()[:8]) >> 1 | 2


class GrpcGrid(Grid):
    """A Grid whose nodes are the boroughs of one plan."""

    def __init__(self, mailbox: Mailbox, boroughs: Iterable[PartyId], *, on_progress: Progress) -> None:
        self._mailbox = mailbox
        self._boroughs = {node_id(borough): borough for borough in boroughs}
        self._on_progress = on_progress
        self._run = Run.create_empty(0)

    def set_run(self, run: Run) -> None:
        """Set the run of every message that is pushed from here on."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message of this run."""
        return make_message(
            Metadata(
                run_id=self._run.run_id,
                message_id="",
                src_node_id=SERVER_NODE_ID,
                dst_node_id=dst_node_id,
                reply_to_message_id="",
                group_id=group_id,
                created_at=time.time(),
                ttl=ttl or DEFAULT_TTL,
                message_type=message_type,
            ),
            content,
        )

    def get_node_ids(self) -> Iterable[int]:
        """Return the node ids of the plan's boroughs; whether each is connected is not known to Flower."""
        return list(self._boroughs)

    def borough_of(self, node: int) -> PartyId:
        """Return the borough behind a node id."""
        return self._boroughs[node]

    def _message_id(self, message: Message) -> str:
        facts = message.metadata
        if not facts.group_id:
            return secrets.token_hex(16)
        parts = (str(self._run.run_id), str(facts.dst_node_id), facts.group_id, facts.message_type)
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Store messages for delivery and return their ids; an answer that was an error is asked for again.

        Raises: MessageTooLarge if one could not be delivered; then none is stored.
        """
        letters = []
        for message in messages:
            facts = message.metadata
            facts.__dict__["_run_id"] = self._run.run_id
            facts.__dict__["_message_id"] = self._message_id(message)
            content = message_to_proto(message).SerializeToString()
            if len(content) > MAX_ANSWER_BYTES - MAX_FRAMING_BYTES:
                raise MessageTooLarge(f"a {facts.message_type} message has {len(content)} bytes")
            borough = self._boroughs[facts.dst_node_id]
            letters.append(Letter(facts.message_id, borough, content, facts.created_at + facts.ttl))
        ids = [letter.message_id for letter in letters]
        answered = self._mailbox.answered_among(ids)
        replies = self._each_reply(answered)
        good = {reply.metadata.reply_to_message_id for reply, _ in replies if not reply.has_error()}
        if answered > good:
            self._mailbox.discard(answered - good)
        self._mailbox.put(letters)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have arrived and are messages.

        Whatever a reply itself claims, it is of this run, answers the message that it was stored for, and is from the
        borough that this message went to.
        """
        parsed = (self._parsed(reply) for reply in self._mailbox.replies(list(message_ids)))
        return [found[0] for found in parsed if found is not None]

    def _parsed(self, reply: Reply) -> tuple[Message, memoryview | None] | None:
        """Return a reply as a message and the vector that came with it, if one did.

        None for anything else: a borough that sends it has not answered, and stops nobody.
        """
        try:
            content, vector = detach(reply.content)
            proto = ProtoMessage.FromString(content)
            if len({item.key for item in proto.content.items}) < len(proto.content.items):
                return None  # Flower would take it and write a warning for every record, in the borough's words.
            message = message_from_proto(proto)
        except Exception:  # noqa: BLE001 - Flower's parser promises no kind of error
            return None
        message.metadata.__dict__.update(
            _run_id=self._run.run_id, _src_node_id=node_id(reply.borough), _reply_to_message_id=reply.message_id
        )
        return message, vector

    def _each_reply(self, message_ids: Iterable[str]) -> Iterator[tuple[Message, memoryview | None]]:
        """Read and yield one reply at a time, with the vector that came with it."""
        for message_id in sorted(message_ids):
            for reply in self._mailbox.replies([message_id]):
                if (parsed := self._parsed(reply)) is not None:
                    yield parsed

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push messages and return the replies that arrive within ``timeout`` seconds. Raises: as ``push_messages``."""
        ids = list(self.push_messages(messages))
        for _ in self._arrivals(ids, timeout):
            pass
        return self.pull_messages(ids)

    def receive_each(
        self, messages: Iterable[Message], *, timeout: float
    ) -> Iterator[tuple[Message, memoryview | None]]:
        """Push messages and yield each reply once it has arrived, until all have or ``timeout`` seconds are over.

        With each comes the vector that its borough attached: megabytes, so one reply is in memory at a time.
        Raises: as ``push_messages``.
        """
        for arrived in self._arrivals(list(self.push_messages(messages)), timeout):
            yield from self._each_reply(arrived)

    def _arrivals(self, ids: list[str], timeout: float | None) -> Iterator[set[str]]:
        """Yield the ids of messages whose replies have arrived since the last time, until all have or time is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        missing = set(ids)
        while True:
            heard = self._mailbox.answered.rings
            arrived = self._mailbox.answered_among(missing)
            missing -= arrived
            self._on_progress(len(ids) - len(missing), len(ids))
            yield arrived
            left = None if deadline is None else deadline - time.monotonic()
            if not missing or (left is not None and left <= 0):
                return
            self._mailbox.answered.wait(heard, left)

    def forget(self, group_id: str, message_type: str) -> None:
        """Delete a group's messages and replies: masked vectors do not outlive their release."""
        probe = [self.create_message(RecordDict(), message_type, node, group_id) for node in self._boroughs]
        self._mailbox.discard([self._message_id(message) for message in probe])
