"""Cards of a small force: one of a plan with every release, one of a plan with none but the necessary ones."""

from __future__ import annotations

import pytest

from oversight.reports.card import ModelCard
from oversight.reports.model_card import model_card
from tests.world import EVERYTHING, World


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, ModelCard]:
    """A force, to be read and not used, and the card of its plan with fairness, mitigation and drift."""
    world = World.create(tmp_path_factory.mktemp("measured") / "world")
    plan = world.approve(EVERYTHING)
    world.run(plan)
    world.approve_policy(plan)
    return world, model_card(world.appender.history, plan)


@pytest.fixture(scope="session")
def bare(finished_template) -> ModelCard:
    """The card of a plan that trains and evaluates, and no more."""
    world, plan = finished_template
    return model_card(world.appender.history, plan)
