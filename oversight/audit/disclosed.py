"""What the auditor checks once bodies and salts are disclosed: what skeletons cannot say.

What it proves of every disclosed case: each body is the one that was logged, signed by whom it names; the flag was triaged; the
custodians who approved were dealt a share, had no conflict and their keys were those of the roster then; the opening came
under a live warrant, before any withdrawal and before the end of retention; what followed kept to the table, and to the
rules about reviewers, notice and retention. And that nothing is missing: every leaf of a disclosed warrant is there, or
an erasure that is there names it.

Bodies that were erased since are found in earlier disclosures, if the auditor kept them: all files are read as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from protocol.documents.base import Document, Value, decode_canonical
from protocol.documents.canonical import canonical_bytes
from protocol.documents.cases import Approval, Opening
from protocol.documents.casework import CaseDocument, Consultation, Erasure, Notification, Representation
from protocol.documents.flags import SealedFlag
from protocol.documents.roster import Party
from protocol.errors import (
    CaseOutOfOrder,
    ConflictOfInterest,
    DigestMismatch,
    DisclosureIncomplete,
    EnvelopeInvalid,
    Expired,
    NotLogged,
    ProtocolError,
    QuorumNotMet,
    UnknownSigner,
    WarrantWithdrawn,
)
from protocol.history.casefile import CaseFiles
from protocol.history.cases import signer_of
from protocol.history.leaves import CASE, commitment, skeleton_of
from protocol.history.lifecycle import STATED_AT, STATED_TOLERANCE
from protocol.history.mirror import History
from protocol.ids import Digest, Name, key_id
from protocol.log.leaf import verify_disclosure
from protocol.signing.dsse import Envelope

FORMAT: Final = "custodes/disclosure/v1"
STATED: Final = STATED_AT | {Approval: "decided_at", Opening: "opened_at", Erasure: "erased_at"}
HexSalt = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DisclosedLeaf(Value):
    """The salt and the body of one leaf."""

    index: int = Field(ge=0)
    kind: Name
    salt: HexSalt
    body: str
    """The signed envelope, as text."""


class Disclosure(Value):
    """What the register handed to the auditor on one day, in log order."""

    format: Literal["custodes/disclosure/v1"]
    leaves: tuple[DisclosedLeaf, ...]

    def encode(self) -> bytes:
        """Return the file's bytes, canonical JSON."""
        return canonical_bytes(self.model_dump(mode="json"))

    @classmethod
    def decode(cls, content: bytes) -> Disclosure:
        """Return the disclosure in a file. Raises: MalformedDocument naming the first field that is wrong."""
        return decode_canonical(cls, content)


@dataclass(frozen=True, slots=True)
class DisclosedReport:
    """What the disclosed bodies show; it exists only if every check passed."""

    bodies_by_kind: dict[str, int]
    openings: int
    """In the log."""
    openings_checked: int
    openings_erased: int
    """Named by an erasure, and in none of the files."""
    openings_not_disclosed: tuple[str, ...]
    """Day of each whose warrant is not disclosed yet: ask for them when that lasts."""
    leaves_erased: int
    stages: dict[str, int]
    """Of the disclosed cases that are not erased."""

    def lines(self) -> Iterator[str]:
        """Yield what a person reads."""
        bodies = ", ".join(f"{count} {kind}" for kind, count in self.bodies_by_kind.items()) or "none"
        yield f"disclosed bodies: {bodies}; each is what was logged, by whom it names, and in order"
        yield (
            f"openings: {self.openings_checked} of {self.openings} checked with their bodies, {self.openings_erased} erased, "
            f"{len(self.openings_not_disclosed)} not disclosed yet"
        )
        for day in self.openings_not_disclosed:
            yield f"  not disclosed: an opening of {day}"
        for stage, count in self.stages.items():
            yield f"  {count} cases: {stage}"
        yield f"erased: {self.leaves_erased} bodies, each named by an erasure"


