"""What two operators type to see one explanation, and what is answered and journalled."""

import json

import pytest
from typer.testing import CliRunner

from borough_node.cli import app
from borough_node.explaining.request import ExplanationRequest
from protocol.signing.dsse import Envelope
from tests.borough_node.explaining.desk import WHY, Desk
from tests.borough_node.files import write_files


def run(*arguments, exit_code=0):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == exit_code, done.output
    return done.stdout if exit_code == 0 else done.stderr


class Office:
    """A borough's folder, and the two operators' own keys elsewhere."""

    def __init__(self, world, header, keys):
        self.desk, self.keys, self.log = Desk(world, header.policy, header.borough), keys, world.root / "log"
        self.person, self.category = self.desk.name_behind(header), header.category
        lines = [run("operator", "new", name, self.key(name)) for name in ("first", "second")]
        self.settings = write_files(world, header.borough, more="[operators]\n" + "".join(lines))
        self.request = keys / "request.json"

    def key(self, name):
        return self.keys / f"{name}.key"

    def ask(self, *options, exit_code=0, person=None, **changed):
        named_in = self.keys / "person.txt"
        named_in.write_text(f"{person or self.person}\n")
        asked = {
            "person": named_in,
            "category": self.category,
            "policy": self.desk.policy,
            "reason": WHY,
            "operator": "first",
            "key": self.key("first"),
            "hours": 8,
            "out": self.request,
        }
        named = [part for name, value in (asked | changed).items() for part in (f"--{name}", value)]
        return run("explain", "request", self.settings, *named, *options, exit_code=exit_code)

    def agree(self, *options, key="second", exit_code=0):
        return run(
            "explain", "agree", self.settings, self.request, "--key", self.key(key), *options, exit_code=exit_code
        )

    def show(self, *options, exit_code=0):
        return run("explain", "show", self.settings, self.request, "--log", self.log, *options, exit_code=exit_code)

    def journal(self, *arguments, exit_code=0):
        command, *options = arguments
        return run("journal", command, self.settings, *options, exit_code=exit_code)


@pytest.fixture
def office(flagged, tmp_path, monkeypatch):
    monkeypatch.setattr("borough_node.explaining_cli.SystemClock", lambda: flagged.world.clock)
    keys = tmp_path / "keys"
    keys.mkdir()
    return Office(flagged.world, flagged.headers[0], keys)


def test_two_operators_see_an_explanation_and_the_journal_says_so(office):
    digest = office.ask().strip()
    agreed = office.agree()
    assert office.person in agreed
    assert WHY in agreed
    shown = json.loads(office.show("--json"))
    assert shown["score"] >= shown["threshold"]
    assert shown["mean_score"] + sum(one["contribution"] for one in shown["contributions"]) == pytest.approx(
        shown["score"], abs=1e-12
    )
    journal = json.loads(office.journal("show", "--json"))
    (row,) = journal["rows"]
    assert (row["request"], row["asked_by"], row["agreed_by"]) == (digest, "first", "second")
    assert (journal["length"], journal["head"]) == (1, row["hash"])
    assert office.person not in json.dumps(journal)


def test_explanation_is_readable(office):
    office.ask()
    office.agree()
    told = office.show()
    assert told.startswith(f"{office.category.capitalize()} ({office.category}), cutoff 2030")
    for part in ("at or above the threshold", "Reason 1, ", "was taken into account.", "Below the threshold, all else"):
        assert part in told
    assert office.person not in told
    told = office.journal("show")
    assert f"{office.desk.borough}: 1 rows, head " in told
    assert f"first asked and second agreed: {office.category} of " in told
    assert WHY in told


def test_one_operator_is_refused_at_each_step(office):
    office.ask()
    assert office.show(exit_code=5).startswith("explanation.one_operator:")
    assert office.agree(key="first", exit_code=5).startswith("explanation.one_operator:")
    office.agree()
    office.show()
    assert office.show(exit_code=5).startswith("explanation.replayed:")


def test_key_under_another_operators_name_is_refused(office):
    assert office.ask(operator="second", exit_code=4).startswith("operator.unknown:")
    assert not office.request.exists()


def test_journal_is_verified_against_a_noted_head(office):
    office.ask()
    office.agree()
    office.show()
    head = json.loads(office.journal("verify", "--json"))["head"]
    assert json.loads(office.journal("verify", "--head", head, "--json"))["rows_at_noted_head"] == 1
    told = office.journal("verify", "--head", head)
    assert "its chain is whole" in told
    assert "its first 1 rows" in told
    assert "rows are gone" in office.journal("verify", "--head", "0" * 64, exit_code=7)


def test_journal_that_was_never_written_is_not_made_by_looking(office):
    assert "not there" in office.journal("show", exit_code=7)
    assert not office.desk.journal_path().exists()


def test_dry_runs_write_nothing(office):
    office.ask("--dry-run")
    assert not office.request.exists()
    office.ask()
    before = office.request.read_bytes()
    assert WHY in office.agree("--dry-run")
    assert office.request.read_bytes() == before


def test_request_and_keys_are_readable_by_their_owner_alone(office):
    office.ask()
    office.agree()
    for path in (office.request, office.key("first"), office.key("second")):
        assert path.stat().st_mode & 0o077 == 0
    assert len(Envelope.decode(office.request.read_bytes()).signatures) == 2


def test_nothing_is_overwritten(office):
    office.ask()
    assert "File exists" in office.ask(exit_code=3)
    assert "File exists" in run("operator", "new", "first", office.key("first"), exit_code=3)


@pytest.mark.parametrize(("field", "value"), [("reason", "short"), ("policy", "none"), ("category", "no such")])
def test_wrong_field_is_named_and_its_value_is_not_repeated(office, field, value):
    told = office.ask(exit_code=3, **{field: value})
    assert f"field {field}" in told


def test_asked_person_is_the_one_in_the_request(office):
    person = office.desk.person(3)
    office.ask(person=person)
    assert Envelope.decode(office.request.read_bytes()).document(ExplanationRequest).person == person
