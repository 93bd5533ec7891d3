from __future__ import annotations

import hashlib

import pytest

from protocol.errors import BadSignature, ConfigurationError
from protocol.ids import key_id
from protocol.signing.keys import SigningKey, verify_signature

# RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_signatures_are_those_of_rfc_8032(seed, public, message, signature):
    key = SigningKey(bytes.fromhex(seed))
    assert key.public == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    verify_signature(public, bytes.fromhex(signature), bytes.fromhex(message))


def test_a_key_never_shows_itself():
    seed = bytes(range(32))
    key = SigningKey(seed)
    for shown in (repr(key), str(key), f"{key}", str([key])):
        assert seed.hex() not in shown
        assert "redacted" in shown
    assert key.seed() == seed


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length):
    with pytest.raises(ConfigurationError):
        SigningKey(bytes(length))


def test_a_key_id_is_the_hash_of_the_key_whatever_the_key_is_called():
    public = RFC8032[0][1]
    assert key_id(public) == hashlib.sha256(bytes.fromhex(public)).hexdigest()
    assert SigningKey(bytes.fromhex(RFC8032[0][0])).key_id == key_id(public)


def test_every_flipped_bit_of_a_signature_is_found():
    key = SigningKey(bytes(32))
    signature = key.sign(b"message")
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            verify_signature(key.public, bytes(flipped), b"message")


@pytest.mark.parametrize("public", ["aa", "", "zz" * 32, "ff" * 33])
def test_what_is_not_a_key_verifies_nothing(public):
    with pytest.raises(BadSignature):
        verify_signature(public, bytes(64), b"message")


def test_generated_keys_differ():
    assert SigningKey.generate().public != SigningKey.generate().public
