"""A verified mirror from the log's static files, as the coordinator publishes them: no network, no party's word.

Nothing here reads a file: the caller passes in how.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.documents.canonical import parse_canonical
from protocol.errors import CheckpointInvalid, MalformedDocument, ProofInvalid
from protocol.history.mirror import Mirror
from protocol.ids import Digest
from protocol.log.leaf import Leaf
from protocol.log.note import SignedCheckpoint
from protocol.log.tiles import bundles_for, tiles_for, verify_tiles


def mirror_from_files(read: Callable[[str], bytes], *, genesis: Digest) -> Mirror:
    """Return the mirror of a published log, if its files hold together and keep every rule.

    Args:
        read: Returns the published file at a path below the log's folder, untrusted; raises an error of its own if
            there is none.
        genesis: Digest of the first roster, which the caller got by hand.
    Raises: CheckpointInvalid, ProofInvalid, MalformedDocument, or the error of the rule that a leaf breaks.
    """
    signed = SignedCheckpoint.decode(read("checkpoint"))
    size = signed.checkpoint.size
    tree = verify_tiles(read, size)
    if tree.root() != signed.checkpoint.root:
        raise CheckpointInvalid("the tiles do not add up to the checkpoint")
    mirror = Mirror(genesis=genesis, remembered=None)
    mirror.extend(_leaves(read, 0, size), signed)
    if mirror.history.tree.root() != tree.root():
        raise ProofInvalid("the leaf files are not the entries of the tiles")
    return mirror


def follow_files(mirror: Mirror, read: Callable[[str], bytes]) -> None:
    """Bring a mirror up to the published checkpoint; only files that are new since its size are read.

    Raises: as ``mirror_from_files``; ForkDetected if the log no longer holds what this mirror, or the checkpoint that it
        remembers, has seen. After any other error the mirror is to be thrown away.
    """
    signed = SignedCheckpoint.decode(read("checkpoint"))
    old, size = mirror.size, signed.checkpoint.size
    mirror.extend(_leaves(read, old, size), signed)
    history = mirror.history

    def entries(start: int, end: int) -> list[bytes]:
        return [leaf.entry() for leaf in history.leaves[start:end]]

    for path, content in (*tiles_for(history.tree, old, size), *bundles_for(entries, old, size)):
        if read(path) != content:
            raise ProofInvalid(f"{path}: the tile does not hold what the leaf files do")


def _leaves(read: Callable[[str], bytes], start: int, end: int) -> list[Leaf]:
    leaves = []
    for index in range(start, end):
        fields = parse_canonical(read(f"leaf/{index:06d}.json"))
        try:
            leaves.append(Leaf(fields["skeleton"].encode(), bytes.fromhex(fields["body_hash"])))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise MalformedDocument(f"leaf file {index} is not a leaf") from None
    return leaves
