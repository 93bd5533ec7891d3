"""The coordinator's database, of both kinds: whatever a test of the store says is true of SQLite and of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.store.database import Database
from coordinator.store.place import Place


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a new database is made."""
    if request.param == "sqlite":
        return tmp_path / "c.sqlite"
    made: Place = request.getfixturevalue("new_postgres_place")()
    return made


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """A new database."""
    opened = Database(place)
    yield opened
    opened.close()
