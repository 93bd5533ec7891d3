"""The log's writer: rules first, then one transaction; what is published is witnessed and stays."""

from datetime import timedelta

import pytest

from coordinator.log.appender import Appender
from coordinator.store.database import Database
from protocol.errors import (
    AlreadyAnswered,
    CheckpointInvalid,
    ConcurrentChange,
    MalformedDocument,
    ProtocolError,
    UnknownSigner,
)
from protocol.log.note import SignedCheckpoint
from tests.world import CATALOGUE

pytestmark = pytest.mark.parametrize("world", ["sqlite", "postgresql"], indirect=True)


def another(version):
    return CATALOGUE.model_copy(update={"version": version})


def test_leaf_that_breaks_a_rule_is_not_written(world):
    size = world.appender.history.tree.size
    with pytest.raises(UnknownSigner):
        world.appender.append("catalogue", world.signed(another(2), "issuer"))
    assert world.appender.history.tree.size == size
    assert Appender(world.database, genesis=world.roster.digest(), clock=world.clock).history.tree.size == size


def test_writer_that_starts_again_has_the_same_tree(world, finished):
    again = Appender(world.database, genesis=world.roster.digest(), clock=world.clock)
    assert again.history.tree.root() == world.appender.history.tree.root()
    assert again.history.public.plan(finished).closed


def test_leaf_and_what_belongs_to_it_are_written_together_or_not_at_all(world):
    before = world.appender.history.tree.root()

    class Failed(Exception):
        """The second write fails."""

    def fail(connection, index):
        raise Failed

    with pytest.raises(Failed):
        world.appender.append("catalogue", world.signed(another(2), "coordinator"), also=fail)
    assert world.appender.history.tree.root() == before
    assert another(2).digest() not in world.appender.history.public.catalogues
    world.appender.append("catalogue", world.signed(another(2), "coordinator"))
    assert another(2).digest() in world.appender.history.public.catalogues


def test_several_documents_are_logged_all_or_none(world):
    before = world.appender.history.tree.size
    good, bad = (world.signed(another(2), name) for name in ("coordinator", "issuer"))
    with pytest.raises(UnknownSigner):
        world.appender.append_all([("catalogue", good, None), ("catalogue", bad, None)])
    assert world.appender.history.tree.size == before
    assert world.appender.append_all([("catalogue", good, None)]) == [before]


def test_plan_is_logged_once(world, plan):
    document = world.record(plan).plan
    with pytest.raises(AlreadyAnswered):
        world.log("plan", document, *world.custodian_ids)


def test_leaf_is_not_dated_before_its_predecessor(world):
    world.clock.advance(timedelta(days=-2))
    with pytest.raises(MalformedDocument):
        world.appender.append("catalogue", world.signed(another(2), "coordinator"))


def test_document_of_another_kind_than_it_says_is_refused(world):
    with pytest.raises(ProtocolError):
        world.appender.append("plan", world.signed(another(2), "coordinator"))
    with pytest.raises(ProtocolError):
        world.appender.append("no_such_kind", world.signed(another(2), "coordinator"))


def test_of_two_coordinators_the_later_one_is_told_and_then_knows_what_the_first_wrote(world):
    """Both looked before either wrote."""
    other = Appender(world.database, genesis=world.roster.digest(), clock=world.clock)
    first = world.appender.append("catalogue", world.signed(another(2), "coordinator"))
    with pytest.raises(ConcurrentChange):
        other.append("catalogue", world.signed(another(3), "coordinator"))
    assert another(3).digest() not in other.history.public.catalogues
    assert other.append("catalogue", world.signed(another(3), "coordinator")) == first + 1
    assert {another(2).digest(), another(3).digest()} <= set(other.history.public.catalogues)


def test_of_two_coordinators_that_write_in_the_same_moment_one_is_told_and_forgets_what_it_meant_to_write(world):
    """The other one commits between this one's look and its own writing: then only the key is in the way."""
    other = Appender(world.database, genesis=world.roster.digest(), clock=world.clock)
    counted = other._store.count

    def count_then_lose(connection):
        seen = counted(connection)
        world.appender.append("catalogue", world.signed(another(2), "coordinator"))
        return seen

    other._store.count = count_then_lose
    with pytest.raises(ConcurrentChange):
        other.append("catalogue", world.signed(another(3), "coordinator"))
    other._store.count = counted
    assert other.history.tree.root() == world.appender.history.tree.root()
    assert another(3).digest() not in other.history.public.catalogues


# --- publishing -------------------------------------------------------------------------------------------------


def test_published_checkpoint_covers_every_leaf_and_is_on_disk(world):
    world.appender.append("catalogue", world.signed(another(2), "coordinator"))
    signed = world.publisher.publish()
    assert signed.checkpoint.size == world.appender.history.tree.size == 3
    assert SignedCheckpoint.decode((world.root / "log" / "checkpoint").read_bytes()) == signed
    assert world.publisher.publish() == signed


def test_leaves_that_lack_witnesses_wait_for_the_next_publication(world):
    asked = world.publisher._ask

    def nobody(witness, signed):
        raise CheckpointInvalid("away")

    world.publisher._ask = nobody
    world.appender.append("catalogue", world.signed(another(2), "coordinator"))
    with pytest.raises(CheckpointInvalid):
        world.publisher.publish()
    assert world.appender.latest().checkpoint.size == 2
    world.publisher._ask = asked
    assert world.publisher.publish().checkpoint.size == 3


def test_one_absent_witness_is_reported_and_does_not_stop_the_log(world):
    asked = world.publisher._ask

    def two_of_three(witness, signed):
        if witness == "witness-2":
            raise CheckpointInvalid("away")
        return asked(witness, signed)

    world.publisher._ask = two_of_three
    world.appender.append("catalogue", world.signed(another(2), "coordinator"))
    assert world.publisher.publish().checkpoint.size == 3
    assert [code for code, detail in world.reports if "witness-2" in detail] == [CheckpointInvalid.code]


def test_witness_that_was_away_catches_up(world):
    asked = world.publisher._ask
    world.publisher._ask = lambda witness, signed: signed if witness == "witness-2" else asked(witness, signed)
    world.appender.append("catalogue", world.signed(another(2), "coordinator"))
    world.publisher.publish()
    world.publisher._ask = asked
    world.appender.append("catalogue", world.signed(another(3), "coordinator"))
    signed = world.publisher.publish()
    assert {line.name for line in signed.signatures} >= {"witness-1", "witness-2", "witness-3"}


def test_checkpoint_survives_a_restart(world):
    expected = world.appender.latest()
    database = Database(world.place or world.root / "coordinator.sqlite")
    assert Appender(database, genesis=world.roster.digest(), clock=world.clock).latest() == expected
    database.close()
