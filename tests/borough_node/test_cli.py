"""What a borough operator types about the ledger, and what is answered."""

import json
import math
import shutil
import sqlite3
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from borough_node.cli import app
from borough_node.ledger import Ledger
from protocol.aggregation.planning import plan_rho
from tests.borough_node.ledger.rows import PLAN, charge, flag, rows_of, tamper, text
from tests.world import NOW, PURPOSE

BOROUGH = "borough-1"
SETTINGS = """
id = "{borough}"
state = "."
roster = "roster.json"
genesis = "{genesis}"
signing_key = "file:absent"
tls_ca = "absent"
tls_certificate = "absent"
tls_key = "absent"
coordinator = "absent:1"
table = "absent"
catalogue = "absent"
reply_slot_seconds = 1.0
"""


def settings_of(world, borough=BOROUGH):
    """Write a borough's settings and roster beside its ledger; no key is needed to look at it."""
    folder = world.root / borough
    folder.mkdir(exist_ok=True)
    (folder / "roster.json").write_bytes(world.signed(world.roster, *world.custodian_ids).encode())
    path = folder / "settings.toml"
    path.write_text(SETTINGS.format(borough=borough, genesis=world.roster.digest()))
    return str(path)


def run(*arguments, exit_code=0):
    """Return what a command wrote on stdout and stderr."""
    done = CliRunner().invoke(app, ["ledger", *map(str, arguments)])
    assert done.exit_code == exit_code, done.output
    return done.stdout + done.stderr


def answered(*arguments):
    return json.loads(run(*arguments, "--json"))


# --- show -------------------------------------------------------------------------------------------------------


def test_show_tells_what_was_charged_what_remains_and_when_it_returns(world, finished):
    shown = answered("show", settings_of(world), "--delta", "1e-6")
    ledger = world.ledger(BOROUGH)
    assert (shown["length"], shown["head"]) == ledger.head()
    assert [(row["number"], row["hash"], row["index"]) for row in shown["rows"]] == [
        (entry.number, entry.hash, entry.content["index"]) for entry in ledger.entries()
    ]
    (one,) = shown["purposes"]
    rho = plan_rho(world.record(finished).plan)
    assert (one["purpose"], one["budget_rho"]) == (PURPOSE, 50.0)
    assert one["spent_rho"] == pytest.approx(rho, rel=1e-9)
    assert one["spent_rho"] + one["remaining_rho"] == pytest.approx(50.0)
    assert one["next_return"] == {
        "at": text(NOW + timedelta(days=365)),
        "rho": pytest.approx(rho, rel=1e-9),
    }
    assert one["person"]["mu"] == pytest.approx(math.sqrt(2 * rho), rel=1e-9)
    # One plan: what it states itself.
    assert one["person"]["epsilon"] == pytest.approx(world.record(finished).plan.privacy.epsilon, rel=1e-6)
    ledger.close()


def test_show_states_no_epsilon_without_a_delta(world, finished):
    settings = settings_of(world)
    assert answered("show", settings)["purposes"][0]["person"]["epsilon"] is None
    assert "epsilon 6.0000 at delta 1e-06" in run("show", settings, "--delta", "1e-6")
    assert "epsilon" not in run("show", settings)
    assert "delta" in run("show", settings, "--delta", "1.5", exit_code=3)


def test_show_is_readable_and_counts_flags_apart(flagged):
    world = flagged.world
    own = sum(header.borough == BOROUGH for header in flagged.headers)
    lines = run("show", settings_of(world)).splitlines()
    assert lines[0].startswith(f"{BOROUGH}: 5 rows, head ")
    assert [line.split()[0] for line in lines[1:6]] == ["1", "2", "3", "4", "5"]
    assert f"release 0 of plan {flagged.plan[:12]}, {PURPOSE}" in lines[1]
    assert lines[5].endswith(f"{own} flags under policy {flagged.policy[:12]}")
    assert any(line.strip().startswith(f"{PURPOSE}: rho ") and "of 50.000000 is spent" in line for line in lines)
    assert any(f"plan {flagged.plan[:12]}: rho " in line and "in 4 releases" in line for line in lines)
    assert lines[-1] == f"{own} flags were raised under policy {flagged.policy[:12]}; flags are outside epsilon"


def test_show_of_one_purpose_leaves_the_others_out(world):
    ledger = world.ledger(BOROUGH)
    charge(ledger, purpose=PURPOSE)
    charge(ledger, index=1, purpose="another", rho=0.25)
    ledger.store_flags(PLAN, [flag("1" * 32)], at=text(NOW))
    ledger.close()
    settings = settings_of(world)
    shown = answered("show", settings, "--purpose", "another")
    assert [one["purpose"] for one in shown["purposes"]] == ["another"]
    assert [row["number"] for row in shown["rows"]] == [2]
    assert (shown["length"], shown["person"]["mu"]) == (3, pytest.approx(math.sqrt(0.5)))
    everything = run("show", settings)
    assert "a person in all plans of all purposes: mu 1.224745 (rho 0.750000)" in everything
    assert "-0.250000 remains" in everything
    assert "no budget" in run("show", settings, "--purpose", "unheard", exit_code=3)


def test_show_of_an_empty_ledger_shows_the_whole_budget(world):
    world.ledger(BOROUGH).close()
    shown = answered("show", settings_of(world))
    assert (shown["length"], shown["rows"], shown["purposes"][0]["remaining_rho"]) == (0, [], 50.0)
    assert "borough-1: 0 rows" in run("show", settings_of(world))


