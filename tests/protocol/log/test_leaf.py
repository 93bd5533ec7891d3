"""Leaves: one shape for every entry, a skeleton with one encoding, and a body that only its salt opens."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.errors import DigestMismatch, MalformedDocument
from protocol.log.leaf import ENTRY_BYTES, LEAF_TAG, Leaf, Skeleton, make_leaf, verify_disclosure

SALT = bytes(range(32))
BODY = b"the warrant"

FIELDS: dict[str, Any] = {
    "kind": "warrant",
    "day": "2026-01-31",
    "belongs_to": "ab" * 32,
    "subject": None,
    "signers": ("cd" * 32, "ef" * 32),
    "valid_from": "2026-01-31T12:00:00Z",
    "valid_until": "2026-02-28T12:00:00Z",
    "document": None,
}
SKELETON = Skeleton(**FIELDS)

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
instants = st.datetimes().map(lambda instant: instant.strftime("%Y").zfill(4) + instant.strftime("-%m-%dT%H:%M:%SZ"))
skeletons = st.builds(
    Skeleton,
    kind=st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,62}", fullmatch=True),
    day=st.dates().map(str),
    belongs_to=st.none() | digests,
    subject=st.none() | digests,
    signers=st.lists(digests, max_size=5, unique=True).map(tuple),
    valid_from=st.none() | instants,
    valid_until=st.none(),
    document=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
)


@given(skeletons)
def test_decoding_an_encoded_skeleton_gives_it_back(skeleton: Skeleton) -> None:
    assert Skeleton.decode(skeleton.encode()) == skeleton
    assert make_leaf(skeleton, salt=SALT, body=BODY).skeleton() == skeleton


def test_an_entry_is_the_tagged_hash_of_skeleton_and_body_hash() -> None:
    inner = hashlib.sha256(SALT + BODY).digest()
    entry = hashlib.sha256(b"custodes/log-leaf/v1\x00" + SKELETON.encode() + inner).digest()
    assert make_leaf(SKELETON, salt=SALT, body=BODY).entry() == entry
    assert len(entry) == ENTRY_BYTES
    assert LEAF_TAG == b"custodes/log-leaf/v1\x00"


def test_the_entry_is_a_golden_value() -> None:
    assert make_leaf(SKELETON, salt=SALT, body=BODY).entry().hex() == (
        "1ea23aeb0d97f7e508c2b24c9b0b4c28ef7e5267878a6c747d1437ce107186e6"
    )


def test_a_leaf_still_gives_its_entry_when_salt_and_body_are_erased() -> None:
    leaf = make_leaf(SKELETON, salt=SALT, body=BODY)
    remains = Leaf(leaf.skeleton_bytes, leaf.body_hash)
    assert remains.entry() == leaf.entry()
    assert remains.skeleton() == SKELETON


@given(skeletons, st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 255), st.binary())
def test_a_disclosure_verifies_and_fails_with_another_salt_or_body(
    skeleton: Skeleton, salt: bytes, body: bytes, bit: int, other_body: bytes
) -> None:
    leaf = make_leaf(skeleton, salt=salt, body=body)
    verify_disclosure(leaf, salt=salt, body=body)
    flipped = bytearray(salt)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DigestMismatch):
        verify_disclosure(leaf, salt=bytes(flipped), body=body)
    if other_body != body:
        with pytest.raises(DigestMismatch):
            verify_disclosure(leaf, salt=salt, body=other_body)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_byte_cannot_move_between_salt_and_body(length: int) -> None:
    leaf = make_leaf(SKELETON, salt=SALT, body=BODY)
    joined = SALT + BODY
    with pytest.raises(DigestMismatch):
        verify_disclosure(leaf, salt=joined[:length], body=joined[length:])
    with pytest.raises(MalformedDocument):
        make_leaf(SKELETON, salt=joined[:length], body=joined[length:])


def test_a_body_hash_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedDocument):
        Leaf(SKELETON.encode(), bytes(31))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "not a name"},
        {"kind": ""},
        {"day": "2026-02-30"},
        {"day": "2026-1-31"},
        {"day": "20260131"},
        {"day": "٢٠٢٦-01-31"},
        {"day": "2026-01-31T12:00:00Z"},
        {"belongs_to": "AB" * 32},
        {"belongs_to": "ab" * 31},
        {"signers": ("cd" * 32, "cd" * 32)},
        {"valid_from": "2026-01-31"},
        {"valid_from": "2026-01-31T24:00:00Z"},
        {"valid_from": "2026-01-31T12:00:00+00:00"},
        {"valid_from": "2026-02-28T12:00:00Z"},
    ],
)
def test_a_skeleton_with_a_wrong_field_does_not_come_to_exist(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Skeleton(**(FIELDS | change))


def test_a_skeleton_that_no_bytes_can_carry_has_no_entry() -> None:
    with pytest.raises(MalformedDocument):
        make_leaf(Skeleton(**(FIELDS | {"document": "\ud800"})), salt=SALT, body=BODY)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"{}",
        SKELETON.encode() + b"\n",
        json.dumps(json.loads(SKELETON.encode())).encode(),
        SKELETON.encode().replace(b'"subject":null', b'"subject":null,"surname":"x"'),
        SKELETON.encode().replace(b'"subject":null,', b""),
        SKELETON.encode().replace(b'"2026-01-31"', b"20260131"),
    ],
)
def test_bytes_that_are_not_a_canonical_skeleton_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedDocument):
        Skeleton.decode(content)
