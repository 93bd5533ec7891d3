"""The life of a case, one flag under one warrant, as a table: which step may follow at which stage, and where it leads.

Pure decisions. Every reader of the log applies the table to skeletons; the register before it logs, and the auditor after
disclosure, apply it with the bodies, and what only bodies tell besides: who reviewed, who was told when, what was found.

Rules this module keeps: a step that the table does not have is refused; an outcome rests on the last review, by a named
person who is not the one who decides; nothing is found against a person who was not told and heard; a deferral ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from protocol.documents.base import Document
from protocol.documents.cases import Approval, Opening, Warrant, Withdrawal
from protocol.documents.casework import (
    Adverse,
    Deferral,
    Notice,
    Notification,
    Outcome,
    Representation,
    Review,
    Triage,
)
from protocol.documents.flags import FlagHeader
from protocol.errors import (
    CaseOutOfOrder,
    DigestMismatch,
    Expired,
    NoticeDue,
    OutcomeUnreviewed,
    RetentionTooLong,
    SamePerson,
)
from protocol.ids import Digest


class Stage(StrEnum):
    """Where a case stands."""

    RAISED = "raised"
    TRIAGED = "triaged"
    SET_ASIDE = "set aside"
    SOUGHT = "warrant sought"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    OPENED = "opened"
    UNDER_REVIEW = "under review"
    DEFERRED = "deferred"
    NOTICED = "notice given to the borough"
    NOTIFIED = "notified"
    REPRESENTED = "represented"
    CONSIDERED = "representations considered"
    DECIDED = "outcome"
    RECONSIDERED = "reviewed again"
    ERASED = "erased"


class Step(StrEnum):
    """What moves a case. All but ``QUORUM`` and ``DENIAL``, which follow from counting, are documents."""

    PURSUE = "pursue"
    SET_ASIDE = "set_aside"
    WARRANT = "warrant"
    APPROVAL = "approval"
    REFUSAL = "refusal"
    QUORUM = "quorum"
    DENIAL = "denial"
    WITHDRAWAL = "withdrawal"
    OPENING = "opening"
    REVIEW = "review"
    DEFERRAL = "deferral"
    NOTICE = "notice"
    NOTIFICATION = "notification"
    REPRESENTATION = "representation"
    OUTCOME = "outcome"
    ERASURE = "erasure"


_S, _T = Stage, Step
TABLE: Final[dict[Stage, dict[Step, Stage]]] = {
    _S.RAISED: {_T.PURSUE: _S.TRIAGED, _T.SET_ASIDE: _S.SET_ASIDE, _T.ERASURE: _S.ERASED},
    _S.TRIAGED: {
        _T.PURSUE: _S.TRIAGED,
        _T.SET_ASIDE: _S.SET_ASIDE,
        _T.WARRANT: _S.SOUGHT,
        _T.ERASURE: _S.ERASED,
    },
    _S.SET_ASIDE: {_T.PURSUE: _S.TRIAGED, _T.SET_ASIDE: _S.SET_ASIDE, _T.ERASURE: _S.ERASED},
    _S.SOUGHT: {
        _T.APPROVAL: _S.SOUGHT,
        _T.REFUSAL: _S.SOUGHT,
        _T.QUORUM: _S.APPROVED,
        _T.DENIAL: _S.REFUSED,
        _T.WITHDRAWAL: _S.WITHDRAWN,
        _T.ERASURE: _S.ERASED,
    },
    _S.APPROVED: {
        _T.APPROVAL: _S.APPROVED,
        _T.REFUSAL: _S.APPROVED,
        _T.OPENING: _S.OPENED,
        _T.WITHDRAWAL: _S.WITHDRAWN,
        _T.ERASURE: _S.ERASED,
    },
    _S.REFUSED: {
        _T.APPROVAL: _S.REFUSED,
        _T.REFUSAL: _S.REFUSED,
        _T.WITHDRAWAL: _S.WITHDRAWN,
        _T.ERASURE: _S.ERASED,
    },
    _S.WITHDRAWN: {_T.WITHDRAWAL: _S.WITHDRAWN, _T.ERASURE: _S.ERASED},
    # From here on a name is known: the case goes on to an outcome, and only after that can it be erased. A warrant that
    # is withdrawn now opens nothing more and un-knows nothing.
    _S.OPENED: {_T.REVIEW: _S.UNDER_REVIEW, _T.WITHDRAWAL: _S.OPENED},
    _S.UNDER_REVIEW: {
        _T.REVIEW: _S.UNDER_REVIEW,
        _T.DEFERRAL: _S.DEFERRED,
        _T.NOTICE: _S.NOTICED,
        _T.WITHDRAWAL: _S.UNDER_REVIEW,
    },
    _S.DEFERRED: {
        _T.REVIEW: _S.DEFERRED,
        _T.DEFERRAL: _S.DEFERRED,
        _T.NOTICE: _S.NOTICED,
        _T.OUTCOME: _S.DECIDED,
        _T.WITHDRAWAL: _S.DEFERRED,
    },
    _S.NOTICED: {
        _T.REVIEW: _S.NOTICED,
        _T.NOTICE: _S.NOTICED,
        _T.NOTIFICATION: _S.NOTIFIED,
        _T.WITHDRAWAL: _S.NOTICED,
    },
    _S.NOTIFIED: {
        _T.REVIEW: _S.NOTIFIED,
        _T.REPRESENTATION: _S.REPRESENTED,
        _T.OUTCOME: _S.DECIDED,
        _T.WITHDRAWAL: _S.NOTIFIED,
    },
    # What the person said is read by a reviewer before anybody decides.
    _S.REPRESENTED: {
        _T.REPRESENTATION: _S.REPRESENTED,
        _T.REVIEW: _S.CONSIDERED,
        _T.WITHDRAWAL: _S.REPRESENTED,
    },
    _S.CONSIDERED: {
        _T.REVIEW: _S.CONSIDERED,
        _T.REPRESENTATION: _S.REPRESENTED,
        _T.OUTCOME: _S.DECIDED,
        _T.WITHDRAWAL: _S.CONSIDERED,
    },
    # An outcome under a deferral still owes the person a notice.
    _S.DECIDED: {
        _T.NOTICE: _S.DECIDED,
        _T.NOTIFICATION: _S.DECIDED,
        _T.REPRESENTATION: _S.DECIDED,
        _T.REVIEW: _S.RECONSIDERED,
        _T.WITHDRAWAL: _S.DECIDED,
        _T.ERASURE: _S.ERASED,
    },
    _S.RECONSIDERED: {_T.REVIEW: _S.RECONSIDERED, _T.OUTCOME: _S.DECIDED, _T.WITHDRAWAL: _S.RECONSIDERED},
    _S.ERASED: {},
}

AFTER_OPENING: Final = frozenset((_T.REVIEW, _T.DEFERRAL, _T.NOTICE, _T.NOTIFICATION, _T.REPRESENTATION, _T.OUTCOME))
"""Steps that do not need a live warrant: a name once known is reviewed, and its bearer told, to the end."""

STATED_TOLERANCE: Final = timedelta(days=1)
"""How far the instant that a document states may lie from the one at which the register gets it."""

STATED_AT: Final[dict[type[Document], str]] = {
    Triage: "triaged_at",
    Review: "reviewed_at",
    Deferral: "deferred_at",
    Notice: "noticed_at",
    Outcome: "decided_at",
}
"""Where a document says when it was made; notifications and representations say when something happened before."""


def follow(stage: Stage, step: Step) -> Stage:
    """Return the stage that a step leads to. Raises: CaseOutOfOrder if the table has none."""
    if (after := TABLE[stage].get(step)) is None:
        raise CaseOutOfOrder(f"a case that stands at '{stage.value}' takes no {step.value.replace('_', ' ')}")
    return after


def tally(*, approvals: int, threshold: int, undecided: int) -> Stage:
    """Return where a case stands while custodians decide, by how many of them approved and how many may still decide."""
    if approvals >= threshold:
        return follow(Stage.SOUGHT, Step.QUORUM)
    if approvals + undecided < threshold:
        return follow(Stage.SOUGHT, Step.DENIAL)
    return Stage.SOUGHT


@dataclass(frozen=True, slots=True)
class Case:
    """One flag under one warrant, with what the bodies say."""

    warrant: Warrant
    header: FlagHeader
    stage: Stage = Stage.SOUGHT
    withdrawn: bool = False
    decided: dict[str, Approval] = field(default_factory=dict)
    """By custodian."""
    opening: Opening | None = None
    reviews: tuple[Review, ...] = ()
    deferral: Deferral | None = None
    notice: Notice | None = None
    notification: Notification | None = None
    outcome: Outcome | None = None

    @property
    def is_disclosed(self) -> bool:
        """Whether the person was told."""
        return self.notification is not None

    def is_live(self, now: datetime) -> bool:
        """Whether something could still be opened under the warrant."""
        return not self.withdrawn and now < self.warrant.valid_until

    def then(self, document: Document) -> Case:
        """Return the case after a document that ``check`` let pass, or that the log holds. Raises: CaseOutOfOrder."""
        match document:
            case Approval():
                decided = self.decided | {document.custodian: document}
                step = Step.APPROVAL if document.decision == "approve" else Step.REFUSAL
                follow(self.stage, step)
                # Counted anew: a custodian whose key was replaced may decide again, and the other way.
                stage = tally(
                    approvals=sum(one.decision == "approve" for one in decided.values()),
                    threshold=self.header.threshold,
                    undecided=len(set(self.header.custodians) - decided.keys()),
                )
                return replace(self, stage=stage, decided=decided)
            case Withdrawal():
                return replace(self, stage=follow(self.stage, Step.WITHDRAWAL), withdrawn=True)
            case Opening():
                return replace(self, stage=follow(self.stage, Step.OPENING), opening=document)
            case Review():
                return replace(self, stage=follow(self.stage, Step.REVIEW), reviews=(*self.reviews, document))
            case Deferral():
                return replace(self, stage=follow(self.stage, Step.DEFERRAL), deferral=document)
            case Notice():
                return replace(self, stage=follow(self.stage, Step.NOTICE), notice=document)
            case Notification():
                return replace(self, stage=follow(self.stage, Step.NOTIFICATION), notification=document)
            case Representation():
                return replace(self, stage=follow(self.stage, Step.REPRESENTATION))
            case Outcome():
                return replace(self, stage=follow(self.stage, Step.OUTCOME), outcome=document)
        raise CaseOutOfOrder(f"a {type(document).__name__} is no step of a case")

    def check(self, document: Document, *, now: datetime) -> None:
        """Return if a step after an opening may be logged now.

        Raises: CaseOutOfOrder, OutcomeUnreviewed, SamePerson, NoticeDue, RetentionTooLong, DigestMismatch, Expired.
        """
        match document:
            case Review():
                self._check_review(document)
            case Deferral() if now >= document.until:
                raise Expired("field until: the deferral has ended before it begins")
            case Notice() if document.borough != self.header.borough:
                raise DigestMismatch("field borough: the flag is of another borough")
            case Notification():
                self._check_told(document.notice, document.borough, document.told_at, now=now)
            case Representation():
                self._check_told(document.notice, document.borough, document.received_at, now=now)
            case Outcome():
                self._check_outcome(document, now=now)
        require_timely(document, now=now)
        self.then(document)

    def _check_review(self, review: Review) -> None:
        if review.investigator != self.warrant.investigator:
            raise DigestMismatch("field investigator: the warrant names another one")
        if self.stage in (Stage.DECIDED, Stage.RECONSIDERED) and any(
            is_same_person(review.reviewer, earlier.reviewer) for earlier in self.reviews
        ):
            raise SamePerson("field reviewer: who reviewed before the outcome does not review it again")

    def _check_told(self, notice: Digest, borough: str, at: datetime, *, now: datetime) -> None:
        if self.notice is None or self.notice.digest() != notice:
            raise DigestMismatch("field notice: it is not the notice that the case has")
        if borough != self.header.borough:
            raise DigestMismatch("field borough: the flag is of another borough")
        # An earlier instant would shorten the days in which the person is heard.
        if not self.notice.noticed_at <= at <= now + STATED_TOLERANCE:
            raise Expired("field told_at or received_at: before the notice, or in the future")

    def _check_outcome(self, outcome: Outcome, *, now: datetime) -> None:
        if not self.reviews or outcome.review != self.reviews[-1].digest():
            raise OutcomeUnreviewed("field review: it is not the last review of this case")
        if is_same_person(outcome.decided_by, self.reviews[-1].reviewer):
            raise SamePerson("field decided_by: who reviewed does not decide")
        if self.stage is Stage.DEFERRED and (self.deferral is None or now >= self.deferral.until):
            raise NoticeDue("the deferral has ended")
        if outcome.finding in Adverse and not self._was_heard(now):
            raise NoticeDue(f"a finding of {outcome.finding} comes after notice and the time to answer it")
        longest = max(self.header.retain_until, outcome.contest_until)
        if outcome.finding == "no_case" and outcome.retain_until > longest:
            raise RetentionTooLong(f"field retain_until: at most {longest:%Y-%m-%d %H:%M} UTC")

    def _was_heard(self, now: datetime) -> bool:
        if self.notification is None or self.notice is None:
            return False
        if self.stage in (Stage.CONSIDERED, Stage.RECONSIDERED):
            return True
        return now >= self.notification.told_at + timedelta(days=self.notice.representations_days)


def require_timely(document: Document, *, now: datetime) -> None:
    """Return if a document states about the present instant. Raises: Expired."""
    name = STATED_AT.get(type(document))
    if name is not None and abs(getattr(document, name) - now) > STATED_TOLERANCE:
        raise Expired(f"field {name}: more than a day from the register's clock")


def is_same_person(one: str, other: str) -> bool:
    """Return whether two names are the same but for case and spaces."""
    return one.casefold().split() == other.casefold().split()
