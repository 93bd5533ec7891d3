"""Two operators before one explanation: the request that one signs, the other countersigns, and what both must be.

Rules this module keeps: two distinct **keys** of the node's operators sign the very same bytes; a name proves nothing, so
one key under two names is one operator; the request says whom, for what category and policy, why, and until when.
It stays in the borough: it names a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from protocol.documents.base import Document, Instant
from protocol.documents.cases import Reason
from protocol.errors import ExplanationExpired, OneOperator, OperatorUnknown
from protocol.ids import Digest, HexKey, Name, PartyId, RandomId
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey

Operators = Mapping[PartyId, HexKey]
"""Public keys of the node's operators, by name."""


class ExplanationRequest(Document):
    """One operator's request to see why one person has the score they have."""

    payload_type: ClassVar[str] = "application/vnd.custodes.explanation-request.v1+json"

    request_id: RandomId
    borough: PartyId
    policy: Digest
    category: Name
    person: Annotated[str, Field(min_length=1, max_length=510)]
    """The borough's own identifier, as its table has it."""
    reason: Reason
    asked_by: PartyId
    asked_at: Instant
    valid_until: Instant

    @model_validator(mode="after")
    def _times_and_reason_are_sane(self) -> Self:
        if self.asked_at >= self.valid_until:
            raise ValueError("valid_until must be after asked_at")
        if self.person.casefold() in self.reason.casefold():
            # The reason goes into the journal, which names nobody.
            raise ValueError("the reason names the person")
        return self


@dataclass(frozen=True, slots=True)
class AgreedRequest:
    """A request that two operators signed."""

    request: ExplanationRequest
    asked_key: HexKey
    agreed_by: PartyId
    agreed_key: HexKey


def ask(request: ExplanationRequest, key: SigningKey, operators: Operators) -> Envelope:
    """Return the request signed by who asks. Raises: OperatorUnknown if the key is not theirs."""
    if operators.get(request.asked_by) != key.public:
        raise OperatorUnknown(f"operator {request.asked_by} has another key in the settings, or none")
    return sign(request, key)


def agree(envelope: Envelope, key: SigningKey, operators: Operators, *, now: datetime) -> Envelope:
    """Return the request with the second operator's signature.

    Raises: OperatorUnknown, OneOperator, ExplanationExpired; BadSignature if it is not what the first one signed.
    """
    request, asked_key = _asked(envelope, operators, now=now)
    if key.public not in operators.values():
        raise OperatorUnknown("the key that agrees is no operator's")
    if key.public == asked_key:
        raise OneOperator("the key that agrees is the one that asked")
    return envelope.merged(sign(request, key))


def verify_agreed(envelope: Envelope, operators: Operators, *, now: datetime) -> AgreedRequest:
    """Return the request if two operators signed it and it is still valid.

    Raises: OneOperator, OperatorUnknown, ExplanationExpired, BadSignature, MalformedDocument.
    """
    request, asked_key = _asked(envelope, operators, now=now)
    signers = envelope.signed_by(operators.values())
    if len(signers) != len(envelope.signatures):
        raise OperatorUnknown("a signature is by no operator of the settings")
    others = [name for name, key in operators.items() if key in signers and key != asked_key]
    if len(signers) != 2 or not others:
        raise OneOperator(f"{len(signers)} distinct keys signed; it takes two")
    return AgreedRequest(request, asked_key, others[0], operators[others[0]])


def _asked(envelope: Envelope, operators: Operators, *, now: datetime) -> tuple[ExplanationRequest, HexKey]:
    """Return the request and the key of who asked, who signed it."""
    request = envelope.document(ExplanationRequest)
    asked_key = operators.get(request.asked_by)
    if asked_key is None or asked_key not in envelope.signed_by(operators.values()):
        raise OperatorUnknown(f"operator {request.asked_by} is not in the settings, or did not sign")
    if not request.asked_at <= now < request.valid_until:
        raise ExplanationExpired(f"asked at {request.asked_at}, valid until {request.valid_until}, here it is {now}")
    return request, asked_key
