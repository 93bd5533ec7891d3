"""What an auditor types about a model, and what is answered."""

import json

import pytest
from typer.testing import CliRunner

from oversight.cli import audit_app
from protocol.scorecard.table import scorecard_tables


def run(world, *arguments, exit_code=0):
    command = ["scorecard", str(world.root / "log"), "--genesis", world.roster.digest(), *arguments]
    done = CliRunner().invoke(audit_app, command)
    assert done.exit_code == exit_code, done.output
    return done.stdout + done.stderr


def test_scorecard_is_that_of_the_model_which_follows_from_the_log(world, finished):
    record = world.record(finished)
    shown = json.loads(run(world, "--plan", finished, "--json"))
    assert shown["model"] == record.model().digest()
    for head, table in zip(shown["heads"], scorecard_tables(record.model(), record.catalogue), strict=True):
        assert (head["category"], head["intercept"]) == (table.category, table.intercept)
        assert [(row["feature"], row["weight"]) for row in head["rows"]] == [
            (row.feature, row.weight) for row in table.rows
        ]


def test_scorecard_is_readable(world, finished):
    told = run(world, "--plan", finished)
    for title in ("First (first): intercept", "Second (second): intercept", "Made-up value gamma. Unit: none."):
        assert title in told
    assert "points for one more, weight" in told


@pytest.mark.parametrize(("plan", "code"), [("0" * 64, "plan.not_approved"), (None, "state")])
def test_scorecard_needs_a_finished_plan_of_the_log(world, plan, code):
    told = run(world, "--plan", plan or world.approve(), exit_code=5)
    assert told.startswith(f"{code}:")
