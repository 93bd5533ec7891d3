"""A Merkle tree over an append-only list, and the proofs that tie two views of it together.

Rules this module keeps: a leaf and an inner node are hashed under different prefixes, so neither passes for the
other; hashes of complete subtrees never change and are kept; a verifier returns nothing and raises on any doubt.
The size and the root that a proof is checked against come from a witnessed checkpoint, never with the proof.

Source: RFC 9162, section 2.1 (trees and proofs); the hashing is that of RFC 6962, section 2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from protocol.errors import ProofInvalid

HASH_BYTES = 32
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of the tree that has no entries."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash under which ``entry`` stands in the tree."""
    return hashlib.sha256(LEAF_PREFIX + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the inner node above ``left`` and ``right``."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


class MerkleTree:
    """The tree of every entry appended so far, able to answer for each earlier size too.

    Level ``k`` holds the hashes of the complete subtrees of ``2**k`` entries, side by side in one buffer: an append
    costs one node on average, a root or proof O(log n), and a million entries take 64 MB.
    """

    def __init__(self) -> None:
        """Begin with no entries."""
        self._levels: list[bytearray] = [bytearray()]

    @property
    def size(self) -> int:
        """How many entries the tree holds."""
        return len(self._levels[0]) // HASH_BYTES

    def append(self, entry: bytes) -> int:
        """Add ``entry`` at the end and return its index, counted from zero."""
        index = self.size
        node = leaf_hash(entry)
        self._levels[0] += node
        # Each one bit at the low end of the index is a complete left neighbour waiting for this node.
        level, waiting = 0, index
        while waiting & 1:
            node = node_hash(self._node(level, waiting - 1), node)
            level, waiting = level + 1, waiting >> 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node
        return index

    def level_hashes(self, level: int, start: int, end: int) -> bytes:
        """Return the hashes of the complete subtrees of ``2**level`` entries, ``start`` up to ``end``, concatenated.

        Raises: ProofInvalid if the tree does not hold all of them.
        """
        if level < 0 or not 0 <= start <= end <= self.size >> level:
            raise ProofInvalid(f"level {level} has no hashes {start} to {end} in a tree of {self.size}")
        if start == end:
            return b""
        return bytes(self._levels[level][start * HASH_BYTES : end * HASH_BYTES])

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the whole tree, or of its first ``size`` entries.

        Raises: ProofInvalid if the tree has fewer entries.
        """
        size = self.size if size is None else size
        self._require_size(size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the hashes that lead from entry ``index`` to the root of the first ``size`` entries, leaf first.

        Raises: ProofInvalid if that tree does not contain the entry.
        """
        self._require_size(size)
        if not 0 <= index < size:
            raise ProofInvalid(f"entry {index} is not in a tree of {size}")
        start, end = 0, size
        path: list[bytes] = []
        while end - start > 1:
            middle = start + _left_width(end - start)
            if index < middle:
                path.append(self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency_proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the hashes that show the first ``old_size`` entries to be a prefix of the first ``new_size``.

        Raises: ProofInvalid if ``old_size`` is zero (everything extends the empty tree, so there is nothing to prove)
            or the sizes are not in order.
        """
        self._require_size(new_size)
        if not 0 < old_size <= new_size:
            raise ProofInvalid(f"no consistency proof leads from size {old_size} to size {new_size}")
        start, end = 0, new_size
        path: list[bytes] = []
        while end != old_size:
            middle = start + _left_width(end - start)
            if old_size <= middle:
                path.append(self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        if start:  # Otherwise the subtree is the old tree itself, whose root the verifier holds.
            path.append(self._subtree(start, end))
        return tuple(reversed(path))

    def _require_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise ProofInvalid(f"the tree has {self.size} entries, not {size}")

    def _node(self, level: int, position: int) -> bytes:
        return bytes(self._levels[level][position * HASH_BYTES : (position + 1) * HASH_BYTES])

    def _subtree(self, start: int, end: int) -> bytes:
        """Return the hash over entries ``start`` to ``end``, where ``start`` is where RFC 9162 splits a tree."""
        width = end - start
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._node(level, start >> level)
        middle = start + _left_width(width)
        return node_hash(self._subtree(start, middle), self._subtree(middle, end))


def verify_inclusion(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the entry hashed as ``leaf_hash`` stands at ``index`` in the tree of ``size`` entries under ``root``.

    Args:
        leaf_hash: Computed by the caller from the entry itself.
        size: From the same checkpoint as ``root``. A proof does not vouch for the size by itself.
        proof: From the log, untrusted.
    Raises: ProofInvalid otherwise.
    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"entry {index} cannot be in a tree of {size}")
    _require_hashes(leaf_hash, *proof)
    node, last, computed = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise ProofInvalid("the inclusion proof is too long")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            shift = _levels_without_right_sibling(node)
            node, last = node >> shift, last >> shift
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofInvalid("the inclusion proof is too short")
    if computed != root:
        raise ProofInvalid(f"the inclusion proof of entry {index} does not lead to the root at size {size}")


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the tree under ``new_root`` begins with all entries of the tree under ``old_root``, unchanged.

    A caller that has seen nothing yet has no old root, and decides by other means whether to trust its first one;
    therefore an old size of zero is refused, not waved through.

    Args:
        proof: From the log, untrusted; empty exactly if the sizes are equal.
    Raises: ProofInvalid otherwise.
    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 < old_size <= new_size:
        raise ProofInvalid(f"no consistency proof leads from size {old_size} to size {new_size}")
    if old_size == new_size:
        if proof:
            raise ProofInvalid("the consistency proof between equal sizes is not empty")
        if old_root != new_root:
            raise ProofInvalid(f"two roots at size {new_size}")
        return
    _require_hashes(old_root, new_root, *proof)
    if not proof:
        raise ProofInvalid("the consistency proof is empty")
    # A complete old tree is itself the subtree that the proof starts from, so the log leaves its root out.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    shift = _trailing_ones(old_size - 1)
    node, last = (old_size - 1) >> shift, (new_size - 1) >> shift
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofInvalid("the consistency proof is too long")
        if node & 1 or node == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            shift = _levels_without_right_sibling(node)
            node, last = node >> shift, last >> shift
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofInvalid("the consistency proof is too short")
    if old_computed != old_root:
        raise ProofInvalid(f"the consistency proof does not lead to the old root at size {old_size}")
    if new_computed != new_root:
        raise ProofInvalid(f"the consistency proof does not lead to the new root at size {new_size}")


def _left_width(width: int) -> int:
    """Return the largest power of two below ``width``: where RFC 9162 splits a tree of ``width`` entries."""
    return 1 << ((width - 1).bit_length() - 1)


def _trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1


def _levels_without_right_sibling(node: int) -> int:
    """Return how many levels a last node, not zero, rises before it is a right child: it has no sibling on those."""
    return (node & -node).bit_length() - 1


def _require_hashes(*hashes: bytes) -> None:
    # Two children are hashed without their lengths: only fixed lengths give a node a single reading.
    if any(len(value) != HASH_BYTES for value in hashes):
        raise ProofInvalid("a hash in the proof does not have 32 bytes")
