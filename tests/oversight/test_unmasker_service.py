"""The unmasker as its coordinator calls it: gRPC with mutual TLS, from the plan's key to its destruction."""

from __future__ import annotations

import pytest

from protocol.documents.plan import Closure, Receipt
from protocol.errors import MalformedDocument, NotLogged, PlanNotApproved
from protocol.ids import random_id
from protocol.rpc.v1 import unmasker_pb2
from protocol.signing.quorum import verify_signed_by_role
from tests.wire import SECONDS, Wire, refused


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    made = Wire.create(tmp_path_factory.mktemp("unmasker") / "force", budget=1000.0)
    yield made
    made.close()


def new_key(wire, plan_id):
    return wire.unmasker_stub.NewPlanKey(unmasker_pb2.NewPlanKeyRequest(plan_id=plan_id), timeout=SECONDS).public_key


def test_plan_has_one_key_however_often_it_is_asked_for(wire):
    first, second = random_id(), random_id()
    key = new_key(wire, first)
    assert len(key) == 32
    assert new_key(wire, first) == key
    assert new_key(wire, second) != key
    assert wire.unmasker._store.private_key(key.hex()) is not None


@pytest.mark.parametrize("plan_id", ["", "0" * 31, "A" * 32, "0" * 32 + "\n"])
def test_key_is_made_for_a_plan_id_and_nothing_else(wire, plan_id):
    with refused(MalformedDocument):
        new_key(wire, plan_id)


def test_receipt_sum_and_closure_come_back_over_the_wire(wire):
    plan = wire.approve()
    request, replies = wire.answers(plan)
    texts = [reply.statement for reply in replies.values()]
    envelope = wire.commit(request, texts)
    receipt, signer = verify_signed_by_role(envelope, Receipt, wire.roster, "unmasker")
    assert signer.id == "unmasker"
    assert receipt.statements == tuple(text.decode() for text in texts)
    with refused(NotLogged):
        wire.reveal(plan, 0)
    wire.log("receipt", receipt, "unmasker")
    assert len(wire.reveal(plan, 0)) == len(next(iter(replies.values())).vector)
    closure, _ = verify_signed_by_role(wire.close_plan(plan), Closure, wire.roster, "unmasker")
    key = wire.record(plan).plan.unmasker_key
    assert (closure.plan, closure.unmasker_key) == (plan, key)
    assert wire.unmasker._store.private_key(key) is None


def test_statement_that_is_no_envelope_is_refused(wire):
    request, _ = wire.answers(wire.approve())
    with refused(MalformedDocument):
        wire.commit(request, [b"no envelope"])


def test_plan_that_nobody_approved_is_not_closed(wire):
    with refused(PlanNotApproved):
        wire.close_plan("ab" * 32)
