"""The borough's Flower ClientApp: release requests and policies in, masked vectors and acknowledgements out."""

from __future__ import annotations

import os

# Before flwr is imported: a borough's closed network must see no telemetry and no update check.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

from borough_node.gate import Gate
from protocol.errors import MalformedDocument, ProtocolError, ReleaseUnavailable
from protocol.rpc.attachment import attach

V = TypeVar("V", bytes, str)

RELEASE = "train.release"
FLAGS = "query.flags"

UNAVAILABLE = 1
"""Flower error code of a node that does not answer; the reason stays in the borough."""

Report = Callable[[str, str], None]
"""Called with (error code, detail) for the operator's own log."""


def build_app(gate: Gate, raise_flags: Callable[[str], None]) -> ClientApp:
    """Return the app. ``raise_flags`` seals and submits the flags of a policy, given by digest."""
    app = ClientApp()

    @app.train("release")
    def release(message: Message, context: Context) -> Message:
        tag_seed = _field(message, "tag_seed", str)
        if not re.fullmatch("[0-9a-f]{64}", tag_seed):
            raise MalformedDocument("message: field tag_seed")
        answer = gate.release(_field(message, "request", bytes), tag_seed)
        record = ConfigRecord({"statement": answer.statement, "vector": answer.vector})
        return Message(RecordDict({"answer": record}), reply_to=message)

    @app.query("flags")
    def flags(message: Message, context: Context) -> Message:
        raise_flags(_field(message, "policy", str))
        return Message(RecordDict({"answer": ConfigRecord({"done": True})}), reply_to=message)

    return app


def _field(message: Message, name: str, kind: type[V]) -> V:
    """Return a field of the coordinator's request. Raises: MalformedDocument if it is absent or of another type."""
    record = message.content.get("request") if message.has_content() else None
    value = record.get(name) if isinstance(record, ConfigRecord) else None
    if not isinstance(value, kind):
        raise MalformedDocument(f"message: field {name}")
    return value


def answer_bytes(app: ClientApp, message_bytes: bytes, *, report: Report) -> bytes:
    """Return the serialised reply to a serialised Flower message.

    Whatever goes wrong, a peer reads ``release.unavailable`` and nothing else; ``report`` gets the cause. Bytes that
    are no message get empty bytes: there is nothing to reply to, and the coordinator must not be able to end the node.
    """
    try:
        message = message_from_proto(ProtoMessage.FromString(message_bytes))
    except Exception:  # noqa: BLE001 - the border of the service; Flower's parser promises no kind of error
        report(MalformedDocument.code, "the delivery is not a Flower message")
        return b""
    context = Context(run_id=message.metadata.run_id, node_id=0, node_config={}, state=RecordDict(), run_config={})
    try:
        # Flower answers an unknown type with a ValueError, which is also what a bug of ours would raise.
        if message.metadata.message_type not in (RELEASE, FLAGS):
            raise MalformedDocument("message: field message_type")
        reply = app(message, context)
    except ProtocolError as error:
        report(error.code, error.detail or error.public_message)
        reply = Message(Error(UNAVAILABLE, ReleaseUnavailable.public_message), reply_to=message)
    except Exception as error:  # noqa: BLE001 - the border of the service
        # A fault of ours, or of a library on this borough's data. The message would be delivered again and again: the
        # node must survive it, and the text of the error, which may quote a record, goes nowhere.
        report("bug", f"{type(error).__name__} at {_place(error)}")
        reply = Message(Error(UNAVAILABLE, ReleaseUnavailable.public_message), reply_to=message)
    vector = reply.content.config_records["answer"].pop("vector", None) if reply.has_content() else None
    content = bytes(message_to_proto(reply).SerializeToString())
    return attach(content, vector) if isinstance(vector, bytes) else content


def _place(error: BaseException) -> str:
    """Return where an error was raised, as file and line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
