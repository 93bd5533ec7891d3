"""Which roster may follow which: keys, epochs and dates, beside the quorum."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from protocol.documents.roster import Party
from protocol.errors import DigestMismatch, KeyReused, ProtocolError, RosterInvalid
from protocol.ids import digest_of
from tests.federation import START, Federation, envelope_key, party, signing_key

UNTIL = START + timedelta(days=730)
LATER = START + timedelta(days=1000)


def begun() -> Federation:
    force = Federation()
    force.log("roster", force.roster)
    return force


def with_keys(parties: tuple[Party, ...], name: str, **keys: str) -> tuple[Party, ...]:
    return tuple(one.model_copy(update=keys) if one.id == name else one for one in parties)


def renewed(parties: tuple[Party, ...], *, but: tuple[str, ...] = ()) -> tuple[Party, ...]:
    """Return the parties with a new envelope key for every custodian."""
    for one in parties:
        if one.role == "custodian" and one.id not in but:
            fresh = envelope_key(f"next {one.id}").public_key().encode().hex()
            parties = with_keys(parties, one.id, hpke_key=fresh)
    return parties


def refused(made: Federation, error: type[ProtocolError], match: str, /, **changes: object) -> None:
    before = made.history.tree.root()
    with pytest.raises(error, match=match):
        made.log("roster", made.next_roster(**changes))
    assert made.history.tree.root() == before
    assert made.history.public.roster == made.roster


@pytest.mark.parametrize(
    "keys",
    [
        {"signing_key": signing_key("old custodian-2").public},
        {"tls_key": digest_of(b"old tls custodian-2")},
        {"hpke_key": envelope_key("old custodian-2").public_key().encode().hex()},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_a_key_that_was_dropped_never_comes_back(keys):
    force = Federation()
    force.roster = force.first_roster(parties=with_keys(force.parties(), "custodian-2", **keys))
    force.history.public.genesis = force.roster.digest()
    force.log("roster", force.roster, "custodian-1", "custodian-3")
    force.log("roster", force.next_roster(parties=force.parties()), "custodian-1", "custodian-3")
    again = with_keys(force.parties(), "custodian-2", **keys)
    with pytest.raises(KeyReused, match="dropped by an earlier version"):
        force.log("roster", force.next_roster(parties=again))
    # Nor does it after a version in between.
    force.log("roster", force.next_roster())
    with pytest.raises(KeyReused, match="dropped by an earlier version"):
        force.log("roster", force.next_roster(parties=again))


@pytest.mark.parametrize("present", [True, False], ids=["still in office", "revoked"])
def test_a_key_of_one_party_never_becomes_anothers(present):
    force = begun()
    others = tuple(one for one in force.parties() if present or one.id != "custodian-3")
    heir = party("custodian-4", "custodian")
    force.log("roster", force.next_roster(parties=(*others, heir)))
    old = party("custodian-3", "custodian")
    for field in ("signing_key", "tls_key", "hpke_key"):
        if present:
            moved = with_keys(force.parties(), "custodian-3", signing_key=heir.signing_key)
            with pytest.raises(ValidationError, match="stands twice"):
                force.next_roster(parties=(*moved, heir))
        taken = with_keys((*without(others, "custodian-3"), heir), "custodian-4", **{field: getattr(old, field)})
        refused(force, KeyReused, "was that of custodian-3", parties=taken)


def without(parties: tuple[Party, ...], name: str) -> tuple[Party, ...]:
    return tuple(one for one in parties if one.id != name)


def test_a_party_of_the_same_name_and_another_role_needs_its_own_keys():
    force = begun()
    auditor = party("borough-6", "auditor")
    refused(force, KeyReused, "was that of borough-6", parties=(*without(force.parties(), "borough-6"), auditor))


def test_a_revoked_party_may_return_with_new_keys():
    force = begun()
    back = with_keys(
        renewed(force.parties()), "custodian-3", signing_key=signing_key("new").public, tls_key=digest_of(b"new")
    )
    force.log("roster", force.next_roster(parties=without(force.parties(), "custodian-3")))
    force.log(
        "roster", force.next_roster(parties=(*without(force.parties(), "custodian-3"), named(back, "custodian-3")))
    )
    assert len(force.roster.with_role("custodian")) == 3


def named(parties: tuple[Party, ...], name: str) -> Party:
    return next(one for one in parties if one.id == name)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epoch_until": LATER}, "not moved"),
        ({"epoch_until": UNTIL - timedelta(days=1)}, "not moved"),
        ({"epoch": 3, "epoch_until": LATER}, "3 follows 1"),
        ({"epoch": 2}, "ends before"),
        ({"epoch": 2, "epoch_until": LATER}, "custodian-1: a new epoch needs a new envelope key"),
        (
            {"epoch": 2, "epoch_until": LATER, "parties": renewed(Federation().parties(), but=("custodian-3",))},
            "custodian-3: a new epoch needs",
        ),
        ({"force": "otherford"}, "field force"),
        ({"valid_from": START - timedelta(days=1)}, "before that of the version before"),
        ({"valid_from": START + timedelta(days=1)}, "not yet on"),
    ],
)
def test_epochs_and_dates_that_do_not_follow_are_refused(changes, match):
    refused(begun(), RosterInvalid, match, **changes)


def test_a_new_epoch_with_new_keys_follows_and_epochs_are_not_taken_back():
    force = begun()
    force.log("roster", force.next_roster(epoch=2, epoch_until=LATER, parties=renewed(force.parties())))
    assert force.history.public.roster.epoch == 2
    refused(force, RosterInvalid, "1 follows 2", epoch=1, epoch_until=LATER + timedelta(days=1))


def test_an_epoch_that_ends_before_the_roster_begins_is_none():
    with pytest.raises(ValidationError, match="epoch_until must be after valid_from"):
        Federation().first_roster(epoch_until=START)


def test_an_old_roster_replayed_is_refused_whoever_signed_it():
    force = begun()
    first = force.roster
    force.log("roster", force.next_roster())
    force.log("roster", force.next_roster())
    for old in force.history.public.rosters[:3]:
        with pytest.raises(DigestMismatch, match="does not follow roster 3"):
            force.log("roster", old, "custodian-1", "custodian-2", "custodian-3")
    assert force.history.public.rosters[0] == first


def test_the_roster_at_an_index_is_the_one_that_counted_there():
    force = Federation()
    force.begin()
    force.log("roster", force.next_roster())
    force.log("catalogue", force.catalogue)
    assert [force.history.roster_at(index).version for index in range(4)] == [1, 1, 2, 2]
