"""What the log's case skeletons add up to: enough to count quorums in public, without a name or a flag id.

What was signed under an earlier roster stays as it was logged. What is signed now is signed by a key of the present
roster, and a quorum counts the approvals of such keys only: a custodian who was revoked opens nothing any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from protocol.documents.base import Document
from protocol.documents.roster import Party, Roster
from protocol.errors import (
    AlreadyAnswered,
    FlagCapReached,
    MalformedDocument,
    NotLogged,
    OutcomeUnreviewed,
    QuorumNotMet,
    UnknownSigner,
    WarrantExpired,
    WarrantWithdrawn,
)
from protocol.history.leaves import CASE
from protocol.history.lifecycle import AFTER_OPENING, Stage, Step, follow
from protocol.ids import Digest, PartyId, Role
from protocol.log.leaf import Skeleton
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import verify_signed_by_role

SIGNER_ROLE: dict[str, Role | None] = {
    "flag": "borough",
    "warrant": "issuer",
    "withdrawal": "issuer",
    "approval": "custodian",
    "refusal": "custodian",
    "opening": "investigator",
    "triage": "coordinator",
    "review": "investigator",
    "deferral": "issuer",
    "notice": "issuer",
    "notification": "borough",
    "representation": "borough",
    "outcome": "issuer",
    "consultation": None,
    "request": "borough",
    "answer": "issuer",
    "erasure": "coordinator",
}
"""None: any role of the roster that the register lets read."""
SELF_STANDING = frozenset(("triage", "consultation", "request", "answer", "erasure"))
"""Documents that belong to themselves, each logged once; which flag they are about is nobody's to see."""


@dataclass(slots=True)
class WarrantRecord:
    """A warrant as the public sees it: a commitment, its validity, and who decided how often."""

    issuer: PartyId
    """Who issued it, and who alone may withdraw it, with whatever key it has by then."""
    valid_from: str
    valid_until: str
    withdrawn: bool = False
    decided: dict[Digest, dict[Digest, str]] = field(default_factory=dict)
    """Per subject (one flag under this warrant): key id of each custodian and its decision."""
    opened: set[Digest] = field(default_factory=set)
    stages: dict[Digest, Stage] = field(default_factory=dict)
    """Per subject; a refusal for good cannot be told from a decision that is still to come."""


