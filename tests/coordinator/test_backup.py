"""Backups: one moment of either kind of database, restored only if the log and its witnesses know nothing more."""

import json
import stat

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.log.appender import Appender
from coordinator.log.publisher import size_at
from coordinator.store.backup import Proven, back_up, prove, restore
from coordinator.store.cases import CaseStore
from coordinator.store.database import Database, metadata
from coordinator.store.runs import Runs
from oversight.witness.witness import WitnessService
from protocol.errors import (
    BackupAltered,
    BehindLog,
    CheckpointInvalid,
    ConfigurationError,
    PeerUnreachable,
    ProtocolError,
)
from tests.coordinator.test_cli import SETTINGS
from tests.loopback import Loopback
from tests.wire import Wire
from tests.world import CATALOGUE, REASON


def witnessed(world, *, silent=()):
    """Ask the world's witnesses as the command does, some of whom do not answer."""

    def ask(roster, witness, shown):
        if witness in silent:
            raise PeerUnreachable(witness)
        return size_at(Loopback(WitnessService(world.witnesses[witness])), shown)

    return ask


def proven(world, copy, *, published=None, **asked):
    return prove(copy, genesis=world.roster.digest(), published=published, ask=witnessed(world, **asked))


def contents(database):
    with database.snapshot() as connection:
        return {table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in metadata.sorted_tables}


def statement(copy, text):
    """Change a copy behind everybody's back."""
    engine = sa.create_engine(f"sqlite:///{copy}")
    with engine.begin() as connection:
        assert connection.exec_driver_sql(text).rowcount > 0
    engine.dispose()


@pytest.fixture
def copy(flagged, tmp_path):
    made = tmp_path / "monday.backup"
    back_up(flagged.world.place or flagged.world.root / "coordinator.sqlite", made)
    return made


@pytest.mark.parametrize("world", ["sqlite", "postgresql"], indirect=True)
def test_what_is_restored_is_what_was_there_and_goes_on(flagged, copy, place):
    """From either kind of database into either kind."""
    world = flagged.world
    assert proven(world, copy) == Proven(
        leaves=world.appender.history.tree.size, flags=len(flagged.headers), witnessed=world.appender.history.tree.size
    )
    restore(copy, place)
    database = Database(place)
    assert contents(database) == contents(world.database)
    assert CaseStore(database).all_flags() == world.cases.all_flags()
    assert Runs(database).get(flagged.plan, 0) == world.runs.get(flagged.plan, 0)
    again = Appender(database, genesis=world.roster.digest(), clock=world.clock)
    again.append("catalogue", world.signed(CATALOGUE.model_copy(update={"version": 2}), "coordinator"))
    assert again.history.tree.size == world.appender.history.tree.size + 1
    with pytest.raises(ConfigurationError, match="not empty"):
        restore(copy, place)
    database.close()


def test_a_backup_is_its_owners_and_replaces_nothing(flagged, copy):
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [found.name for found in copy.parent.iterdir() if found.name.startswith("monday")] == [copy.name]
    before = copy.read_bytes()
    with pytest.raises(ConfigurationError, match="exists"):
        back_up(flagged.world.root / "coordinator.sqlite", copy)
    assert copy.read_bytes() == before


def test_a_backup_behind_the_log_is_refused_by_its_files_and_by_its_witnesses(flagged, copy):
    """Either alone notices: the thief of the log's files does not have the witnesses, and witnesses may be away."""
    world = flagged.world
    world.log("catalogue", CATALOGUE.model_copy(update={"version": 2}), "coordinator")
    with pytest.raises(BehindLog, match="a witness has seen"):
        proven(world, copy)
    with pytest.raises(BehindLog, match="published checkpoint"):
        proven(world, copy, published=world.appender.latest(), silent=("witness-1", "witness-2", "witness-3"))


def test_a_leaf_that_no_witness_has_seen_is_restored_and_published_later(flagged, tmp_path):
    world, copy = flagged.world, tmp_path / "later.backup"
    world.appender.append("catalogue", world.signed(CATALOGUE.model_copy(update={"version": 2}), "coordinator"))
    back_up(world.root / "coordinator.sqlite", copy)
    found = proven(world, copy, published=world.appender.latest())
    assert found.leaves == found.witnessed + 1


def test_without_a_majority_of_witnesses_nothing_is_proven(flagged, copy):
    assert proven(flagged.world, copy, silent=("witness-2",)).flags == len(flagged.headers)
    with pytest.raises(CheckpointInvalid, match="1 of 2 witnesses"):
        proven(flagged.world, copy, silent=("witness-2", "witness-3"))


def test_asking_witnesses_moves_none_of_them(flagged, copy):
    world = flagged.world
    before = {name: (world.root / name / "checkpoint").read_bytes() for name in world.witnesses}
    proven(world, copy)
    assert {name: (world.root / name / "checkpoint").read_bytes() for name in world.witnesses} == before


