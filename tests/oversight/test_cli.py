"""What an auditor types about a model, and what is answered."""

import json

import pytest
from typer.testing import CliRunner

from oversight.audit_cli import audit_app
from oversight.reports.card import ModelCard
from oversight.reports.model_card import model_card
from protocol.scorecard.table import scorecard_tables


def run(world, *arguments, exit_code=0, name="scorecard"):
    command = [name, str(world.root / "log"), "--genesis", world.roster.digest(), *arguments]
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


def test_card_is_written_as_a_page_and_as_json(world, finished, tmp_path):
    told = run(world, "--plan", finished, "--out", str(tmp_path / "card"), name="card")
    assert [line.rsplit("/", 1)[1] for line in told.split()] == ["model-card.json", "model-card.html"]
    written = (tmp_path / "card" / "model-card.json").read_text()
    assert ModelCard.decode(written) == model_card(world.appender.history, finished)
    assert finished in (tmp_path / "card" / "model-card.html").read_text()
    assert run(world, "--plan", finished, "--out", str(tmp_path), "--json", name="card") == written


@pytest.mark.parametrize(("plan", "code"), [("0" * 64, "plan.not_approved"), (None, "state")])
def test_card_needs_a_finished_plan_of_the_log_and_writes_nothing_else(world, plan, code, tmp_path):
    out = tmp_path / "card"
    told = run(world, "--plan", plan or world.approve(), "--out", str(out), exit_code=5, name="card")
    assert told.startswith(f"{code}:")
    assert not out.exists()
