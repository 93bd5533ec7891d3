"""A coordinator that shows two histories: whoever sees both keeps both and stops."""

import pytest

from borough_node.ledger import Ledger
from coordinator.log.appender import Appender
from coordinator.services.log import LogService
from coordinator.store.database import Database
from protocol.errors import CheckpointInvalid, ForkDetected, ProofInvalid, ProtocolError
from protocol.history.mirror import log_origin
from protocol.log.note import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from protocol.rpc.log_reader import LogReader
from protocol.rpc.party import CheckpointFile
from tests.loopback import Loopback
from tests.world import CATALOGUE, FORCE, World


class Fork:
    """A second history of the same log with the same keys, cosigned by witnesses who collude (or were not asked)."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.database = Database(world.root / f"{name}.sqlite")
        self.appender = Appender(self.database, genesis=world.roster.digest(), clock=world.clock)
        self.append("roster", world.roster, *world.custodian_ids)

    def append(self, kind, document, *signers):
        self.appender.append(kind, self.world.signed(document, *signers))
        return self.cosigned()

    def cosigned(self, witnesses=("witness-1", "witness-2", "witness-3")) -> SignedCheckpoint:
        signed = self.appender.checkpoint(self.world.keys["coordinator"])
        for name in witnesses:
            private = self.world.keys[name].private
            signed = cosign(signed, name, private_key=private, time_seconds=int(self.world.clock.now().timestamp()))
        self.appender.store_checkpoint(signed)
        return signed


@pytest.fixture
def fork(world):
    """As long as the honest log, and different in its second leaf."""
    made = Fork(world, "fork")
    made.append("catalogue", CATALOGUE.model_copy(update={"version": 2}), "coordinator")
    yield made
    made.database.close()


def switched(reader, appender):
    """Let a reader's coordinator go on with another history."""
    fresh = LogReader(
        lambda: Loopback(LogService(appender)),
        genesis=reader._genesis,
        remembered=reader._remembered,
        remember=reader._remember,
        keep_evidence=reader._keep_evidence,
        learn=reader._learn,
        clock=reader._clock,
    )
    reader._channel = fresh._channel
    return reader


def test_witness_shown_two_roots_of_one_size_keeps_both_and_signs_nothing_more(world, fork):
    witness = world.witnesses["witness-1"]
    honest, forged = world.appender.latest(), fork.cosigned(witnesses=())
    with pytest.raises(ForkDetected):
        witness.add_checkpoint(forged, old_size=honest.checkpoint.size, proof=[])
    folder = world.root / "witness-1" / "fork-evidence"
    kept = {SignedCheckpoint.decode((folder / name).read_bytes()).checkpoint.root for name in ("earlier", "later")}
    assert kept == {honest.checkpoint.root, forged.checkpoint.root}
    with pytest.raises(ForkDetected):
        witness.add_checkpoint(honest, old_size=honest.checkpoint.size, proof=[])
    with pytest.raises(ForkDetected):
        world.witness("witness-1")


def test_witness_refuses_a_longer_history_that_does_not_extend_its_own(world, fork):
    witness = world.witnesses["witness-1"]
    honest = world.appender.latest().checkpoint
    fork.append("catalogue", CATALOGUE.model_copy(update={"version": 3}), "coordinator")
    forged = fork.cosigned(witnesses=())
    proof = fork.appender.history.tree.consistency_proof(honest.size, forged.checkpoint.size)
    with pytest.raises(ProofInvalid):
        witness.add_checkpoint(forged, old_size=honest.size, proof=proof)


def test_witness_refuses_to_go_back(world):
    witness = world.witnesses["witness-1"]
    earlier = world.appender.latest()
    world.approve()
    with pytest.raises(CheckpointInvalid):
        witness.add_checkpoint(earlier, old_size=world.appender.latest().checkpoint.size, proof=[])


def test_witness_refuses_a_checkpoint_that_the_log_did_not_sign(world):
    origin = log_origin(FORCE)
    forged = sign_checkpoint(Checkpoint(origin, 5, bytes(32)), origin, private_key=world.keys["issuer"].private)
    with pytest.raises(CheckpointInvalid):
        world.witness("witness-1").add_checkpoint(forged, old_size=0, proof=[])


