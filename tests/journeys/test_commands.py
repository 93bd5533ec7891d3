"""The whole path by commands alone: every server a process, every decision a command, as its users would type it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deploy.demo.scenario import SAMPLES
from deploy.force.generate import generate
from deploy.force.population import CUTOFFS
from deploy.local import WITNESSES

PEOPLE, BOROUGHS = 240, 3
PATIENCE_SECONDS = 150
BY = "Superintendent B. Example"
REASONS = "Checked against the policy: necessary and proportionate (test)."


class Force:
    """A federation of processes under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root / "force"
        self.servers: list[subprocess.Popen[bytes]] = []
        self.log = (root / "servers.log").open("wb")

    def settings(self, party: str) -> str:
        return str(self.root / "parties" / party / "settings.toml")

    def run(self, *arguments: str) -> str:
        """Run a command and return what it answered."""
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout.strip()

    def serve(self, role: str, party: str) -> None:
        """Start a server in the background."""
        command = [sys.executable, "-m", "deploy.cli", role, "run", self.settings(party)]
        self.servers.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))

    def until(self, *arguments: str, found: str) -> str:
        """Repeat a command until its answer holds ``found``; servers take their time to start and to work."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            done = subprocess.run(
                [sys.executable, "-m", "deploy.cli", *arguments],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            if done.returncode == 0 and found in done.stdout:
                return done.stdout.strip()
            time.sleep(0.5)
        raise AssertionError(f"{arguments} never answered {found!r}; last: {done.stdout}{done.stderr}")

    def stop(self) -> None:
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait(timeout=60)
        self.log.close()


@pytest.fixture
def force(tmp_path: Path) -> Iterator[Force]:
    force = Force(tmp_path)
    yield force
    force.stop()


@pytest.mark.slow
def test_the_whole_path_runs_by_commands_alone(force: Force, tmp_path: Path) -> None:
    table, choices, people = tmp_path / "force.parquet", tmp_path / "plan.toml", tmp_path / "establishment.csv"
    made = generate(people=PEOPLE, boroughs=BOROUGHS, seed=5).table
    pq.write_table(made, table)
    # A large epsilon, so that 240 people can carry a threshold; and quick slots.
    choices.write_text(
        (SAMPLES / "synthetic.plan.toml").read_text()
        .replace("epsilon = 1.0", "epsilon = 6.0")
        .replace("reply_slot_seconds = 1.0", "reply_slot_seconds = 0.2")
        .replace("roster_manipulation = 0.013", "roster_manipulation = 0.2")
    )  # fmt: skip
    on_duty = (
        made.filter(pq.read_table(table)["cutoff"].to_numpy() == CUTOFFS[0])
        .group_by("borough")
        .aggregate([([], "count_all")])
    )
    rows = sorted((row["borough"], row["count_all"]) for row in on_duty.to_pylist())
    people.write_text("borough,people\n" + "".join(f"{borough},{count}\n" for borough, count in rows))

    answer = force.run(
        "federation", "create", str(force.root), "--table", str(table), "--catalogue",
        str(SAMPLES / "synthetic.catalogue.toml"), "--purpose", "misconduct_detection", "--budget-rho", "10",
        "--reply-slot-seconds", "0.2",
    )  # fmt: skip
    genesis = answer.split()[-1]
    assert "Usable" in force.run("node", "check", force.settings(rows[0][0]))

    for number in range(1, WITNESSES + 1):
        force.serve("witness", f"witness-{number}")
    force.serve("unmasker", "unmasker")
    time.sleep(3)
    force.serve("coordinator", "coordinator")
    force.until("coordinator", "status", force.settings("coordinator"), found="The log holds 1 leaves")
    for borough, _ in rows:
        force.serve("node", borough)

    plan = force.until(
        "coordinator", "propose-plan", force.settings("coordinator"), "--catalogue", str(force.root / "catalogue.json"),
        "--choices", str(choices), "--establishment", str(people), "--train-from", str(CUTOFFS[0]),
        "--train-until", str(CUTOFFS[0]), "--evaluate-at", str(CUTOFFS[1]), found="",
    )  # fmt: skip
    force.until(
        "custodian", "proposals", force.settings("custodian-1"), found=f"plan {plan}: recomputed here and found to hold"
    )
    for number in (1, 2):
        force.run("custodian", "endorse", force.settings(f"custodian-{number}"), plan)
    force.until(
        "coordinator", "status", force.settings("coordinator"), found=f"{plan}: 6 of 6 releases published, closed"
    )
    for borough, _ in rows:
        shown = json.loads(force.run("node", "ledger", "show", force.settings(borough), "--json"))
        assert [row["index"] for row in shown["rows"]] == [0, 1, 2, 3, 4, 5]
        verified = force.run("node", "ledger", "verify", force.settings(borough), "--log", str(force.root / "log"))
        assert "its chain is whole" in verified
        assert "shows 6 statements and 0 flags of this borough" in verified

    policy = force.run(
        "coordinator", "propose-policy", force.settings("coordinator"), "--plan", plan, "--choices", str(choices)
    )
    for number in (2, 3):
        force.run("custodian", "endorse", force.settings(f"custodian-{number}"), policy)
    flags = json.loads(
        force.until(
            "issuer",
            "flags",
            force.settings("issuer"),
            "--by",
            "Superintendent B. Example",
            "--reason",
            REASONS,
            "--json",
            found="flag_id",
        )
    )
    flag = flags[0]["flag_id"]
    force.run(
        "coordinator", "triage", force.settings("coordinator"), flag, "--by", "Analyst A. Example", "--decision", "pursue",
        "--reasons", REASONS,
    )  # fmt: skip

    key = tmp_path / "recipient.key"
    key.write_text(force.run("investigator", "key", force.settings("investigator")))
    warrant = force.run(
        "issuer", "issue", force.settings("issuer"), "--by", BY, "--flag", flag, "--investigator", "investigator",
        "--recipient-key", str(key), "--purpose", REASONS, "--regime", "DPA 2018 Part 3", "--legal-basis", REASONS,
        "--necessity", REASONS, "--proportionality", REASONS, "--days", "7", "--disclosure-days", "0",
    )  # fmt: skip
    assert warrant in force.run("custodian", "warrants", force.settings("custodian-3"))
    for number in (1, 3):
        force.run(
            "custodian", "decide", force.settings(f"custodian-{number}"), "--warrant", warrant, "--flag", flag,
            "--decision", "approve", "--reasons", REASONS,
        )  # fmt: skip
    name = force.run("investigator", "open", force.settings("investigator"), warrant, flag)
    assert (
        name in made.filter(made["borough"].to_numpy(zero_copy_only=False) == flags[0]["borough"])["person"].to_pylist()
    )

    rest_of_the_case(force, tmp_path, genesis, flags[0], warrant, name)

    audit = json.loads(force.run("audit", "verify", str(force.root / "log"), "--genesis", genesis, "--json"))
    assert audit["spending"] == json.loads(force.run("coordinator", "budget", force.settings("coordinator"), "--json"))
    assert audit["openings"] == 1
    assert audit["leaves_by_kind"]["flag"] == len(flags)
    assert name not in (tmp_path / "servers.log").read_text()


def rest_of_the_case(force: Force, tmp_path: Path, genesis: str, flag: dict[str, str], warrant: str, name: str) -> None:
    """From the opening to the erasure: every step by the one whose step it is."""
    issuer, investigator, coordinator = (force.settings(one) for one in ("issuer", "investigator", "coordinator"))
    borough = force.settings(flag["borough"])
    case = ("--warrant", warrant, "--flag", flag["flag_id"])
    law = ("--regime", "DPA 2018 Part 3", "--legal-basis", REASONS)
    reviewed = (
        "investigator", "case", "review", investigator, *case, *law, "--reviewer", "Inspector C. Example", "--material",
        "Duty records of the half-year (test).", "--finding", "no_case", "--override", "--reasons", REASONS,
    )  # fmt: skip
    told, said = tmp_path / "told.txt", tmp_path / "said.txt"
    told.write_text("A flag about you was raised and opened; these are the reasons and your rights (test).")
    said.write_text("It was a week of mutual aid (test).")

    force.run(*reviewed)
    notice = force.run(
        "issuer", "case", "notice", issuer, *case, *law, "--by", BY, "--borough", flag["borough"], "--text", str(told),
        "--representations-days", "14",
    )  # fmt: skip
    assert notice in force.run("node", "notice", "list", borough)
    assert force.run("node", "notice", "person", borough, notice) == name
    served = ("--by", "Sergeant D. Example")
    force.run("node", "notice", "told", borough, notice, *served, "--manner", "In person, with a colleague (test).")
    force.run("node", "notice", "heard", borough, notice, *served, "--text", str(said))
    force.run(*reviewed)
    soon = datetime.now(UTC) + timedelta(seconds=10)
    instants = ("--contest-until", f"{soon:%Y-%m-%dT%H:%M:%S}", "--retain-until", f"{soon:%Y-%m-%dT%H:%M:%S}")
    force.run(
        "issuer", "case", "outcome", issuer, *case, *law, "--by", BY, "--finding", "no_case", "--reasons", REASONS,
        *instants,
    )  # fmt: skip
    force.run("issuer", "withdraw", issuer, warrant, "--reason", REASONS)
    kinds = [one["kind"] for one in json.loads(force.run("investigator", "case", "list", investigator, "--json"))]
    assert kinds[-8:] == [
        "opening", "review", "notice", "notification", "representation", "review", "outcome", "withdrawal",
    ]  # fmt: skip

    files = [tmp_path / "before.json", tmp_path / "after.json"]
    force.run("auditor", "fetch", force.settings("auditor"), "--out", str(files[0]))
    erase = ("coordinator", "retention", coordinator, "--legal-basis", REASONS, "--json")
    force.until(*erase, "--dry-run", found='"flags": 1')
    assert json.loads(force.run(*erase))["flags"] == 1
    force.run("auditor", "fetch", force.settings("auditor"), "--out", str(files[1]))
    checked = ("audit", "verify", str(force.root / "log"), "--genesis", genesis, "--json", "--disclosed")
    after = json.loads(force.run(*checked, str(files[1])))["disclosed"]
    assert (after["openings"], after["openings_checked"], after["openings_erased"]) == (1, 0, 1)
    both = json.loads(force.run(*checked, str(files[0]), "--disclosed", str(files[1])))["disclosed"]
    assert (both["openings_checked"], both["openings_erased"]) == (1, 0)


def test_a_federation_is_not_made_over_an_existing_folder(tmp_path: Path) -> None:
    table = tmp_path / "force.parquet"
    pq.write_table(generate(people=60, boroughs=2, seed=1).table, table)
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "federation", "create", str(tmp_path), "--table", str(table), "--catalogue",
         str(SAMPLES / "synthetic.catalogue.toml"), "--purpose", "p", "--budget-rho", "1", "--reply-slot-seconds", "1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "exists already" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["force.parquet"]
