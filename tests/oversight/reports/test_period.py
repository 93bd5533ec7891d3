"""The oversight board's report: it counts what the log shows, and its records leave no gap unmarked."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from oversight.reports.page import render_report
from oversight.reports.period_report import period_report
from oversight.reports.records import TO_FILL, latest_card, render_record, write_report
from protocol.errors import ConfigurationError
from tests.oversight.reports.markup import parse
from tests.world import NOW, REASON, World

DAY = NOW.date()
DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def force(tmp_path_factory, flagged_template):
    """A force with flags, one opened, one refused, and one warrant taken back a day later."""
    made = World.create(tmp_path_factory.mktemp("period") / "world")
    made.become(flagged_template[0])
    headers = flagged_template[3]
    opened, refused, withdrawn = (made.warrant(header) for header in headers[:3])
    for warrant in (opened, refused, withdrawn):
        made.issuer().issue(warrant)
    made.clock.advance(timedelta(days=1))
    for number in (1, 2):
        made.custodian(number).decide(opened.digest(), headers[0].flag_id, decision="approve", reasons=REASON)
    made.custodian(3).decide(refused.digest(), headers[1].flag_id, decision="refuse", reasons=REASON)
    made.issuer().withdraw(withdrawn.digest(), reason=REASON)
    made.investigator().open(opened.digest(), headers[0].flag_id)
    yield made, headers
    made.close()


def reported(force, first, last):
    return period_report(force[0].appender.history, first=first, last=last)


def test_steps_are_counted_in_the_period_in_which_they_were_taken(force):
    whole, headers = reported(force, DAY, DAY + timedelta(days=1)), force[1]
    cases = whole.cases
    assert (cases.flags, cases.warrants, cases.withdrawn) == (len(headers), 3, 1)
    assert (cases.approvals, cases.refusals, cases.decided, cases.opened, cases.refused) == (2, 1, 2, 1, 1)
    second = reported(force, DAY + timedelta(days=1), DAY + timedelta(days=1)).cases
    assert (second.flags, second.warrants, second.opened) == (0, 0, 1)
    nothing = reported(force, DAY - timedelta(days=9), DAY - timedelta(days=1))
    assert (nothing.plans, nothing.policies, nothing.cases.flags, nothing.people) == ((), (), 0, 0)


def test_days_from_a_warrant_to_an_opening_are_those_of_the_log(force):
    found = reported(force, DAY, DAY + timedelta(days=1)).cases.warrant_to_opening
    assert (found.cases, found.fewest, found.median, found.most) == (1, 1, 1, 1)
    assert reported(force, DAY, DAY).cases.warrant_to_opening is None


def test_warrant_that_ends_unopened_is_unused_and_a_withdrawn_one_is_not(force):
    last = max(date.fromisoformat(one.valid_until[:10]) for one in force[0].appender.history.cases.warrants.values())
    assert reported(force, DAY, DAY).cases.unused == 0
    assert reported(force, DAY, last).cases.unused == 1


def test_plan_has_its_price_its_signers_and_its_accuracy(force):
    report = reported(force, DAY, DAY)
    (plan,) = report.plans
    assert plan.signers == 2
    assert plan.closed
    assert [head.category for head in plan.heads] == ["first", "second"]
    (budget,) = [one for one in report.budgets if one.purpose == plan.purpose]
    assert budget.this_plan == plan.rho == budget.spent > 0
    (policy,) = report.policies
    assert 0 < policy.flags_raised == len(force[1]) <= policy.flags_allowed


def test_period_that_ends_before_it_begins_is_refused(force):
    with pytest.raises(ConfigurationError, match="ends before it begins"):
        reported(force, DAY, DAY - timedelta(days=1))


def test_page_carries_the_numbers_of_the_json_and_nothing_from_elsewhere(force):
    report = reported(force, DAY, DAY + timedelta(days=1))
    page = parse(render_report(report))
    text = render_report(report)
    assert not re.search(r"<script|https?://|src=", text)
    opened = next(row for row in page.all("tr") if "Identities opened" in row.text())
    assert opened.one("data").attributes["value"] == str(report.cases.opened)


def test_records_answer_what_the_log_knows_and_mark_the_rest(force):
    report = reported(force, DAY, DAY + timedelta(days=1))
    card = latest_card(report, force[0].appender.history)
    record = render_record("atrs.md", report, card)
    assert card.model in record
    assert f"openings {report.cases.opened}." in record
    assert TO_FILL in record
    dpia = render_record("dpia.md", report, card)
    assert f"epsilon {card.guarantee.epsilon:.2f}" in dpia
    for line in dpia.splitlines():
        if line.startswith("| ") and "?" in line:
            assert line.split("|")[2].strip(), line


def test_blank_form_in_the_documentation_is_the_form_that_is_filled():
    assert (DOCS / "dpia-template.md").read_text() == render_record("dpia.md", None, None)


def test_command_writes_page_json_and_records_from_the_log_alone(force, tmp_path):
    world = force[0]
    world.publisher.publish()
    arguments = ["audit", "report", str(world.root / "log"), "--genesis", world.roster.digest()]
    arguments += ["--from", DAY.isoformat(), "--until", (DAY + timedelta(days=1)).isoformat(), "--out", str(tmp_path)]
    answer = CliRunner().invoke(app, [*arguments, "--json"])
    assert answer.exit_code == 0, answer.output
    report = reported(force, DAY, DAY + timedelta(days=1))
    assert json.loads(answer.output) == json.loads(report.encode())
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.html", "report.json", "transparency-record.md", "dpia.md"
    }  # fmt: skip
    assert (tmp_path / "report.json").read_text() == report.encode()


def test_record_of_a_force_without_a_model_says_so(tmp_path):
    made = World.create(tmp_path / "world")
    report = period_report(made.appender.history, first=DAY, last=DAY)
    paths = write_report(report, made.appender.history, tmp_path / "out")
    assert "no model is finished yet" in (tmp_path / "out" / "transparency-record.md").read_text()
    assert len(paths) == 4
    made.close()