def verify_disclosed(history: History, disclosures: Iterable[Disclosure]) -> DisclosedReport:
    """Return what disclosed bodies show about a verified log, if all of it holds.

    Raises: DigestMismatch, UnknownSigner, BadSignature, DisclosureIncomplete, or the error of the rule that was broken, each
        naming the leaf.
    """
    leaves = {leaf.index: leaf for one in disclosures for leaf in one.leaves}
    audit = _Audit(history)
    for index in sorted(leaves):
        try:
            audit.add(leaves[index])
        except ProtocolError as error:
            raise type(error)(f"leaf {index}, a {leaves[index].kind}: {error.detail}") from None
    audit.require_complete()
    return audit.report()


class _Audit:
    """The fold over disclosed leaves, in log order."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._files = CaseFiles()
        self._documents: dict[int, Document] = {}
        self._keys: dict[Digest, Digest] = {}
        """Key id under each approval, by its digest."""

    def add(self, leaf: DisclosedLeaf) -> None:
        """Check one leaf against the log and what came before it."""
        history, index = self._history, leaf.index
        if index >= history.tree.size:
            raise NotLogged(f"the log has {history.tree.size} leaves")
        skeleton, envelope = history.skeletons[index], Envelope.decode(leaf.body.encode())
        if leaf.kind not in CASE or skeleton.kind != leaf.kind:
            raise DigestMismatch(f"the log holds a {skeleton.kind} there")
        verify_disclosure(history.leaves[index], salt=bytes.fromhex(leaf.salt), body=leaf.body.encode())
        if skeleton_of(leaf.kind, envelope, day=skeleton.day) != skeleton:
            raise DigestMismatch("its skeleton says other things than its body")
        document, signer = signer_of(leaf.kind, envelope, history.roster_at(index))
        _require_named(document, signer)
        _require_day(document, skeleton.day)
        match document:
            case Approval():
                self._check_approval(document, signer)
                self._keys[document.digest()] = key_id(signer.signing_key)
            case Opening():
                self._check_opening(document, index)
            case CaseDocument():
                case = self._files.case(document.warrant, document.flag_id, document.header)
                case.check(document, now=_instant_of(document, skeleton.day))
            case Erasure():
                self._check_erasure(document, index)
        self._files.add(index, document)
        self._documents[index] = document

    def _check_approval(self, approval: Approval, custodian: Party) -> None:
        case = self._files.case(approval.warrant, approval.flag_id, approval.header)
        if case.header.borough in custodian.conflicts:
            raise ConflictOfInterest(f"custodian {custodian.id}, borough {case.header.borough}")
        if case.header.custodians[approval.share_index - 1 : approval.share_index] != (custodian.id,):
            raise EnvelopeInvalid("the share index is not this custodian's")
        case.warrant.require_valid(approval.decided_at)

    def _check_opening(self, opening: Opening, index: int) -> None:
        case, roster = (
            self._files.case(opening.warrant, opening.flag_id, opening.header),
            self._history.roster_at(index),
        )
        if opening.investigator != case.warrant.investigator:
            raise UnknownSigner("the warrant names another investigator")
        if case.withdrawn:
            raise WarrantWithdrawn("the warrant was withdrawn before")
        case.warrant.require_valid(opening.opened_at)
        if opening.opened_at >= case.header.retain_until:
            raise Expired("the flag was past its retention")
        deciding = roster.by_key_id["custodian"]
        approvals = {one.digest() for one in case.decided.values() if one.decision == "approve"}
        counted = {digest for digest in approvals if self._keys[digest] in deciding}
        required = max(roster.approval_threshold, case.header.threshold)
        if len(counted) < required or not set(opening.approvals) <= counted:
            raise QuorumNotMet(f"{len(counted)} of {required} custodians had approved")

    def _check_erasure(self, erasure: Erasure, index: int) -> None:
        """Check what an erasure says of flags whose bodies an earlier disclosure holds."""
        for erased in erasure.leaves:
            if erased >= index or self._history.skeletons[erased].kind not in CASE:
                raise CaseOutOfOrder(f"it erases leaf {erased}, which is no earlier case document")
            if self._history.skeletons[erased].kind == "erasure":
                raise CaseOutOfOrder(f"it erases leaf {erased}, an erasure")
            document = self._documents.get(erased)
            if isinstance(document, Consultation) and not document.flags:
                raise CaseOutOfOrder(f"it erases leaf {erased}, a look at the whole list")
        for flag in erasure.flags:
            if flag.flag_id in self._files.flags:
                cause = self._files.erasure_cause(flag.flag_id, now=erasure.erased_at)
                if cause != flag.cause:
                    raise DigestMismatch("field cause: it is another")
                own = set(self._files.flags[flag.flag_id].leaves)
                if not own <= set(erasure.leaves):
                    raise DigestMismatch("field leaves: some of the flag's own are not among them")

    # --- the whole ----------------------------------------------------------------------------------------------

    def require_complete(self) -> None:
        """Return if nothing that should be disclosed is missing. Raises: DisclosureIncomplete naming a leaf."""
        history, erased = self._history, self._erased()
        warrants = {commitment(digest): warrant for digest, (warrant, _) in self._files.warrants.items()}
        headers = {commitment(named.header) for warrant in warrants.values() for named in warrant.flags}
        for index, skeleton in enumerate(history.skeletons):
            if index in self._documents or index in erased:
                continue
            if skeleton.kind == "erasure":
                raise DisclosureIncomplete(f"leaf {index}: every erasure is disclosed")
            if skeleton.kind == "flag" and skeleton.subject in headers:
                raise DisclosureIncomplete(f"leaf {index}: a disclosed warrant names this flag")
            if skeleton.kind in CASE and skeleton.kind != "flag" and skeleton.belongs_to in warrants:
                raise DisclosureIncomplete(f"leaf {index}: a {skeleton.kind} under a disclosed warrant")

    def _erased(self) -> set[int]:
        return {
            leaf for document in self._documents.values() if isinstance(document, Erasure) for leaf in document.leaves
        }

    def report(self) -> DisclosedReport:
        """Return what was found."""
        erased = self._erased()
        openings = [index for index, one in enumerate(self._history.skeletons) if one.kind == "opening"]
        missing = [index for index in openings if index not in self._documents]
        kinds = Counter(self._history.skeletons[index].kind for index in self._documents)
        stages = Counter(case.stage.value for flag in self._files.flags.values() for case in flag.cases.values())
        return DisclosedReport(
            bodies_by_kind=dict(sorted(kinds.items())),
            openings=len(openings),
            openings_checked=len(openings) - len(missing),
            openings_erased=sum(index in erased for index in missing),
            openings_not_disclosed=tuple(
                self._history.skeletons[index].day for index in missing if index not in erased
            ),
            leaves_erased=len(erased),
            stages=dict(sorted(stages.items())),
        )


def _require_named(document: Document, signer: Party) -> None:
    """Return if a document names its signer. Raises: UnknownSigner."""
    named = document.header.borough if isinstance(document, SealedFlag) else None
    if isinstance(document, Consultation):
        named = document.reader
    if (named or getattr(document, signer.role)) != signer.id:
        raise UnknownSigner(f"it names another {signer.role} than {signer.id}, who signed")


def _noon(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=12)


def _require_day(document: Document, day: str) -> None:
    """Return if the instant that a document states lies about its leaf's day. Raises: Expired."""
    name = STATED.get(type(document))
    if name is not None and abs(getattr(document, name) - _noon(day)) > STATED_TOLERANCE + timedelta(hours=12):
        raise Expired(f"field {name}: it was logged on {day}")


def _instant_of(document: Document, day: str) -> datetime:
    """Return when a step was taken, as nearly as body and leaf tell."""
    if isinstance(document, Notification | Representation):
        return _noon(day) + timedelta(hours=12)
    name = STATED_AT.get(type(document))
    return _noon(day) if name is None else getattr(document, name)
