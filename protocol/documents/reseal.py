"""A custodian's word that a share which it holds is sealed to its next envelope key of the same epoch. Logged."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from protocol.documents.base import Document, Instant
from protocol.ids import Digest, PartyId


class ShareReseal(Document):
    """The share is the one that the flag's header commits to; only the key that it is sealed to is another one.

    The sealed share itself stays on the desk: in a log that is kept for ever it would outlive every epoch.
    """

    payload_type: ClassVar[str] = "application/vnd.custodes.share-reseal.v1+json"

    custodian: PartyId
    flag: Digest
    """The log's commitment to the flag's header: its subject."""
    share_index: int = Field(ge=1, le=255)
    roster_version: int = Field(ge=1)
    """The version that names the key."""
    epoch: int = Field(ge=1)
    """Of the flag, and of that version: a share is never sealed to a key that outlives the flag's epoch."""
    sealed_share: Digest
    """SHA-256 of the sealed share."""
    resealed_at: Instant
