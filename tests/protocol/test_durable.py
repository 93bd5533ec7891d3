"""State that survives a kill, and values that do not survive their deletion."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa

from protocol.durable import DurableDatabase, write_durably
from protocol.errors import StorageError

TABLES = sa.MetaData()
VALUES = sa.Table("values", TABLES, sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.LargeBinary))
MARK = b"synthetic-secret-" * 40


def opened(path: Path, mode: Literal["WAL", "DELETE"] = "WAL", version: int = 1) -> DurableDatabase:
    return DurableDatabase(path, tables=TABLES, schema_version=version, journal_mode=mode)


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


def test_a_file_is_replaced_whole_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "state"
    write_durably(path, b"first")
    write_durably(path, b"second")
    assert path.read_bytes() == b"second"
    assert [found.name for found in tmp_path.iterdir()] == ["state"]


def test_a_file_that_cannot_be_written_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError):
        write_durably(tmp_path / "absent" / "state", b"content")


def test_a_database_is_readable_by_its_owner_only(tmp_path):
    opened(tmp_path / "state.sqlite")
    assert stat.S_IMODE((tmp_path / "state.sqlite").stat().st_mode) == 0o600


def test_a_database_of_another_schema_is_refused(tmp_path):
    opened(tmp_path / "state.sqlite", version=1).close()
    with pytest.raises(StorageError, match="schema 1"):
        opened(tmp_path / "state.sqlite", version=2)


def test_a_failed_transaction_changes_nothing(tmp_path):
    database = opened(tmp_path / "state.sqlite")

    def written_twice() -> None:
        with database.transaction() as connection:
            connection.execute(sa.insert(VALUES).values(name="a", value=b"1"))
            connection.execute(sa.insert(VALUES).values(name="a", value=b"2"))

    with pytest.raises(StorageError):
        written_twice()
    with database.transaction() as connection:
        assert connection.execute(sa.select(VALUES)).all() == []


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_deleted_value_is_nowhere_on_disk(tmp_path, mode):
    database = opened(tmp_path / "state.sqlite", mode)
    with database.transaction() as connection:
        connection.execute(sa.insert(VALUES).values(name="a", value=MARK))
    assert MARK[:200] in on_disk(tmp_path)
    with database.transaction() as connection:
        connection.execute(sa.delete(VALUES))
    database.scrub()
    assert MARK[:200] not in on_disk(tmp_path)


def test_without_scrubbing_the_write_ahead_log_keeps_a_deleted_value(tmp_path):
    """Why ``scrub`` exists, and why the unmasker, which destroys keys, keeps no write-ahead log."""
    database = opened(tmp_path / "state.sqlite")
    with database.transaction() as connection:
        connection.execute(sa.insert(VALUES).values(name="a", value=MARK))
    with database.transaction() as connection:
        connection.execute(sa.delete(VALUES))
    assert MARK[:200] in on_disk(tmp_path)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_every_connection_syncs_before_a_commit_returns_and_overwrites_what_is_deleted(tmp_path, mode):
    """EXTRA: FULL does not sync the folder after a rollback journal is deleted, and a power cut would bring it back."""
    database = opened(tmp_path / "state.sqlite", mode)
    for _ in range(2):
        with database.transaction() as connection, database.transaction() as another:
            for one in (connection, another):
                assert one.exec_driver_sql("PRAGMA synchronous").scalar_one() == 3
                assert one.exec_driver_sql("PRAGMA secure_delete").scalar_one() == 1
                assert one.exec_driver_sql("PRAGMA journal_mode").scalar_one() == mode.lower()


def test_a_new_database_is_named_durably_in_its_folder(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr("protocol.durable.os.fsync", lambda file: synced.append(os.fstat(file).st_ino) or real(file))
    opened(tmp_path / "state" / "state.sqlite").close()
    assert {(tmp_path / "state").stat().st_ino, tmp_path.stat().st_ino} <= set(synced)


def test_a_writer_sees_what_it_writes_about(tmp_path):
    """Two writers read, then write: the second waits before its reading and not only before its writing."""
    first, second = opened(tmp_path / "state.sqlite"), opened(tmp_path / "state.sqlite")
    began, seen = threading.Event(), []

    def add(database: DurableDatabase, *, hold: threading.Event | None) -> None:
        with database.writing() as connection:
            seen.append(count := connection.execute(sa.select(sa.func.count()).select_from(VALUES)).scalar_one())
            began.set()
            if hold is not None:
                hold.wait(0.3)
            connection.execute(sa.insert(VALUES).values(name=str(count), value=b""))

    slow = threading.Thread(target=add, args=(first,), kwargs={"hold": threading.Event()})
    slow.start()
    began.wait(10)
    add(second, hold=None)
    slow.join(10)
    assert seen == [0, 1]


def reader(path: Path) -> DurableDatabase:
    return DurableDatabase(path, tables=TABLES, schema_version=1, journal_mode="WAL", read_only=True)


def names(database: DurableDatabase) -> list[str]:
    with database.transaction() as connection:
        return list(connection.execute(sa.select(VALUES.c.name)).scalars())


def test_reading_changes_nothing_in_the_file_or_beside_it(tmp_path):
    path = tmp_path / "copy" / "state.sqlite"
    written = opened(path)
    with written.transaction() as connection:
        connection.execute(sa.insert(VALUES).values(name="a", value=b"1"))
    written.close()
    path.chmod(0o400)
    before = (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
    database = reader(path)
    assert names(database) == ["a"]
    with pytest.raises(StorageError, match="readonly"), database.transaction() as connection:
        connection.execute(sa.delete(VALUES))
    database.close()
    assert (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) == before
    assert [found.name for found in path.parent.iterdir()] == ["state.sqlite"]


def test_reading_a_database_in_use_sees_what_is_only_in_its_write_ahead_log(tmp_path):
    written = opened(tmp_path / "state.sqlite")
    written.scrub()
    for name in ("a", "b"):
        with written.transaction() as connection:
            connection.execute(sa.insert(VALUES).values(name=name, value=b"1"))
        assert name in names(reader(tmp_path / "state.sqlite"))
    written.close()


def test_a_database_that_is_not_there_or_of_another_schema_is_not_read(tmp_path):
    with pytest.raises(StorageError, match="not there"):
        reader(tmp_path / "absent" / "state.sqlite")
    assert not (tmp_path / "absent").exists()
    opened(tmp_path / "state.sqlite", version=2).close()
    with pytest.raises(StorageError, match="schema 2, this version knows 1"):
        reader(tmp_path / "state.sqlite")
    (tmp_path / "text.sqlite").write_bytes(b"not a database, but long enough to look like one" * 40)
    with pytest.raises(StorageError, match="not a database"):
        reader(tmp_path / "text.sqlite")


def test_a_copy_with_its_write_ahead_log_in_a_folder_that_cannot_be_written_is_refused_with_a_way_out():
    """SQLite cannot read the log there; to read the file alone would silently show an older state."""
    script = """
