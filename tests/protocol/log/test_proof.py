"""A proof in a file: it verifies by itself, and nothing about it can be bent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import CheckpointInvalid, ProofInvalid
from protocol.log.merkle import MerkleTree
from protocol.log.note import Checkpoint, cosign, sign_checkpoint
from protocol.log.proof import MAX_PATH, LogProof, prove, verify_proof

ORIGIN = "testforce.custodes/log"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEYS = {f"witness-{n}": Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3)}
WITNESSES = {name: key.public_key().public_bytes_raw() for name, key in WITNESS_KEYS.items()}


def entry(index: int) -> bytes:
    return f"entry {index}".encode()


def log(size: int, *, witnesses: int = 2):
    tree = MerkleTree()
    for index in range(size):
        tree.append(entry(index))
    signed = sign_checkpoint(Checkpoint(ORIGIN, size, tree.root()), ORIGIN, private_key=LOG_KEY)
    for name in list(WITNESS_KEYS)[:witnesses]:
        signed = cosign(signed, name, private_key=WITNESS_KEYS[name], time_seconds=1_900_000_000)
    return tree, signed


def verified(proof: LogProof, content: bytes, **changes) -> None:
    trusted = {
        "origin": ORIGIN,
        "log_key": LOG_KEY.public_key().public_bytes_raw(),
        "witnesses": WITNESSES,
        "threshold": 2,
    }
    verify_proof(proof, entry=content, **(trusted | changes))


@given(
    st.integers(1, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))), st.binary(max_size=80)
)
def test_every_entry_has_a_proof_that_survives_its_file(numbers, extra):
    size, index = numbers
    tree, signed = log(size)
    proof = prove(tree, index, signed, extra=extra)
    again = LogProof.decode(proof.encode())
    assert again == proof
    verified(again, entry(index))
    with pytest.raises(ProofInvalid):
        verified(again, entry(index) + b"!")


def test_the_file_is_written_as_the_specification_says():
    tree, signed = log(3)
    lines = prove(tree, 2, signed, extra=b"").encode().decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 2"]
    assert lines[3] == ""
    assert lines[4:6] == [ORIGIN, "3"]
    assert prove(tree, 2, signed, extra=b"\xff\x00").encode().decode().split("\n")[1] == "extra /wA="


TREE, SIGNED = log(11)
PROOF = prove(TREE, 6, SIGNED, extra=b"a leaf")


@pytest.mark.parametrize("place", range(len(PROOF.encode())))
def test_every_flipped_bit_of_a_file_is_found(place):
    content = bytearray(PROOF.encode())
    content[place] ^= 1
    with pytest.raises((ProofInvalid, CheckpointInvalid)):
        accepted(bytes(content))


def accepted(content: bytes) -> None:
    """Check a proof as its reader does, who computes the entry from the extra data: nothing else vouches for them."""
    proof = LogProof.decode(content)
    verified(proof, {b"a leaf": entry(6)}.get(proof.extra, b"another leaf"))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("index 6", "index 06"),
        lambda text: text.replace("index 6", "index -6"),
        lambda text: text.replace("index 6\n", ""),
        lambda text: text.replace("index 6", "extra AAAA\nindex 6"),
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("extra YSBsZWFm", "extra YSBsZWFn="),
        lambda text: text.replace("extra YSBsZWFm", "extra "),
        lambda text: text.replace("index 6", "index 6\n" + "\n".join(["AAAA"] * (MAX_PATH + 1))),
        lambda text: text.replace("index 6", "index 6\nAAAA"),
        lambda text: text.replace("index 6", "index 6\r"),
        lambda text: text.replace("index 6", "index ٦"),
        lambda text: text + "x" * 2**20,
        lambda text: text.partition("\n\n")[0],
        lambda text: "",
    ],
)
def test_a_file_that_is_written_otherwise_is_refused(change):
    text = PROOF.encode().decode()
    assert change(text) != text
    with pytest.raises((ProofInvalid, CheckpointInvalid)):
        LogProof.decode(change(text).encode())


def test_a_proof_of_another_log_key_or_too_few_witnesses_is_refused():
    verified(PROOF, entry(6))
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x55" * 32).public_key().public_bytes_raw()
    for changes in ({"origin": "other.custodes/log"}, {"log_key": stranger}, {"threshold": 3}, {"witnesses": {}}):
        with pytest.raises(CheckpointInvalid):
            verified(PROOF, entry(6), **changes)


def test_a_proof_does_not_vouch_for_another_index_or_path():
    for changed in (
        replace(PROOF, index=7),
        replace(PROOF, index=11),
        replace(PROOF, path=PROOF.path[:-1]),
        replace(PROOF, path=(*PROOF.path, bytes(32))),
        replace(PROOF, path=PROOF.path[::-1]),
        replace(PROOF, signed=log(12)[1]),
    ):
        with pytest.raises(ProofInvalid):
            verified(changed, entry(6))
