"""Documents of one made-up case, from the flag to its erasure, without a force around them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from protocol.documents.cases import Approval, Opening, Warrant, WarrantFlag, Withdrawal
from protocol.documents.casework import (
    Consultation,
    Deferral,
    ErasedFlag,
    Erasure,
    KnownAs,
    Notice,
    Notification,
    Outcome,
    Representation,
    Review,
    RightsAnswer,
    RightsRequest,
    Triage,
)
from protocol.documents.flags import FlagHeader, SealedFlag
from protocol.history.lifecycle import Case

NOW = datetime(2031, 3, 4, 12, 0, 0, tzinfo=UTC)
TEXT = "a made-up text of sufficient length"
REVIEWER, DECIDER, OFFICER = "Inspector A. Example", "Superintendent B. Example", "Sergeant C. Example"
CUSTODIANS = ("custodian-1", "custodian-2", "custodian-3")
DAY = timedelta(days=1)


def header(number: int = 1, **changes: Any) -> FlagHeader:
    """Return the header of a made-up flag."""
    fields: dict[str, Any] = {
        "flag_id": f"{number:032x}",
        "borough": "borough-1",
        "plan": "a" * 64,
        "policy": "b" * 64,
        "model": "c" * 64,
        "category": "first",
        "pseudonym": f"{number:064x}",
        "score_band": "high",
        "stability_band": "withheld",
        "reasons": (),
        "raised_on": "2031-03-04",
        "retain_until": NOW + 60 * DAY,
        "roster_version": 1,
        "epoch": 1,
        "threshold": 2,
        "custodians": CUSTODIANS,
        "key_commitment": "d" * 64,
        "share_commitments": ("e" * 64,) * 3,
    }
    return FlagHeader(**(fields | changes))


def sealed(of: FlagHeader) -> SealedFlag:
    """Return the flag of a header."""
    return SealedFlag(header=of, ciphertext="f" * 64, sealed_shares=("0" * 64,) * 3)


def triage(of: FlagHeader, decision: Literal["pursue", "set_aside"] = "pursue", number: int = 1) -> Triage:
    """Return a triage."""
    return Triage(
        triage_id=f"{number:032x}", flag_id=of.flag_id, header=of.digest(), coordinator="coordinator",
        triaged_by="Analyst D. Example", decision=decision, reasons=TEXT, triaged_at=NOW,
    )  # fmt: skip


def warrant(*headers: FlagHeader, number: int = 1, **changes: Any) -> Warrant:
    """Return a warrant for a week, disclosed after 30 days."""
    fields: dict[str, Any] = {
        "warrant_id": f"{number:032x}",
        "issuer": "issuer",
        "investigator": "investigator",
        "flags": tuple(WarrantFlag(flag_id=one.flag_id, header=one.digest()) for one in headers),
        "purpose": TEXT,
        "regime": "UK GDPR",
        "legal_basis": TEXT,
        "necessity": TEXT,
        "proportionality": TEXT,
        "recipient_key": "00",
        "issued_at": NOW,
        "valid_from": NOW,
        "valid_until": NOW + 7 * DAY,
        "disclosure_on": NOW + 30 * DAY,
    }
    return Warrant(**(fields | changes))


def withdrawal(of: Warrant) -> Withdrawal:
    """Return a withdrawal."""
    return Withdrawal(warrant=of.digest(), issuer="issuer", reason=TEXT, withdrawn_at=NOW)


class Papers:
    """The documents of one flag under one warrant; keyword arguments replace fields."""

    def __init__(self, of: FlagHeader, under: Warrant) -> None:
        self.header, self.warrant = of, under
        self._named = {"warrant": under.digest(), "flag_id": of.flag_id, "header": of.digest()}

    def decision(self, custodian: str, decision: Literal["approve", "refuse"] = "approve") -> Approval:
        """Return a custodian's decision."""
        return Approval(
            **self._named, custodian=custodian, roster_version=1, decision=decision, reasons=TEXT,
            share_index=self.header.custodians.index(custodian) + 1,
            sealed_share="00" if decision == "approve" else None, decided_at=NOW,
        )  # fmt: skip

    def opening(self, *approvals: Approval) -> Opening:
        """Return an opening on approvals."""
        digests = tuple(sorted(one.digest() for one in approvals)) or ("1" * 64, "2" * 64)
        return Opening(**self._named, investigator="investigator", approvals=digests, opened_at=NOW)

    def review(self, reviewer: str = REVIEWER, **changes: Any) -> Review:
        """Return a review."""
        fields: dict[str, Any] = {
            "investigator": "investigator", "reviewer": reviewer, "regime": "UK GDPR", "legal_basis": TEXT,
            "material_seen": (TEXT,), "finding": "no_case", "override": True, "reasons": TEXT, "reviewed_at": NOW,
        }  # fmt: skip
        return Review(**(self._named | fields | changes))

    def deferral(self, **changes: Any) -> Deferral:
        """Return a deferral of ten days."""
        fields: dict[str, Any] = {
            "issuer": "issuer", "decided_by": DECIDER, "regime": "UK GDPR", "legal_basis": TEXT, "necessity": TEXT,
            "proportionality": TEXT, "deferred_at": NOW, "until": NOW + 10 * DAY,
        }  # fmt: skip
        return Deferral(**(self._named | fields | changes))

    def notice(self, **changes: Any) -> Notice:
        """Return a notice with 14 days to answer."""
        fields: dict[str, Any] = {
            "issuer": "issuer", "borough": self.header.borough, "decided_by": DECIDER, "regime": "UK GDPR",
            "legal_basis": TEXT, "text": TEXT, "representations_days": 14, "noticed_at": NOW,
        }  # fmt: skip
        return Notice(**(self._named | fields | changes))

    def notification(self, notice: Notice, /, **changes: Any) -> Notification:
        """Return the borough's word that the person was told."""
        fields: dict[str, Any] = {
            "notice": notice.digest(), "borough": self.header.borough, "told_by": OFFICER, "manner": TEXT,
            "told_at": NOW,
        }  # fmt: skip
        return Notification(**(self._named | fields | changes))

    def representation(self, notice: Notice, /, **changes: Any) -> Representation:
        """Return what the person says."""
        fields: dict[str, Any] = {
            "notice": notice.digest(), "borough": self.header.borough, "received_by": OFFICER, "text": TEXT,
            "received_at": NOW,
        }  # fmt: skip
        return Representation(**(self._named | fields | changes))

    def outcome(self, review: Review, finding: str = "no_case", **changes: Any) -> Outcome:
        """Return an outcome on a review, kept for 60 days."""
        fields: dict[str, Any] = {
            "issuer": "issuer", "decided_by": DECIDER, "review": review.digest(), "regime": "UK GDPR",
            "legal_basis": TEXT, "finding": finding, "reasons": TEXT, "decided_at": NOW,
            "contest_until": NOW + 30 * DAY, "retain_until": NOW + 60 * DAY,
        }  # fmt: skip
        return Outcome(**(self._named | fields | changes))

    def opened(self) -> Case:
        """Return the case as it stands after its opening."""
        first, second = (self.decision(name) for name in CUSTODIANS[:2])
        return Case(self.warrant, self.header).then(first).then(second).then(self.opening(first, second))


