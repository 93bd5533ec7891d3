"""Which roster may follow which, beside the quorum of the version before.

Rules this module keeps: a key belongs to one party for ever, and once a version has dropped it, it never comes back; an
epoch's end is never moved; a new epoch has new envelope keys for every custodian, because those of the epoch before are
destroyed at its end; no version counts before the day it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from protocol.documents.roster import Party, Roster
from protocol.errors import DigestMismatch, KeyReused, RosterInvalid

KEY_FIELDS = ("signing_key", "tls_key", "hpke_key")


def check_succession(roster: Roster, earlier: Sequence[Roster]) -> None:
    """Return if ``roster`` may follow ``earlier``, all versions before it from the first; its quorum is not looked at.

    Raises: DigestMismatch if it does not name the last of them; RosterInvalid; KeyReused.
    """
    last = earlier[-1]
    if (roster.previous, roster.version) != (last.digest(), last.version + 1):
        raise DigestMismatch(f"roster {roster.version} does not follow roster {last.version}")
    if roster.force != last.force:
        raise RosterInvalid("field force: the log and every certificate carry the first roster's")
    if roster.valid_from < last.valid_from:
        raise RosterInvalid("field valid_from: before that of the version before")
    _check_epoch(roster, last)
    _check_keys(roster, earlier)


def check_begun(roster: Roster, day: date) -> None:
    """Return if a roster may be logged on this day. Raises: RosterInvalid before its ``valid_from``."""
    if day < roster.valid_from.date():
        raise RosterInvalid(f"field valid_from: it counts from {roster.valid_from:%Y-%m-%d}, not yet on {day}")


def _check_epoch(roster: Roster, last: Roster) -> None:
    if roster.epoch == last.epoch:
        if roster.epoch_until != last.epoch_until:
            raise RosterInvalid("field epoch_until: the end of a running epoch is not moved")
        return
    if roster.epoch != last.epoch + 1:
        raise RosterInvalid(f"field epoch: {roster.epoch} follows {last.epoch}")
    if roster.epoch_until <= last.epoch_until:
        raise RosterInvalid("field epoch_until: the new epoch ends before the one it follows")
    kept = {party.hpke_key for party in last.with_role("custodian")}
    for custodian in roster.with_role("custodian"):
        if custodian.hpke_key in kept:
            raise RosterInvalid(f"{custodian.id}: a new epoch needs a new envelope key of every custodian")


def _check_keys(roster: Roster, earlier: Sequence[Roster]) -> None:
    for field in KEY_FIELDS:
        owners = {_key(party, field): (party.role, party.id) for one in earlier for party in one.parties}
        present = {_key(party, field) for party in earlier[-1].parties}
        for party in roster.parties:
            key = _key(party, field)
            if key is None or key not in owners:
                continue
            if owners[key] != (party.role, party.id):
                raise KeyReused(f"{party.id}: its {field} {key[:16]} was that of {owners[key][1]}")
            if key not in present:
                raise KeyReused(f"{party.id}: its {field} {key[:16]} was dropped by an earlier version")


def _key(party: Party, field: str) -> str | None:
    found: str | None = getattr(party, field)
    return found
