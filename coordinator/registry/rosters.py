"""Drafting rosters: the first one of enrolments and terms, later ones as changes of the one before. Pure; nobody has signed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import Field, ValidationError

from protocol.documents.base import Value, describe
from protocol.documents.enrolment import Enrolment
from protocol.documents.roster import Budget, Party, Roster
from protocol.errors import ConfigurationError, RosterInvalid, UnknownSigner
from protocol.history.succession import check_succession
from protocol.ids import PartyId


class Terms(Value):
    """What people decide about a roster, beside who is in it."""

    force: PartyId
    approval_threshold: int = Field(ge=2)
    """How many custodians must agree."""
    epoch_days: int = Field(ge=1)
    """How long custodians keep their envelope keys; nothing about a flag is kept longer."""
    budgets: tuple[Budget, ...]
    conflicts: dict[PartyId, tuple[PartyId, ...]]
    """Boroughs for which a custodian must not decide, by custodian; ``{}``: none."""

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Return the terms in a TOML file. Raises: ConfigurationError naming the field."""
        try:
            fields = tomllib.loads(content.decode())
            # TOML has lists only; the document is strict about tuples.
            fields["budgets"] = tuple(fields["budgets"])
            fields["conflicts"] = {name: tuple(of) for name, of in fields["conflicts"].items()}
            return cls(**fields)
        except KeyError as error:
            raise ConfigurationError(f"terms: field {error.args[0]}: is missing") from None
        except ValidationError as error:
            raise ConfigurationError(f"terms: {describe(error)}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"terms: {error}") from None


def draft_roster(terms: Terms, enrolments: Sequence[Enrolment], *, now: datetime) -> Roster:
    """Return version 1. Raises: RosterInvalid naming what does not fit together."""
    return _roster(
        force=terms.force,
        version=1,
        previous=None,
        valid_from=now,
        epoch=1,
        epoch_until=now + timedelta(days=terms.epoch_days),
        approval_threshold=terms.approval_threshold,
        parties=tuple(_party(one, terms.force, terms.conflicts.get(one.id, ())) for one in enrolments),
        budgets=terms.budgets,
    )


def rotated(
    earlier: Sequence[Roster],
    *,
    enrolments: Sequence[Enrolment],
    terms: Terms | None,
    new_epoch: bool,
    now: datetime,
) -> Roster:
    """Return the next version: parties with new keys, new parties, changed terms.

    Args:
        earlier: All versions, from the first.
        terms: None keeps thresholds, budgets and conflicts; needed for a new epoch, whose length they say.
    Raises: RosterInvalid, KeyReused if the version may not follow.
    """
    last = earlier[-1]
    if new_epoch and terms is None:
        raise ConfigurationError("a new epoch needs terms: they say how long it lasts")
    new = {one.id: one for one in enrolments}
    if len(new) != len(enrolments):
        raise RosterInvalid("two enrolments of one party")
    conflicts = {party.id: party.conflicts for party in last.parties} if terms is None else terms.conflicts
    parties = []
    for party in last.parties:
        enrolled = new.pop(party.id, None)
        if enrolled is not None and enrolled.role != party.role:
            raise RosterInvalid(f"{party.id} is a {party.role} and enrols as a {enrolled.role}")
        own = conflicts.get(party.id, ())
        parties.append(
            party.model_copy(update={"conflicts": own}) if enrolled is None else _party(enrolled, last.force, own)
        )
    parties += [_party(one, last.force, conflicts.get(one.id, ())) for one in new.values()]
    changes: dict[str, Any] = {"parties": tuple(parties)}
    if terms is not None:
        changes |= {"approval_threshold": terms.approval_threshold, "budgets": terms.budgets}
    if new_epoch and terms is not None:
        changes |= {"epoch": last.epoch + 1, "epoch_until": now + timedelta(days=terms.epoch_days)}
    return _next(earlier, now, **changes)


def revoked(earlier: Sequence[Roster], gone: Iterable[PartyId], *, now: datetime) -> Roster:
    """Return the next version without some parties.

    Raises: UnknownSigner if the roster does not name one; RosterInvalid if it cannot do without it: then ``rotated``
        gives the role to other keys.
    """
    last, leaving = earlier[-1], set(gone)
    if unknown := sorted(leaving - {party.id for party in last.parties}):
        raise UnknownSigner(f"roster {last.version} names no {unknown[0]}")
    parties = tuple(
        party.model_copy(update={"conflicts": tuple(one for one in party.conflicts if one not in leaving)})
        for party in last.parties
        if party.id not in leaving
    )
    return _next(earlier, now, parties=parties)


def changes_between(earlier: Roster | None, later: Roster) -> list[str]:
    """Return what a version changes, one line each, in the words of whoever has to sign it."""
    if earlier is None:
        return [f"{party.role} {party.id} joins" for party in later.parties]
    before = {party.id: party for party in earlier.parties}
    after = {party.id: party for party in later.parties}
    lines = [f"{party.role} {name} is REVOKED" for name, party in before.items() if name not in after]
    for name, party in after.items():
        if name not in before:
            lines.append(f"{party.role} {name} joins")
            continue
        keys = [
            field
            for field in ("signing_key", "tls_key", "hpke_key")
            if getattr(party, field) != getattr(before[name], field)
        ]
        if keys:
            lines.append(f"{party.role} {name} has a new {', '.join(keys)}")
        if party.conflicts != before[name].conflicts:
            lines.append(f"custodian {name} is in conflict for: {', '.join(party.conflicts) or 'nobody'}")
    for field in ("approval_threshold", "budgets", "epoch", "epoch_until"):
        if getattr(earlier, field) != getattr(later, field):
            lines.append(f"{field} changes from {_shown(earlier, field)} to {_shown(later, field)}")
    return lines


def _shown(roster: Roster, field: str) -> str:
    return str(roster.model_dump(mode="json")[field])


def _party(one: Enrolment, force: PartyId, conflicts: tuple[PartyId, ...]) -> Party:
    if one.force != force:
        raise RosterInvalid(f"{one.id} enrols with force {one.force}")
    return Party(
        id=one.id,
        role=one.role,
        signing_key=one.signing_key,
        tls_key=one.tls_key,
        hpke_key=one.hpke_key,
        conflicts=conflicts,
    )


def _next(earlier: Sequence[Roster], now: datetime, **changes: Any) -> Roster:
    last = earlier[-1]
    fields = {name: getattr(last, name) for name in Roster.model_fields}
    fields |= {"version": last.version + 1, "previous": last.digest(), "valid_from": now}
    roster = _roster(**(fields | changes))
    check_succession(roster, earlier)
    return roster


def _roster(**fields: Any) -> Roster:
    try:
        return Roster(**fields)
    except ValidationError as error:
        raise RosterInvalid(describe(error)) from None