@pytest.mark.parametrize("command", ["show", "verify"])
def test_looking_at_a_ledger_that_is_not_there_makes_none(world, command):
    settings = settings_of(world)
    assert "not there" in run(command, settings, exit_code=7)
    assert not world.ledger_path(BOROUGH).exists()


def test_roster_that_is_not_the_configured_one_is_refused(world):
    world.ledger(BOROUGH).close()
    settings = settings_of(world)
    other = world.roster.model_copy(update={"epoch": 2})
    (world.root / BOROUGH / "roster.json").write_bytes(world.signed(other, *world.custodian_ids).encode())
    assert "genesis" in run("show", settings, exit_code=3)


# --- verify -----------------------------------------------------------------------------------------------------


def test_verify_says_that_a_ledger_is_whole(world, finished):
    shown = answered("verify", settings_of(world))
    ledger = world.ledger(BOROUGH)
    assert (shown["length"], shown["head"]) == ledger.head()
    assert (shown["answers"], shown["log"]) == (4, None)
    assert "its chain is whole" in run("verify", settings_of(world))
    ledger.close()


def test_verify_names_the_first_row_that_breaks(world, finished):
    path = world.ledger_path(BOROUGH)
    number, content, _ = rows_of(path)[2]
    tamper(
        path, ("UPDATE entries SET content = ? WHERE number = ?", content.replace(b'"index":2', b'"index":7'), number)
    )
    assert "ledger row 3 does not continue the chain" in run("verify", settings_of(world), exit_code=7)
    assert "ledger row 3" in run("show", settings_of(world), exit_code=7)


def test_verify_reads_a_copy_and_changes_nothing_of_it(world, finished, tmp_path):
    settings = settings_of(world)
    world.gate(BOROUGH)._ledger.close()
    ledger = world.ledger(BOROUGH)
    head = ledger.head()[1]
    ledger.close()
    copy = tmp_path / "copy" / "monday.sqlite"
    copy.parent.mkdir()
    shutil.copy(world.ledger_path(BOROUGH), copy)
    copy.chmod(0o400)
    before = copy.read_bytes()
    world.ledger_path(BOROUGH).unlink()
    assert answered("verify", settings, "--file", copy)["head"] == head
    assert answered("show", settings, "--file", copy)["head"] == head
    assert copy.read_bytes() == before
    assert [found.name for found in copy.parent.iterdir()] == ["monday.sqlite"]


def test_verify_of_a_running_nodes_ledger_sees_its_last_row(world, plan):
    settings = settings_of(world)
    request, seed = world.begun(plan)
    world.gate(BOROUGH).release(request, seed)
    assert answered("verify", settings)["length"] == 1
    world.gate(BOROUGH).release(request, seed)
    assert answered("verify", settings)["length"] == 1


def test_verify_with_the_log_compares_both(flagged):
    world = flagged.world
    settings, log = settings_of(world), world.root / "log"
    shown = answered("verify", settings, "--log", log)["log"]
    own = sum(header.borough == BOROUGH for header in flagged.headers)
    assert (shown["statements"], shown["flags"], shown["flags_not_logged"]) == (4, own, 0)
    (one,) = shown["purposes"]
    assert one["charged_rho"] == one["logged_rho"] == pytest.approx(one["approved_rho"], rel=1e-9)
    told = run("verify", settings, "--log", log)
    assert f"shows 4 statements and {own} flags of this borough" in told
    assert "not in the log" not in told


def test_verify_with_the_log_names_what_the_log_does_not_show(world, plan):
    settings = settings_of(world)
    request, seed = world.begun(plan)
    world.gate(BOROUGH).release(request, seed)
    assert "not in the log: 1 charges" in run("verify", settings, "--log", world.root / "log")


def test_verify_with_the_log_finds_a_ledger_that_was_cut_back(world, finished):
    """What verify alone calls whole: the chain has no end of its own."""
    settings, path = settings_of(world), world.ledger_path(BOROUGH)
    tamper(path, ('DELETE FROM answers WHERE "index" = 3',), ("DELETE FROM entries WHERE number = 4",))
    assert "holds 3 rows and its chain is whole" in run("verify", settings)
    told = run("verify", settings, "--log", world.root / "log", exit_code=5)
    assert "state.behind_log" in told
    assert "index 3" in told


def test_verify_with_a_log_that_does_not_hold_fails(world, finished):
    settings = settings_of(world)
    assert "checkpoint" in run("verify", settings, "--log", world.root / "absent", exit_code=3)
    leaf = world.root / "log" / "leaf" / "000002.json"
    leaf.write_bytes(leaf.read_bytes().replace(b"kind", b"kine"))
    run("verify", settings, "--log", world.root / "log", exit_code=4)


def test_backup_of_a_ledger_in_use_is_whole(world, finished, tmp_path):
    """As the operator's guide has it: SQLite's own backup, one file, without a write-ahead log."""
    with sqlite3.connect(world.ledger_path(BOROUGH)) as source, sqlite3.connect(tmp_path / "copy.sqlite") as target:
        source.backup(target)
    source.close()
    target.close()
    copy = Ledger(tmp_path / "copy.sqlite", read_only=True)
    assert copy.head() == world.gate(BOROUGH)._ledger.head()
    assert copy.verify_statements() == 4
    copy.close()