def test_desk_that_sees_a_fork_keeps_both_and_stops_for_good(world, fork):
    reader = world.reader("custodian-1")
    reader.sync()
    with pytest.raises(ForkDetected):
        switched(reader, fork.appender).sync()
    folder = world.root / "custodian-1" / "fork-evidence"
    assert (folder / "earlier").exists()
    assert (folder / "later").exists()
    with pytest.raises(ForkDetected):
        switched(reader, world.appender).sync()
    with pytest.raises(ForkDetected):
        CheckpointFile(world.root / "custodian-1").load()


def test_desk_that_starts_again_on_a_fork_remembers_what_it_had_accepted(world, fork):
    world.reader("custodian-1").sync()
    restarted = world.reader("custodian-1", appender=fork.appender)
    with pytest.raises(ForkDetected):
        restarted.sync()
    assert (world.root / "custodian-1" / "fork-evidence").is_dir()


def test_desk_that_starts_again_on_a_shorter_history_believes_none_of_it(world):
    """An old checkpoint replayed is no contradiction: nothing is believed, and nothing is kept that stops the desk."""
    world.reader("custodian-1").sync()
    shorter = Fork(world, "shorter")
    shorter.cosigned()
    with pytest.raises(CheckpointInvalid, match="has seen"):
        world.reader("custodian-1", appender=shorter.appender).sync()
    assert not (world.root / "custodian-1" / "fork-evidence").exists()
    world.reader("custodian-1").sync()
    shorter.database.close()


def test_node_that_sees_a_fork_keeps_both_and_does_not_start(world, fork):
    ledger = world.ledger("borough-1")
    gate = world.new_gate("borough-1", ledger=ledger)
    gate._reader._remember = lambda signed: ledger.store_checkpoint(signed.encode())
    gate._reader._keep_evidence = lambda evidence: ledger.store_evidence(evidence.earlier, evidence.later)
    gate.check_state()
    switched(gate._reader, fork.appender)
    with pytest.raises(ForkDetected):
        gate.check_state()
    assert ledger.has_evidence()
    ledger.close()
    again = Ledger(world.ledger_path("borough-1"))
    with pytest.raises(ForkDetected):
        world.new_gate("borough-1", ledger=again).check_state()
    again.close()


def test_node_on_a_fork_releases_nothing(world, plan, fork):
    request, seed = world.begun(plan)
    gate = world.gate("borough-1")
    gate.check_state()
    switched(gate._reader, fork.appender)
    with pytest.raises(ProtocolError):
        gate.release(request, seed)
    assert gate._ledger.answer(plan, 0) is None
    assert gate._ledger.entries() == ()


@pytest.mark.parametrize("witnesses", [(), ("witness-1",)])
def test_checkpoint_without_a_majority_of_witnesses_is_not_believed(world, witnesses):
    lonely = Fork(world, "lonely")
    lonely.append("catalogue", CATALOGUE, "coordinator")
    lonely.cosigned(witnesses)
    reader = world.reader("custodian-2", appender=lonely.appender)
    with pytest.raises(CheckpointInvalid):
        reader.sync()
    assert reader.mirror.size == 0
    lonely.database.close()


def test_one_witness_under_two_names_is_one_witness(world):
    """CVE-2020-6174 again, for witnesses: the roster names keys, and keys are counted."""
    lonely = Fork(world, "lonely")
    signed = lonely.cosigned(("witness-1",))
    seconds = int(world.clock.now().timestamp())
    signed = cosign(signed, "witness-2", private_key=world.keys["witness-1"].private, time_seconds=seconds)
    lonely.appender.store_checkpoint(signed)
    with pytest.raises(CheckpointInvalid):
        world.reader("custodian-2", appender=lonely.appender).sync()
    lonely.database.close()


def test_another_force_s_log_is_not_ours(world, tmp_path):
    other = World.create(tmp_path / "other")
    with pytest.raises(ProtocolError) as raised:
        world.reader("custodian-2", appender=other.appender).sync()
    assert raised.value.code == "digest.mismatch"
    other.close()


def test_unmasker_on_a_fork_answers_nothing(world, plan, fork):
    request, _seed = world.begun(plan)
    world.unmasker.check_state()
    switched(world.unmasker._current, fork.appender)
    with pytest.raises(ProtocolError):
        world.unmasker.commit(request, [])
    assert world.unmasker._store.receipt(plan, 0) is None
