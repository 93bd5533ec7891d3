"""What the coordinator's team types to propose a plan that builds on an earlier one."""

import json

import pytest
from typer.testing import CliRunner

from coordinator.app import Coordinator
from coordinator.cli import app
from protocol.documents.plan import TrainingPlan
from protocol.signing.dsse import Envelope
from tests.world import CATALOGUE, CHOICES, SCORING, TRAINING

SETTINGS = """
id = "coordinator"
state = "."
roster = "roster.json"
genesis = "{genesis}"
signing_key = "signing.key"
tls_ca = "absent"
tls_certificate = "absent"
tls_key = "absent"
coordinator = "127.0.0.1:1"
log_directory = "log"
unmasker = "127.0.0.1:1"
server_threads = 16
[witnesses]
witness-1 = "127.0.0.1:1"
"""


@pytest.fixture
def files(world, finished, monkeypatch):
    """The files that a proposal needs, beside the coordinator's database; the unmasker answers in this process."""
    root = world.root
    (root / "roster.json").write_bytes(world.signed(world.roster, *world.custodian_ids).encode())
    (root / "signing.key").write_text(world.keys["coordinator"].seed().hex())
    (root / "settings.toml").write_text(SETTINGS.format(genesis=world.roster.digest()))
    (root / "catalogue.json").write_bytes(CATALOGUE.encode())
    (root / "establishment.csv").write_text("borough,people\n" + "".join(f"{name},60\n" for name in world.borough_ids))
    monkeypatch.setattr(Coordinator, "new_plan_key", lambda self, plan_id: world.unmasker.new_plan_key(plan_id))
    monkeypatch.setattr("coordinator.cli.SystemClock", lambda: world.clock)
    return root


def propose(root, shares, *options, exit_code=0):
    """Propose a plan and return what was printed."""
    choices = root / "plan.toml"
    fields = json.loads(CHOICES.model_dump_json(exclude={"fairness"})) | {"shares": shares}
    choices.write_text(toml(fields))
    arguments = ["--catalogue", root / "catalogue.json", "--choices", choices]
    arguments += ["--establishment", root / "establishment.csv", "--train-from", TRAINING, "--train-until", TRAINING]
    command = ["propose-plan", root / "settings.toml", *arguments, "--evaluate-at", SCORING, *options]
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == exit_code, done.output
    return done.stdout if exit_code == 0 else done.stderr


def toml(fields):
    inline = {k: v for k, v in fields.items() if not isinstance(v, dict)}
    tables = {k: v for k, v in fields.items() if isinstance(v, dict)}
    lines = [f"{k} = {json.dumps(v)}" for k, v in inline.items()]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    return "\n".join(lines)


def shares(**changed):
    return dict(CHOICES.shares) | changed


def proposed(world, digest):
    found = {waiting: content for waiting, kind, content in world.proposals.waiting() if kind == "plan"}
    return Envelope.decode(found[digest.strip()]).document(TrainingPlan)


REUSE = shares(second_moment=0.0, gradients=0.7)
COUNT = shares(evaluation=0.2, outcomes=0.1)


def test_plan_names_the_earlier_second_moment(world, finished, files):
    plan = proposed(world, propose(files, REUSE, "--second-moment-of", finished))
    assert plan.second_moment_of == world.record(finished).releases[0].digest()
    assert [spec.function for spec in plan.releases] == ["gradient", "gradient", "evaluation"]
    world.log("plan", plan, *world.custodian_ids[:2])
    # A plan that used it again has none of its own: the first one's is meant.
    again = proposed(world, propose(files, REUSE, "--second-moment-of", plan.digest()))
    assert again.second_moment_of == plan.second_moment_of


def test_plan_counts_the_outcomes_of_a_policy(world, finished, files):
    policy = world.approve_policy(finished)
    plan = proposed(world, propose(files, COUNT, "--outcomes-of", policy))
    assert plan.outcomes_of == policy
    assert plan.releases[-1].function == "outcomes"


@pytest.mark.parametrize(
    ("chosen", "options", "named"),
    [
        (REUSE, ("--second-moment-of", "0" * 64), "plan.not_approved"),
        (COUNT, ("--outcomes-of", "0" * 64), "plan.not_approved"),
        (COUNT, (), "privacy.shares.outcomes"),
        (REUSE, (), "privacy.shares.second_moment"),
    ],
)
def test_proposal_that_names_what_the_log_does_not_hold_is_refused(files, chosen, options, named):
    code = 5 if options else 3
    assert named in propose(files, chosen, *options, exit_code=code)


def test_second_moment_of_a_plan_that_has_not_released_it_is_refused(world, files):
    assert "not published" in propose(files, REUSE, "--second-moment-of", world.approve(), exit_code=5)


def test_dry_run_proposes_nothing(world, finished, files):
    propose(files, REUSE, "--second-moment-of", finished, "--dry-run")
    assert world.proposals.waiting() == []
