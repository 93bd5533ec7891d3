"""A key ceremony and the servers of its parties, each in its own folder, by commands; the test is the force's PKI."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from borough_node.app import Node
from borough_node.settings import NodeSettings
from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import split_table
from coordinator.app import Coordinator
from coordinator.settings import CoordinatorSettings
from coordinator.worker import RunningCoordinator
from deploy.certificates import ForceCA
from deploy.cli import app
from deploy.demo.scenario import SAMPLES
from deploy.force.generate import generate
from deploy.local import free_ports
from oversight.app import UnmaskerProcess, WitnessProcess
from oversight.settings import UnmaskerSettings, WitnessSettings
from protocol.clock import SystemClock
from protocol.keys import keyfile

FORCE = "exampleshire"
PASSPHRASE = "a made-up passphrase of one party"
CATALOGUE = SAMPLES / "synthetic.catalogue.toml"
CUSTODIANS = ("custodian-1", "custodian-2", "custodian-3")
PATIENCE_SECONDS = 30.0
COMMANDS = {"coordinator": "coordinator", "unmasker": "unmasker", "witness-1": "witness", "issuer": "issuer"}
COMMANDS |= dict.fromkeys(CUSTODIANS, "custodian") | {"borough-01": "node", "borough-02": "node"}
TERMS = SAMPLES / "example.roster.toml"


def eventually(reached: Callable[[], bool], what: str) -> None:
    """Return once something holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@contextmanager
def cheap_passphrases() -> Iterator[None]:
    """Key files that are made inside cost little to open; they say so themselves."""
    with pytest.MonkeyPatch.context() as patch:
        # 128 MiB and half a second for each file that is opened, else.
        patch.setattr(keyfile, "SCRYPT_COST_BITS", 10)
        yield


