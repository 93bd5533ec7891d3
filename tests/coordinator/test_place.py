"""Where the database is: named without a secret, reached by TLS, and what it says when it cannot be used."""

import os
import threading
import traceback

import psycopg
import pytest
import sqlalchemy as sa

from coordinator.settings import CoordinatorSettings
from coordinator.store.database import Database, flags, leaves
from coordinator.store.leaves import LeafStore
from coordinator.store.place import database_place
from protocol.errors import ConcurrentChange, ConfigurationError, SchemaUnknown, StorageError
from protocol.history.leaves import LoggedLeaf
from protocol.log.leaf import Leaf
from tests.coordinator.test_cli import SETTINGS

SECRET = "synthetic-password-of-nobody"


@pytest.fixture
def configured(tmp_path):
    """Make settings with these lines before the table of witnesses."""

    def make(*lines):
        path = tmp_path / "settings.toml"
        path.write_text(SETTINGS.format(genesis="0" * 64).replace("[witnesses]", "\n".join([*lines, "[witnesses]"])))
        return CoordinatorSettings.load(path)

    return make


def test_without_a_setting_it_is_a_file_in_the_state_directory(configured, tmp_path):
    assert database_place(configured()) == tmp_path / "coordinator.sqlite"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f'database = "postgresql://keeper:{SECRET}@localhost/register"', "no password"),
        (f'database = "postgresql://keeper@localhost/register?password={SECRET}"', "no password"),
        ('database = "postgresql://localhost/register?service=elsewhere"', "service"),
        ('database = "postgresql://localhost/register?hostaddr=192.0.2.1"', "hostaddr"),
        ('database = "postgresql://keeper@db.example/register"', "verify-full"),
        ('database = "postgresql://keeper@db.example/register?sslmode=require"', "verify-full"),
        ('database = "postgresql://keeper@localhost/register?host=/run/postgresql,db.example"', "verify-full"),
        ('database = "mysql://keeper@localhost/register"', "postgresql"),
        (f'database = "postgresql//keeper:{SECRET}"', "URL"),
        ('database_password = "absent"', "SQLite"),
        ('database = "postgresql://keeper@localhost/register"\ndatabase_password = "absent"', "cannot be read"),
    ],
)
def test_what_is_unsafe_or_means_nothing_is_refused_without_a_secret_in_the_error(configured, line, said):
    settings = configured(line)
    with pytest.raises(ConfigurationError, match=said) as refused:
        database_place(settings)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://keeper@localhost/register",
        "postgresql:///register?host=/run/postgresql",
        "postgresql://keeper@db.example:5432/register?sslmode=verify-full&sslrootcert=/etc/ca.pem",
    ],
)
def test_a_server_here_or_one_that_proves_its_name_is_taken(configured, url):
    assert database_place(configured(f'database = "{url}"')).drivername == "postgresql+psycopg"


def test_a_server_that_does_not_answer_is_said_without_the_password(configured, tmp_path):
    (tmp_path / "password").write_text(f"{SECRET}\n")
    settings = configured('database = "postgresql://keeper@127.0.0.1:1/register"', 'database_password = "password"')
    place = database_place(settings)
    assert place.password == SECRET
    with pytest.raises(StorageError, match=r"127\.0\.0\.1") as refused:
        Database(place)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


# --- a real server ----------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(postgres, configured):
    """Settings of a user who needs a password at the real server; the server's rules are put back afterwards."""
    name = f"keeper_{os.getpid()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        rules = connection.execute("SHOW hba_file").fetchone()[0]
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
        connection.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
        with open(rules, encoding="utf-8") as file:
            before = file.read()
        with open(rules, "w", encoding="utf-8") as file:
            file.write(f"local all {name} scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        query = sa.make_url(postgres).query
        yield configured(
            f'database = "postgresql://{name}@/postgres?host={query["host"]}&options=-csearch_path={name}"',
            'database_password = "password"',
        )
        with open(rules, "w", encoding="utf-8") as file:
            file.write(before)
        connection.execute("SELECT pg_reload_conf()")


def test_the_password_is_read_from_its_file_and_a_wrong_one_is_refused_without_repeating_it(guarded, tmp_path):
    (tmp_path / "password").write_text("another-synthetic-password")
    with pytest.raises(StorageError, match="authentication failed") as refused:
        Database(database_place(guarded))
    assert "another-synthetic-password" not in "".join(traceback.format_exception(refused.value))
    (tmp_path / "password").write_text(SECRET)
    Database(database_place(guarded)).close()


def test_a_server_that_does_not_write_what_it_commits_is_refused(new_postgres_place):
    place = new_postgres_place()
    careless = place.update_query_dict({"options": place.query["options"] + " -csynchronous_commit=off"})
    with pytest.raises(StorageError, match="synchronous_commit off"):
        Database(careless)
    Database(place).close()


def test_tables_of_somebody_else_are_refused(new_postgres_place):
    place = new_postgres_place()
    engine = sa.create_engine(place)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE invoices (number INTEGER)")
    engine.dispose()
    with pytest.raises(SchemaUnknown, match="no version of the coordinator"):
        Database(place)


def test_two_that_open_a_new_database_at_once_make_one_schema(place):
    opened, errors = [], []

    def open_it():
        try:
            opened.append(Database(place))
        except StorageError as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert (len(opened), errors) == (4, [])
    for one in opened:
        one.close()


def test_a_key_that_is_taken_is_a_conflict_and_its_value_is_not_repeated(database):
    """PostgreSQL's own message goes on with the values of the row."""
    add_flag(database)
    with pytest.raises(ConcurrentChange) as refused:
        add_flag(database)
    assert SECRET not in str(refused.value)
    assert rows(database) == (1, 1)


def add_flag(database, **changed):
    """Store a leaf and a flag in one transaction."""
    leaf = LoggedLeaf("flag", Leaf(b"skeleton", b"h" * 32), b"salt", b"body")
    with database.transaction() as connection:
        connection.execute(sa.insert(flags).values(**(FLAG | changed)))
        LeafStore(database).insert(connection, 0, [leaf])


def rows(database):
    with database.transaction() as connection:
        return tuple(
            connection.execute(sa.select(sa.func.count()).select_from(one)).scalar_one() for one in (leaves, flags)
        )


FLAG = {
    "flag_id": SECRET,
    "header": "1" * 64,
    "policy": "2" * 64,
    "borough": "borough-1",
    "category": "first",
    "leaf": 0,
    "ciphertext": b"",
    "sealed_shares": [],
}


def test_a_flag_is_rolled_back_with_its_leaf_and_the_leaf_with_its_flag(database):
    with pytest.raises(StorageError):
        add_flag(database, ciphertext=None)
    assert rows(database) == (0, 0)
    add_flag(database)
    with pytest.raises(ConcurrentChange):
        add_flag(database, flag_id="another", header="3" * 64)
    assert rows(database) == (1, 1)
