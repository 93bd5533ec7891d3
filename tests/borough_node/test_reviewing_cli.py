"""What operators and reviewers type about reviews, and what is answered."""

import json

import pytest
from typer.testing import CliRunner

from borough_node.cli import app
from tests.borough_node.files import write_files
from tests.reviewing import open_flag
from tests.world import BY, REASON

REASONS = "The rosters of March were compared with the badge records."


def run(*arguments, exit_code=0):
    done = CliRunner().invoke(app, ["review", *map(str, arguments)])
    assert done.exit_code == exit_code, done.output
    return done.stdout if exit_code == 0 else done.stderr


@pytest.fixture
def office(world, finished, monkeypatch):
    """A borough whose control sample has nearly everybody in it, on the first day."""
    monkeypatch.setattr("borough_node.reviewing_cli.SystemClock", lambda: world.clock)
    change = {"control_rate": 0.5, "retention_days": 1}
    policy = world.approve_policy(finished, lambda one: one.model_copy(update=change))
    headers = world.raise_flags(policy)
    world.triage(headers[0])
    borough = headers[0].borough
    return world, headers[0], write_files(world, borough)


def listed(settings, *options):
    return json.loads(run("list", settings, "--json", *options))


def test_review_goes_from_the_list_to_the_finished(office):
    _, _, settings = office
    before = listed(settings)
    review = before[0]["review"]
    command = (
        "record",
        settings,
        review,
        "--outcome",
        "substantiated",
        "--reviewer",
        "reviewer-1",
        "--reasons",
        REASONS,
    )
    assert "nothing was written" in run(*command, "--dry-run")
    assert listed(settings) == before
    assert json.loads(run(*command, "--json"))["written"] is True
    assert [one["review"] for one in listed(settings)] == [one["review"] for one in before[1:]]
    (finished,) = listed(settings, "--finished")
    assert (finished["review"], finished["outcome"], finished["reasons"]) == (review, "substantiated", REASONS)
    assert run(*command, exit_code=5).startswith("review.recorded:")
    correction = ("record", settings, review, "--outcome", "not-substantiated", "--reviewer", "reviewer-2")
    run(*correction, "--reasons", REASONS, "--correct")
    (finished,) = listed(settings, "--finished")
    assert finished["outcome"] == "not-substantiated"


def test_list_is_readable(office):
    _, _, settings = office
    first = listed(settings)[0]
    line = run("list", settings).splitlines()[0]
    assert line == f"{first['review']}  {first['category']}, cutoff 2030: {first['person']}"


def test_admitted_person_is_one_more_entry_like_every_other(office, tmp_path):
    world, header, settings = office
    before = listed(settings)
    referral, log = tmp_path / "referral.json", world.root / "log"
    referral.write_text(open_flag(world, header).encode().decode() + "\n")
    assert "would be" in run("admit", settings, referral, "--log", log, "--dry-run")
    assert listed(settings) == before
    told = run("admit", settings, referral, "--log", log)
    assert told == f"flag {header.flag_id}: is on the list\n"
    after = listed(settings)
    (added,) = [one for one in after if one not in before]
    assert [one for one in after if one != added] == before
    assert {frozenset(one) for one in after} == {frozenset(added)}
    assert [one["review"] for one in after] == sorted(one["review"] for one in after)


def test_referral_without_an_opening_is_refused(office, tmp_path):
    world, header, settings = office
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    referral = tmp_path / "referral.json"
    referral.write_bytes(world.issuer().refer(warrant.digest(), header.flag_id, by=BY, reason=REASON).encode())
    assert run("admit", settings, referral, "--log", world.root / "log", exit_code=5).startswith("review.not_opened:")


@pytest.mark.parametrize(("reviewer", "reasons"), [("reviewer-1", "short"), (" ", REASONS)])
def test_finding_needs_a_reviewer_and_reasons(office, reviewer, reasons):
    _, _, settings = office
    review = listed(settings)[0]["review"]
    command = ("record", settings, review, "--outcome", "substantiated", "--reviewer", reviewer, "--reasons", reasons)
    assert "finding needs its reviewer" in run(*command, exit_code=2)
    assert listed(settings, "--finished") == []


def test_review_that_is_not_on_the_list_is_refused(office):
    _, _, settings = office
    command = ("record", settings, "0" * 32, "--outcome", "substantiated", "--reviewer", "r", "--reasons", REASONS)
    assert run(*command, exit_code=5).startswith("review.unknown:")