@dataclass
class Ceremony:
    """The parties' folders under one root, and what runs of them."""

    root: Path
    ca: ForceCA
    genesis: str = ""
    servers: dict[str, Any] = field(default_factory=dict)
    said: list[tuple[str, str, str]] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    @classmethod
    def create(cls, root: Path) -> Ceremony:
        """Return a force without keys."""
        root.mkdir(parents=True)
        made = cls(root, ForceCA(FORCE, now=SystemClock().now()))
        table = generate(people=60, boroughs=2, seed=1).table
        pq.write_table(table, root / "force.parquet")
        split_table(root / "force.parquet", load_catalogue(CATALOGUE)[0], root / "tables")
        made.ports = dict(zip(("coordinator", "unmasker", "witness-1"), free_ports(3), strict=True))
        shutil.copy(TERMS, root / "terms.toml")
        return made

    # --- commands ---------------------------------------------------------------------------------------------------

    def run(self, *arguments: object) -> Result:
        """Run a command."""
        return CliRunner().invoke(app, [str(one) for one in arguments])

    def do(self, *arguments: object) -> str:
        """Run a command that succeeds; return what it answered."""
        done = self.run(*arguments)
        assert done.exit_code == 0, f"{arguments}: {done.output}"
        return done.stdout.strip()

    def refused(self, code: str, exit_code: int, *arguments: object) -> None:
        """Run a command that is refused with an error code."""
        done = self.run(*arguments)
        assert (done.exit_code, done.stderr.split(":")[0]) == (exit_code, code), done.output

    def folder(self, party: str) -> Path:
        return self.root / "parties" / party

    def settings(self, party: str) -> Path:
        return self.folder(party) / "settings.toml"

    def enrolment(self, party: str) -> Path:
        return self.folder(party) / "enrolment.json"

    # --- keys -------------------------------------------------------------------------------------------------------

    def make_keys(self, party: str, *, folder: str | None = None) -> None:
        """Have a party make its keys, and its certificate issued."""
        where = self.folder(folder or party)
        where.mkdir(parents=True)
        role = COMMANDS[party]
        how: list[str] = ["--unprotected"]
        if party == "custodian-1":
            read, write = os.pipe()
            os.write(write, PASSPHRASE.encode() + b"\n")
            os.close(write)
            how = ["--passphrase-fd", str(read)]
        elif role in ("custodian", "issuer"):
            (where / "passphrase").write_text(PASSPHRASE)
            how = ["--passphrase-file", str(where / "passphrase")]
        self.do(role, "key", "new", where, "--force", FORCE, "--id", party, *how)
        (where / "tls.pem").write_bytes(self.ca.certify((where / "tls.csr").read_bytes()))
        (where / "ca.pem").write_bytes(self.ca.certificate)

    def write_settings(self, party: str, *, folder: str | None = None) -> None:
        """Write a party's settings, with the genesis that was read out."""
        where, ports = self.folder(folder or party), self.ports
        common = {
            "id": party,
            "state": "state",
            "roster": "roster.json",
            "genesis": self.genesis,
            "signing_key": "file:signing.key",
            "tls_ca": "ca.pem",
            "tls_certificate": "tls.pem",
            "tls_key": "tls.key",
            "coordinator": f"127.0.0.1:{ports['coordinator']}",
        }
        own: dict[str, Any] = {}
        match COMMANDS[party]:
            case "custodian" | "issuer":
                if party == "custodian-1":
                    (where / "passphrase").write_text(PASSPHRASE)
                own = {"passphrase_file": "passphrase"}
                if COMMANDS[party] == "custodian":
                    own["envelope_keys"] = "file:envelope"
            case "unmasker" | "witness":
                own = {"listen": f"127.0.0.1:{ports[party]}"}
            case "node":
                own = {
                    "table": str(self.root / "tables" / f"{party}.parquet"),
                    "catalogue": str(CATALOGUE),
                    "reply_slot_seconds": 0.1,
                }
            case "coordinator":
                own = {"log_directory": "log", "unmasker": f"127.0.0.1:{ports['unmasker']}", "server_threads": 32}
        lines = [f"{name} = {json.dumps(value)}" for name, value in (common | own).items()]
        if party == "coordinator":
            lines += ["", "[witnesses]", f'witness-1 = "127.0.0.1:{ports["witness-1"]}"']
        (where / "settings.toml").write_text("\n".join(lines) + "\n")

    def copied(self, root: Path) -> Ceremony:
        """Return the same force in another place; nothing of it may run."""
        shutil.copytree(self.root, root)
        return replace(self, root=root, servers={}, said=[])

    def begin(self) -> None:
        """Perform the first ceremony: keys, draft, signatures, settings."""
        for party in COMMANDS:
            self.make_keys(party)
        enrolments = [argument for party in COMMANDS for argument in ("--enrolment", self.enrolment(party))]
        draft = self.root / "roster-1.json"
        answer = self.do("roster", "draft", "--terms", self.root / "terms.toml", *enrolments, "--out", draft)
        self.genesis = answer.removeprefix("genesis ")
        for party in COMMANDS:
            self.write_settings(party)
        for custodian in CUSTODIANS[:2]:
            self.sign(1, custodian)
        for party in COMMANDS:
            shutil.copy(draft, self.folder(party) / "roster.json")

    def draft(self, version: int) -> Path:
        return self.root / f"roster-{version}.json"

    def sign(self, version: int, *custodians: str) -> None:
        """Have custodians sign a draft, each its own copy of the settings."""
        digest = json.loads(self.do("roster", "show", self.draft(version), *self.earlier(version), "--json"))["digest"]
        for custodian in custodians:
            self.do("roster", "sign", self.draft(version), self.settings(custodian), "--digest", digest)

    def earlier(self, version: int) -> list[object]:
        """Return the options that name the versions before one."""
        return [option for before in range(1, version) for option in ("--earlier", self.draft(before))]

    def publish(self, version: int, *, witnessed: bool = True) -> None:
        """Publish a signed version and wait until the running coordinator has logged it, and a witness has seen it."""
        self.do("roster", "publish", self.settings("coordinator"), self.draft(version))
        eventually(lambda: self.logged >= version, f"roster {version} is logged")
        appender = self.servers["coordinator"]._coordinator.appender
        size = appender.history.tree.size
        eventually(lambda: not witnessed or appender.latest().checkpoint.size >= size, f"roster {version} is witnessed")

    @property
    def logged(self) -> int:
        """The version that the running coordinator has logged, and keeps for the commands beside it."""
        coordinator: Coordinator = self.servers["coordinator"]._coordinator
        return coordinator.party.roster.version

    # --- servers ----------------------------------------------------------------------------------------------------

    def reporter(self, party: str) -> Callable[[str, str], None]:
        return lambda code, detail: self.said.append((party, code, detail))

    def start(self, party: str) -> None:
        """Start a party's server from its settings."""
        clock, report, path = SystemClock(), self.reporter(party), self.settings(party)
        match COMMANDS[party]:
            case "witness":
                server: Any = WitnessProcess(WitnessSettings.load(path), clock=clock, report=report)
            case "unmasker":
                server = UnmaskerProcess(UnmaskerSettings.load(path), clock=clock, report=report)
            case "node":
                server = Node(NodeSettings.load(path), clock=clock, report=report)
            case _:
                settings = CoordinatorSettings.load(path)
                coordinator = Coordinator(settings, clock=clock, report=report, on_progress=lambda *_: None)
                server = RunningCoordinator(coordinator, report, poll_seconds=0.05)
        server.start()
        self.servers[party] = server

    def stop(self, party: str) -> None:
        """Stop a party's server."""
        self.servers.pop(party).stop(grace_seconds=0.5)

    def connected(self, borough: str) -> bool:
        """Return whether a borough has an open stream."""
        return borough in self.servers["coordinator"]._coordinator.federation.connected()

    def codes(self, party: str) -> list[str]:
        """Return the codes that a party has told its operator."""
        return [code for who, code, _ in self.said if who == party]

    def close(self) -> None:
        """Stop everything, boroughs first."""
        for party in sorted(self.servers, key=lambda name: not name.startswith("borough")):
            self.stop(party)
