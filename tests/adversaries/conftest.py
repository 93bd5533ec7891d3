"""The force over real gRPC, for attackers: one that a module shares, and one that a test may break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire import Wire


@pytest.fixture(scope="module")
def shared_wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A force whose servers run as long as the module's tests: each makes its own plan."""
    made = Wire.create(tmp_path_factory.mktemp("wire") / "force", budget=1000.0)
    yield made
    made.close()


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """A force of one test, to move its clock, roll it back and break it."""
    made = Wire.create(tmp_path / "force")
    yield made
    made.close()
