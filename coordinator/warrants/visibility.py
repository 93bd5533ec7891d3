"""Who may read which case documents: the register shows a party what its office needs, and to a borough no pursuit.

Rules this module keeps: an issuer and an investigator see their own warrants, and what belongs to them; an originating
borough sees of a case what the person may know, and from the notice on; the auditor sees a warrant, and all that belongs to
it, from its disclosure date on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from protocol.documents.base import Document
from protocol.documents.cases import Approval, Opening, Warrant, Withdrawal
from protocol.documents.casework import (
    CaseDocument,
    Consultation,
    Erasure,
    Notice,
    Notification,
    Outcome,
    Representation,
    RightsAnswer,
    RightsRequest,
    Triage,
)
from protocol.documents.flags import SealedFlag
from protocol.documents.roster import Party
from protocol.history.casefile import CaseFiles
from protocol.ids import Digest, RandomId

OF_WARRANT = (Withdrawal, Approval, Opening, CaseDocument)
TOLD = (Notice, Notification, Representation, Outcome)
"""What a borough may see of a case of its own flag, once it has the notice."""


def visible(files: CaseFiles, party: Party, *, now: datetime) -> Callable[[Document], bool]:
    """Return which documents a party may read now; what is asked later is answered as of now."""
    match party.role:
        case "coordinator":
            return lambda document: not isinstance(document, SealedFlag)
        case "issuer" | "investigator":
            return _to_office(files, party)
        case "custodian":
            return lambda document: isinstance(document, Warrant | Withdrawal | Approval | Opening | Erasure)
        case "borough":
            return _to_borough(files, party)
        case "auditor":
            return _to_auditor(files, now)
    return lambda document: False


def _warrant_of(document: Document) -> Digest | None:
    if isinstance(document, Warrant):
        return document.digest()
    return document.warrant if isinstance(document, OF_WARRANT) else None


def _to_office(files: CaseFiles, party: Party) -> Callable[[Document], bool]:
    own = {
        digest
        for digest, (warrant, _) in files.warrants.items()
        if party.id == (warrant.issuer if party.role == "issuer" else warrant.investigator)
    }
    # Requests and triages have no issuer of their own; each is answered, or followed, by whoever does it first.
    shared = (Triage, RightsRequest, RightsAnswer) if party.role == "issuer" else ()
    return lambda document: isinstance(document, shared) or _warrant_of(document) in own


def _to_borough(files: CaseFiles, party: Party) -> Callable[[Document], bool]:
    noticed = {
        (warrant, flag_id)
        for flag_id, file in files.flags.items()
        if file.header.borough == party.id
        for warrant, case in file.cases.items()
        if case.notice is not None
    }
    told = {
        digest
        for digest, file in files.requests.items()
        if file.request.borough == party.id and is_told(files, file.request)
    }

    def to_borough(document: Document) -> bool:
        if isinstance(document, TOLD):
            return (document.warrant, document.flag_id) in noticed
        if isinstance(document, RightsRequest):
            return document.borough == party.id
        return isinstance(document, RightsAnswer) and document.request in told

    return to_borough


def is_told(files: CaseFiles, request: RightsRequest) -> bool:
    """Whether a request is about a flag of whose opening the person was told: only then does its answer leave."""
    return any(case.is_disclosed for flag in files.matching(request) for case in flag.cases.values())


def _to_auditor(files: CaseFiles, now: datetime) -> Callable[[Document], bool]:
    disclosed = {digest for digest, (warrant, _) in files.warrants.items() if warrant.disclosure_on <= now}
    flags: set[RandomId] = {named.flag_id for digest in disclosed for named in files.warrants[digest][0].flags}

    requests = {
        digest
        for digest, file in files.requests.items()
        if {flag.header.flag_id for flag in files.matching(file.request)} <= flags
    }

    def to_auditor(document: Document) -> bool:
        match document:
            case SealedFlag():
                return document.header.flag_id in flags
            case Triage():
                return document.flag_id in flags
            case Consultation():
                return set(document.flags) <= flags
            case RightsRequest():
                return document.digest() in requests
            case RightsAnswer():
                return document.request in requests
            case Erasure():
                return True
        return _warrant_of(document) in disclosed

    return to_auditor
