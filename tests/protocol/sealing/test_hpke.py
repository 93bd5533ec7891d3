import hashlib
import json
import pickle
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.errors import ConfigurationError, EnvelopeInvalid, MalformedDocument
from protocol.sealing.hpke import (
    ENCAPSULATED_BYTES,
    OVERHEAD_BYTES,
    PRIVATE_KEY_BYTES,
    PUBLIC_KEY_BYTES,
    HPKEPrivateKey,
    HPKEPublicKey,
    open_sealed,
    seal,
)
from protocol.sealing.secret import Secret
from tests.protocol.sealing import rfc9180

KEMS = {0x0010: KEM.P256, 0x0012: KEM.P521, 0x0020: KEM.X25519}
KDFS = {1: KDF.HKDF_SHA256, 3: KDF.HKDF_SHA512}
AEADS = {1: AEAD.AES_128_GCM, 2: AEAD.AES_256_GCM, 3: AEAD.CHACHA20_POLY1305}
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "hpke" / "rfc9180.json").read_text())
INFO = b"some context"


@cache
def private_key(number: int = 1) -> HPKEPrivateKey:
    return HPKEPrivateKey.decode(Secret(hashlib.shake_256(bytes([number])).digest(PRIVATE_KEY_BYTES)))


@cache
def sealed_message() -> bytes:
    return seal(private_key().public_key(), b"a share", info=INFO)


def name_of(vector):
    return f"kem{vector['kem_id']}-kdf{vector['kdf_id']}-aead{vector['aead_id']}"


def context_of(vector):
    enc, private, public, info = (bytes.fromhex(vector[field]) for field in ("enc", "skRm", "pkRm", "info"))
    shared = rfc9180.dh_decapsulate(vector["kem_id"], enc, private, public)
    return rfc9180.Context(vector["kem_id"], vector["kdf_id"], vector["aead_id"], shared, info)


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_published_rfc_9180_case_is_reproduced_by_our_reading_of_the_rfc(vector):
    context, inputs, accumulated = context_of(vector), rfc9180.drawn_inputs(), hashlib.shake_128()
    for sequence in range(1000):
        aad, plaintext = islice(inputs, 2)
        accumulated.update(context.seal(sequence, plaintext, aad))
    assert accumulated.hexdigest(16) == vector["encryptions_accumulated"]


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_library_opens_the_published_rfc_9180_case_and_nothing_beside_it(vector):
    suite = Suite(KEMS[vector["kem_id"]], KDFS[vector["kdf_id"]], AEADS[vector["aead_id"]])
    key = rfc9180.dh_private_key(vector["kem_id"], bytes.fromhex(vector["skRm"]))
    info = bytes.fromhex(vector["info"])
    enc = bytes.fromhex(vector["enc"])
    sealed = enc + context_of(vector).seal(0, b"a share", b"")
    assert suite.decrypt(sealed, key, info=info) == b"a share"

    for position in (len(enc), len(sealed) - 1):
        tampered = bytearray(sealed)
        tampered[position] ^= 1
        with pytest.raises(InvalidTag):
            suite.decrypt(bytes(tampered), key, info=info)
    with pytest.raises(InvalidTag):
        suite.decrypt(sealed, key, info=info + b"\x00")


def test_sealed_message_opens_by_the_rfc_key_schedule_over_x_wing():
    sealed = sealed_message()
    private = private_key().encode().reveal()
    shared = rfc9180.x_wing_decapsulate(sealed[:ENCAPSULATED_BYTES], private[:64], private[64:])
    context = rfc9180.Context(rfc9180.X_WING, 1, 3, shared, INFO)
    assert context.open(0, sealed[ENCAPSULATED_BYTES:], b"") == b"a share"