def consultation(*flags: str, number: int = 1, reader: str = "issuer") -> Consultation:
    """Return a consultation."""
    return Consultation(
        consultation_id=f"{number:032x}", reader=reader, consulted_by=DECIDER, flags=flags, reason=TEXT,
        consulted_at=NOW,
    )  # fmt: skip


def request(
    of: FlagHeader, kind: Literal["access", "contest"] = "contest", number: int = 1, borough: str = "borough-1"
) -> RightsRequest:
    """Return the request of the person behind a flag."""
    return RightsRequest(
        request_id=f"{number:032x}", borough=borough, kind=kind,
        known_as=(KnownAs(plan=of.plan, pseudonym=of.pseudonym),), statement=TEXT, received_by=OFFICER,
        received_at=NOW,
    )  # fmt: skip


def answer(of: RightsRequest, decision: str = "rejected", until: datetime | None = None) -> RightsAnswer:
    """Return an answer."""
    return RightsAnswer(
        answer_id="7" * 32, request=of.digest(),
        issuer="issuer", decided_by=DECIDER, decision=decision, legal_basis=TEXT, reasons=TEXT,
        until=until, answered_at=NOW,
    )  # fmt: skip


def erasure(*flag_ids: str, leaves: tuple[int, ...] = (), **changes: Any) -> Erasure:
    """Return an erasure of flags whose retention is over."""
    fields: dict[str, Any] = {
        "erasure_id": "9" * 32, "coordinator": "coordinator", "legal_basis": TEXT, "erased_at": NOW, "leaves": leaves,
        "flags": tuple(ErasedFlag(flag_id=one, cause="flag_retention") for one in flag_ids),
    }  # fmt: skip
    return Erasure(**(fields | changes))
