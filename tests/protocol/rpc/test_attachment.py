"""A vector before a Flower message: both come back whole, and whoever knows nothing of it reads the message."""

from __future__ import annotations

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import pytest
from flwr.proto.message_pb2 import Message as ProtoMessage
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedDocument
from protocol.rpc.attachment import FIELD, attach, detach

MESSAGE = ProtoMessage(metadata={"message_id": "m1", "run_id": 7}).SerializeToString()


@given(st.binary(max_size=300), st.integers(0, 20_000))
def test_message_and_vector_come_back(message, length):
    vector = bytes(length)
    found, view = detach(attach(message, vector))
    assert (found, bytes(view)) == (message, vector)


def test_vector_is_a_view_and_no_copy():
    whole = attach(MESSAGE, b"vector")
    _, view = detach(whole)
    assert view.obj is whole


def test_message_without_a_vector_is_what_it_was():
    assert detach(MESSAGE) == (MESSAGE, None)


@given(st.binary(max_size=300))
def test_whole_is_a_flower_message_to_whoever_knows_no_vectors(vector):
    parsed = ProtoMessage.FromString(attach(MESSAGE, vector))
    assert (parsed.metadata.message_id, parsed.metadata.run_id) == ("m1", 7)
    assert FIELD not in ProtoMessage.DESCRIPTOR.fields_by_number


@pytest.mark.parametrize(
    "content",
    [
        attach(b"", b"vector")[:-1],
        attach(b"", bytes(300))[:3],
        attach(b"", b"")[:2],
        attach(b"", b"")[:2] + b"\x80\x00",
        attach(b"", b"")[:2] + b"\xff" * 9,
    ],
    ids=["cut short", "cut in its length", "no length", "length with a superfluous byte", "endless length"],
)
def test_vector_that_is_not_whole_is_refused(content):
    with pytest.raises(MalformedDocument):
        detach(content)


@given(st.binary(max_size=40), st.booleans())
def test_bytes_of_any_kind_are_a_message_or_refused(content, has_tag):
    whole = attach(b"", b"")[:2] + content if has_tag else content
    try:
        message, vector = detach(whole)
    except MalformedDocument:
        return
    assert (message if vector is None else attach(message, bytes(vector))) == whole
