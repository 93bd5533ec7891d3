"""The auditor who follows the log, and the leaf that can be proved without it."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from oversight.audit.proof import check_leaf_proof, leaf_proof
from oversight.audit.verify import read_mirror
from oversight.audit.watch import Watch
from oversight.audit_cli import audit_app
from protocol.errors import CheckpointInvalid, ForkDetected, NotLogged, ProofInvalid
from protocol.log.proof import LogProof
from tests.world import CATALOGUE


def watch(world, state="auditor"):
    return Watch(world.root / "log", genesis=world.roster.digest(), state=world.root / state)


def catalogue(version):
    return CATALOGUE.model_copy(update={"version": version})


def test_what_came_since_the_last_look_is_told(world):
    following = watch(world)
    assert following.look().leaves_by_kind == {"catalogue": 1, "roster": 1}
    assert following.look().leaves_by_kind == {}
    for version in range(2, 300):
        world.appender.append("catalogue", world.signed(catalogue(version), "coordinator"))
    world.publisher.publish()
    growth = following.look()
    assert growth.leaves_by_kind == {"catalogue": 298}
    assert growth.root == world.appender.history.tree.root().hex()


def rewritten(world, tmp_path):
    """Let the coordinator write the log anew after the auditor looked, with the same keys and witnesses' help."""
    other = type(world).create(tmp_path / "other")
    other.become(world)
    world.log("catalogue", catalogue(2), "coordinator")
    seen = watch(world)
    seen.look()
    for witness in other.roster.with_role("witness"):
        shutil.rmtree(other.root / witness.id, ignore_errors=True)
    other.log("catalogue", catalogue(3), "coordinator")
    shutil.rmtree(world.root / "log")
    shutil.copytree(other.root / "log", world.root / "log")
    other.close()
    return seen


def test_rewritten_log_ends_the_watch_and_both_checkpoints_are_kept(world, tmp_path):
    seen = rewritten(world, tmp_path)
    with pytest.raises(ForkDetected):
        seen.look()
    kept = world.root / "auditor" / "fork-evidence"
    assert {path.name for path in kept.iterdir()} == {"earlier", "later"}
    assert (kept / "earlier").read_bytes() != (kept / "later").read_bytes()
    with pytest.raises(ForkDetected):
        watch(world)


def test_rewritten_log_is_found_after_a_restart_too(world, tmp_path):
    rewritten(world, tmp_path)
    with pytest.raises(ForkDetected):
        watch(world).look()


def test_log_that_was_rolled_back_is_refused_after_a_restart(world, tmp_path):
    shutil.copytree(world.root / "log", tmp_path / "old")
    world.log("catalogue", catalogue(2), "coordinator")
    watch(world).look()
    shutil.rmtree(world.root / "log")
    shutil.copytree(tmp_path / "old", world.root / "log")
    with pytest.raises(CheckpointInvalid, match="this party has seen 3"):
        watch(world).look()


@pytest.mark.parametrize("name", ["tile/entries/000.p/3", "tile/0/000.p/3"])
def test_tile_that_does_not_hold_what_the_leaves_do_is_found(world, name):
    following = watch(world)
    following.look()
    world.log("catalogue", catalogue(2), "coordinator")
    path = world.root / "log" / name
    intact = path.read_bytes()
    path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    with pytest.raises(ProofInvalid, match=name):
        following.look()
    path.write_bytes(intact)
    assert following.look().leaves_by_kind == {"catalogue": 2, "roster": 1}


def test_leaf_is_proved_by_a_file_alone(world):
    mirror = read_mirror(world.root / "log", genesis=world.roster.digest())
    proof = LogProof.decode(leaf_proof(mirror, 1).encode())
    assert check_leaf_proof(proof, world.roster) == mirror.history.leaves[1]
    with pytest.raises(NotLogged):
        leaf_proof(mirror, 2)


def test_proof_that_carries_another_leaf_is_refused(world):
    mirror = read_mirror(world.root / "log", genesis=world.roster.digest())
    first, second = leaf_proof(mirror, 0), leaf_proof(mirror, 1)
    swapped = LogProof(first.index, first.path, first.signed, second.extra)
    with pytest.raises(ProofInvalid):
        check_leaf_proof(swapped, world.roster)
    with pytest.raises(ProofInvalid, match="does not carry its leaf"):
        check_leaf_proof(LogProof(first.index, first.path, first.signed, b""), world.roster)


def run(*arguments, exit_code=0):
    done = CliRunner().invoke(audit_app, [str(part) for part in arguments])
    assert done.exit_code == exit_code, done.output
    return done.stdout + done.stderr


def test_auditor_proves_a_leaf_and_somebody_else_checks_it(world, tmp_path):
    log, genesis = world.root / "log", world.roster.digest()
    roster, proof = tmp_path / "roster.json", tmp_path / "leaf.tlog-proof"
    roster.write_bytes(world.signed(world.roster, *world.custodian_ids).encode())
    assert "leaf 1 in a log of 2" in run("prove", log, "--genesis", genesis, "--index", 1, "--out", proof)
    run("prove", log, "--genesis", genesis, "--index", 1, "--out", proof, exit_code=3)
    told = run("check-proof", proof, "--genesis", genesis, "--roster", roster)
    assert told.startswith("Leaf 1, a catalogue of 2031-03-04, is in the log of 2 leaves.")
    shown = json.loads(run("check-proof", proof, "--genesis", genesis, "--roster", roster, "--json"))
    assert (shown["index"], shown["skeleton"]["kind"]) == (1, "catalogue")
    run("check-proof", proof, "--genesis", "0" * 64, "--roster", roster, exit_code=4)


def test_watch_looks_once_for_a_scheduler(world, tmp_path):
    log, genesis, state = world.root / "log", world.roster.digest(), tmp_path / "state"
    arguments = ("watch", log, "--genesis", genesis, "--state", state, "--once")
    assert run(*arguments) == "2 leaves, of which new: 1 catalogue, 1 roster\n"
    assert json.loads(run(*arguments, "--json"))["size"] == 2
