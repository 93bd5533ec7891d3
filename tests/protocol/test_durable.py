"""State that survives a kill, and values that do not survive their deletion."""

from __future__ import annotations

import stat
import subprocess
import sys
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