@given(plaintext=st.binary(max_size=200), info=st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_what_is_sealed_opens_with_the_same_context(plaintext, info):
    sealed = seal(private_key().public_key(), plaintext, info=info)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert open_sealed(private_key(), sealed, info=info) == plaintext


@given(bit=st.integers(0, 8 * (OVERHEAD_BYTES + 7) - 1))
@example(bit=8 * ENCAPSULATED_BYTES - 1)  # X25519 ignores the top bit of a point; X-Wing hashes the point as sent
@settings(max_examples=80, deadline=None)
def test_any_flipped_bit_of_a_sealed_message_is_refused(bit):
    tampered = bytearray(sealed_message())
    tampered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EnvelopeInvalid):
        open_sealed(private_key(), bytes(tampered), info=INFO)


@given(info=st.binary(max_size=20).filter(lambda info: info != INFO))
@settings(max_examples=20, deadline=None)
def test_sealed_message_does_not_open_in_another_context(info):
    with pytest.raises(EnvelopeInvalid):
        open_sealed(private_key(), sealed_message(), info=info)


def test_sealed_message_does_not_open_with_another_key_or_half_of_the_right_one():
    right, other = private_key(1).encode().reveal(), private_key(2).encode().reveal()
    for wrong in (other, right[:64] + other[64:], other[:64] + right[64:]):
        with pytest.raises(EnvelopeInvalid):
            open_sealed(HPKEPrivateKey.decode(Secret(wrong)), sealed_message(), info=INFO)


@pytest.mark.parametrize(
    "length", [0, 1, ENCAPSULATED_BYTES - 1, ENCAPSULATED_BYTES, OVERHEAD_BYTES, OVERHEAD_BYTES + 6]
)
def test_truncated_message_is_refused(length):
    with pytest.raises(EnvelopeInvalid):
        open_sealed(private_key(), sealed_message()[:length], info=INFO)


def test_two_sealings_of_one_message_share_no_bytes_of_note():
    again = seal(private_key().public_key(), b"a share", info=INFO)
    assert again[:ENCAPSULATED_BYTES] != sealed_message()[:ENCAPSULATED_BYTES]
    assert again[ENCAPSULATED_BYTES:] != sealed_message()[ENCAPSULATED_BYTES:]


def test_generated_key_survives_encoding():
    key = HPKEPrivateKey.generate()
    assert HPKEPrivateKey.decode(key.encode()) == key
    assert HPKEPrivateKey.generate() != key
    public = key.public_key()
    assert len(public.encode()) == PUBLIC_KEY_BYTES
    assert HPKEPublicKey.decode(public.encode()) == public
    assert open_sealed(HPKEPrivateKey.decode(key.encode()), seal(public, b"x", info=b""), info=b"") == b"x"


def test_private_key_prints_redacted_and_does_not_pickle():
    assert repr(private_key()) == "HPKEPrivateKey(content=<redacted>)"
    with pytest.raises(TypeError):
        pickle.dumps(private_key())


@pytest.mark.parametrize("length", [0, PRIVATE_KEY_BYTES - 1, PRIVATE_KEY_BYTES + 1])
def test_private_key_of_another_length_is_a_configuration_error(length):
    with pytest.raises(ConfigurationError):
        HPKEPrivateKey.decode(Secret(bytes(length)))


@pytest.mark.parametrize("length", [0, 32, PUBLIC_KEY_BYTES - 1, PUBLIC_KEY_BYTES + 1])
def test_public_key_of_another_length_is_refused(length):
    with pytest.raises(MalformedDocument):
        HPKEPublicKey.decode(bytes(length))


SMALL_ORDER = {
    "zero": bytes(32),
    "one": (1).to_bytes(32, "little"),
    "order eight": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "minus one": (2**255 - 20).to_bytes(32, "little"),
    "p": (2**255 - 19).to_bytes(32, "little"),
}


@pytest.mark.parametrize("point", SMALL_ORDER.values(), ids=SMALL_ORDER)
def test_public_key_of_small_order_is_refused(point):
    with pytest.raises(MalformedDocument):
        HPKEPublicKey.decode(private_key().public_key().encode()[:-32] + point)


def test_public_key_with_a_coefficient_out_of_range_is_refused():
    with pytest.raises(MalformedDocument):
        HPKEPublicKey.decode(b"\xff\xff" + private_key().public_key().encode()[2:])