import os, sys
from tests.protocol.test_durable import StorageError, reader, sa
from pathlib import Path
sa.create_engine("sqlite://").connect().close()  # what is loaded late must be loaded before
if os.getuid() == 0:
    os.setuid(65534)
try:
    reader(Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "copy").mkdir()
        written = opened(folder / "state.sqlite")
        with written.transaction() as connection:
            connection.execute(sa.insert(VALUES).values(name="a", value=b"1"))
        for name in ("state.sqlite", "state.sqlite-wal"):
            shutil.copy(folder / name, folder / "copy" / name)
            (folder / "copy" / name).chmod(0o444)
        written.close()
        folder.chmod(0o755)
        (folder / "copy").chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", script, str(folder / "copy" / "state.sqlite")],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        (folder / "copy").chmod(0o755)
    assert "copy both to a folder that can be written" in done.stdout


def test_two_processes_may_open_a_new_database_at_once(tmp_path):
    script = (
        "import sys; from pathlib import Path; from tests.protocol.test_durable import opened; "
        "sys.stdin.readline(); opened(Path(sys.argv[1]))"
    )
    for round_ in range(5):
        path = tmp_path / f"state-{round_}.sqlite"
        processes = [
            subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        for process in processes:
            process.stdin.write(b"\n")
            process.stdin.flush()
        errors = [process.communicate(timeout=60)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
