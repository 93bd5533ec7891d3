"""The schema: known or refused, brought up to date by its operator only, and the same however it came about."""

import json

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.store import schema
from coordinator.store.cases import CaseStore
from coordinator.store.database import Database, metadata
from coordinator.store.schema import FIRST, LATEST
from protocol.errors import SchemaOutdated, SchemaUnknown, StorageError
from tests.coordinator.test_cli import SETTINGS

BEFORE = """
CREATE TABLE leaves ("index" INTEGER NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, skeleton BLOB NOT NULL,
                     body_hash BLOB NOT NULL, salt BLOB, body BLOB);
CREATE INDEX ix_leaves_kind ON leaves (kind);
CREATE TABLE checkpoints (size INTEGER NOT NULL PRIMARY KEY, note BLOB NOT NULL);
CREATE TABLE proposals (digest VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, envelope BLOB NOT NULL);
CREATE TABLE flags (flag_id VARCHAR NOT NULL PRIMARY KEY, header VARCHAR NOT NULL UNIQUE, policy VARCHAR NOT NULL,
                    borough VARCHAR NOT NULL, category VARCHAR NOT NULL, leaf INTEGER NOT NULL,
                    ciphertext BLOB NOT NULL, sealed_shares JSON NOT NULL);
CREATE INDEX ix_flags_policy ON flags (policy);
CREATE TABLE mailbox (message_id VARCHAR NOT NULL PRIMARY KEY, borough VARCHAR NOT NULL, expires_at FLOAT NOT NULL,
                      message BLOB NOT NULL, reply BLOB);
CREATE INDEX ix_mailbox_borough ON mailbox (borough);
CREATE TABLE rounds (plan VARCHAR NOT NULL, "index" INTEGER NOT NULL, request BLOB NOT NULL, tag_seed VARCHAR NOT NULL,
                     statements JSON, burnt VARCHAR, masked_sum BLOB, PRIMARY KEY (plan, "index"));
INSERT INTO proposals VALUES ('1111', 'plan', x'2222');
PRAGMA user_version = 3;
"""
"""What version 0.1.0 made, before there were migrations."""


def made(place, statements):
    engine = sa.create_engine(f"sqlite:///{place}")
    with engine.begin() as connection:
        connection.connection.executescript(statements)
    engine.dispose()
    return place


@pytest.fixture
def place(tmp_path):
    return tmp_path / "c.sqlite"


@pytest.fixture
def old(place):
    return made(place, BEFORE)


def look(place, what):
    engine = sa.create_engine(f"sqlite:///{place}")
    with engine.connect() as connection:
        found = what(connection)
    engine.dispose()
    return found


def difference(connection):
    return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)


def test_the_steps_lead_to_the_tables_that_a_new_database_gets(old, tmp_path):
    Database.migrate(old, dry_run=False)
    new = tmp_path / "new.sqlite"
    Database(new).close()
    for one in (old, new):
        assert look(one, difference) == []
        assert look(one, schema.revision_of) == LATEST
    assert schema._scripts().get_current_head() == LATEST
    assert look(made(tmp_path / "v1.sqlite", BEFORE), difference) != [], "the comparison would see a difference"


def test_a_database_of_an_earlier_version_is_refused_with_the_remedy_and_left_as_it_is(old):
    before = old.read_bytes()
    with pytest.raises(SchemaOutdated, match="schema 0001") as refused:
        Database(old)
    assert "coordinator migrate" in refused.value.remedy()
    assert [step.revision for step in Database.migrate(old, dry_run=True)] == ["0002"]
    assert look(old, schema.revision_of) == FIRST
    assert look(old, lambda connection: connection.exec_driver_sql("PRAGMA user_version").scalar_one()) == 3
    assert old.read_bytes()[:18] == before[:18]


def test_what_an_earlier_version_stored_is_there_after_the_migration(old):
    taken = Database.migrate(old, dry_run=False)
    assert [step.revision for step in taken] == ["0002"]
    assert "Count the changes" in taken[0].what
    database = Database(old)
    ((digest, kind, envelope, changes),) = [
        (one.digest, one.kind, one.envelope, one.changes) for one in CaseStore(database).proposals()
    ]
    assert (digest, kind, envelope, changes) == ("1111", "plan", b"\x22\x22", 0)
    database.close()
    assert Database.migrate(old, dry_run=False) == ()


@pytest.mark.parametrize("version", [1, 2, 99])
def test_a_number_that_only_others_wrote_is_refused(place, version):
    made(place, BEFORE + f"PRAGMA user_version = {version};")
    for attempt in (lambda: Database(place), lambda: Database.migrate(place, dry_run=False)):
        with pytest.raises(SchemaUnknown, match=f"schema {version}"):
            attempt()


def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(place):
    Database(place).close()
    made(place, "UPDATE alembic_version SET version_num = '9999'; CREATE TABLE later (x INTEGER);")
    for attempt in (lambda: Database(place), lambda: Database.migrate(place, dry_run=False)):
        with pytest.raises(SchemaUnknown, match="schema 9999"):
            attempt()
    assert look(place, lambda connection: sa.inspect(connection).has_table("later"))


def test_version_010_does_not_write_into_what_came_after_it(old):
    """It looks at ``user_version`` and takes 0 for an empty file and 3 for its own."""
    Database.migrate(old, dry_run=False)
    version = look(old, lambda connection: connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    assert version not in (0, 3)


def test_a_migration_that_fails_half_way_changes_nothing(old, monkeypatch):
    def stops(connection):
        raise StorageError("the power went")

    monkeypatch.setattr(schema, "_shut_out_earlier_versions", stops)
    with pytest.raises(StorageError, match="power"):
        Database.migrate(old, dry_run=False)
    columns = look(old, lambda connection: [one["name"] for one in sa.inspect(connection).get_columns("proposals")])
    assert columns == ["digest", "kind", "envelope"]


def test_a_database_that_is_not_there_is_not_migrated(place):
    with pytest.raises(StorageError, match="not there"):
        Database.migrate(place, dry_run=True)
    assert not place.exists()


def test_the_command_says_which_steps_and_takes_them_only_when_asked(tmp_path):
    made(tmp_path / "coordinator.sqlite", BEFORE)
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS.format(genesis="0" * 64))

    def said(*options):
        done = CliRunner().invoke(app, ["migrate", str(settings), *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "would take step 0002" in said("--dry-run")
    assert [step["revision"] for step in json.loads(said("--json"))["steps"]] == ["0002"]
    assert "has the schema of this version" in said()
