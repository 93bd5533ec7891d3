"""One borough of the exchange benchmark: the product's agent and a Flower ClientApp, without records and without a gate.

``python -m benchmarks.exchange_node SETTINGS`` answers until it is terminated.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

from borough_node.agent import Agent
from borough_node.settings import NodeSettings
from protocol.rpc.channel import open_channel
from protocol.rpc.party import Party

app = ClientApp()


@app.query("echo")
def echo(message: Message, context: Context) -> Message:
    """Answer with what was asked."""
    payload = message.content.config_records["request"]["payload"]
    return Message(RecordDict({"answer": ConfigRecord({"payload": payload})}), reply_to=message)


def answer(message_bytes: bytes) -> bytes:
    """Return the serialised reply to a serialised Flower message, as the product's node makes it."""
    message = message_from_proto(ProtoMessage.FromString(message_bytes))
    run_id = message.metadata.run_id
    context = Context(run_id=run_id, node_id=0, node_config={}, state=RecordDict(), run_config={})
    return bytes(message_to_proto(app(message, context)).SerializeToString())


def main() -> None:
    """Answer until terminated."""
    settings = NodeSettings.load(Path(sys.argv[1]))
    roster = Party.open(settings).roster
    server = roster.with_role("coordinator")[0]
    agent = Agent(
        lambda: open_channel(settings.coordinator, server=server, roster=roster, files=settings.tls()),
        lambda message: (answer(message), settings.reply_slot_seconds),
        report=lambda code, detail: print(f"{settings.id}: {code}: {detail}", file=sys.stderr),
    )
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    stopped.wait()
    agent.stop()
    thread.join(5)


if __name__ == "__main__":
    main()
