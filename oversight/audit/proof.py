"""One leaf of the log with its proof, in a file that stands by itself; and the check of such a file.

The proof's extra data are the leaf: the hash of its body and its public skeleton. Whoever has the document and its salt,
or knows the flag's header, compares these with them.
"""

from __future__ import annotations

from protocol.documents.roster import Roster
from protocol.errors import NotLogged, ProofInvalid
from protocol.history.mirror import Mirror, log_origin, witness_keys
from protocol.log.leaf import BODY_HASH_BYTES, Leaf
from protocol.log.proof import LogProof, prove, verify_proof


def leaf_proof(mirror: Mirror, index: int) -> LogProof:
    """Return the proof of a leaf of a verified mirror. Raises: NotLogged if it has no such leaf."""
    if mirror.checkpoint is None or not 0 <= index < mirror.size:
        raise NotLogged(f"the log has {mirror.size} leaves, none of index {index}")
    leaf = mirror.history.leaves[index]
    return prove(mirror.history.tree, index, mirror.checkpoint, extra=leaf.body_hash + leaf.skeleton_bytes)


def check_leaf_proof(proof: LogProof, roster: Roster) -> Leaf:
    """Return the leaf that a proof holds, if it is in the roster's log under a majority of its witnesses.

    Raises: ProofInvalid, CheckpointInvalid, MalformedDocument.
    """
    if len(proof.extra) <= BODY_HASH_BYTES:
        raise ProofInvalid("the proof does not carry its leaf")
    leaf = Leaf(proof.extra[BODY_HASH_BYTES:], proof.extra[:BODY_HASH_BYTES])
    verify_proof(
        proof,
        entry=leaf.entry(),
        origin=log_origin(roster.force),
        log_key=bytes.fromhex(roster.with_role("coordinator")[0].signing_key),
        witnesses=witness_keys(roster),
        threshold=roster.witness_majority,
    )
    leaf.skeleton()
    return leaf
