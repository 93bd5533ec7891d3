"""Roots against the recursive definition, proofs against published vectors, and that no flipped bit passes."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProofInvalid
from protocol.log.merkle import EMPTY_ROOT, MerkleTree, leaf_hash, verify_consistency, verify_inclusion

VECTORS = Path(__file__).parents[2] / "vectors" / "merkle"
LARGEST = 300

ENTRIES = [index.to_bytes(4, "big") for index in range(LARGEST)]


def grow(entries: list[bytes]) -> MerkleTree:
    tree = MerkleTree()
    for entry in entries:
        tree.append(entry)
    return tree


TREE = grow(ENTRIES)


# The definitions of RFC 9162, sections 2.1.1, 2.1.3.1 and 2.1.4.1, word for word and slow.


def split(entries: list[bytes]) -> int:
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return k


def naive_root(entries: list[bytes]) -> bytes:
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = split(entries)
    return hashlib.sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def naive_path(index: int, entries: list[bytes]) -> list[bytes]:
    if len(entries) == 1:
        return []
    k = split(entries)
    if index < k:
        return [*naive_path(index, entries[:k]), naive_root(entries[k:])]
    return [*naive_path(index - k, entries[k:]), naive_root(entries[:k])]


def naive_subproof(old_size: int, entries: list[bytes], *, is_whole: bool) -> list[bytes]:
    if old_size == len(entries):
        return [] if is_whole else [naive_root(entries)]
    k = split(entries)
    if old_size <= k:
        return [*naive_subproof(old_size, entries[:k], is_whole=is_whole), naive_root(entries[k:])]
    return [*naive_subproof(old_size - k, entries[k:], is_whole=False), naive_root(entries[:k])]


def flip(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8 % len(flipped)] ^= 1 << bit % 8
    return bytes(flipped)


def flip_in(proof: tuple[bytes, ...], position: int, bit: int) -> tuple[bytes, ...]:
    position %= len(proof)
    return (*proof[:position], flip(proof[position], bit), *proof[position + 1 :])


sizes = st.integers(1, LARGEST)
bits = st.integers(0, 255)


def test_an_empty_tree_has_the_hash_of_nothing_as_its_root() -> None:
    assert (
        MerkleTree().root()
        == EMPTY_ROOT
        == bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    )


def test_append_returns_the_index_of_the_entry() -> None:
    tree = MerkleTree()
    assert [tree.append(entry) for entry in ENTRIES[:5]] == [0, 1, 2, 3, 4]
    assert tree.size == 5


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_the_root_is_that_of_the_recursive_definition(entries: list[bytes]) -> None:
    assert grow(entries).root() == naive_root(entries)


@given(st.integers(0, LARGEST))
def test_a_tree_still_knows_the_root_of_each_earlier_size(size: int) -> None:
    assert TREE.root(size) == naive_root(ENTRIES[:size])
    assert grow(ENTRIES[:size]).root() == TREE.root(size)


def test_every_proof_between_small_sizes_is_that_of_the_recursive_definition_and_verifies() -> None:
    for size in range(1, 20):
        root = TREE.root(size)
        for index in range(size):
            path = TREE.inclusion_proof(index, size)
            assert list(path) == naive_path(index, ENTRIES[:size])
            verify_inclusion(leaf_hash=leaf_hash(ENTRIES[index]), index=index, size=size, proof=path, root=root)
        for old_size in range(1, size + 1):
            proof = TREE.consistency_proof(old_size, size)
            assert list(proof) == naive_subproof(old_size, ENTRIES[:size], is_whole=True)
            verify_consistency(
                old_size=old_size, new_size=size, old_root=TREE.root(old_size), new_root=root, proof=proof
            )


@given(st.data(), sizes, bits)
def test_an_inclusion_proof_verifies_and_fails_with_any_flipped_bit(data: st.DataObject, size: int, bit: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    claim: dict[str, Any] = {
        "leaf_hash": leaf_hash(ENTRIES[index]),
        "index": index,
        "size": size,
        "proof": TREE.inclusion_proof(index, size),
        "root": TREE.root(size),
    }
    verify_inclusion(**claim)
    lies: list[dict[str, Any]] = [{"leaf_hash": flip(claim["leaf_hash"], bit)}, {"root": flip(claim["root"], bit)}]
    lies += [{"index": other} for other in (index ^ 1 << bit % 10, -1, size) if other != index]
    lies += [{"proof": (*claim["proof"], claim["root"])}]
    if claim["proof"]:
        lies += [{"proof": flip_in(claim["proof"], data.draw(st.integers(0, 9)), bit)}, {"proof": claim["proof"][:-1]}]
    for lie in lies:
        with pytest.raises(ProofInvalid):
            verify_inclusion(**(claim | lie))


@given(st.data(), sizes, bits)
def test_a_consistency_proof_verifies_and_fails_with_any_flipped_bit(
    data: st.DataObject, new_size: int, bit: int
) -> None:
    old_size = data.draw(st.integers(1, new_size))
    claim: dict[str, Any] = {
        "old_size": old_size,
        "new_size": new_size,
        "old_root": TREE.root(old_size),
        "new_root": TREE.root(new_size),
        "proof": TREE.consistency_proof(old_size, new_size),
    }
    verify_consistency(**claim)
    lies: list[dict[str, Any]] = [
        {"old_root": flip(claim["old_root"], bit)},
        {"new_root": flip(claim["new_root"], bit)},
    ]
    lies += [{"old_size": 0}, {"old_size": new_size + 1}, {"proof": (*claim["proof"], claim["new_root"])}]
    if claim["proof"]:
        lies += [{"proof": flip_in(claim["proof"], data.draw(st.integers(0, 9)), bit)}, {"proof": claim["proof"][:-1]}]
        lies += [{"proof": ()}]
    for lie in lies:
        with pytest.raises(ProofInvalid):
            verify_consistency(**(claim | lie))


@given(st.data(), st.integers(2, LARGEST))
def test_a_tree_that_changed_an_old_entry_is_never_consistent(data: st.DataObject, new_size: int) -> None:
    old_size = data.draw(st.integers(1, new_size))
    changed = data.draw(st.integers(0, old_size - 1))
    forked = grow([*ENTRIES[:changed], b"changed", *ENTRIES[changed + 1 : new_size]])
    with pytest.raises(ProofInvalid):
        verify_consistency(
            old_size=old_size,
            new_size=new_size,
            old_root=TREE.root(old_size),
            new_root=forked.root(),
            proof=forked.consistency_proof(old_size, new_size),
        )


def test_a_leaf_does_not_pass_for_an_inner_node() -> None:
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    assert grow([left + right]).root() != grow([b"left", b"right"]).root()


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (0, LARGEST + 1), (0, -1)])
def test_no_inclusion_proof_is_made_for_an_entry_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ProofInvalid):
        TREE.inclusion_proof(index, size)


@pytest.mark.parametrize(("old_size", "new_size"), [(0, 3), (4, 3), (-1, 3), (1, LARGEST + 1)])
def test_no_consistency_proof_is_made_between_sizes_out_of_order(old_size: int, new_size: int) -> None:
    with pytest.raises(ProofInvalid):
        TREE.consistency_proof(old_size, new_size)


def test_no_hashes_are_given_of_subtrees_that_are_not_complete() -> None:
    assert TREE.level_hashes(0, 3, 5) == leaf_hash(ENTRIES[3]) + leaf_hash(ENTRIES[4])
    assert TREE.level_hashes(8, 0, 1) == TREE.root(256)
    assert TREE.level_hashes(40, 0, 0) == b""
    for level, start, end in [(8, 0, 2), (0, 0, LARGEST + 1), (0, 5, 3), (-1, 0, 1), (0, -1, 1)]:
        with pytest.raises(ProofInvalid):
            TREE.level_hashes(level, start, end)


def vectors(kind: str) -> list[Any]:
    cases = json.loads((VECTORS / f"{kind}.json").read_text())
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", vectors("inclusion"))
def test_published_inclusion_proofs_are_judged_as_published(case: dict[str, Any]) -> None:
    claim: dict[str, Any] = {
        "leaf_hash": base64.b64decode(case["leafHash"]),
        "index": case["leafIdx"],
        "size": case["treeSize"],
        "proof": [base64.b64decode(value) for value in case["proof"] or []],
        "root": base64.b64decode(case["root"]),
    }
    if not case["wantErr"]:
        verify_inclusion(**claim)
        return
    with pytest.raises(ProofInvalid):
        verify_inclusion(**claim)


@pytest.mark.parametrize("case", vectors("consistency"))
def test_published_consistency_proofs_are_judged_as_published(case: dict[str, Any]) -> None:
    claim: dict[str, Any] = {
        "old_size": case["size1"],
        "new_size": case["size2"],
        "old_root": base64.b64decode(case["root1"]),
        "new_root": base64.b64decode(case["root2"]),
        "proof": [base64.b64decode(value) for value in case["proof"] or []],
    }
    if not case["wantErr"]:
        verify_consistency(**claim)
        return
    with pytest.raises(ProofInvalid):
        verify_consistency(**claim)
