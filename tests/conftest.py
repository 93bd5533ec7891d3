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


@pytest.fixture(scope="session")
def finished_template(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Digest]:
    """A force that has run a plan, to be copied and not used."""
    made = World.create(tmp_path_factory.mktemp("finished") / "world")
    plan = made.approve()
    made.run(plan)
    return made, plan


@pytest.fixture(scope="session")
def flagged_template(
    tmp_path_factory: pytest.TempPathFactory, finished_template: tuple[World, Digest]
) -> tuple[World, Digest, Digest, list[FlagHeader]]:
    """A force with flags, to be copied and not used."""
    template, plan = finished_template
    made = World.create(tmp_path_factory.mktemp("flagged") / "world")
    made.become(template)
    policy = made.approve_policy(plan)
    headers = made.raise_flags(policy)
    for number in (1, 2, 3):
        made.custodian(number).collect_shares()
    return made, plan, policy, headers


@pytest.fixture
def finished(world: World, finished_template: tuple[World, Digest]) -> Digest:
    """A plan of ``world`` that has run to its end."""
    template, plan = finished_template
    world.become(template)
    return plan


@pytest.fixture
def flagged(world: World, flagged_template: tuple[World, Digest, Digest, list[FlagHeader]]) -> Flagged:
    """Flags of ``world``, raised and dealt."""
    template, plan, policy, headers = flagged_template
    world.become(template)
    return Flagged(world, plan, policy, list(headers))