ALTERED = {
    "a body is text": "UPDATE leaves SET body = CAST(body AS TEXT) WHERE kind = 'flag'",
    "a body is another one": "UPDATE leaves SET body = CAST(body || ' ' AS BLOB) WHERE kind = 'flag'",
    "a salt is another one": "UPDATE leaves SET salt = zeroblob(32) WHERE kind = 'flag'",
    "a body is gone": "UPDATE leaves SET body = NULL WHERE kind = 'flag'",
    "a kind is another one": "UPDATE leaves SET kind = 'warrant' WHERE kind = 'flag'",
    "a ciphertext is another one": "UPDATE flags SET ciphertext = zeroblob(100)",
    "a share is another one": "UPDATE flags SET sealed_shares = '[]'",
    "a category is another one": "UPDATE flags SET category = 'third'",
    "a flag is gone": "DELETE FROM flags WHERE leaf = (SELECT min(leaf) FROM flags)",
    "a flag is of another leaf": "UPDATE flags SET leaf = leaf + 1000",
    "the last leaf is gone": 'DELETE FROM leaves WHERE "index" = (SELECT max("index") FROM leaves)',
    "a public leaf is another one": "UPDATE leaves SET skeleton ="
    " CAST(replace(skeleton, 'catalogue', 'catalogux') AS BLOB) WHERE kind = 'catalogue'",
    "a body hash is another one": "UPDATE leaves SET body_hash = zeroblob(32) WHERE kind = 'flag'",
    "no checkpoint is left": "DELETE FROM checkpoints",
    "a checkpoint is another one": "UPDATE checkpoints SET note = CAST(replace(note, 'A', 'B') AS BLOB)",
}


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_a_backup_that_somebody_changed_is_refused(flagged, copy, change):
    statement(copy, change)
    with pytest.raises(ProtocolError) as refused:
        proven(flagged.world, copy)
    assert isinstance(refused.value, BackupAltered | BehindLog) or "leaf" not in change


def test_a_history_that_nobody_witnessed_is_refused_although_every_rule_holds_in_it(flagged, tmp_path):
    """Whoever has the coordinator's key could sign another past; the witnesses' lines are of the real one."""
    world, copy = flagged.world, tmp_path / "other.backup"
    other = Database(copy)
    forged = Appender(other, genesis=world.roster.digest(), clock=world.clock)
    forged.append("roster", world.signed(world.roster, *world.custodian_ids))
    version = 2
    while forged.history.tree.size < world.appender.history.tree.size:
        forged.append("catalogue", world.signed(CATALOGUE.model_copy(update={"version": version}), "coordinator"))
        version += 1
    forged.store_checkpoint(world.appender.latest())
    other.close()
    with pytest.raises(BackupAltered, match="do not add up"):
        proven(world, copy)


def test_the_commands_back_up_prove_and_restore_with_witnesses_over_the_wire(tmp_path, flagged_template):
    template, _, _, headers = flagged_template
    wire = Wire.create(tmp_path / "force")
    wire.become(template)
    files, copy = wire.files("coordinator"), tmp_path / "monday.backup"
    text = SETTINGS.format(genesis=wire.roster.digest()).replace('state = "."', f'state = "{tmp_path / "new"}"')
    for name in ("ca", "certificate", "key"):
        text = text.replace(f'tls_{name} = "absent"', f'tls_{name} = "{getattr(files, name)}"')
    text = text.partition("[witnesses]")[0] + "[witnesses]\n"
    text += "".join(f'{name} = "{wire.address(name)}"\n' for name in wire.witnesses)
    settings = wire.root / "settings.toml"

    def run(*arguments, exit_code=0):
        done = CliRunner().invoke(app, [str(one) for one in arguments])
        assert done.exit_code == exit_code, done.output
        return done.output

    settings.write_text(text.replace(str(tmp_path / "new"), str(wire.root)))
    run("backup", settings, copy)
    settings.write_text(text)
    assert "may be restored" in run("restore", settings, copy, "--dry-run")
    assert not (tmp_path / "new" / "coordinator.sqlite").exists()
    told = json.loads(run("restore", settings, copy, "--json"))
    assert (told["flags"], told["witnessed"]) == (len(headers), wire.appender.history.tree.size)
    database = Database(tmp_path / "new" / "coordinator.sqlite")
    assert contents(database) == contents(wire.database)
    database.close()
    wire.log("catalogue", CATALOGUE.model_copy(update={"version": 2}), "coordinator")
    assert "state.behind_log" in run("restore", settings, copy, "--dry-run", exit_code=5)
    wire.close()


def test_erased_case_is_restored_as_erased_and_one_that_is_back_is_found(flagged, tmp_path):
    world, header = flagged.world, flagged.headers[0]
    world.clock.advance(header.retain_until - world.clock.now())
    kept = tmp_path / "before.sqlite"
    back_up(world.root / "coordinator.sqlite", kept)
    erasure = world.register.erasure_due("coordinator", legal_basis=REASON)
    world.register.submit(
        world.roster.party("coordinator", "coordinator"), "erasure", world.signed(erasure, "coordinator")
    )
    world.publisher.publish()
    made = tmp_path / "after.sqlite"
    back_up(world.root / "coordinator.sqlite", made)
    proven(world, made)
    with pytest.raises(BehindLog):
        proven(world, kept)
    statement(made, "UPDATE leaves SET salt = x'00' WHERE salt IS NULL")
    with pytest.raises(BackupAltered, match="was erased"):
        proven(world, made)