class CaseRecord:
    """All warrants, decisions and openings, as far as the log has been read."""

    def __init__(self) -> None:
        self.flags: dict[Digest, Digest] = {}
        """Subject (commitment to a header) to key id of the borough."""
        self.warrants: dict[Digest, WarrantRecord] = {}
        self.alone: dict[Digest, str] = {}
        """Commitment to kind of every document that belongs to itself."""
        self._raised: Counter[tuple[PartyId, Digest]] = Counter()

    def apply(
        self,
        skeleton: Skeleton,
        *,
        roster: Roster,
        flag_cap: Callable[[Digest], int],
    ) -> None:
        """Add one case skeleton, if the rules allow it.

        Args:
            flag_cap: How many flags one borough may raise under the plan behind a commitment; 0 without a policy.
        Raises: UnknownSigner, NotLogged, WarrantExpired, WarrantWithdrawn, QuorumNotMet, AlreadyAnswered,
            FlagCapReached, CaseOutOfOrder, OutcomeUnreviewed.
        """
        known = _signers(roster, SIGNER_ROLE[skeleton.kind])
        if len(skeleton.signers) != 1 or skeleton.signers[0] not in known or skeleton.belongs_to is None:
            role = SIGNER_ROLE[skeleton.kind] or "party"
            raise UnknownSigner(f"a {skeleton.kind} needs exactly one signature by a {role} of the roster")
        signer = known[skeleton.signers[0]].id
        if skeleton.kind == "flag":
            self._add_flag(skeleton, signer, flag_cap(skeleton.belongs_to))
        elif skeleton.kind == "warrant":
            if skeleton.belongs_to in self.warrants:
                raise AlreadyAnswered("the warrant is already in the log")
            if skeleton.valid_from is None or skeleton.valid_until is None:
                raise WarrantExpired("the warrant states no validity")
            self.warrants[skeleton.belongs_to] = WarrantRecord(signer, skeleton.valid_from, skeleton.valid_until)
        elif skeleton.kind in SELF_STANDING:
            if skeleton.belongs_to in self.alone:
                raise AlreadyAnswered(f"the {skeleton.kind} is already in the log")
            self.alone[skeleton.belongs_to] = skeleton.kind
        else:
            self._add_step(skeleton, signer, roster)

    def warrant(self, commitment: Digest) -> WarrantRecord:
        """Return a logged warrant. Raises: NotLogged."""
        if commitment not in self.warrants:
            raise NotLogged("no warrant of this commitment is in the witnessed log")
        return self.warrants[commitment]

    def _add_flag(self, skeleton: Skeleton, signer: PartyId, cap: int) -> None:
        if skeleton.subject is None or skeleton.subject in self.flags or skeleton.belongs_to is None:
            raise AlreadyAnswered("the flag is already in the log")
        borough = (signer, skeleton.belongs_to)
        if self._raised[borough] >= cap:
            raise FlagCapReached(f"a borough's flags exceed the {cap} that the logged policies allow it")
        self._raised[borough] += 1
        self.flags[skeleton.subject] = skeleton.signers[0]

    def _add_step(self, skeleton: Skeleton, signer: PartyId, roster: Roster) -> None:
        assert skeleton.belongs_to is not None  # noqa: S101 - checked by the caller, for the type checker
        record = self.warrant(skeleton.belongs_to)
        if skeleton.kind == "withdrawal":
            if signer != record.issuer:
                raise UnknownSigner("only the issuer of a warrant withdraws it")
            record.withdrawn = True
            return
        if Step(skeleton.kind) in AFTER_OPENING:
            self._add_after_opening(skeleton, record)
            return
        if record.withdrawn:
            raise WarrantWithdrawn("a step was logged after the withdrawal")
        if not record.valid_from[:10] <= skeleton.day <= record.valid_until[:10]:
            raise WarrantExpired(f"a step was logged outside the validity on {skeleton.day}")
        if skeleton.subject is None:
            raise NotLogged("the step names no subject")
        decisions = record.decided.get(skeleton.subject, {})
        if skeleton.kind in ("approval", "refusal"):
            if skeleton.signers[0] in decisions:
                raise AlreadyAnswered("a custodian decided twice on one flag of one warrant")
            record.decided[skeleton.subject] = decisions | {skeleton.signers[0]: skeleton.kind}
            return
        deciding = roster.by_key_id.get("custodian", {})
        approvals = sum(decision == "approval" and key in deciding for key, decision in decisions.items())
        if approvals < roster.approval_threshold:
            raise QuorumNotMet(f"opened with {approvals} of {roster.approval_threshold} approvals")
        record.stages[skeleton.subject] = follow(record.stages.get(skeleton.subject, Stage.APPROVED), Step.OPENING)
        record.opened.add(skeleton.subject)

    def _add_after_opening(self, skeleton: Skeleton, record: WarrantRecord) -> None:
        """Follow the table. A case that was not opened stands, as far as the public can tell, at "warrant sought"."""
        if skeleton.subject is None:
            raise NotLogged("the step names no subject")
        stage, step = record.stages.get(skeleton.subject, Stage.SOUGHT), Step(skeleton.kind)
        if step is Step.OUTCOME and stage in (Stage.SOUGHT, Stage.OPENED):
            raise OutcomeUnreviewed("the log shows no review of this case")
        record.stages[skeleton.subject] = follow(stage, step)


def _signers(roster: Roster, role: Role | None) -> Mapping[Digest, Party]:
    """Return the parties that may sign, by key id."""
    if role is not None:
        return roster.by_key_id.get(role, {})
    return {key: party for of in roster.by_key_id.values() for key, party in of.items()}


def signer_of(kind: str, envelope: Envelope, roster: Roster) -> tuple[Document, Party]:
    """Return a case document and the one party that signed it, in the role that its kind needs.

    Raises: MalformedDocument if the log holds no case documents of this kind; UnknownSigner, BadSignature.
    """
    if kind not in CASE:
        raise MalformedDocument(f"the log holds no case documents of kind {kind}")
    role = SIGNER_ROLE[kind]
    if role is None:
        known = _signers(roster, None)
        named = [known[one.keyid] for one in envelope.signatures if one.keyid in known]
        if not named:
            raise UnknownSigner(f"a {kind} needs exactly one signature by a party of the roster")
        role = named[0].role
    return verify_signed_by_role(envelope, CASE[kind], roster, role)
