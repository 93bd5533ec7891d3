"""Log entries: what stays public for ever, and a commitment to what is erased with the case.

    entry = SHA-256(tag || skeleton || SHA-256(salt || body))

Rules this module keeps: every entry has this one shape, so that the tree does not tell public documents from case
documents; once salt and body are erased, the entry fits every body and the skeleton still verifies; nothing about a
person enters a skeleton. The inner hash and the salt have fixed lengths, so an entry has a single reading.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, StringConstraints, model_validator

from protocol.documents.base import Value, decode_canonical
from protocol.documents.canonical import canonical_bytes
from protocol.errors import DigestMismatch, MalformedDocument
from protocol.ids import Digest, Name

LEAF_TAG = b"custodes/log-leaf/v1\x00"
"""Domain separation and version: an entry is never the hash of anything else. A new shape gets a new tag."""

SALT_BYTES = 32
BODY_HASH_BYTES = 32
ENTRY_BYTES = 32


def _require_day(text: str) -> str:
    date.fromisoformat(text)
    return text


def _require_instant(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    return text


Day = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_require_day)]
"""A day in UTC, written ``2026-01-31``."""

InstantText = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_require_instant),
]
"""A moment in UTC as documents write it, ``2026-01-31T12:00:00Z``; such texts order as the moments do."""


class Skeleton(Value):
    """The public part of a log entry; it survives erasure, so it holds nothing that must ever be erased."""

    kind: Name
    """Which kind of document was logged."""

    day: Day
    """When, no finer: the hour of a decision about a person can point to that person."""

    belongs_to: Digest | None
    """Commitment to the plan or warrant that the document belongs to."""

    subject: Digest | None
    """Commitment to the exact thing decided on."""

    signers: tuple[Digest, ...]
    """Key id of everyone who signed, each once; from these the public counts a quorum."""

    valid_from: InstantText | None
    valid_until: InstantText | None

    document: str | None
    """The whole signed envelope of a public document; None for a case document."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.signers)) != len(self.signers):
            raise ValueError("a signer is named twice")
        if self.valid_from is not None and self.valid_until is not None and self.valid_from >= self.valid_until:
            raise ValueError("the validity ends before it begins")
        return self

    def encode(self) -> bytes:
        """Return the canonical bytes: what the entry commits to and what is published."""
        return canonical_bytes(self.model_dump(mode="json"))

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return the skeleton of these canonical bytes.

        Raises: MalformedDocument naming the first field that is wrong.
        """
        return decode_canonical(cls, content)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What the register publishes of an entry, and all that remains of it after erasure."""

    skeleton_bytes: bytes
    body_hash: bytes

    def __post_init__(self) -> None:
        """Refuse what cannot be a leaf. Raises: MalformedDocument."""
        if len(self.body_hash) != BODY_HASH_BYTES:
            raise MalformedDocument(f"a body hash has exactly {BODY_HASH_BYTES} bytes")

    def entry(self) -> bytes:
        """Return the 32 bytes that are appended to the log."""
        return hashlib.sha256(LEAF_TAG + self.skeleton_bytes + self.body_hash).digest()

    def skeleton(self) -> Skeleton:
        """Return the public part. Raises: MalformedDocument."""
        return Skeleton.decode(self.skeleton_bytes)


def make_leaf(skeleton: Skeleton, *, salt: bytes, body: bytes) -> Leaf:
    """Return the leaf that commits to ``skeleton`` and, hidden under ``salt``, to ``body``.

    Args:
        salt: 32 bytes from a cryptographic source, fresh for this leaf and kept with the body. Short bodies can be
            guessed: it is the salt alone that keeps the published hash from confirming a guess after erasure.
        body: The document's bytes, for a public document too.
    Raises: MalformedDocument if the salt has another length.
    """
    if len(salt) != SALT_BYTES:
        raise MalformedDocument(f"a salt has exactly {SALT_BYTES} bytes")
    return Leaf(skeleton.encode(), _body_hash(salt, body))


def verify_disclosure(leaf: Leaf, *, salt: bytes, body: bytes) -> None:
    """Return if ``body`` is what was logged in ``leaf``.

    Args:
        leaf: One whose entry the caller has found in the witnessed log.
        salt: As the register disclosed it, untrusted, as is the body.
    Raises: DigestMismatch otherwise.
    """
    # A salt of another length would let bytes pass from the body into it under the same hash.
    if len(salt) != SALT_BYTES or not hmac.compare_digest(_body_hash(salt, body), leaf.body_hash):
        raise DigestMismatch("the disclosed body and salt are not those of the log entry")


def _body_hash(salt: bytes, body: bytes) -> bytes:
    return hashlib.sha256(salt + body).digest()
