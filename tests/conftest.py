"""Fixtures of the tests that need a force: each is fresh, so that a test may break what it likes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.documents.flags import FlagHeader
from protocol.ids import Digest
from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A force of four boroughs with a roster and a catalogue in its log."""
    made = World.create(tmp_path / "world")
    yield made
    made.close()


@pytest.fixture
def plan(world: World) -> Digest:
    """A plan of ``world`` that the custodians approved and nobody has begun."""
    return world.approve()


@dataclass(frozen=True)
class Flagged:
    """A force whose boroughs have raised flags, and whose custodians hold their shares."""

    world: World
    plan: Digest
    policy: Digest
    headers: list[FlagHeader]


@pytest.fixture
def finished(world: World, plan: Digest) -> Digest:
    """A plan of ``world`` that has run to its end."""
    world.run(plan)
    return plan


@pytest.fixture
def flagged(world: World, finished: Digest) -> Flagged:
    """Flags of ``world``, raised and dealt."""
    policy = world.approve_policy(finished)
    headers = world.raise_flags(policy)
    for number in (1, 2, 3):
        world.custodian(number).collect_shares()
    return Flagged(world, finished, policy, headers)
