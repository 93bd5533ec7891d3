"""Processes that are killed for real, at moments drawn from a seed, while a plan runs."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from borough_node.ledger import Ledger
from coordinator.settings import CoordinatorSettings
from oversight.audit.verify import verify_directory
from protocol.clock import SystemClock
from tests.integration.local import Loopback, choices

STEPS = 4
RELEASES = STEPS + 4
PATIENCE_SECONDS = 200.0
# Each party's own command line: the whole one would import torch and Flower into every witness.
COMMANDS = {
    "coordinator": "coordinator.cli.app",
    "unmasker": "oversight.cli.unmasker_app",
    "witness": "oversight.cli.witness_app",
    "borough": "borough_node.cli.app",
}
PROGRAM = """
import importlib, sys, typer
module, _, name = sys.argv.pop(1).rpartition(".")
app = typer.Typer()
app.add_typer(getattr(importlib.import_module(module), name), name="party")
app()
"""
VICTIMS = ("borough-01", "unmasker", "witness-1", "coordinator", "borough-03", "witness-2", "unmasker", "coordinator")


class Processes:
    """Every party as a process of its own; one that ends is started again, as an init system would."""

    def __init__(self, made: Loopback) -> None:
        self._made = made
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._coordinator = CoordinatorSettings.load(made.layout.settings("coordinator")).coordinator
        for name in ("witness-1", "witness-2", "witness-3", "unmasker", "coordinator"):
            self._start(name)

    def _start(self, party: str) -> None:
        command = COMMANDS[party.split("-")[0]]
        with (self._made.layout.folder(party) / "process.log").open("ab") as log:
            self._running[party] = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, command, "party", "run", str(self._made.layout.settings(party))],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def tend(self) -> None:
        """Start again whoever ended; a borough once the coordinator listens, because without it a node ends at once."""
        for party in ("witness-1", "witness-2", "witness-3", "unmasker", "coordinator", *self._made.boroughs):
            process = self._running.get(party)
            is_running = process is not None and process.poll() is None
            if not is_running and (not party.startswith("borough") or self._coordinator_listens()):
                self._start(party)

    def _coordinator_listens(self) -> bool:
        host, _, port = self._coordinator.rpartition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def is_running(self, party: str) -> bool:
        """Whether a party is alive now."""
        return party in self._running and self._running[party].poll() is None

    def kill(self, party: str) -> None:
        """Kill a party, as a power cut would."""
        process = self._running[party]
        assert process.poll() is None, f"{party} was not running"
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    def stop(self) -> None:
        """End everything that was started here."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait(30)


def logged(made: Loopback, kind: str) -> int:
    """How many leaves of a kind stand in the published files."""
    leaves = (made.layout.log / "leaf").glob("*.json")
    return sum(f'\\"kind\\":\\"{kind}\\"'.encode() in leaf.read_bytes() for leaf in leaves)


def wait_until(processes: Processes, reached, what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, f"{what}: not reached"
        processes.tend()
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_plan_survives_the_death_of_every_kind_of_process(tmp_path):
    made = Loopback.create(tmp_path, boroughs=4, people=240, slot_seconds=0.2)
    with made.federation() as running:
        plan = made.approve(running, choices(slot_seconds=1.0, deadline_seconds=120.0, steps=STEPS))
    draw = random.Random(20310304)  # noqa: S311 - moments of a test, not secrets
    killed_during_the_plan = []
    processes = Processes(made)
    try:
        wait_until(processes, lambda: logged(made, "release") >= 1, "first release")
        for victim in VICTIMS:
            time.sleep(draw.uniform(0.05, 1.2))
            wait_until(processes, lambda name=victim: processes.is_running(name), victim)
            if not logged(made, "closure"):
                processes.kill(victim)
                killed_during_the_plan.append(victim)
            processes.tend()
        wait_until(processes, lambda: logged(made, "closure") == 1, "closure")
    finally:
        processes.stop()

    assert set(VICTIMS) <= set(killed_during_the_plan)
    report = verify_directory(made.layout.log, genesis=made.layout.genesis, on=SystemClock().now().date())
    assert [(one.plan, one.complete, one.closed) for one in report.plans] == [(plan, True, True)]
    assert (report.leaves_by_kind["receipt"], report.leaves_by_kind["release"]) == (RELEASES, RELEASES)
    for borough in made.boroughs:
        ledger = Ledger(made.layout.folder(borough) / "state" / "ledger.sqlite")
        charged = [entry.content["index"] for entry in ledger.entries() if entry.content["kind"] == "release"]
        ledger.close()
        assert charged == list(range(RELEASES))
