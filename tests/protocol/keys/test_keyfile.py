"""Key files: what opens with its passphrase, and with nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.documents.canonical import canonical_bytes
from protocol.errors import ConfigurationError, WrongPassphrase
from protocol.keys import keyfile
from protocol.keys.keyfile import read_key, seal_key, write_key
from protocol.sealing.secret import Secret
from protocol.signing.keys import SigningKey
from tests.ceremony import cheap_passphrases

PASSPHRASE = Secret(b"a made-up passphrase of one party")
KEY = SigningKey(bytes(range(32)))
PRIVATE = Secret(KEY.seed())


def never() -> Secret:
    raise AssertionError("a plain key file needs no passphrase")


@pytest.fixture(scope="module")
def sealed() -> bytes:
    with cheap_passphrases():
        return seal_key(PRIVATE, kind="signing", public=KEY.public, passphrase=PASSPHRASE)


def test_sealed_key_opens_with_its_passphrase_and_no_other(sealed, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(sealed)
    assert read_key(path, kind="signing", passphrase=lambda: PASSPHRASE) == PRIVATE
    for wrong in (b"", b"a made-up passphrase of one partY", PASSPHRASE.reveal() + b"\n"):
        with pytest.raises(WrongPassphrase):
            read_key(path, kind="signing", passphrase=lambda wrong=wrong: Secret(wrong))


def test_sealed_file_shows_the_public_half_and_nothing_of_the_private_one(sealed):
    fields = json.loads(sealed)
    assert fields["public"] == KEY.public
    assert PRIVATE.reveal().hex() not in sealed.decode()
    assert len(fields["ciphertext"]) == 2 * (32 + 16)


@given(place=st.integers(min_value=0), name=st.sampled_from(["public", "salt", "nonce", "ciphertext"]))
@settings(max_examples=40, deadline=None)
def test_file_with_one_changed_digit_does_not_open(sealed, tmp_path_factory, place, name):
    fields = json.loads(sealed)
    digits = list(fields[name])
    digits[place % len(digits)] = "0" if digits[place % len(digits)] != "0" else "1"
    path = tmp_path_factory.mktemp("changed") / "key"
    path.write_bytes(canonical_bytes(fields | {name: "".join(digits)}))
    with pytest.raises(WrongPassphrase):
        read_key(path, kind="signing", passphrase=lambda: PASSPHRASE)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "custodes/key-file/v2"},
        {"scrypt_cost_bits": 30},
        {"scrypt_cost_bits": 1},
        {"salt": "00"},
        {"more": 1},
    ],
    ids=str,
)
def test_file_of_another_format_or_cost_is_refused_before_the_passphrase_is_asked_for(sealed, tmp_path, changes):
    path = tmp_path / "key"
    path.write_bytes(canonical_bytes(json.loads(sealed) | changes))
    with pytest.raises(ConfigurationError, match="KeyFile"):
        read_key(path, kind="signing", passphrase=never)


def test_key_of_another_kind_is_refused(sealed, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(sealed)
    with pytest.raises(ConfigurationError, match="not for envelope"):
        read_key(path, kind="envelope", passphrase=never)


@pytest.mark.parametrize("content", [b"", b"no key", b"zz" * 32, b"\xff\xfe"], ids=repr)
def test_file_that_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    if content:
        with pytest.raises(ConfigurationError, match="neither a sealed key file nor"):
            read_key(path, kind="signing", passphrase=never)
    with pytest.raises(ConfigurationError, match="No such file"):
        read_key(tmp_path / "absent", kind="signing", passphrase=never)


def test_plain_key_is_read_without_a_passphrase(tmp_path):
    write_key(tmp_path / "key", PRIVATE, kind="signing", public=KEY.public, passphrase=None)
    assert read_key(tmp_path / "key", kind="signing", passphrase=never) == PRIVATE


def test_new_key_is_its_owners_only_and_never_written_over_another(tmp_path):
    path = tmp_path / "key"
    write_key(path, PRIVATE, kind="signing", public=KEY.public, passphrase=None)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="File exists"):
        write_key(path, Secret(bytes(32)), kind="signing", public=KEY.public, passphrase=None)
    assert path.read_bytes() == before


def test_new_files_cost_a_guesser_what_the_source_asks_for():
    assert (keyfile.SCRYPT_COST_BITS, keyfile.SCRYPT_BLOCK, keyfile.SCRYPT_PARALLEL) == (17, 8, 1)
