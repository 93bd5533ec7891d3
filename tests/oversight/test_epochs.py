"""Retention epochs: what is sealed in one opens until its end; then the key is destroyed, and the log says by whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from protocol.documents.destruction import KeyDestruction
from protocol.documents.flags import SealedFlag
from protocol.documents.reseal import ShareReseal
from protocol.documents.roster import Party
from protocol.errors import (
    AlreadyAnswered,
    DigestMismatch,
    EnvelopeInvalid,
    EpochEnded,
    NotLogged,
    RosterInvalid,
    UnknownSigner,
)
from protocol.ids import digest_of
from protocol.sealing.hpke import HPKEPrivateKey
from protocol.signing.dsse import Envelope
from tests.world import REASON, World


def own_key(world: World, number: int) -> str:
    return digest_of(world.envelope_keys[f"custodian-{number}"].public_key().encode())


def next_epoch(world: World) -> None:
    """Log a roster that begins the next epoch: a new envelope key for every custodian, beside the present one."""
    parties: list[Party] = []
    for party in world.roster.parties:
        if party.role == "custodian":
            world.envelope_folder(party.id)
            world.envelope_keys[party.id] = HPKEPrivateKey.generate()
            world.envelope_folder(party.id)
            public = world.envelope_keys[party.id].public_key().encode().hex()
            party = party.model_copy(update={"hpke_key": public})
        parties.append(party)
    until = world.roster.epoch_until + timedelta(days=365)
    world.rotate(parties=tuple(parties), epoch=world.roster.epoch + 1, epoch_until=until)


def word(world: World, number: int, **changes: object) -> KeyDestruction:
    fields = {
        "custodian": f"custodian-{number}",
        "epoch": 1,
        "hpke_key": own_key(world, number),
        "destroyed_at": world.clock.now(),
    }
    return KeyDestruction(**(fields | changes))


def test_flag_of_the_epoch_before_opens_under_the_next_one(flagged):
    world, header = flagged.world, flagged.headers[0]
    next_epoch(world)
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    for custodian in header.custodians[:2]:
        desk = world.custodian(int(custodian[-1]))
        desk.decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    opened = world.investigator().open(warrant.digest(), header.flag_id)
    assert opened.identity.startswith(f"P-{header.borough}")
    assert header.epoch == 1
    assert world.roster.epoch == 2


def test_key_is_destroyed_at_the_end_of_its_epoch_and_not_before_and_the_log_says_so(flagged):
    world = flagged.world
    old = own_key(world, 1)
    next_epoch(world)
    world.clock.advance(timedelta(days=364))
    assert world.custodian(1).destroy_ended_keys() == ()
    world.clock.advance(timedelta(days=1))
    desk = world.custodian(1)
    assert desk.destroy_ended_keys() == (old,)
    assert own_key(world, 1) != old
    assert desk._keys.held() == {own_key(world, 1)}
    assert desk._shares.flag_ids() == frozenset()
    logged = world.appender.history.public.destructions["custodian-1", old]
    assert (logged.epoch, logged.destroyed_at) == (1, world.clock.now())
    # Once: neither a second time nor after a restart.
    assert desk.destroy_ended_keys() == world.custodian(1).destroy_ended_keys() == ()
    # Nor are shares of that time fetched again.
    assert world.custodian(1).collect_shares() == 0


def test_backup_of_the_shares_is_worth_nothing_once_the_key_is_destroyed(flagged):
    world = flagged.world
    header = next(one for one in flagged.headers if "custodian-1" in one.custodians)
    held = world.custodian(1)._shares.get(header.flag_id)
    next_epoch(world)
    world.clock.advance(timedelta(days=365))
    desk = world.custodian(1)
    desk.destroy_ended_keys()
    desk._shares.store(header.flag_id, held)
    with pytest.raises(EpochEnded, match="not on this desk"):
        desk._open(held, held.envelope.document(SealedFlag))


def test_desk_that_was_killed_before_its_word_was_logged_logs_it_later(flagged, monkeypatch):
    world = flagged.world
    old = own_key(world, 1)
    next_epoch(world)
    world.clock.advance(timedelta(days=365))
    desk = world.custodian(1)

    def killed(kind: str, document: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(desk._connection, "submit", killed)
    with pytest.raises(KeyboardInterrupt):
        desk.destroy_ended_keys()
    assert old not in desk._keys.held()
    assert world.custodian(1).destroy_ended_keys() == ()
    assert ("custodian-1", old) in world.appender.history.public.destructions


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, RosterInvalid),
        ({"epoch": 2}, DigestMismatch),
        ({"hpke_key": "ab" * 32}, DigestMismatch),
        ({"custodian": "custodian-2"}, UnknownSigner),
    ],
)
def test_word_that_is_early_or_about_another_key_is_not_logged(world, changes, error):
    with pytest.raises(error):
        world.log("destruction", word(world, 1, **changes), "custodian-1")


def test_word_about_a_key_is_logged_once_and_by_a_custodian(world):
    said = word(world, 1)
    world.clock.advance(timedelta(days=365))
    with pytest.raises(UnknownSigner):
        world.log("destruction", said, "issuer")
    world.log("destruction", said, "custodian-1")
    with pytest.raises(AlreadyAnswered):
        world.log("destruction", said, "custodian-1")


def test_no_flag_is_raised_in_an_epoch_that_has_ended(world, finished):
    """It would be sealed to keys that are destroyed, or should be."""
    days = timedelta(days=400)
    policy = world.approve_policy(finished, lambda one: one.model_copy(update={"valid_until": one.valid_from + days}))
    flags = {name: world.gate(name).flags(policy) for name in world.borough_ids[:3]}
    name, stored = next((name, found) for name, found in flags.items() if found)
    world.clock.advance(timedelta(days=366))
    batch = [(Envelope.decode(flag.envelope), flag.ciphertext, flag.sealed_shares) for flag in stored]
    with pytest.raises(EpochEnded):
        world.register.raise_flags(world.roster.party(name, "borough"), batch)
    late = world.borough_ids[3]
    with pytest.raises(EpochEnded):
        world.gate(late).flags(policy)
    next_epoch(world)
    assert {
        Envelope.decode(one.envelope).document(SealedFlag).header.epoch for one in world.gate(late).flags(policy)
    } == {2}


# --- a new key within the epoch ---------------------------------------------------------------------------------


def replace_key(world: World, number: int) -> str:
    """Log a roster that gives a custodian another envelope key in the same epoch; return the old one's digest."""
    old, custodian = own_key(world, number), f"custodian-{number}"
    world.envelope_folder(custodian)
    world.envelope_keys[custodian] = HPKEPrivateKey.generate()
    public = world.envelope_keys[custodian].public_key().encode().hex()
    world.rotate(
        parties=tuple(
            one.model_copy(update={"hpke_key": public}) if one.id == custodian else one for one in world.roster.parties
        )
    )
    return old


