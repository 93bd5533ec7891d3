"""Signed notes: checkpoints of the log, the log's signature over them, and the witnesses' cosignatures.

Rules this module keeps: a parsed checkpoint encodes to the bytes it was parsed from; anything that could be read in
two ways is refused; a signature counts for the key the caller trusts, whatever name it carries; a quorum counts keys.
Checkpoints here have no extension lines: nobody can audit those.

Source: C2SP signed-note, tlog-checkpoint and tlog-cosignature (c2sp.org).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from protocol.errors import CheckpointInvalid
from protocol.log.merkle import HASH_BYTES
from protocol.log.vkey import (
    COSIGNATURE,
    LOG_SIGNATURE,
    MAX_TIME_SECONDS,
    TIME_BYTES,
    NoteSignature,
    VerifierKey,
    cosigned_at,
    cosigned_message,
    from_base64,
    has_control_characters,
    to_base64,
)

MAX_SIZE = 2**63 - 1
MAX_SIGNATURES = 64
MAX_NOTE_BYTES = 65_536

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class PublicKey(Protocol):
    """An Ed25519 public key, such as that of ``cryptography``."""

    def public_bytes_raw(self) -> bytes:
        """Return its 32 bytes."""
        ...


class PrivateKey(Protocol):
    """An Ed25519 private key, such as ``cryptography``'s ``Ed25519PrivateKey`` or a stand-in for a token."""

    def sign(self, data: bytes, /) -> bytes:
        """Return the 64-byte signature of ``data``."""
        ...

    def public_key(self) -> PublicKey:
        """Return the public half."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the log states: under this origin, this many entries have this root."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a note. Raises: CheckpointInvalid."""
        if not self.origin or has_control_characters(self.origin):
            raise CheckpointInvalid("the origin is not one line of text")
        if not 0 <= self.size <= MAX_SIZE:
            raise CheckpointInvalid("the tree size is out of range")
        if len(self.root) != HASH_BYTES:
            raise CheckpointInvalid(f"the root does not have {HASH_BYTES} bytes")

    def body(self) -> bytes:
        """Return the note text, which is what is signed: origin, size and root, a line each."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n".encode()

    @classmethod
    def from_body(cls, text: str) -> Self:
        """Return the checkpoint of this note text. Raises: CheckpointInvalid."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise CheckpointInvalid("the text is not the three lines origin, size and root")
        if not _DECIMAL.fullmatch(lines[1]):
            raise CheckpointInvalid("the tree size is not a decimal number")
        return cls(lines[0], int(lines[1]), from_base64(lines[2]))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and its signatures, none of them verified by the mere existence of this value."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a note. Raises: CheckpointInvalid."""
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise CheckpointInvalid(f"a note carries 1 to {MAX_SIGNATURES} signatures")

    def encode(self) -> bytes:
        """Return the signed note."""
        return self.checkpoint.body() + b"\n" + "".join(line.encode() for line in self.signatures).encode()

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return the checkpoint and signatures of this note, unverified. Raises: CheckpointInvalid."""
        text, signatures = split_note(content)
        return cls(Checkpoint.from_body(text), signatures)

    def with_signature(self, added: NoteSignature) -> Self:
        """Return this note with one more signature, in place of an earlier one by the same name and key id."""
        kept = (line for line in self.signatures if (line.name, line.key_id) != (added.name, added.key_id))
        return type(self)(self.checkpoint, (*kept, added))


def split_note(content: bytes) -> tuple[str, tuple[NoteSignature, ...]]:
    """Return the text of a signed note, with its last newline, and the signature lines below it, unverified.

    Raises: CheckpointInvalid.
    """
    if len(content) > MAX_NOTE_BYTES:
        raise CheckpointInvalid(f"the note is longer than {MAX_NOTE_BYTES} bytes")
    try:
        note = content.decode()
    except UnicodeDecodeError:
        raise CheckpointInvalid("the note is not UTF-8") from None
    if has_control_characters(note.replace("\n", "")):
        raise CheckpointInvalid("the note contains control characters")
    text, blank_line, lines = note.rpartition("\n\n")
    if not blank_line or not lines.endswith("\n"):
        raise CheckpointInvalid("the note is not a text, a blank line and signature lines")
    return text + "\n", tuple(NoteSignature.decode(line) for line in lines[:-1].split("\n"))


def sign_checkpoint(checkpoint: Checkpoint, name: str, *, private_key: PrivateKey) -> SignedCheckpoint:
    """Return the checkpoint as a note with the log's signature, under the log's key name."""
    key = VerifierKey(name, LOG_SIGNATURE, private_key.public_key().public_bytes_raw())
    return SignedCheckpoint(checkpoint, (NoteSignature(name, key.key_id, private_key.sign(checkpoint.body())),))


def cosign(signed: SignedCheckpoint, name: str, *, private_key: PrivateKey, time_seconds: int) -> SignedCheckpoint:
    """Return the note with the cosignature of witness ``name``, replacing an earlier one by the same key.

    To cosign is to state that, as of ``time_seconds`` (POSIX time), this is the largest tree the witness has seen of
    this log and that it extends every earlier one. The witness has verified both before it calls this.
    """
    if not 0 <= time_seconds <= MAX_TIME_SECONDS:
        raise CheckpointInvalid("the time of a cosignature is out of range")
    key = VerifierKey(name, COSIGNATURE, private_key.public_key().public_bytes_raw())
    signature = private_key.sign(cosigned_message(time_seconds, signed.checkpoint.body()))
    return signed.with_signature(NoteSignature(name, key.key_id, time_seconds.to_bytes(TIME_BYTES, "big") + signature))


def verify_log_signature(signed: SignedCheckpoint, name: str, *, public_key: bytes) -> None:
    """Return if the log's key has signed this checkpoint.

    One key may sign for several logs: the caller compares the checkpoint's origin with the one it expects.
    Raises: CheckpointInvalid otherwise.
    """
    key = VerifierKey(name, LOG_SIGNATURE, public_key)
    lines = [line for line in signed.signatures if key.made(line)]
    if not lines:
        raise CheckpointInvalid(f"the checkpoint is not signed by {name}")
    for line in lines:
        key.verify(signed.checkpoint.body(), line.signature)


def cosignature_times(signed: SignedCheckpoint, witnesses: Mapping[str, bytes]) -> dict[str, int]:
    """Return when each witness cosigned this checkpoint, in POSIX seconds; a witness that is absent did not.

    A cosignature that does not verify is left out and does not spoil the note: otherwise a single corrupt witness
    could stop the log that a majority upholds. Of several by one witness the latest counts.

    Args:
        witnesses: The raw public key of each trusted witness, by the name in its key; from the roster.
    """
    body = signed.checkpoint.body()
    times: dict[str, int] = {}
    for name, public_key in witnesses.items():
        key = VerifierKey(name, COSIGNATURE, public_key)
        for line in filter(key.made, signed.signatures):
            try:
                key.verify(body, line.signature)
            except CheckpointInvalid:
                continue
            times[name] = max(times.get(name, 0), cosigned_at(line.signature))
    return times


def verify_cosignatures(signed: SignedCheckpoint, witnesses: Mapping[str, bytes]) -> frozenset[str]:
    """Return the names of the witnesses whose cosignature on this checkpoint verifies; see ``cosignature_times``."""
    return frozenset(cosignature_times(signed, witnesses))


def require_witnesses(signed: SignedCheckpoint, witnesses: Mapping[str, bytes], *, threshold: int) -> None:
    """Return if at least ``threshold`` distinct witness keys have cosigned this checkpoint.

    Keys are counted, not names: one witness listed under two names is still one.
    Raises: CheckpointInvalid otherwise, naming the witnesses that are missing; also for a threshold below one.
    """
    if threshold < 1:
        raise CheckpointInvalid("a threshold below one witness protects nothing")
    present = verify_cosignatures(signed, witnesses)
    keys = {witnesses[name] for name in present}
    if len(keys) < threshold:
        missing = ", ".join(sorted(witnesses.keys() - present)) or "none"
        raise CheckpointInvalid(f"{len(keys)} of {threshold} witnesses have cosigned; missing: {missing}")
