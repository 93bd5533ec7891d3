"""Names and digests, as types that are valid once they exist."""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import StringConstraints

Role = Literal["borough", "coordinator", "unmasker", "custodian", "issuer", "investigator", "witness", "auditor"]
"""What a party may be. A party has exactly one role; a person who holds two offices holds two keys."""

PartyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""A DNS label: it appears in certificates, file names and log lines."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
"""An identifier of a feature, a category or a column."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, lower-case hex."""

HexKey = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$")]
"""A public key in hex; its length is checked where it is used."""

RandomId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""128 random bits, hex."""


def digest_of(content: bytes | memoryview) -> Digest:
    """Return the SHA-256 of ``content`` in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


@lru_cache(maxsize=4096)
def key_id(public_key: HexKey) -> Digest:
    """Return the id of a public key: its SHA-256. One key has one id, whatever anybody calls it."""
    return digest_of(bytes.fromhex(public_key))


def random_id() -> RandomId:
    """Return 128 fresh bits from the operating system's cryptographic source."""
    return secrets.token_hex(16)
