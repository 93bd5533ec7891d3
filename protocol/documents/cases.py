"""From a flag to a name: warrant, withdrawal, approval or refusal, opening. Case documents; only skeletons are public."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from protocol.documents.base import Document, Instant, Value
from protocol.errors import WarrantExpired
from protocol.ids import Digest, HexKey, PartyId, RandomId

Reason = Annotated[str, Field(min_length=10, max_length=4000)]
Regime = Literal["UK GDPR", "DPA 2018 Part 3"]


class WarrantFlag(Value):
    """A flag that a warrant names, by id and by header, so that it cannot be another one."""

    flag_id: RandomId
    header: Digest


class Warrant(Document):
    """An issuer's authority to open named flags, for one recipient, for a limited time."""

    payload_type: ClassVar[str] = "application/vnd.custodes.warrant.v1+json"

    warrant_id: RandomId
    issuer: PartyId
    investigator: PartyId
    flags: Annotated[tuple[WarrantFlag, ...], Field(min_length=1)]
    purpose: Reason
    regime: Regime
    legal_basis: Reason
    necessity: Reason
    proportionality: Reason
    recipient_key: HexKey
    """HPKE key that the investigator made for this warrant alone."""
    issued_at: Instant
    valid_from: Instant
    valid_until: Instant
    disclosure_on: Instant
    """When the auditor gets the salts and bodies; never the public."""

    @model_validator(mode="after")
    def _times_and_flags_are_sane(self) -> Self:
        if self.valid_from >= self.valid_until:
            raise ValueError("valid_until must be after valid_from")
        if len({flag.flag_id for flag in self.flags}) != len(self.flags):
            raise ValueError("a warrant names a flag once")
        return self

    def require_valid(self, at: datetime) -> None:
        """Return if the warrant is in force at an instant. Raises: WarrantExpired."""
        if not self.valid_from <= at < self.valid_until:
            raise WarrantExpired(f"valid from {self.valid_from} until {self.valid_until}, and it is {at}")


class Withdrawal(Document):
    """The issuer takes a warrant back; nothing is opened under it afterwards."""

    payload_type: ClassVar[str] = "application/vnd.custodes.withdrawal.v1+json"

    warrant: Digest
    issuer: PartyId
    reason: Reason
    withdrawn_at: Instant


class Approval(Document):
    """A custodian's decision on one flag of one warrant; an approval carries the share, re-sealed to the recipient."""

    payload_type: ClassVar[str] = "application/vnd.custodes.approval.v1+json"

    warrant: Digest
    flag_id: RandomId
    header: Digest
    custodian: PartyId
    roster_version: int = Field(ge=1)
    decision: Literal["approve", "refuse"]
    reasons: Reason
    share_index: int = Field(ge=1, le=255)
    sealed_share: HexKey | None
    decided_at: Instant

    @model_validator(mode="after")
    def _only_an_approval_carries_a_share(self) -> Self:
        if (self.decision == "approve") != (self.sealed_share is not None):
            raise ValueError("an approval carries a share and a refusal does not")
        return self


class Opening(Document):
    """The investigator's logged act: after it, and only after it, the register hands over the ciphertext."""

    payload_type: ClassVar[str] = "application/vnd.custodes.opening.v1+json"

    warrant: Digest
    flag_id: RandomId
    header: Digest
    investigator: PartyId
    approvals: Annotated[tuple[Digest, ...], Field(min_length=2)]
    opened_at: Instant


class ReviewReferral(Document):
    """The issuer's word to a borough that a case has come so far that the person may be reviewed there.

    Not logged. It tells the borough that the flag was pursued: it is given after the notice to the person, or where none
    is due any more.
    """

    payload_type: ClassVar[str] = "application/vnd.custodes.review-referral.v1+json"

    warrant: Digest
    flag_id: RandomId
    header: Digest
    policy: Digest
    issuer: PartyId
    referred_at: Instant
