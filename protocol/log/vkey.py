"""The keys that sign notes and the lines that they leave there.

Rules this module keeps: a key is trusted for one name and one signature type, both of which enter its key id; a line
or key has one spelling, so that what was parsed encodes to the same characters.

Source: C2SP signed-note (lines, key ids, vkeys, type 0x01) and tlog-cosignature (type 0x04), c2sp.org.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocol.errors import CheckpointInvalid

LOG_SIGNATURE = 0x01
"""Signature type: Ed25519 over the note text."""

COSIGNATURE = 0x04
"""Signature type: a witness's Ed25519 over a time and the note text."""

COSIGNATURE_HEADER = "cosignature/v1"
"""First line of what a witness signs; it keeps a cosignature apart from every other use of Ed25519."""

KEY_ID_BYTES = 4
PUBLIC_KEY_BYTES = 32
TIME_BYTES = 8
MAX_TIME_SECONDS = 2**63 - 1

_LINE_PREFIX = "— "


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: a name, the first four bytes of a key's hash, and what that key signed."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a note. Raises: CheckpointInvalid."""
        _require_name(self.name)
        if len(self.key_id) != KEY_ID_BYTES or not self.signature:
            raise CheckpointInvalid("a signature line is too short")

    def encode(self) -> str:
        """Return the line, with its newline."""
        return f"{_LINE_PREFIX}{self.name} {to_base64(self.key_id + self.signature)}\n"

    @classmethod
    def decode(cls, line: str) -> Self:
        """Return the signature of this line, given without its newline. Raises: CheckpointInvalid."""
        name, space, encoded = line.removeprefix(_LINE_PREFIX).partition(" ")
        if not line.startswith(_LINE_PREFIX) or not space:
            raise CheckpointInvalid("a signature line is not a dash, a name and a signature")
        blob = from_base64(encoded)
        return cls(name, blob[:KEY_ID_BYTES], blob[KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name and the signature type that it is trusted for."""

    name: str
    signature_type: int
    public_key: bytes

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a note. Raises: CheckpointInvalid."""
        _require_name(self.name)
        if self.signature_type not in (LOG_SIGNATURE, COSIGNATURE):
            raise CheckpointInvalid(f"signature type {self.signature_type} is not supported")
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise CheckpointInvalid(f"the public key of {self.name} does not have {PUBLIC_KEY_BYTES} bytes")

    @property
    def key_id(self) -> bytes:
        """Four bytes that find the key's line in a note; a hint, not a proof."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed_key()).digest()[:KEY_ID_BYTES]

    def encode(self) -> str:
        """Return the ``vkey``: name, hex key id and base64 of type and key, joined by plus signs."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(self._typed_key())}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the key of this ``vkey``. Raises: CheckpointInvalid, also if the key id is not that of the key."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise CheckpointInvalid("a verifier key is a name, a key id and a key, joined by plus signs")
        typed_key = from_base64(parts[2])
        key = cls(parts[0], typed_key[0] if typed_key else 0, typed_key[1:])
        if key.encode() != text:
            raise CheckpointInvalid(f"the key id of {key.name} is not that of its key")
        return key

    def made(self, line: NoteSignature) -> bool:
        """Whether ``line`` claims to be by this key."""
        return (line.name, line.key_id) == (self.name, self.key_id)

    def verify(self, text: bytes, signature: bytes) -> None:
        """Return if ``signature`` is by this key, and of its type, over the note text ``text``.

        Raises: CheckpointInvalid otherwise.
        """
        message = text
        if self.signature_type == COSIGNATURE:
            message = cosigned_message(cosigned_at(signature), text)
            signature = signature[TIME_BYTES:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise CheckpointInvalid(f"the signature of {self.name} does not verify") from None

    def _typed_key(self) -> bytes:
        return bytes([self.signature_type]) + self.public_key


def cosigned_at(cosignature: bytes) -> int:
    """Return the POSIX time, in seconds, that stands before the Ed25519 signature in a cosignature.

    Raises: CheckpointInvalid if it is out of range.
    """
    time_seconds = int.from_bytes(cosignature[:TIME_BYTES], "big")
    if time_seconds > MAX_TIME_SECONDS:
        raise CheckpointInvalid("the time of a cosignature is out of range")
    return time_seconds


def cosigned_message(time_seconds: int, text: bytes) -> bytes:
    """Return what a witness signs to say that it had seen the note text ``text`` by ``time_seconds``."""
    return f"{COSIGNATURE_HEADER}\ntime {time_seconds}\n".encode() + text


def _require_name(name: str) -> None:
    if not name or "+" in name or has_control_characters(name) or any(character.isspace() for character in name):
        raise CheckpointInvalid("a key name is empty or contains a space, a plus sign or a control character")


# Lone surrogates are no characters of their own: they have no UTF-8 encoding to sign. A pattern, because every checkpoint
# that anybody reads passes here: character by character it was a tenth of what a step of a case costs all parties.
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def has_control_characters(text: str) -> bool:
    """Whether ``text`` holds anything that is not to be printed on one line of a note."""
    return _CONTROL.search(text) is not None


def to_base64(content: bytes) -> str:
    """Return the standard base64 of ``content``, with padding."""
    return base64.b64encode(content).decode("ascii")


def from_base64(text: str) -> bytes:
    """Return the bytes of this canonical base64. Raises: CheckpointInvalid."""
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise CheckpointInvalid("a value is not base64") from None
    # Unused low bits of the last character would give the same bytes a second spelling.
    if to_base64(content) != text:
        raise CheckpointInvalid("a value is not in canonical base64")
    return content
