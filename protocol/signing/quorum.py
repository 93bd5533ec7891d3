"""Who has signed, who has not, and whether that is enough: verified against a roster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from protocol.documents.base import Document
from protocol.documents.roster import Party, Roster
from protocol.errors import QuorumNotMet, UnknownSigner
from protocol.ids import PartyId, Role
from protocol.signing.dsse import Envelope

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class QuorumResult:
    """A quorum as a value, because a person needs to see who has not decided yet."""

    required: int
    approved: tuple[PartyId, ...]
    rejected: tuple[PartyId, ...]
    undecided: tuple[PartyId, ...]

    @property
    def met(self) -> bool:
        """Whether enough distinct keys approved."""
        return len(self.approved) >= self.required

    @property
    def missing(self) -> int:
        """How many approvals are still needed."""
        return max(0, self.required - len(self.approved))

    def require(self) -> None:
        """Return if met. Raises: QuorumNotMet naming who has not decided."""
        if not self.met:
            waiting = ", ".join(self.undecided) or "nobody is left to decide"
            raise QuorumNotMet(f"{len(self.approved)} of {self.required} approved; undecided: {waiting}")


def custodian_quorum(envelope: Envelope, roster: Roster) -> QuorumResult:
    """Return the state of the custodian quorum over one envelope, counting distinct keys."""
    custodians = roster.with_role("custodian")
    keys = envelope.signed_by(party.signing_key for party in custodians)
    return QuorumResult(
        required=roster.approval_threshold,
        approved=tuple(party.id for party in custodians if party.signing_key in keys),
        rejected=(),
        undecided=tuple(party.id for party in custodians if party.signing_key not in keys),
    )


def verify_one_of_role(envelope: Envelope, kind: type[D], roster: Roster, role: Role) -> tuple[D, Party]:
    """Return the document and the one party of ``role`` that signed it; parties of other roles may have signed too.

    For a proposal, which the coordinator signed and custodians go on to sign.
    Raises: UnknownSigner if nobody of that role, or more than one, signed; BadSignature; MalformedDocument.
    """
    named = (roster.by_key_id.get(role, {}).get(signature.keyid) for signature in envelope.signatures)
    signers = list({party.id: party for party in named if party is not None}.values())
    envelope.signed_by(party.signing_key for party in signers)
    if len(signers) != 1:
        raise UnknownSigner(f"{kind.__name__} needs one signature by a {role} of roster {roster.version}")
    return envelope.document(kind), signers[0]


def verify_signed_by_role(envelope: Envelope, kind: type[D], roster: Roster, role: Role) -> tuple[D, Party]:
    """Return the document and the one party of ``role`` that signed it, alone.

    Such envelopes stand in the log for ever: beside the one signature there is no room for anything else.
    Raises: UnknownSigner if nobody of that role, or anybody else, signed; BadSignature; MalformedDocument.
    """
    document, signer = verify_one_of_role(envelope, kind, roster, role)
    if len(envelope.signatures) != 1:
        raise UnknownSigner(f"{kind.__name__} carries another signature than that of {role} {signer.id}")
    return document, signer
