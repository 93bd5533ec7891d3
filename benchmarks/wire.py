"""One request and one reply a node, as Flower serialises them, in one process: bytes counted, no network.

Both systems use it. Counted is the serialised protobuf ``Message`` each way; gRPC and TLS framing are not, and neither
is Flower's own transport, which splits a message into objects and hashes each (it would add to SecAgg+ alone).
"""

from __future__ import annotations

import os

# Before flwr is imported: a benchmark sends no telemetry either.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from flwr.app import Message
from flwr.common.serde import message_to_proto

from benchmarks.meter import Meter

CLIENT = "client"
EVICTED_BYTES = 64 << 20
"""Read before each client's turn: twice the last-level cache of the machine that docs/benchmarks.md was measured on."""

Node = Callable[[bytes], bytes]
"""Answers a serialised message; empty bytes are no answer."""


class Wire:
    """Delivers messages to nodes one after the other."""

    def __init__(self, nodes: Mapping[int, Node], meter: Meter) -> None:
        self._nodes, self._meter = nodes, meter
        self._evicting = np.ones(EVICTED_BYTES // 8)
        self.up = self.down = self.exchanges = 0

    def exchange(self, messages: Iterable[Message]) -> Iterator[tuple[int, bytes]]:
        """Yield the replies that come, each with its node; to parse them is the caller's.

        What a node does is booked to the clients, the rest to whoever calls.
        """
        self.exchanges += 1
        for message in messages:
            content = message_to_proto(message).SerializeToString()
            self.down += len(content)
            with self._meter.account("harness"):
                # A client is another machine: it finds no caches warm from the client before it.
                self._evicting.sum()
            with self._meter.account(CLIENT):
                answer = self._nodes[message.metadata.dst_node_id](content)
            self.up += len(answer)
            if answer:
                yield message.metadata.dst_node_id, answer
