"""Tiles: the paths of the specification, codecs that refuse stray bytes, and a tree that survives being files."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ProofInvalid
from protocol.log.merkle import MerkleTree
from protocol.log.tiles import (
    bundles_for,
    decode_bundle,
    decode_tile,
    encode_bundle,
    encode_tile,
    entries_path,
    tile_path,
    tiles_for,
    verify_tiles,
)

LARGEST = 70_000

ENTRIES = [index.to_bytes(32, "big") for index in range(LARGEST)]


@pytest.fixture(scope="module")
def tree() -> MerkleTree:
    tree = MerkleTree()
    for entry in ENTRIES:
        tree.append(entry)
    return tree


def read_entries(start: int, end: int) -> list[bytes]:
    return ENTRIES[start:end]


def publish(tree: MerkleTree, *sizes: int) -> dict[str, bytes]:
    """Return all files of a log that made a checkpoint at each of ``sizes``."""
    files: dict[str, bytes] = {}
    for old_size, new_size in zip((0, *sizes), sizes, strict=False):
        for path, content in (*bundles_for(read_entries, old_size, new_size), *tiles_for(tree, old_size, new_size)):
            assert path not in files, "a published file is never written again"
            files[path] = content
    return files


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 999, 256, "tile/0/999"),
        (0, 1000, 256, "tile/0/x001/000"),
        (3, 1234067, 256, "tile/3/x001/x234/067"),
        (63, 1234, 1, "tile/63/x001/234.p/1"),
        (1, 5, 255, "tile/1/005.p/255"),
    ],
)
def test_a_tile_stands_where_the_specification_says(level: int, index: int, width: int, path: str) -> None:
    assert tile_path(level, index, width) == path
    assert entries_path(index, width) == path.replace(f"tile/{level}/", "tile/entries/")


@pytest.mark.parametrize(("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_no_path_is_given_for_a_tile_that_cannot_be(level: int, index: int, width: int) -> None:
    with pytest.raises(ProofInvalid):
        tile_path(level, index, width)


def test_a_tree_of_70000_entries_has_the_tiles_of_the_specification(tree: MerkleTree) -> None:
    files = dict(tiles_for(tree, 0, 70_000))
    partial = {path: len(content) // 32 for path, content in files.items() if ".p/" in path}
    assert partial == {"tile/0/273.p/112": 112, "tile/1/001.p/17": 17, "tile/2/000.p/1": 1}
    full = sorted(path for path in files if ".p/" not in path)
    assert full == [*(f"tile/0/{index:03}" for index in range(273)), "tile/1/000"]
    assert all(len(files[path]) == 8192 for path in full)
    assert files["tile/2/000.p/1"] == tree.root(65_536)


def test_a_tree_of_256_entries_has_a_full_tile_and_one_hash_above(tree: MerkleTree) -> None:
    assert [path for path, _ in tiles_for(tree, 0, 256)] == ["tile/0/000", "tile/1/000.p/1"]


def test_a_tree_that_did_not_grow_needs_no_files(tree: MerkleTree) -> None:
    assert list(tiles_for(tree, 300, 300)) == list(bundles_for(read_entries, 300, 300)) == []
    assert list(tiles_for(tree, 0, 0)) == []


def test_sizes_out_of_order_and_entries_that_are_missing_are_refused(tree: MerkleTree) -> None:
    for old_size, new_size in [(2, 1), (-1, 1), (0, LARGEST + 1)]:
        with pytest.raises(ProofInvalid):
            list(tiles_for(tree, old_size, new_size))
        with pytest.raises(ProofInvalid):
            list(bundles_for(read_entries, old_size, new_size))


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=256))
def test_decoding_an_encoded_tile_gives_its_hashes_back(hashes: list[bytes]) -> None:
    assert decode_tile(encode_tile(hashes), width=len(hashes)) == tuple(hashes)


@given(st.lists(st.binary(max_size=600), min_size=1, max_size=256))
def test_decoding_an_encoded_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), width=len(entries)) == tuple(entries)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=5), st.integers(1, 34))
def test_a_bundle_that_is_cut_or_continued_is_refused(entries: list[bytes], count: int) -> None:
    content = encode_bundle(entries)
    for wrong in (content[:-count], content + bytes(count)):
        with pytest.raises(ProofInvalid):
            decode_bundle(wrong, width=len(entries))
    for width in (len(entries) - 1, len(entries) + 1):
        with pytest.raises(ProofInvalid):
            decode_bundle(content, width=width)


def test_tiles_and_bundles_of_impossible_measures_are_refused() -> None:
    for hashes in ([], [bytes(32)] * 257, [bytes(31)]):
        with pytest.raises(ProofInvalid):
            encode_tile(hashes)
    for entries in ([], [b""] * 257, [bytes(65_536)]):
        with pytest.raises(ProofInvalid):
            encode_bundle(entries)
    for content, width in ((b"", 0), (bytes(31), 1), (bytes(64), 1), (bytes(257 * 32), 257)):
        with pytest.raises(ProofInvalid):
            decode_tile(content, width=width)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=5, unique=True).map(sorted))
def test_a_log_that_grew_in_steps_can_be_rebuilt_from_its_files_at_each_step(
    tree: MerkleTree, sizes: list[int]
) -> None:
    files = publish(tree, *sizes)
    for size in sizes:
        rebuilt = verify_tiles(files.__getitem__, size)
        assert (rebuilt.size, rebuilt.root()) == (size, tree.root(size))


def test_a_log_of_three_tile_levels_can_be_rebuilt_from_its_files(tree: MerkleTree) -> None:
    assert verify_tiles(publish(tree, 300, 65_536, LARGEST).__getitem__, LARGEST).root() == tree.root()


def test_an_empty_log_has_no_files_and_the_empty_root() -> None:
    files: dict[str, bytes] = {}
    assert verify_tiles(files.__getitem__, 0).root() == MerkleTree().root()


@settings(max_examples=50, deadline=None)
@given(data=st.data(), size=st.integers(1, 600))
def test_any_flipped_bit_in_any_file_is_noticed(tree: MerkleTree, data: st.DataObject, size: int) -> None:
    files = publish(tree, size)
    path = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[path])
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    files[path] = bytes(content)
    with pytest.raises(ProofInvalid, match="tile/"):
        verify_tiles(files.__getitem__, size)


def test_a_tile_that_is_too_long_is_noticed(tree: MerkleTree) -> None:
    files = publish(tree, 257)
    files["tile/1/000.p/1"] += bytes(32)
    with pytest.raises(ProofInvalid, match=r"tile/1/000\.p/1"):
        verify_tiles(files.__getitem__, 257)
