"""A witness: it remembers before it signs, and signs only what extends its memory."""

import pytest

from protocol.errors import CheckpointInvalid, ProofInvalid, StorageError
from protocol.history.mirror import witness_keys
from protocol.log.note import cosignature_times


@pytest.fixture
def fresh(world):
    """A fourth memory with the key of witness-1."""
    from oversight.witness.witness import Witness
    from protocol.rpc.party import CheckpointFile

    folder = world.root / "fresh"
    folder.mkdir()
    memory = CheckpointFile(folder)
    return Witness(
        witness="witness-1",
        key=world.keys["witness-1"],
        rosters=world.rosters("fresh"),
        memory=memory,
        clock=world.clock,
    )


def bare(world):
    return world.appender.checkpoint(world.keys["coordinator"])


def test_first_checkpoint_is_cosigned_with_the_clocks_time(world, fresh):
    cosigned, size = fresh.add_checkpoint(bare(world), old_size=0, proof=[])
    assert size == cosigned.checkpoint.size == 2
    assert cosignature_times(cosigned, witness_keys(world.roster)) == {"witness-1": int(world.clock.now().timestamp())}


def test_extension_with_its_proof_is_cosigned(world, fresh):
    fresh.add_checkpoint(bare(world), old_size=0, proof=[])
    world.approve()
    proof = world.appender.history.tree.consistency_proof(2, 3)
    assert fresh.add_checkpoint(bare(world), old_size=2, proof=proof)[1] == 3


def test_extension_without_its_proof_is_refused_and_not_remembered(world, fresh):
    fresh.add_checkpoint(bare(world), old_size=0, proof=[])
    world.approve()
    with pytest.raises(ProofInvalid):
        fresh.add_checkpoint(bare(world), old_size=2, proof=[])
    proof = world.appender.history.tree.consistency_proof(2, 3)
    assert fresh.add_checkpoint(bare(world), old_size=2, proof=proof)[1] == 3


@pytest.mark.parametrize("old_size", [1, 5, 2**63])
def test_wrong_old_size_is_answered_with_the_right_one_and_no_signature(world, fresh, old_size):
    assert fresh.add_checkpoint(bare(world), old_size=old_size, proof=[]) == (None, 0)


def test_same_checkpoint_again_is_cosigned_again(world, fresh):
    fresh.add_checkpoint(bare(world), old_size=0, proof=[])
    assert fresh.add_checkpoint(bare(world), old_size=2, proof=[])[0] is not None


def test_memory_survives_a_restart(world):
    signed = world.appender.latest()
    assert world.witness("witness-2").add_checkpoint(signed, old_size=0, proof=[]) == (None, 2)


def test_checkpoint_that_cannot_be_remembered_is_not_signed(world, fresh, monkeypatch):
    def fail(signed):
        raise StorageError("the disk is full")

    monkeypatch.setattr(fresh._memory, "remember", fail)
    with pytest.raises(StorageError):
        fresh.add_checkpoint(bare(world), old_size=0, proof=[])
    assert fresh._latest is None


def test_checkpoint_of_another_log_is_refused(world, fresh, tmp_path):
    from protocol.log.note import Checkpoint, sign_checkpoint

    foreign = Checkpoint("other.custodes/log", 1, bytes(32))
    signed = sign_checkpoint(foreign, "other.custodes/log", private_key=world.keys["coordinator"].private)
    with pytest.raises(CheckpointInvalid, match="another log"):
        fresh.add_checkpoint(signed, old_size=0, proof=[])
