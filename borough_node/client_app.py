"""The borough's Flower ClientApp: release requests and policies in, masked vectors and acknowledgements out."""

from __future__ import annotations

import os

# Before flwr is imported: a borough's closed network must see no telemetry and no update check.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

from borough_node.gate import Gate
from protocol.errors import ProtocolError, ReleaseUnavailable

UNAVAILABLE = 1
"""Flower error code of a node that does not answer; the reason stays in the borough."""

Report = Callable[[str, str], None]
"""Called with (error code, detail) for the operator's own log."""


def build_app(gate: Gate, raise_flags: Callable[[str], None]) -> ClientApp:
    """Return the app. ``raise_flags`` seals and submits the flags of a policy, given by digest."""
    app = ClientApp()

    @app.train("release")
    def release(message: Message, context: Context) -> Message:
        asked = message.content["request"]
        answer = gate.release(asked["request"], asked["tag_seed"])
        record = ConfigRecord({"statement": answer.statement, "vector": answer.vector})
        return Message(RecordDict({"answer": record}), reply_to=message)

    @app.query("flags")
    def flags(message: Message, context: Context) -> Message:
        raise_flags(message.content["request"]["policy"])
        return Message(RecordDict({"answer": ConfigRecord({"done": True})}), reply_to=message)

    return app


def answer_bytes(app: ClientApp, message_bytes: bytes, *, report: Report) -> bytes:
    """Return the serialised reply to a serialised Flower message.

    Whatever goes wrong, a peer reads ``release.unavailable`` and nothing else; ``report`` gets the cause.
    """
    message = message_from_proto(ProtoMessage.FromString(message_bytes))
    context = Context(run_id=message.metadata.run_id, node_id=0, node_config={}, state=RecordDict(), run_config={})
    try:
        reply = app(message, context)
    except ProtocolError as error:
        report(error.code, error.detail or error.public_message)
        reply = Message(Error(UNAVAILABLE, ReleaseUnavailable.public_message), reply_to=message)
    return bytes(message_to_proto(reply).SerializeToString())