def test_share_that_was_sealed_to_the_next_key_opens_the_flag_and_the_commitments_are_as_they_were(flagged):
    world = flagged.world
    header = next(one for one in flagged.headers if "custodian-1" in one.custodians)
    before = world.custodian(1)._shares.get(header.flag_id)
    old = replace_key(world, 1)
    desk = world.custodian(1)
    mine = sum("custodian-1" in one.custodians for one in flagged.headers)
    assert desk.reseal_shares() == mine
    assert desk.reseal_shares() == 0
    after = world.custodian(1)._shares.get(header.flag_id)
    assert after.envelope == before.envelope
    assert after.sealed_share != before.sealed_share
    word = world.appender.history.public.reseals["custodian-1", after.reseal.flag]
    assert word == after.reseal
    assert (word.roster_version, word.epoch, word.sealed_share) == (2, 1, digest_of(after.sealed_share))
    assert desk.destroy_replaced_keys() == (old,)
    assert ("custodian-1", old) in world.appender.history.public.destructions
    assert desk.destroy_replaced_keys() == ()
    # What the borough sealed opens nowhere any more, and a backup of it is of no use; the flag opens all the same.
    desk = world.custodian(1)
    assert desk.collect_shares() == 0
    with pytest.raises(EpochEnded):
        desk._open(before, before.envelope.document(SealedFlag))
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    other = next(int(name[-1]) for name in header.custodians if name != "custodian-1")
    for one in (desk, world.custodian(other)):
        one.decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    assert world.investigator().open(warrant.digest(), header.flag_id).identity.startswith(f"P-{header.borough}")
    # A desk that loses the share is not given another: the register's copy is the one that the borough sealed.
    desk._shares.remove(header.flag_id)
    assert desk.collect_shares() == 0
    assert header.flag_id not in desk._shares.flag_ids()


def test_desk_killed_while_it_seals_shares_anew_loses_none(flagged, monkeypatch):
    world = flagged.world
    header = next(one for one in flagged.headers if "custodian-1" in one.custodians)
    replace_key(world, 1)
    desk = world.custodian(1)

    def killed(flag_id: str, held: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(desk._shares, "store", killed)
    with pytest.raises(KeyboardInterrupt):
        desk.reseal_shares()
    desk = world.custodian(1)
    held = desk._shares.get(header.flag_id)
    assert held.reseal is None
    desk.collect_shares()
    assert desk._open(held, held.envelope.document(SealedFlag))[1] == header.custodians.index("custodian-1") + 1
    assert desk.reseal_shares() == sum("custodian-1" in one.custodians for one in flagged.headers)


def test_share_is_not_sealed_to_a_key_of_the_next_epoch(flagged):
    """It would outlive the flag."""
    world = flagged.world
    next_epoch(world)
    desk = world.custodian(1)
    assert desk.reseal_shares() == 0
    assert desk.replaced_keys() == {}
    said = ShareReseal(
        custodian="custodian-1",
        flag="ab" * 32,
        share_index=1,
        roster_version=2,
        epoch=1,
        sealed_share="cd" * 32,
        resealed_at=world.clock.now(),
    )
    with pytest.raises(EpochEnded):
        world.log("reseal", said, "custodian-1")
    with pytest.raises(UnknownSigner):
        world.log("reseal", said.model_copy(update={"epoch": 2}), "custodian-2")
    with pytest.raises(UnknownSigner):
        world.log("reseal", said.model_copy(update={"epoch": 2}), "issuer")


@pytest.mark.parametrize("swap", ["bytes", "word", "flag"])
def test_desk_opens_no_share_that_its_logged_word_does_not_speak_of(flagged, swap):
    """Somebody at the custodian's disk: other bytes, an unlogged word, or another flag's share in this one's place."""
    world = flagged.world
    one, other = [each for each in flagged.headers if "custodian-1" in each.custodians][:2]
    replace_key(world, 1)
    desk = world.custodian(1)
    desk.reseal_shares()
    held, stranger = desk._shares.get(one.flag_id), desk._shares.get(other.flag_id)
    changed = {
        "bytes": replace(held, sealed_share=stranger.sealed_share),
        "word": replace(held, reseal=held.reseal.model_copy(update={"sealed_share": digest_of(b"")}), sealed_share=b""),
        "flag": replace(held, reseal=stranger.reseal, sealed_share=stranger.sealed_share),
    }[swap]
    with pytest.raises(NotLogged if swap == "word" else EnvelopeInvalid):
        desk._open(changed, held.envelope.document(SealedFlag))
    assert desk._open(held, held.envelope.document(SealedFlag))
