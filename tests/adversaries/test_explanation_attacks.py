"""Operators who want to see a score alone, late, twice, or of somebody else than was agreed."""

import base64
import sqlite3
from datetime import timedelta

import pytest

from borough_node.explaining.request import agree, ask, verify_agreed
from borough_node.ledger.journal import GUARDS, Journal
from protocol.errors import (
    BadSignature,
    ExplanationExpired,
    ExplanationOutOfPolicy,
    ExplanationReplayed,
    OneOperator,
    OperatorUnknown,
    StorageError,
)
from protocol.ids import random_id
from protocol.signing.dsse import sign
from protocol.signing.keys import SigningKey
from tests.borough_node.explaining.desk import Desk


@pytest.fixture
def desk(flagged):
    return Desk(flagged.world, flagged.policy, "borough-1")


def edited(desk, envelope, **changed):
    """The signed envelope around another request."""
    request = desk.request(**changed)
    return envelope.model_copy(update={"payload": base64.b64encode(request.encode()).decode()})


def refused(desk, envelope, error, **options):
    """The request is refused, and nobody looked."""
    with pytest.raises(error):
        desk.show(envelope, **options)
    assert desk.rows() == []


def test_one_operator_alone_is_refused(desk):
    refused(desk, desk.asked(), OneOperator)


def test_one_operator_twice_is_refused(desk):
    with pytest.raises(OneOperator):
        agree(desk.asked(), desk.keys["first"], desk.operators(), now=desk.world.clock.now())


def test_one_key_under_two_names_is_one_operator(desk):
    desk.keys["second"] = desk.keys["first"]
    with pytest.raises(OneOperator):
        desk.agreed()
    refused(desk, desk.asked(), OneOperator)
    # Nor with a signature written in twice: an envelope takes a key id once.
    double = desk.asked()
    with pytest.raises(OneOperator):
        verify_agreed(double.merged(double), desk.operators(), now=desk.world.clock.now())


def test_second_signature_by_a_stranger_is_refused(desk):
    stranger = SigningKey.generate()
    with pytest.raises(OperatorUnknown):
        agree(desk.asked(), stranger, desk.operators(), now=desk.world.clock.now())
    asked = desk.asked()
    refused(
        desk,
        asked.merged(sign(desk.request(), stranger).model_copy(update={"payload": asked.payload})),
        OperatorUnknown,
    )


def test_operator_who_was_taken_off_the_settings_counts_no_more(desk):
    envelope = desk.agreed()
    refused(desk, envelope, OperatorUnknown, operators={"second": desk.keys["second"].public})
    refused(desk, envelope, OperatorUnknown, operators={"first": desk.keys["first"].public})


def test_asking_in_another_operators_name_is_refused(desk):
    with pytest.raises(OperatorUnknown):
        ask(desk.request(asked_by="second"), desk.keys["first"], desk.operators())
    now = desk.world.clock.now()
    with pytest.raises(OperatorUnknown):
        agree(sign(desk.request(asked_by="second"), desk.keys["first"]), desk.keys["first"], desk.operators(), now=now)


def test_expired_request_is_refused(desk):
    envelope = desk.agreed()
    desk.world.clock.advance(timedelta(hours=8))
    refused(desk, envelope, ExplanationExpired)
    with pytest.raises(ExplanationExpired):
        agree(envelope, desk.keys["second"], desk.operators(), now=desk.world.clock.now())


def test_request_from_the_future_is_refused(desk):
    envelope = desk.agreed()
    desk.world.clock.advance(-timedelta(seconds=1))
    refused(desk, envelope, ExplanationExpired)


@pytest.mark.parametrize(
    "changed",
    [{"policy": "0" * 64}, {"category": "third"}, {"borough": "borough-2"}],
    ids=["policy", "category", "borough"],
)
def test_request_outside_an_approved_policy_of_this_borough_is_refused(desk, changed):
    refused(desk, desk.agreed(**changed), ExplanationOutOfPolicy)


def test_request_edited_after_both_signed_is_refused(desk):
    refused(desk, edited(desk, desk.agreed(), person=desk.person(1)), BadSignature)


def test_request_edited_before_the_second_signs_is_not_agreed_to(desk):
    with pytest.raises(BadSignature):
        agree(
            edited(desk, desk.asked(), person=desk.person(1)),
            desk.keys["second"],
            desk.operators(),
            now=desk.world.clock.now(),
        )


def test_agreement_to_one_request_is_none_to_another(desk):
    """The second operator's signature, moved under a request that they never saw."""
    agreed, other = desk.agreed(), desk.asked(person=desk.person(1), request_id=random_id())
    moved = other.model_copy(
        update={
            "signatures": tuple(
                next((own for own in other.signatures if own.keyid == one.keyid), one) for one in agreed.signatures
            )
        }
    )
    assert len(moved.signatures) == 2
    refused(desk, moved, BadSignature)


def test_replayed_request_is_refused(desk):
    envelope = desk.agreed()
    desk.show(envelope)
    with pytest.raises(ExplanationReplayed):
        desk.show(envelope)
    # Nor with its signatures in another order, or written anew.
    turned = envelope.model_copy(update={"signatures": envelope.signatures[::-1]})
    with pytest.raises(ExplanationReplayed):
        desk.show(turned)
    assert len(desk.rows()) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE number = 1",
        "UPDATE entries SET content = replace(content, 'first', 'third') WHERE number = 1",
        "INSERT INTO entries (number, content, hash) VALUES (7, x'7b7d', 'x')",
    ],
)
def test_journal_refuses_to_be_rewritten(desk, statement):
    desk.show(desk.agreed())
    with sqlite3.connect(desk.journal_path()) as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE number = 1",
        "UPDATE entries SET content = CAST(replace(CAST(content AS TEXT), 'second', 'nobody') AS BLOB) WHERE number = 2",
    ],
    ids=["delete", "edit"],
)
def test_journal_that_was_rewritten_around_its_guards_is_found_out(desk, statement):
    for _ in range(3):
        desk.show(desk.agreed())
    with sqlite3.connect(desk.journal_path()) as connection:
        for name, made in GUARDS.items():
            connection.execute(f"DROP {'TRIGGER' if 'TRIGGER' in made else 'INDEX'} {name}")
        connection.execute(statement)
        for made in GUARDS.values():
            connection.execute(made)
    connection.close()
    with pytest.raises(StorageError, match="does not continue the chain"):
        Journal(desk.journal_path())


def test_journal_without_its_guards_is_refused(desk):
    desk.show(desk.agreed())
    with sqlite3.connect(desk.journal_path()) as connection:
        connection.execute("DROP TRIGGER rows_stay")
    connection.close()
    with pytest.raises(StorageError, match="guard rows_stay"):
        desk.show(desk.agreed())
