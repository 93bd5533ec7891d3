"""A proof on paper: one entry is in a log that witnesses have seen, in one file that verifies offline.

Rules this module keeps: a proof has one encoding; its extra data vouch for nothing and are used only to compute the
entry that the proof is then checked against; keys and threshold come from the roster, never with the proof.

Source: C2SP tlog-proof (c2sp.org/tlog-proof).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from protocol.errors import CheckpointInvalid, ProofInvalid
from protocol.log.merkle import HASH_BYTES, MerkleTree, leaf_hash, verify_inclusion
from protocol.log.note import SignedCheckpoint, require_witnesses, verify_log_signature
from protocol.log.vkey import from_base64, to_base64

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 2**20
MAX_PATH = 63
"""A tree of 2**63 entries has no longer path."""

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class LogProof:
    """An inclusion proof with the checkpoint that it leads to, none of it verified by the mere existence of this value."""

    index: int
    path: tuple[bytes, ...]
    """Hashes from the leaf's sibling up."""
    signed: SignedCheckpoint
    extra: bytes
    """Not authenticated; empty: none."""

    def encode(self) -> bytes:
        """Return the file, to be named ``*.tlog-proof``."""
        extra = [f"extra {to_base64(self.extra)}"] if self.extra else []
        lines = [HEADER, *extra, f"index {self.index}", *map(to_base64, self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.signed.encode()

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return the proof of these bytes, unverified. Raises: ProofInvalid, CheckpointInvalid."""
        if len(content) > MAX_PROOF_BYTES:
            raise ProofInvalid(f"the proof is longer than {MAX_PROOF_BYTES} bytes")
        head, blank, note = content.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise ProofInvalid("the proof's lines are not ASCII") from None
        if not blank or lines[0] != HEADER:
            raise ProofInvalid(f"the file does not begin with {HEADER}, or has no checkpoint")
        extra = lines.pop(1).removeprefix("extra ") if len(lines) > 1 and lines[1].startswith("extra ") else None
        found = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
        if found is None or len(lines) - 2 > MAX_PATH:
            raise ProofInvalid("the proof has no index in decimal, or too many hashes")
        proof = cls(
            index=int(found[1]),
            path=tuple(_bytes(line) for line in lines[2:]),
            signed=SignedCheckpoint.decode(note),
            extra=b"" if extra is None else _bytes(extra),
        )
        if any(len(value) != HASH_BYTES for value in proof.path):
            raise ProofInvalid(f"a hash in the proof does not have {HASH_BYTES} bytes")
        if proof.encode() != content:
            raise ProofInvalid("the proof is not written as it would be")
        return proof


def prove(tree: MerkleTree, index: int, signed: SignedCheckpoint, *, extra: bytes) -> LogProof:
    """Return the proof that entry ``index`` is under a checkpoint of this tree. Raises: ProofInvalid if it is not."""
    return LogProof(index, tree.inclusion_proof(index, signed.checkpoint.size), signed, extra)


def verify_proof(
    proof: LogProof, *, entry: bytes, origin: str, log_key: bytes, witnesses: Mapping[str, bytes], threshold: int
) -> None:
    """Return if ``entry`` is in the log of this origin and key, as ``threshold`` of the witnesses have seen it.

    Args:
        entry: Computed by the caller from what it wants to find in the log.
        log_key: Raw Ed25519 key of the log, from the roster, as are the witnesses' by name.
    Raises: CheckpointInvalid, ProofInvalid.
    """
    checkpoint = proof.signed.checkpoint
    if checkpoint.origin != origin:
        raise CheckpointInvalid("the checkpoint is of another log")
    verify_log_signature(proof.signed, origin, public_key=log_key)
    require_witnesses(proof.signed, witnesses, threshold=threshold)
    verify_inclusion(
        leaf_hash=leaf_hash(entry), index=proof.index, size=checkpoint.size, proof=proof.path, root=checkpoint.root
    )


def _bytes(line: str) -> bytes:
    try:
        return from_base64(line)
    except CheckpointInvalid as error:
        raise ProofInvalid(f"a line of the proof: {error.detail}") from None
