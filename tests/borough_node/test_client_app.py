"""The borough's Flower app: requests reach the gate, and a peer learns nothing about a refusal."""

import os

import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.run import Run

from borough_node.client_app import UNAVAILABLE, answer_bytes, build_app
from borough_node.ledger import Answer
from coordinator.grid import GrpcGrid, node_id
from coordinator.store.mail import Mailbox
from protocol.errors import BudgetExceeded, ProtocolError, ReleaseUnavailable
from protocol.rpc.attachment import detach


class FakeGate:
    """A gate that answers, or refuses with a telling detail."""

    def __init__(self, error: ProtocolError | None = None) -> None:
        self.error = error
        self.asked = []

    def release(self, request, tag_seed):
        self.asked.append((request, tag_seed))
        if self.error is not None:
            raise self.error
        return Answer("a" * 64, b"statement", b"vector")


@pytest.fixture
def grid(world):
    made = GrpcGrid(Mailbox(world.database), ["borough-1"], on_progress=lambda done, asked: None)
    made.set_run(Run.create_empty(7))
    return made


def message_bytes(grid, content, kind):
    message = grid.create_message(RecordDict({"request": ConfigRecord(content)}), kind, node_id("borough-1"), "group")
    return message_to_proto(message).SerializeToString()


def reply_of(content):
    return message_from_proto(ProtoMessage.FromString(content))


def test_release_request_reaches_the_gate_and_its_answer_comes_back(grid):
    gate, reports = FakeGate(), []
    asked = message_bytes(grid, {"request": b"request", "tag_seed": "5e" * 32}, "train.release")
    content, vector = detach(
        answer_bytes(build_app(gate, lambda policy: None), asked, report=lambda *r: reports.append(r))
    )
    reply = reply_of(content)
    assert bytes(vector) == b"vector"
    assert gate.asked == [(b"request", "5e" * 32)]
    assert dict(reply.content["answer"]) == {"statement": b"statement"}
    assert reports == []


def test_flag_request_carries_the_policy_and_answers_without_a_count(grid):
    raised = []
    asked = message_bytes(grid, {"policy": "b" * 64}, "query.flags")
    reply = reply_of(answer_bytes(build_app(FakeGate(), raised.append), asked, report=lambda *r: None))
    assert raised == ["b" * 64]
    assert dict(reply.content["answer"]) == {"done": True}


def test_peer_reads_that_the_release_is_unavailable_and_the_operator_reads_why(grid):
    reports = []
    gate = FakeGate(BudgetExceeded("spent 0.4 of 0.5"))
    asked = message_bytes(grid, {"request": b"request", "tag_seed": "5e" * 32}, "train.release")
    content = answer_bytes(build_app(gate, lambda policy: None), asked, report=lambda *r: reports.append(r))
    reply = reply_of(content)
    assert reply.has_error()
    assert (reply.error.code, reply.error.reason) == (UNAVAILABLE, ReleaseUnavailable.public_message)
    assert b"0.4" not in content
    assert b"budget" not in content
    assert reports == [("budget.exceeded", "spent 0.4 of 0.5")]


def test_two_different_refusals_are_the_same_bytes_to_a_peer(grid):
    asked = message_bytes(grid, {"request": b"request", "tag_seed": "5e" * 32}, "train.release")
    replies = [
        reply_of(answer_bytes(build_app(FakeGate(error), lambda policy: None), asked, report=lambda *r: None)).error
        for error in (BudgetExceeded("one"), ReleaseUnavailable("two"))
    ]
    assert (replies[0].code, replies[0].reason) == (replies[1].code, replies[1].reason)


def test_flower_sends_no_telemetry_and_asks_for_no_updates():
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"


# --- messages that no honest coordinator sends ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"unexpected": 1}, "train.release"),
        ({"request": 5, "tag_seed": 7}, "train.release"),
        ({"request": b"request"}, "train.release"),
        ({"policy": 3}, "query.flags"),
        ({"request": b"request"}, "train.no_such_action"),
        ({"request": b"request"}, "evaluate"),
    ],
)
def test_message_of_another_shape_is_answered_as_unavailable(grid, content, kind):
    class StrictGate(FakeGate):
        def release(self, request, tag_seed):
            raise AssertionError("a malformed message reached the gate")

    def raise_flags(policy):
        raise AssertionError("a malformed message raised flags")

    reports = []
    asked = message_bytes(grid, content, kind)
    reply = reply_of(answer_bytes(build_app(StrictGate(), raise_flags), asked, report=lambda *r: reports.append(r)))
    assert reply.has_error()
    assert reply.error.reason == ReleaseUnavailable.public_message
    assert len(reports) == 1


def with_a_value_of_no_kind():
    """A message that is well formed but for a value that names no type, which Flower's reader trips over."""
    proto = ProtoMessage()
    proto.metadata.message_type = "query.flags"
    proto.content.items.add(key="request").config_record.items.add(key="policy")
    return proto.SerializeToString()


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"garbage", bytes(1000), with_a_value_of_no_kind()])
def test_bytes_that_are_no_message_do_not_end_the_node(content):
    reports = []
    assert answer_bytes(build_app(FakeGate(), lambda policy: None), content, report=lambda *r: reports.append(r)) == b""
    assert reports == [("document.malformed", "the delivery is not a Flower message")]


def test_a_fault_of_our_own_is_answered_like_any_refusal_and_its_text_goes_nowhere(grid):
    """An exception's text may quote a record: only its type and place reach the operator's log, nothing the peer."""

    class FaultyGate:
        def release(self, request, tag_seed):
            raise RuntimeError("X-0001 has 37 hours of overtime")

    reports = []
    content = {"request": b"request", "tag_seed": "00" * 32}
    asked = message_bytes(grid, content, "train.release")
    app = build_app(FaultyGate(), lambda policy: None)
    reply = answer_bytes(app, asked, report=lambda code, detail: reports.append((code, detail)))
    assert reply_of(reply).error.reason == ReleaseUnavailable.public_message
    assert b"X-0001" not in reply
    assert [code for code, _ in reports] == ["bug"]
    assert "RuntimeError" in reports[0][1]
    assert "X-0001" not in reports[0][1]
