"""The log as static files: tiles of 256 hashes and bundles of 256 entries, under paths that anybody can compute.

Rules this module keeps: a full tile never changes; a partial tile belongs to one tree size and its path says which
width; the entries are the truth and every hash file is checked against them. Nothing here reads or writes a file.

Source: C2SP tlog-tiles (c2sp.org).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from protocol.errors import ProofInvalid
from protocol.log.merkle import HASH_BYTES, MerkleTree

TILE_WIDTH = 256
TILE_HEIGHT = 8
"""A tile covers this many levels of the tree: 256 is 2**8."""

MAX_TILE_LEVEL = 63
LENGTH_BYTES = 2
MAX_ENTRY_BYTES = 2 ** (8 * LENGTH_BYTES) - 1


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return where the hash tile stands below the log's prefix.

    Args:
        level: Of the tile; its hashes cover ``256**level`` entries each.
        index: Of the tile in its level.
        width: How many hashes it holds; 256 is a full tile.
    Raises: ProofInvalid if no tile has these numbers.
    """
    if not 0 <= level <= MAX_TILE_LEVEL:
        raise ProofInvalid(f"no tile has level {level}")
    return f"tile/{level}/{_position_path(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return where the bundle of entries stands below the log's prefix; see ``tile_path``."""
    return f"tile/entries/{_position_path(index, width)}"


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    """Return the hash tile that holds ``hashes``. Raises: ProofInvalid."""
    if any(len(value) != HASH_BYTES for value in hashes):
        raise ProofInvalid(f"a hash in a tile does not have {HASH_BYTES} bytes")
    _require_width(len(hashes))
    return b"".join(hashes)


def decode_tile(content: bytes, *, width: int) -> tuple[bytes, ...]:
    """Return the hashes of a tile of ``width`` hashes. Raises: ProofInvalid if it has another length."""
    _require_width(width)
    if len(content) != width * HASH_BYTES:
        raise ProofInvalid(f"a tile of width {width} does not have {width * HASH_BYTES} bytes")
    return tuple(content[start : start + HASH_BYTES] for start in range(0, len(content), HASH_BYTES))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the entry bundle that holds ``entries``, each after its length. Raises: ProofInvalid."""
    _require_width(len(entries))
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise ProofInvalid(f"an entry has more than {MAX_ENTRY_BYTES} bytes")
    return b"".join(len(entry).to_bytes(LENGTH_BYTES, "big") + entry for entry in entries)


def decode_bundle(content: bytes, *, width: int) -> tuple[bytes, ...]:
    """Return the entries of a bundle of ``width`` entries.

    Raises: ProofInvalid if the bytes end early or late.
    """
    _require_width(width)
    entries: list[bytes] = []
    position = 0
    for _ in range(width):
        start = position + LENGTH_BYTES
        position = start + int.from_bytes(content[position:start], "big")
        if start > len(content) or position > len(content):
            raise ProofInvalid(f"the entry bundle ends within entry {len(entries)}")
        entries.append(content[start:position])
    if position != len(content):
        raise ProofInvalid("the entry bundle continues after its last entry")
    return tuple(entries)


def tiles_for(tree: MerkleTree, old_size: int, new_size: int) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each hash tile that the tree of ``new_size`` entries has and that of ``old_size`` lacks.

    The caller writes them, and the bundles, before it publishes the checkpoint of ``new_size``.
    Raises: ProofInvalid if the tree has fewer entries or the sizes are not in order.
    """
    _require_growth(old_size, new_size)
    for level in range((new_size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT):
        height = level * TILE_HEIGHT
        for index, width in _changed(old_size >> height, new_size >> height):
            start = index * TILE_WIDTH
            yield tile_path(level, index, width), tree.level_hashes(height, start, start + width)


def bundles_for(
    read_entries: Callable[[int, int], Sequence[bytes]], old_size: int, new_size: int
) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each entry bundle that the log needs to grow from ``old_size`` to ``new_size`` entries.

    Args:
        read_entries: Returns the entries from the first index up to the second; the tree itself keeps only hashes.
    Raises: ProofInvalid if it returns another number of them, or the sizes are not in order.
    """
    _require_growth(old_size, new_size)
    for index, width in _changed(old_size, new_size):
        start = index * TILE_WIDTH
        entries = read_entries(start, start + width)
        if len(entries) != width:
            raise ProofInvalid(f"entries {start} to {start + width} are not all there")
        yield entries_path(index, width), encode_bundle(entries)


def verify_tiles(read: Callable[[str], bytes], size: int) -> MerkleTree:
    """Return the tree of the first ``size`` entries, built anew from the bundles; every hash tile agrees with it.

    The tree says nothing about whether these are the right entries: the caller compares its root with a witnessed
    checkpoint of this size.

    Args:
        read: Returns the published file at a path, untrusted; raises an error of its own if there is none.
        size: From a checkpoint, so that the partial tiles of this size exist.
    Raises: ProofInvalid naming the first file that is malformed or disagrees.
    """
    tree = MerkleTree()
    for index, width in _changed(0, size):
        path = entries_path(index, width)
        try:
            entries = decode_bundle(read(path), width=width)
        except ProofInvalid as error:
            raise ProofInvalid(f"{path}: {error.detail}") from error
        for entry in entries:
            tree.append(entry)
    for path, content in tiles_for(tree, 0, size):
        if read(path) != content:
            raise ProofInvalid(f"{path}: the tile does not hold the hashes of the entries below it")
    return tree


def _changed(old_count: int, new_count: int) -> Iterator[tuple[int, int]]:
    """Yield index and width of each file in a row of ``new_count`` items that a row of ``old_count`` lacks."""
    if new_count == old_count:
        return
    full = new_count // TILE_WIDTH
    for index in range(old_count // TILE_WIDTH, full):
        yield index, TILE_WIDTH
    if new_count % TILE_WIDTH:
        yield full, new_count % TILE_WIDTH


def _position_path(index: int, width: int) -> str:
    _require_width(width)
    if index < 0:
        raise ProofInvalid(f"no tile has index {index}")
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    *above, last = (digits[start : start + 3] for start in range(0, len(digits), 3))
    path = "".join(f"x{element}/" for element in above) + last
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def _require_width(width: int) -> None:
    if not 1 <= width <= TILE_WIDTH:
        raise ProofInvalid(f"no tile has width {width}")


def _require_growth(old_size: int, new_size: int) -> None:
    if not 0 <= old_size <= new_size:
        raise ProofInvalid(f"a log does not grow from size {old_size} to size {new_size}")
