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

from collections.abc import Callable, Iterable

from flwr.app import DEFAULT_TTL, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from coordinator.store.mail import Mailbox
from protocol.ids import PartyId

SERVER_NODE_ID = 1
POLL_SECONDS = 0.25

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
        self._destinations: dict[str, int] = {}

    def set_run(self, run: Run) -> None:
        """Set the run, and the process identity that Flower's own ``Message`` constructor asks for."""
        self._run = run
        TaskIdentity.run_id = run.run_id
        TaskIdentity.node_id = SERVER_NODE_ID
        TaskIdentity.task_id = SERVER_NODE_ID

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
        parts = (str(facts.run_id), str(facts.dst_node_id), facts.group_id, facts.message_type)
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Store messages for delivery and return their ids; an answer that was an error is asked for again."""
        ids = []
        for message in messages:
            message_id = self._message_id(message)
            self._destinations[message_id] = message.metadata.dst_node_id
            stored = self._mailbox.replies([message_id])
            if stored and all(reply.has_error() for reply in self._parsed(stored)):
                self._mailbox.discard([message_id])
            message.metadata.__dict__["_message_id"] = message_id
            facts = message.metadata
            self._mailbox.put(
                message_id,
                self._boroughs[facts.dst_node_id],
                message_to_proto(message).SerializeToString(),
                expires_at=facts.created_at + facts.ttl,
            )
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have arrived."""
        return self._parsed(self._mailbox.replies(message_ids))

    def _parsed(self, replies: dict[str, bytes]) -> list[Message]:
        """Return well-formed replies, each under the node that the message went to, whatever the reply itself claims."""
        messages = []
        for message_id, content in replies.items():
            try:
                message = message_from_proto(ProtoMessage.FromString(content))
            except Exception:  # noqa: BLE001 - Flower's parser promises no kind of error
                # A borough that sends bytes which are no message has not answered; it must not stop the others.
                continue
            message.metadata.__dict__["_src_node_id"] = self._destinations[message_id]
            messages.append(message)
        return messages

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push messages and return the replies that arrive within ``timeout`` seconds."""
        ids = list(self.push_messages(messages))
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._mailbox.answered:
            while True:
                arrived = len(self._mailbox.replies(ids))
                self._on_progress(arrived, len(ids))
                left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
                if arrived == len(ids) or left <= 0:
                    break
                self._mailbox.answered.wait(left)
        return self.pull_messages(ids)

    def forget(self, group_id: str, message_type: str) -> None:
        """Delete a group's messages and replies: masked vectors do not outlive their release."""
        probe = [self.create_message(RecordDict(), message_type, node, group_id) for node in self._boroughs]
        self._mailbox.discard([self._message_id(message) for message in probe])
