"""An enrolment: what a party hands to whoever drafts the roster. Signed with its own key, so that nobody enrols another's."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from protocol.documents.base import Document, Instant
from protocol.ids import Digest, HexKey, PartyId, Role


class Enrolment(Document):
    """One party's public keys. It is not logged; its digest is what the party reads out when keys are compared."""

    payload_type: ClassVar[str] = "application/vnd.custodes.enrolment.v1+json"

    force: PartyId
    id: PartyId
    role: Role
    signing_key: Annotated[HexKey, Field(min_length=64, max_length=64)]
    tls_key: Digest
    """SHA-256 of the SubjectPublicKeyInfo in its certificate request, and later in its certificate."""
    hpke_key: HexKey | None
    enrolled_at: Instant

    @model_validator(mode="after")
    def _custodians_have_envelope_keys(self) -> Self:
        if (self.role == "custodian") != (self.hpke_key is not None):
            raise ValueError("custodians, and only they, have an hpke_key")
        return self
