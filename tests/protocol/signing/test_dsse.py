"""DSSE envelopes: the published encoding, no confusion of types, forged signatures named, keys counted once."""

from __future__ import annotations

import base64
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.documents.base import Document
from protocol.errors import BadSignature, MalformedDocument
from protocol.ids import digest_of
from protocol.signing.dsse import Envelope, Signature, pre_authentication_encoding, sign
from tests.federation import signing_key

ALICE, BOB, EVE = (signing_key(name) for name in ("alice", "bob", "eve"))


class Memo(Document):
    payload_type: ClassVar[str] = "application/vnd.example.memo.v1+json"

    text: str


class Order(Document):
    payload_type: ClassVar[str] = "application/vnd.example.order.v1+json"

    text: str


MEMO = Memo(text="synthetic")
SIGNED = sign(MEMO, ALICE, BOB)


def changed(envelope: Envelope, **fields: object) -> Envelope:
    return envelope.model_copy(update=fields)


def signature_by(envelope: Envelope, key) -> Signature:
    return next(one for one in envelope.signatures if one.keyid == key.key_id)


def test_the_encoding_is_the_one_published_with_the_specification():
    # github.com/secure-systems-lab/dsse, protocol.md, version 1.0, "Test Vectors".
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_lengths_count_bytes_and_not_characters():
    assert pre_authentication_encoding("ü", "é".encode()) == "DSSEv1 2 ü 2 é".encode()


@given(st.tuples(st.text(max_size=12), st.binary(max_size=12)), st.tuples(st.text(max_size=12), st.binary(max_size=12)))
def test_two_pairs_of_type_and_payload_never_encode_alike(one, other):
    encodable = [pair for pair in (one, other) if not any("\ud800" <= c <= "\udfff" for c in pair[0])]
    encoded = {pre_authentication_encoding(*pair) for pair in encodable}
    assert len(encoded) == len(set(encodable))


def test_an_envelope_reads_back_as_itself_and_gives_its_document():
    assert Envelope.decode(SIGNED.encode()) == SIGNED
    assert SIGNED.document(Memo) == MEMO
    assert SIGNED.signed_by([ALICE.public, BOB.public, EVE.public]) == {ALICE.public, BOB.public}


def test_a_document_does_not_pass_as_another_kind():
    with pytest.raises(MalformedDocument, match=r"order\.v1"):
        SIGNED.document(Order)


def test_a_relabelled_envelope_carries_no_signature():
    relabelled = changed(SIGNED, payloadType=Order.payload_type)
    assert relabelled.document(Order).text == MEMO.text
    with pytest.raises(BadSignature):
        relabelled.signed_by([ALICE.public])


def test_every_flipped_bit_of_the_payload_is_found():
    payload = MEMO.encode()
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            changed(SIGNED, payload=base64.b64encode(flipped).decode()).signed_by([ALICE.public])


def test_a_forged_signature_under_a_trusted_key_id_is_an_error_and_not_merely_absent():
    forged = Signature(keyid=ALICE.key_id, sig=signature_by(sign(MEMO, EVE), EVE).sig)
    with pytest.raises(BadSignature):
        changed(SIGNED, signatures=(forged,)).signed_by([ALICE.public])


def test_a_signature_by_a_stranger_counts_for_nobody_and_spoils_nothing():
    assert sign(MEMO, ALICE, EVE).signed_by([ALICE.public, BOB.public]) == {ALICE.public}
    assert sign(MEMO, EVE).signed_by([ALICE.public, BOB.public]) == frozenset()


def test_one_key_under_two_ids_counts_once():
    # CVE-2020-6174: TUF clients counted key ids, so one key listed twice met a threshold of two.
    own = signature_by(SIGNED, ALICE)
    twice = changed(SIGNED, signatures=(own, Signature(keyid=digest_of(b"another name"), sig=own.sig)))
    assert twice.signed_by([ALICE.public, ALICE.public, BOB.public]) == {ALICE.public}


def test_a_key_id_that_stands_twice_is_refused_on_reading():
    twice = changed(SIGNED, signatures=SIGNED.signatures * 2)
    with pytest.raises(MalformedDocument, match="stands twice"):
        Envelope.decode(twice.encode())


def test_signing_twice_with_one_key_leaves_one_signature():
    assert len(sign(MEMO, ALICE, ALICE).signatures) == 1


def test_merging_collects_signatures_in_one_order():
    merged = sign(MEMO, ALICE).merged(sign(MEMO, BOB))
    assert merged == sign(MEMO, BOB).merged(sign(MEMO, ALICE)) == SIGNED
    assert merged.merged(merged) == merged


def test_signatures_over_different_payloads_or_types_do_not_merge():
    for other in (sign(Memo(text="other"), BOB), sign(Order(text="synthetic"), BOB)):
        with pytest.raises(BadSignature, match="different payloads"):
            sign(MEMO, ALICE).merged(other)


@pytest.mark.parametrize("text", ["!", "A", "AAA", "AAAA\n", "ＡＡＡＡ", "AA=A"])
def test_what_is_not_base64_is_refused(text):
    with pytest.raises(MalformedDocument, match="payload"):
        changed(SIGNED, payload=text).payload_bytes()
    bad = changed(SIGNED, signatures=(Signature(keyid=ALICE.key_id, sig=text),))
    with pytest.raises((MalformedDocument, BadSignature)):
        bad.signed_by([ALICE.public])


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"payload":"","payloadType":"","signatures":[{}]}', b"\x00"])
def test_bytes_that_are_no_envelope_are_refused(content):
    with pytest.raises(MalformedDocument):
        Envelope.decode(content)
