"""Flags, warrants and what became of them, as the bodies tell it: the register's view, and the auditor's after disclosure.

Both fold the same documents in log order by this code. Rules this module keeps: a flag is sought only after triage; what
may be erased, when, and which leaves go with it is decided here and nowhere else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from protocol.documents.base import Document
from protocol.documents.cases import Approval, Opening, Warrant, Withdrawal
from protocol.documents.casework import (
    CaseDocument,
    Consultation,
    Erasure,
    Review,
    RightsAnswer,
    RightsRequest,
    Triage,
)
from protocol.documents.flags import FlagHeader, SealedFlag
from protocol.errors import (
    AlreadyAnswered,
    CaseOutOfOrder,
    DigestMismatch,
    ErasureRefused,
    NotLogged,
    OutcomeUnreviewed,
)
from protocol.history.lifecycle import TABLE, Case, Stage, Step, follow, require_timely
from protocol.ids import Digest, RandomId

Cause = Literal["flag_retention", "outcome_retention"]


@dataclass(slots=True)
class FlagFile:
    """One flag: its header, where it stands before a warrant, and its case under each warrant that names it."""

    header: FlagHeader
    stage: Stage = Stage.RAISED
    cases: dict[Digest, Case] = field(default_factory=dict)
    """By digest of the warrant."""
    leaves: list[int] = field(default_factory=list)
    """Indices of all that is about this flag alone."""
    steps: dict[Digest, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Those of them that were taken under each warrant."""


@dataclass(slots=True)
class RequestFile:
    """One data subject's request and its answers."""

    request: RightsRequest
    leaves: list[int]
    answers: list[RightsAnswer] = field(default_factory=list)

    def is_open(self, now: datetime) -> bool:
        """Whether an answer is due: none was given, or a restriction has ended."""
        if not self.answers:
            return True
        until = self.answers[-1].until
        return until is not None and now >= until


