"""A party's mirror: nothing without a majority of witnesses, never back, and two histories end it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from protocol.errors import (
    CheckpointInvalid,
    DatedAhead,
    ForkDetected,
    MalformedDocument,
    NotLogged,
    ProofInvalid,
    UnknownSigner,
)
from protocol.history.leaves import leaf_for
from protocol.history.mirror import Mirror, log_origin, verify_checkpoint, witnessed_at
from protocol.log.leaf import Leaf, make_leaf
from protocol.log.note import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from tests.federation import Federation, catalogue, party, signing_key


def begun(**arguments) -> Federation:
    force = Federation(**arguments)
    force.begin()
    return force


def leaves(force: Federation, start: int = 0) -> list[Leaf]:
    return [logged.leaf for logged in force.logged[start:]]


def mirror_of(force: Federation, remembered: SignedCheckpoint | None = None) -> Mirror:
    return Mirror(genesis=force.history.public.genesis, remembered=remembered)


def forked() -> tuple[Federation, Federation]:
    """Two logs of one force that share the roster and differ in the catalogue."""
    one, other = Federation(), Federation()
    one.log("roster", one.roster)
    other.history.apply(one.logged[0].leaf)
    other.logged.append(one.logged[0])
    one.log("catalogue", one.catalogue)
    other.log("catalogue", catalogue(version=2))
    return one, other


def test_a_mirror_grows_with_the_log():
    force = begun()
    mirror = mirror_of(force)
    mirror.extend(leaves(force), force.checkpoint())
    assert mirror.size == 2
    force.log("plan", force.plan())
    latest = force.checkpoint()
    mirror.extend(leaves(force, 2), latest)
    assert (mirror.size, mirror.checkpoint) == (3, latest)
    assert mirror.history.tree.root() == force.history.tree.root()
    mirror.extend([], latest)
    assert mirror.size == 3


@pytest.mark.parametrize("count", [0, 1])
def test_a_checkpoint_without_a_majority_of_witnesses_is_refused(count):
    force = begun()
    mirror = mirror_of(force)
    with pytest.raises(CheckpointInvalid, match=f"{count} of 2 witnesses"):
        mirror.extend(leaves(force), force.checkpoint(witnesses=force.witnesses[:count]))
    assert mirror.checkpoint is None


def test_two_of_three_witnesses_suffice():
    force = begun()
    mirror = mirror_of(force)
    mirror.extend(leaves(force), force.checkpoint(witnesses=force.witnesses[1:]))
    assert mirror.size == 2


def test_a_witness_outside_the_roster_or_under_anothers_name_does_not_count():
    force = begun()
    signed = force.checkpoint(witnesses=("witness-1",))
    for name, key in (("witness-9", "witness-9"), ("witness-2", "witness-1"), ("witness-2", "coordinator")):
        signed = cosign(signed, name, private_key=signing_key(key).private, time_seconds=1)
    with pytest.raises(CheckpointInvalid, match="1 of 2 witnesses"):
        verify_checkpoint(signed, force.roster)


@pytest.mark.parametrize("change", ["origin", "key", "name"])
def test_a_checkpoint_of_another_log_or_key_is_refused(change):
    force = begun()
    origin = log_origin("elsewhere" if change == "origin" else force.roster.force)
    key = signing_key("unmasker" if change == "key" else "coordinator")
    tree = force.history.tree
    checkpoint = Checkpoint(origin, tree.size, tree.root())
    signed = sign_checkpoint(checkpoint, "other" if change == "name" else origin, private_key=key.private)
    for name in force.witnesses:
        signed = cosign(signed, name, private_key=signing_key(name).private, time_seconds=1)
    with pytest.raises(CheckpointInvalid):
        mirror_of(force).extend(leaves(force), signed)


@pytest.mark.parametrize("minority_days", [0, 400])
def test_a_leaf_dated_after_its_witnesses_time_is_refused(minority_days):
    """A coordinator that dates a plan a year ahead has the budget that is still spent back; a minority may help it."""
    force = begun()
    now = force.clock.now()
    force.clock.advance(timedelta(days=400))
    force.log("plan", force.plan())
    signed = force.checkpoint(witnesses=())
    for name, days in zip(force.witnesses, (minority_days, 0, 0), strict=True):
        seconds = int((now + timedelta(days=days)).timestamp())
        signed = cosign(signed, name, private_key=signing_key(name).private, time_seconds=seconds)
    mirror = mirror_of(force)
    with pytest.raises(DatedAhead):
        mirror.extend(leaves(force), signed)
    assert mirror.checkpoint is None


@pytest.mark.parametrize("hours", [0, 20])
def test_a_witness_whose_clock_is_a_little_behind_does_not_stop_the_log(hours):
    force = begun()
    signed = force.checkpoint(witnesses=())
    seconds = int((force.clock.now() - timedelta(hours=hours)).timestamp())
    for name in force.witnesses:
        signed = cosign(signed, name, private_key=signing_key(name).private, time_seconds=seconds)
    mirror = mirror_of(force)
    mirror.extend(leaves(force), signed)
    assert witnessed_at(signed, force.roster) == force.clock.now() - timedelta(hours=hours)


def test_a_fork_seen_in_one_session_is_kept_as_evidence_and_ends_the_mirror():
    one, other = forked()
    mirror = mirror_of(one)
    seen, shown = one.checkpoint(), other.checkpoint()
    mirror.extend(leaves(one), seen)
    with pytest.raises(ForkDetected, match="sizes 2 and 2"):
        mirror.extend([], shown)
    assert mirror.evidence is not None
    assert (mirror.evidence.earlier, mirror.evidence.later) == (seen.encode(), shown.encode())
    for signed in (SignedCheckpoint.decode(mirror.evidence.earlier), SignedCheckpoint.decode(mirror.evidence.later)):
        verify_checkpoint(signed, one.roster)
    with pytest.raises(ForkDetected, match="stopped"):
        mirror.extend([], seen)


def test_a_fork_seen_after_a_restart_is_found_through_the_remembered_checkpoint():
    one, other = forked()
    remembered = one.checkpoint()
    other.log("plan", other.plan(catalogue=catalogue(version=2).digest()))
    mirror = mirror_of(other, remembered)
    with pytest.raises(ForkDetected, match="sizes 2 and 3"):
        mirror.extend(leaves(other), other.checkpoint())
    assert mirror.evidence is not None
    assert mirror.evidence.earlier == remembered.encode()


def test_a_smaller_tree_than_remembered_is_refused():
    force = begun()
    small = force.checkpoint()
    force.log("plan", force.plan())
    remembered = force.checkpoint()
    mirror = mirror_of(force, remembered)
    with pytest.raises(CheckpointInvalid, match="size 2, this party has seen 3"):
        mirror.extend(leaves(force)[:2], small)
    assert mirror.evidence is None


def test_a_smaller_tree_than_already_read_is_refused_and_is_no_fork_if_it_is_an_earlier_one():
    force = begun()
    small = force.checkpoint()
    force.log("plan", force.plan())
    mirror, latest = mirror_of(force), force.checkpoint()
    mirror.extend(leaves(force), latest)
    with pytest.raises(CheckpointInvalid, match="size 2, this party has seen 3"):
        mirror.extend([], small)
    assert (mirror.evidence, mirror.checkpoint, mirror.size) == (None, latest, 3)


def test_a_smaller_tree_of_another_history_is_a_fork():
    one, other = forked()
    one.log("plan", one.plan())
    mirror = mirror_of(one)
    mirror.extend(leaves(one), one.checkpoint())
    with pytest.raises(ForkDetected, match="sizes 3 and 2"):
        mirror.extend([], other.checkpoint())
    assert mirror.evidence is not None


def test_an_unwitnessed_contradiction_is_no_evidence():
    one, other = forked()
    mirror = mirror_of(one)
    mirror.extend(leaves(one), one.checkpoint())
    with pytest.raises(CheckpointInvalid, match="0 of 2 witnesses"):
        mirror.extend([], other.checkpoint(witnesses=()))
    assert mirror.evidence is None


def test_the_remembered_checkpoint_is_met_and_then_grown_beyond():
    force = begun()
    remembered = force.checkpoint()
    force.log("plan", force.plan())
    mirror = mirror_of(force, remembered)
    mirror.extend(leaves(force), force.checkpoint())
    assert mirror.size == 3


def test_leaves_that_are_not_those_of_the_checkpoint_are_refused():
    one, other = forked()
    mirror = mirror_of(one)
    with pytest.raises(ProofInvalid):
        mirror.extend(leaves(other), one.checkpoint())
    assert (mirror.evidence, mirror.checkpoint) == (None, None)


def test_a_leaf_left_out_or_swapped_is_refused():
    force = begun()
    force.log("plan", force.plan())
    for shown in (leaves(force)[:2], [*leaves(force)[:2], leaves(force)[1]]):
        with pytest.raises(ProofInvalid):
            mirror_of(force).extend(shown, force.checkpoint())


def test_witnesses_of_a_new_roster_count_as_soon_as_the_old_quorum_has_logged_it():
    force = begun()
    parties = (*(one for one in force.parties() if one.role != "witness"), party("witness-8", "witness"))
    force.log("roster", force.next_roster(parties=parties))
    with pytest.raises(CheckpointInvalid):
        mirror_of(force).extend(leaves(force), force.checkpoint())
    mirror = mirror_of(force)
    mirror.extend(leaves(force), force.checkpoint(witnesses=("witness-8",)))
    assert mirror.history.public.roster.version == 2


def test_a_leaf_dated_before_its_predecessor_is_refused():
    force = begun()
    force.clock.advance(timedelta(days=-1))
    with pytest.raises(MalformedDocument, match="dated before"):
        force.log("catalogue", catalogue(version=2))


@pytest.mark.parametrize(
    "changes",
    [
        {"signers": ("cc" * 32,)},
        {"signers": ()},
        {"subject": "bb" * 32},
        {"belongs_to": "aa" * 32},
        {"valid_until": "2026-01-05T09:00:00Z"},
        {"document": None},
        {"kind": "plan"},
        {"kind": "memo"},
        {"kind": "warrant"},
    ],
)
def test_a_public_leaf_says_nothing_that_its_document_does_not(changes):
    force = begun()
    envelope = force.sign(catalogue(version=2), "coordinator")
    honest = leaf_for("catalogue", envelope, now=force.clock.now()).leaf.skeleton()
    leaf = make_leaf(honest.model_copy(update=changes), salt=bytes(32), body=envelope.encode())
    before = force.history.tree.root()
    with pytest.raises((MalformedDocument, UnknownSigner)):
        force.history.apply(leaf)
    assert force.history.tree.root() == before


def test_a_document_counts_only_where_the_witnessed_log_holds_it():
    force = begun()
    mirror = mirror_of(force)
    mirror.extend(leaves(force), force.checkpoint())
    mirror.require_logged(1, leaves(force)[1])
    for index in (-1, 0, 2):
        with pytest.raises(NotLogged):
            mirror.require_logged(index, leaves(force)[1])


def test_a_subject_counts_only_under_its_kind_and_index():
    force = begun()
    policy = force.policy(force.run(force.plan()))
    force.log("policy", policy)
    flag = force.flag(policy, "borough-1")
    index = force.log("flag", flag.sealed)
    mirror = mirror_of(force)
    mirror.extend(leaves(force), force.checkpoint())
    subject = mirror.history.skeletons[index].subject
    mirror.require_subject(index, "flag", subject)
    for wrong in (
        (index, "warrant", subject),
        (index, "flag", "00" * 32),
        (index - 1, "flag", subject),
        (-1, "flag", subject),
    ):
        with pytest.raises(NotLogged):
            mirror.require_subject(*wrong)
    with pytest.raises(NotLogged):
        mirror.require_subject(index + 1, "flag", subject)
