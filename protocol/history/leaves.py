"""Which leaves the log may hold, and how each is built: the skeleton is public for ever, the body is not."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocol.documents.base import Document
from protocol.documents.cases import Approval, Opening, Warrant, Withdrawal
from protocol.documents.casework import (
    CaseDocument,
    Consultation,
    Deferral,
    Erasure,
    Notice,
    Notification,
    Outcome,
    Representation,
    Review,
    RightsAnswer,
    RightsRequest,
    Triage,
)
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.destruction import KeyDestruction
from protocol.documents.flags import FlagPolicy, SealedFlag
from protocol.documents.plan import Burn, Closure, Receipt, Release, TrainingPlan
from protocol.documents.reseal import ShareReseal
from protocol.documents.roster import Roster
from protocol.errors import MalformedDocument
from protocol.ids import Digest, RandomId, digest_of
from protocol.log.leaf import SALT_BYTES, Leaf, Skeleton, make_leaf
from protocol.signing.dsse import Envelope

COMMITMENT_TAG = b"custodes/log-commitment/v1\x00"

PUBLIC: Final[dict[str, type[Document]]] = {
    "roster": Roster,
    "catalogue": FeatureCatalogue,
    "plan": TrainingPlan,
    "receipt": Receipt,
    "release": Release,
    "burn": Burn,
    "closure": Closure,
    "policy": FlagPolicy,
    "destruction": KeyDestruction,
    "reseal": ShareReseal,
}
"""Kinds whose whole signed document is in the skeleton, so that anybody can check it."""

CASE: Final[dict[str, type[Document]]] = {
    "flag": SealedFlag,
    "warrant": Warrant,
    "withdrawal": Withdrawal,
    "approval": Approval,
    "refusal": Approval,
    "opening": Opening,
    "triage": Triage,
    "review": Review,
    "deferral": Deferral,
    "notice": Notice,
    "notification": Notification,
    "representation": Representation,
    "outcome": Outcome,
    "consultation": Consultation,
    "request": RightsRequest,
    "answer": RightsAnswer,
    "erasure": Erasure,
}
"""Kinds of which only the skeleton is public."""


@dataclass(frozen=True, slots=True)
class LoggedLeaf:
    """A leaf with what the register keeps of it until erasure."""

    kind: str
    leaf: Leaf
    salt: bytes
    body: bytes


def commitment(*parts: str) -> Digest:
    """Return the public commitment to digests and ids that are themselves unguessable (256 or 128 random bits)."""
    return digest_of(COMMITMENT_TAG + "\x00".join(parts).encode())


def subject_of(warrant: Digest, flag_id: RandomId) -> Digest:
    """Return the commitment that approvals and the opening of one flag under one warrant share."""
    return commitment(warrant, flag_id)


def leaf_for(kind: str, envelope: Envelope, *, now: datetime) -> LoggedLeaf:
    """Return the leaf of a signed document, with a fresh salt. Signatures are the caller's to check, before.

    Raises: MalformedDocument if the envelope does not hold a document of this kind.
    """
    body = envelope.encode()
    salt = secrets.token_bytes(SALT_BYTES)
    skeleton = skeleton_of(kind, envelope, day=now.strftime("%Y-%m-%d"))
    return LoggedLeaf(kind, make_leaf(skeleton, salt=salt, body=body), salt, body)


def skeleton_of(kind: str, envelope: Envelope, *, day: str) -> Skeleton:
    """Return the public part of a signed document. An auditor repeats this on disclosed bodies."""
    signers = tuple(signature.keyid for signature in envelope.signatures)
    belongs_to = subject = valid_from = valid_until = None
    if kind in PUBLIC:
        document = envelope.document(PUBLIC[kind])
        if isinstance(document, Receipt | Burn | Closure | FlagPolicy):
            belongs_to = commitment(document.plan)
        elif isinstance(document, Release):
            belongs_to = commitment(document.request.plan)
    elif kind in CASE:
        case = envelope.document(CASE[kind])
        if isinstance(case, SealedFlag):
            belongs_to, subject = commitment(case.header.plan), commitment(case.header.digest())
        elif isinstance(case, Warrant):
            belongs_to = commitment(case.digest())
            valid_from, valid_until = (_text(case.valid_from), _text(case.valid_until))
        elif isinstance(case, Withdrawal):
            belongs_to = commitment(case.warrant)
        elif isinstance(case, Approval | Opening | CaseDocument):
            belongs_to, subject = commitment(case.warrant), subject_of(case.warrant, case.flag_id)
            if isinstance(case, Approval) and (kind == "approval") != (case.decision == "approve"):
                raise MalformedDocument(f"a {kind} must say so in its decision")
        else:
            # The rest would tell the borough of a flag, or of a request, whether it is pursued: they belong to themselves.
            belongs_to = commitment(case.digest())
    else:
        raise MalformedDocument(f"the log holds no documents of kind {kind}")
    return Skeleton(
        kind=kind,
        day=day,
        belongs_to=belongs_to,
        subject=subject,
        signers=signers,
        valid_from=valid_from,
        valid_until=valid_until,
        document=envelope.encode().decode() if kind in PUBLIC else None,
    )


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
