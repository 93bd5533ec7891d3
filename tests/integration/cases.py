"""Warrants for the tests on loopback."""

from __future__ import annotations

from datetime import datetime, timedelta

from oversight.opening.investigator import InvestigatorDesk
from protocol.documents.cases import Warrant, WarrantFlag
from protocol.documents.flags import FlagHeader
from protocol.ids import random_id

BY = "Superintendent B. Example"
REASON = "a made-up reason of sufficient length"


def warrant_for(header: FlagHeader, investigator: InvestigatorDesk, now: datetime) -> Warrant:
    """Return a warrant for one flag that nobody has signed."""
    return Warrant(
        warrant_id=random_id(),
        issuer="issuer",
        investigator=investigator.id,
        flags=(WarrantFlag(flag_id=header.flag_id, header=header.digest()),),
        purpose=REASON,
        regime="UK GDPR",
        legal_basis=REASON,
        necessity=REASON,
        proportionality=REASON,
        recipient_key=investigator.new_recipient_key(),
        issued_at=now,
        valid_from=now,
        valid_until=now + timedelta(days=7),
        disclosure_on=now + timedelta(days=90),
    )