class CaseFiles:
    """All flags that are not erased."""

    def __init__(self) -> None:
        self.flags: dict[RandomId, FlagFile] = {}
        self.warrants: dict[Digest, tuple[Warrant, list[int]]] = {}
        """Each with the leaves that go when its last flag goes."""
        self.requests: dict[Digest, RequestFile] = {}
        self.openings: dict[tuple[Digest, RandomId], int] = {}
        """Leaf of each opening, by warrant and flag."""
        self._reviewed: dict[tuple[Digest, RandomId], int] = {}
        """Leaf of each case's last review."""
        self._consultations: list[tuple[frozenset[RandomId], int]] = []
        self._known: dict[tuple[Digest, Digest], set[RandomId]] = defaultdict(set)
        """Flags by plan and pseudonym."""

    # --- reading ------------------------------------------------------------------------------------------------

    def flag(self, flag_id: RandomId, header: Digest) -> FlagFile:
        """Return a flag. Raises: NotLogged if none of this id and header is held, or no longer."""
        file = self.flags.get(flag_id)
        if file is None or file.header.digest() != header:
            raise NotLogged("no flag of this id and header is held")
        return file

    def warrant(self, digest: Digest) -> Warrant:
        """Return a warrant. Raises: NotLogged."""
        if digest not in self.warrants:
            raise NotLogged("no warrant of this digest is held")
        return self.warrants[digest][0]

    def case(self, warrant: Digest, flag_id: RandomId, header: Digest) -> Case:
        """Return the case of a flag under a warrant. Raises: NotLogged, DigestMismatch if the warrant does not name it."""
        # First, and in these words whether there is such a flag or not: a warrant's holder learns nothing of others.
        if (flag_id, header) not in {(named.flag_id, named.header) for named in self.warrant(warrant).flags}:
            raise DigestMismatch("the warrant does not name this flag")
        return self.flag(flag_id, header).cases[warrant]

    def leaves_under(self, warrant: Digest) -> tuple[int, ...]:
        """Return the leaves of a warrant and of all that was done under it, ascending; none if no such warrant is held."""
        document, own = self.warrants.get(warrant, (None, []))
        named = (
            [] if document is None else [self.flags[one.flag_id] for one in document.flags if one.flag_id in self.flags]
        )
        return tuple(sorted([*own, *(index for file in named for index in file.steps.get(warrant, ()))]))

    def matching(self, request: RightsRequest) -> tuple[FlagFile, ...]:
        """Return the flags of the person behind a request, from the borough that sent it; often none."""
        found = {flag_id for one in request.known_as for flag_id in self._known.get((one.plan, one.pseudonym), ())}
        return tuple(
            self.flags[flag_id] for flag_id in sorted(found) if self.flags[flag_id].header.borough == request.borough
        )

    def contests(self, flag_id: RandomId) -> tuple[RequestFile, ...]:
        """Return the contests of a flag that have no answer in substance: a restriction only puts the answer off."""
        return tuple(
            file
            for file in self.requests.values()
            if file.request.kind == "contest"
            and (not file.answers or file.answers[-1].until is not None)
            and any(flag.header.flag_id == flag_id for flag in self.matching(file.request))
        )

    # --- checking -----------------------------------------------------------------------------------------------

    def check(self, document: Document, *, now: datetime) -> None:
        """Return if a document may be logged now, as far as other documents decide it.

        Raises: CaseOutOfOrder, NotLogged, DigestMismatch, and what ``Case.check`` raises; ErasureRefused;
            OutcomeUnreviewed for an answer in substance to a contest of a decided case that nobody reviewed since.
        """
        match document:
            case Triage():
                follow(self.flag(document.flag_id, document.header).stage, _triage_step(document))
                require_timely(document, now=now)
            case Warrant():
                if document.digest() in self.warrants:
                    raise AlreadyAnswered("the warrant is already in the log")
                for named in document.flags:
                    follow(self.flag(named.flag_id, named.header).stage, Step.WARRANT)
            case Withdrawal():
                self.warrant(document.warrant)
            case CaseDocument():
                self.case(document.warrant, document.flag_id, document.header).check(document, now=now)
            case RightsAnswer():
                self._check_answer(document)
            case Erasure():
                self._check_erasure(document, now=now)

    def _check_answer(self, answer: RightsAnswer) -> None:
        file = self.requests.get(answer.request)
        if file is None:
            raise NotLogged("no request of this digest is held")
        if file.request.kind != "contest" or answer.until is not None:
            return
        for flag in self.matching(file.request):
            for warrant, case in flag.cases.items():
                reviewed = self._reviewed.get((warrant, flag.header.flag_id), -1)
                if case.outcome is not None and (reviewed < file.leaves[0] or case.stage is not Stage.DECIDED):
                    raise OutcomeUnreviewed("what was contested is first reviewed again, by somebody else, and decided")

    def erasure_cause(self, flag_id: RandomId, *, now: datetime) -> Cause:
        """Return why a flag may be erased now. Raises: ErasureRefused saying what stands against it; NotLogged."""
        file = self.flags.get(flag_id)
        if file is None:
            raise NotLogged("no flag of this id is held")
        for case in file.cases.values():
            _check_case_erasure(case, now=now)
        if self.contests(flag_id):
            raise ErasureRefused("a contest is open")
        outcomes = [case.outcome for case in file.cases.values() if case.outcome is not None]
        until = max((one.retain_until for one in outcomes), default=file.header.retain_until)
        if now < until:
            raise ErasureRefused(f"it is kept until {until:%Y-%m-%d %H:%M} UTC")
        return "outcome_retention" if outcomes else "flag_retention"

    def due(self, *, now: datetime) -> dict[RandomId, Cause]:
        """Return the flags that may be erased now, and why."""
        found: dict[RandomId, Cause] = {}
        for flag_id in self.flags:
            try:
                found[flag_id] = self.erasure_cause(flag_id, now=now)
            except ErasureRefused:
                continue
        return found

    def leaves_of(self, erased: Collection[RandomId], *, now: datetime) -> tuple[int, ...]:
        """Return the leaves whose salts and bodies go with these flags, ascending.

        A warrant, a consultation and a request go with the last of their flags, a request only once it is answered.
        """
        left = self.flags.keys() - set(erased)
        leaves = [index for flag_id in erased for index in self.flags[flag_id].leaves]
        for warrant, own in self.warrants.values():
            if not left & {named.flag_id for named in warrant.flags}:
                leaves += own
        for named, index in self._consultations:
            if named and not left & named:
                leaves.append(index)
        for file in self.requests.values():
            if not file.is_open(now) and not left & {flag.header.flag_id for flag in self.matching(file.request)}:
                leaves += file.leaves
        return tuple(sorted(leaves))

    def _check_erasure(self, erasure: Erasure, *, now: datetime) -> None:
        for flag in erasure.flags:
            if self.erasure_cause(flag.flag_id, now=now) != flag.cause:
                raise ErasureRefused("field cause: it is another")
        if erasure.leaves != self.leaves_of([flag.flag_id for flag in erasure.flags], now=now):
            raise ErasureRefused("field leaves: they are not those of the flags that it names")

    # --- folding ------------------------------------------------------------------------------------------------

    def add(self, index: int, document: Document) -> None:
        """Add a document that the log holds at ``index``. Raises: CaseOutOfOrder, NotLogged, DigestMismatch."""
        match document:
            case SealedFlag():
                header = document.header
                self.flags[header.flag_id] = FlagFile(header, leaves=[index])
                self._known[header.plan, header.pseudonym].add(header.flag_id)
            case Triage():
                file = self.flag(document.flag_id, document.header)
                file.stage = follow(file.stage, _triage_step(document))
                file.leaves.append(index)
            case Warrant():
                digest = document.digest()
                self.warrants[digest] = (document, [index])
                for named in document.flags:
                    # A flag that was erased since leaves its warrant behind, for the others that it names.
                    if named.flag_id in self.flags:
                        file = self.flag(named.flag_id, named.header)
                        follow(file.stage, Step.WARRANT)
                        file.cases[digest] = Case(document, file.header)
            case Withdrawal():
                self._add_withdrawal(index, document)
            case Approval() | Opening() | CaseDocument():
                case = self.case(document.warrant, document.flag_id, document.header)
                file = self.flags[document.flag_id]
                file.cases[document.warrant] = case.then(document)
                file.leaves.append(index)
                file.steps[document.warrant].append(index)
                if isinstance(document, Review):
                    self._reviewed[document.warrant, document.flag_id] = index
                if isinstance(document, Opening):
                    self.openings[document.warrant, document.flag_id] = index
            case Consultation():
                self._consultations.append((frozenset(document.flags), index))
            case RightsRequest():
                self.requests[document.digest()] = RequestFile(document, [index])
            case RightsAnswer():
                request = self.requests.get(document.request)
                if request is None:
                    raise NotLogged("no request of this digest is held")
                request.answers.append(document)
                request.leaves.append(index)
            case Erasure():
                self._erase(document)
            case _:
                raise CaseOutOfOrder(f"a {type(document).__name__} is no document of a case")

    def _add_withdrawal(self, index: int, withdrawal: Withdrawal) -> None:
        warrant = self.warrant(withdrawal.warrant)
        self.warrants[withdrawal.warrant][1].append(index)
        for named in warrant.flags:
            if named.flag_id in self.flags:
                cases = self.flags[named.flag_id].cases
                cases[withdrawal.warrant] = cases[withdrawal.warrant].then(withdrawal)

    def _erase(self, erasure: Erasure) -> None:
        gone = set(erasure.leaves)
        for flag in erasure.flags:
            file = self.flags.pop(flag.flag_id, None)
            if file is not None:
                follow(file.stage, Step.ERASURE)
                for warrant, case in file.cases.items():
                    follow(case.stage, Step.ERASURE)
                    self.openings.pop((warrant, flag.flag_id), None)
                self._known[file.header.plan, file.header.pseudonym].discard(flag.flag_id)
        self.warrants = {digest: one for digest, one in self.warrants.items() if one[1][0] not in gone}
        self.requests = {digest: one for digest, one in self.requests.items() if one.leaves[0] not in gone}
        self._consultations = [one for one in self._consultations if one[1] not in gone]


def _triage_step(triage: Triage) -> Step:
    return Step.PURSUE if triage.decision == "pursue" else Step.SET_ASIDE


def _check_case_erasure(case: Case, *, now: datetime) -> None:
    """Return if a case stands in the way of no erasure. Raises: ErasureRefused."""
    if case.is_live(now):
        raise ErasureRefused(f"a warrant that names it lives until {case.warrant.valid_until:%Y-%m-%d %H:%M} UTC")
    if Step.ERASURE not in TABLE[case.stage]:
        raise ErasureRefused(f"it was opened and stands at '{case.stage.value}', without an outcome")
    if case.opening is not None and not case.is_disclosed:
        raise ErasureRefused("the person has not been told")
    if now < case.warrant.disclosure_on:
        # Otherwise an opening could be erased before the auditor saw it.
        raise ErasureRefused(f"the auditor sees its warrant from {case.warrant.disclosure_on:%Y-%m-%d %H:%M} UTC")
