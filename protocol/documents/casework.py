"""What people do about a flag before a warrant and after an opening, each step a signed document.

Field by field with the law that asks for it: docs/spec/records.md. All are case documents: only skeletons are public.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from protocol.documents.base import Document, Instant, Value
from protocol.documents.cases import Reason, Regime
from protocol.ids import Digest, PartyId, RandomId

PersonName = Annotated[str, StringConstraints(min_length=3, max_length=200, pattern=r"^\S.*\S$")]
"""A named human being with rank or office, "Inspector A. Example". Never the person whom a case is about."""

RetentionClass = Literal["no_case", "misconduct", "gross_misconduct", "referred"]
"""Why a case is kept after its outcome; until when, the outcome says."""

Adverse = frozenset({"misconduct", "gross_misconduct"})
"""Findings against the person: none without notice and a chance to be heard."""


class Triage(Document):
    """A person of the coordinator's team has looked at a flag's header: worth a warrant, or set aside. Not a decision."""

    payload_type: ClassVar[str] = "application/vnd.custodes.triage.v1+json"

    triage_id: RandomId
    flag_id: RandomId
    header: Digest
    coordinator: PartyId
    triaged_by: PersonName
    decision: Literal["pursue", "set_aside"]
    reasons: Reason
    triaged_at: Instant


class CaseDocument(Document):
    """One flag under one warrant: what all steps after an opening name."""

    warrant: Digest
    flag_id: RandomId
    header: Digest


class Review(CaseDocument):
    """A named human being has looked at the evidence. A flag is never a decision, and no outcome rests on one alone."""

    payload_type: ClassVar[str] = "application/vnd.custodes.review.v1+json"

    investigator: PartyId
    reviewer: PersonName
    regime: Regime
    legal_basis: Reason
    material_seen: Annotated[tuple[Reason, ...], Field(min_length=1, max_length=100)]
    finding: RetentionClass
    override: bool
    """The finding goes against what the flag suggests."""
    reasons: Reason
    reviewed_at: Instant


class Deferral(CaseDocument):
    """The person is not told yet: a restriction of their rights, with reasons and an end."""

    payload_type: ClassVar[str] = "application/vnd.custodes.deferral.v1+json"

    issuer: PartyId
    decided_by: PersonName
    regime: Regime
    legal_basis: Reason
    necessity: Reason
    proportionality: Reason
    deferred_at: Instant
    until: Instant
    """From then on the notice is due, whatever the reasons were."""

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.deferred_at >= self.until:
            raise ValueError("until must be after deferred_at")
        return self


class Notice(CaseDocument):
    """The issuer's word to the borough of a flag that the person is to be told, and what."""

    payload_type: ClassVar[str] = "application/vnd.custodes.notice.v1+json"

    issuer: PartyId
    borough: PartyId
    decided_by: PersonName
    regime: Regime
    legal_basis: Reason
    text: Reason
    """What the person is told: that a flag was raised and opened, why, on what basis, and what their rights are."""
    representations_days: int = Field(ge=1, le=365)
    """Days that the person has, from the day they are told, before anything is found against them."""
    noticed_at: Instant


class Notification(CaseDocument):
    """The borough has told the person."""

    payload_type: ClassVar[str] = "application/vnd.custodes.notification.v1+json"

    notice: Digest
    borough: PartyId
    told_by: PersonName
    manner: Reason
    """How: in person, by letter, with whom present."""
    told_at: Instant


class Representation(CaseDocument):
    """What the person says to it, as the borough received it."""

    payload_type: ClassVar[str] = "application/vnd.custodes.representation.v1+json"

    notice: Digest
    borough: PartyId
    received_by: PersonName
    text: Annotated[str, Field(min_length=1, max_length=100_000)]
    received_at: Instant


class Outcome(CaseDocument):
    """What the issuer found, on a named human review; it ends the case, or replaces an earlier outcome."""

    payload_type: ClassVar[str] = "application/vnd.custodes.outcome.v1+json"

    issuer: PartyId
    decided_by: PersonName
    review: Digest
    """The review that it rests on: the last one."""
    regime: Regime
    legal_basis: Reason
    finding: RetentionClass
    reasons: Reason
    decided_at: Instant
    contest_until: Instant
    retain_until: Instant
    """When salts and bodies are erased."""

    @model_validator(mode="after")
    def _times_are_in_order(self) -> Self:
        if not self.decided_at < self.contest_until <= self.retain_until:
            raise ValueError("decided_at is before contest_until, and that not after retain_until")
        return self


class ErasedFlag(Value):
    """A flag whose envelope, salts and bodies are gone, and why they had to go."""

    flag_id: RandomId
    cause: Literal["flag_retention", "outcome_retention"]


class Erasure(Document):
    """The register destroyed ciphertexts, salts and bodies. It says of which leaves, so that no other can be missing."""

    payload_type: ClassVar[str] = "application/vnd.custodes.erasure.v1+json"

    erasure_id: RandomId
    coordinator: PartyId
    flags: Annotated[tuple[ErasedFlag, ...], Field(min_length=1)]
    leaves: tuple[int, ...]
    """Indices in the log, ascending."""
    legal_basis: Reason
    erased_at: Instant

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len({flag.flag_id for flag in self.flags}) != len(self.flags):
            raise ValueError("an erasure names a flag once")
        if list(self.leaves) != sorted(set(self.leaves)):
            raise ValueError("leaves ascend, each once")
        return self


class Consultation(Document):
    """Who looks at flags' headers in the register, and why; logged before anything is shown."""

    payload_type: ClassVar[str] = "application/vnd.custodes.consultation.v1+json"

    consultation_id: RandomId
    reader: PartyId
    consulted_by: PersonName
    flags: tuple[RandomId, ...]
    """Empty: the whole list."""
    reason: Reason
    consulted_at: Instant


class KnownAs(Value):
    """A person's pseudonym under one plan; it means something only to who holds a flag of that plan."""

    plan: Digest
    pseudonym: Digest


class RightsRequest(Document):
    """A data subject's request, sent by their borough under pseudonyms: nothing at the centre is opened for it."""

    payload_type: ClassVar[str] = "application/vnd.custodes.rights-request.v1+json"

    request_id: RandomId
    borough: PartyId
    kind: Literal["access", "contest"]
    known_as: Annotated[tuple[KnownAs, ...], Field(min_length=1, max_length=1000)]
    statement: Reason
    """In the person's words, without their name."""
    received_by: PersonName
    received_at: Instant


class RightsAnswer(Document):
    """The issuer's answer. The borough sees it only once the person was told; until then it neither confirms nor denies."""

    payload_type: ClassVar[str] = "application/vnd.custodes.rights-answer.v1+json"

    answer_id: RandomId
    request: Digest
    issuer: PartyId
    decided_by: PersonName
    decision: Literal["neither_confirm_nor_deny", "granted", "upheld", "rejected"]
    legal_basis: Reason
    reasons: Reason
    until: Instant | None
    """Of a restriction: from then on the request wants an answer again. None for an answer in substance."""
    answered_at: Instant

    @model_validator(mode="after")
    def _a_restriction_ends(self) -> Self:
        if (self.decision == "neither_confirm_nor_deny") != (self.until is not None):
            raise ValueError("until: a restriction, and only that, has an end")
        if self.until is not None and self.answered_at >= self.until:
            raise ValueError("until must be after answered_at")
        return self
