"""A custodian's word that an envelope key of an ended retention epoch is destroyed. Logged, for everybody to count."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from protocol.documents.base import Document, Instant
from protocol.ids import Digest, PartyId


class KeyDestruction(Document):
    """What was sealed to this key does not open any more, at this custodian or from any backup of the register."""

    payload_type: ClassVar[str] = "application/vnd.custodes.key-destruction.v1+json"

    custodian: PartyId
    epoch: int = Field(ge=1)
    hpke_key: Digest
    """SHA-256 of the public half."""
    destroyed_at: Instant
