"""A whole federation on one machine: keys, certificates, roster and settings for every party, and all of them running.

Each party has its own folder with its own keys, state and settings, and talks to the others over gRPC with mutual TLS
on loopback only, exactly as it would across a force; the same folders serve processes (``custodes node run``).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from borough_node.app import Node, system_noise
from borough_node.gate import Noise
from borough_node.settings import NodeSettings
from coordinator.app import Coordinator, Progress
from coordinator.registry.drafting import PlanChoices, draft_plan
from coordinator.settings import CoordinatorSettings
from coordinator.warrants.team import TeamDesk
from deploy.certificates import ForceCA
from oversight.app import (
    UnmaskerProcess,
    WitnessProcess,
    open_custodian,
    open_investigator,
    open_issuer,
)
from oversight.custody.desk import CustodianDesk
from oversight.issuing.issuer import IssuerDesk
from oversight.opening.investigator import InvestigatorDesk
from oversight.settings import (
    CustodianSettings,
    InvestigatorSettings,
    IssuerSettings,
    UnmaskerSettings,
    WitnessSettings,
)
from protocol.clock import Clock
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import TrainingPlan
from protocol.documents.roster import Budget, Party, Roster
from protocol.errors import PlanNotApproved
from protocol.ids import Digest, PartyId, Role, digest_of, random_id
from protocol.rpc.connection import Connection
from protocol.rpc.identity import Identity
from protocol.sealing.hpke import HPKEPrivateKey
from protocol.signing.dsse import sign
from protocol.signing.keys import SigningKey

CUSTODIANS, THRESHOLD, WITNESSES = 3, 2, 3
RETENTION_EPOCH = timedelta(days=365)
GRACE_SECONDS = 2.0
QUORUM_SECONDS = 60.0

Report = Callable[[str, str, str], None]
"""Called with (party, code, detail)."""


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a local federation keeps what."""

    root: Path
    genesis: Digest

    def folder(self, party: str) -> Path:
        """Return a party's folder."""
        return self.root / "parties" / party

    def settings(self, party: str) -> Path:
        """Return a party's settings file."""
        return self.folder(party) / "settings.toml"

    @property
    def log(self) -> Path:
        """The log's static files."""
        return self.root / "log"


def create(
    root: Path,
    *,
    force: str,
    tables: Mapping[str, Path],
    catalogue: Path,
    budgets: Iterable[Budget],
    reply_slot_seconds: float,
    clock: Clock,
) -> Layout:
    """Make keys, certificates, the signed roster and every party's settings under ``root``, which must be new.

    Args:
        tables: Each borough's table, or the TOML file that says where its tables of the personnel contract are.
    """
    now = clock.now()
    ca = ForceCA(force, now=now)
    parties: dict[str, Role] = {"coordinator": "coordinator", "unmasker": "unmasker"}
    parties |= {f"custodian-{n}": "custodian" for n in range(1, CUSTODIANS + 1)}
    parties |= {f"witness-{n}": "witness" for n in range(1, WITNESSES + 1)}
    parties |= {"issuer": "issuer", "investigator": "investigator", "auditor": "auditor"}
    parties |= dict.fromkeys(tables, "borough")
    keys = {name: SigningKey.generate() for name in parties}
    entries = []
    for name, role in parties.items():
        folder = root / "parties" / name
        folder.mkdir(parents=True)
        certificate, private, tls_key = ca.issue(Identity(force, role, name))
        envelope_key = HPKEPrivateKey.generate() if role == "custodian" else None
        (folder / "ca.pem").write_bytes(ca.certificate)
        (folder / "tls.pem").write_bytes(certificate)
        _write_secret(folder / "tls.key", private)
        _write_secret(folder / "signing.key", keys[name].seed().hex().encode())
        if envelope_key is not None:
            public = envelope_key.public_key().encode()
            (folder / "envelope").mkdir()
            _write_secret(folder / "envelope" / digest_of(public), envelope_key.encode().reveal().hex().encode())
        entries.append(
            Party(
                id=name,
                role=role,
                signing_key=keys[name].public,
                tls_key=tls_key,
                hpke_key=None if envelope_key is None else envelope_key.public_key().encode().hex(),
                conflicts=(),
            )
        )
    roster = Roster(
        force=force,
        version=1,
        previous=None,
        valid_from=now,
        epoch=1,
        epoch_until=now + RETENTION_EPOCH,
        approval_threshold=THRESHOLD,
        parties=tuple(entries),
        budgets=tuple(budgets),
    )
    signed = sign(roster, *(keys[name] for name, role in parties.items() if role == "custodian")).encode()
    layout = Layout(root, roster.digest())
    ports = dict(zip(["coordinator", "unmasker", *_witnesses(parties)], free_ports(2 + WITNESSES), strict=True))
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    for name, role in parties.items():
        (layout.folder(name) / "roster.json").write_bytes(signed)
        own = _role_settings(role, name, addresses, tables=tables, catalogue=catalogue, slot=reply_slot_seconds)
        _write_settings(layout.settings(name), _common(name, layout.genesis, addresses["coordinator"]) | own)
    return layout


def _witnesses(parties: Mapping[str, Role]) -> list[str]:
    return [name for name, role in parties.items() if role == "witness"]


def _common(name: str, genesis: Digest, coordinator: str) -> dict[str, Any]:
    return {
        "id": name,
        "state": "state",
        "roster": "roster.json",
        "genesis": genesis,
        "signing_key": "file:signing.key",
        "tls_ca": "ca.pem",
        "tls_certificate": "tls.pem",
        "tls_key": "tls.key",
        "coordinator": coordinator,
    }


def _role_settings(
    role: Role, name: str, addresses: Mapping[str, str], *, tables: Mapping[str, Path], catalogue: Path, slot: float
) -> dict[str, Any]:
    match role:
        case "borough":
            return {
                "personnel" if tables[name].suffix == ".toml" else "table": str(tables[name].resolve()),
                "catalogue": str(catalogue.resolve()),
                "reply_slot_seconds": slot,
            }
        case "coordinator":
            return {
                "log_directory": "../../log",
                "unmasker": addresses["unmasker"],
                "server_threads": len(tables) + 32,
                "witnesses": {other: address for other, address in addresses.items() if other.startswith("witness")},
            }
        case "unmasker" | "witness":
            return {"listen": addresses[name]}
        case "custodian":
            return {"envelope_keys": "file:envelope"}
        case _:
            return {}


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _write_settings(path: Path, fields: Mapping[str, Any]) -> None:
    plain = {name: value for name, value in fields.items() if not isinstance(value, dict)}
    # JSON strings and numbers are TOML ones too; tables go last, as TOML wants.
    lines = [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
    for name, table in fields.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n")


@dataclass
class LocalFederation:
    """Every party of a layout, in threads of this process."""

    layout: Layout
    clock: Clock
    report: Report
    on_progress: Progress
    nodes: dict[str, Node] = field(default_factory=dict)
    _stops: list[Callable[[], None]] = field(default_factory=list)
    _connections: dict[str, Connection] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Start witnesses, unmasker, coordinator and the desks; boroughs join with ``start_node``."""
        for name in (f"witness-{n}" for n in range(1, WITNESSES + 1)):
            witness = WitnessProcess(
                WitnessSettings.load(self.layout.settings(name)), clock=self.clock, report=self.reporter(name)
            )
            witness.start()
            self._stops.append(lambda one=witness: one.stop(grace_seconds=GRACE_SECONDS))
        self.start_unmasker()
        self.start_coordinator()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, nodes first."""
        for node in self.nodes.values():
            node.stop(grace_seconds=GRACE_SECONDS)
        for connection in self._connections.values():
            connection.close()
        for stop in reversed(self._stops):
            stop()

    def reporter(self, party: str) -> Callable[[str, str], None]:
        """Return a party's reporter."""
        return lambda code, detail: self.report(party, code, detail)

    def start_unmasker(self) -> None:
        """Start the unmasker."""
        settings = UnmaskerSettings.load(self.layout.settings("unmasker"))
        self.unmasker = UnmaskerProcess(settings, clock=self.clock, report=self.reporter("unmasker"))
        self.unmasker.start()
        self._stops.append(lambda: self.unmasker.stop(grace_seconds=GRACE_SECONDS))

    def start_coordinator(self) -> None:
        """Start the coordinator."""
        settings = CoordinatorSettings.load(self.layout.settings("coordinator"))
        self.coordinator = Coordinator(
            settings, clock=self.clock, report=self.reporter("coordinator"), on_progress=self.on_progress
        )
        self.coordinator.start()
        self._stops.append(lambda: self.coordinator.stop(grace_seconds=GRACE_SECONDS))

    def start_node(self, borough: str, *, noise: Noise = system_noise) -> Node:
        """Start one borough."""
        settings = NodeSettings.load(self.layout.settings(borough))
        node = Node(settings, clock=self.clock, report=self.reporter(borough), noise=noise)
        node.start()
        self.nodes[borough] = node
        return node

    def propose_plan(
        self,
        choices: PlanChoices,
        catalogue: FeatureCatalogue,
        *,
        establishment: Mapping[PartyId, int],
        train_from: int,
        train_until: int,
        evaluation_cutoff: int,
    ) -> TrainingPlan:
        """Log the catalogue, draft a plan with a key of its own, propose it, and return it; arguments as `draft_plan`."""
        coordinator, plan_id = self.coordinator, random_id()
        coordinator.log_catalogue(catalogue)
        plan = draft_plan(
            choices,
            plan_id=plan_id,
            roster=coordinator.roster(),
            catalogue=catalogue,
            establishment=establishment,
            train_from=train_from,
            train_until=train_until,
            evaluation_cutoff=evaluation_cutoff,
            unmasker_key=coordinator.new_plan_key(plan_id),
            now=self.clock.now(),
        )
        coordinator.propose("plan", plan)
        return plan

    def endorse(self, proposal: Digest, *desks: CustodianDesk) -> None:
        """Have custodians check and sign one proposal, and return once it is logged. Raises: PlanNotApproved after a while."""
        for desk in desks:
            for waiting in desk.proposals():
                if waiting.digest == proposal:
                    desk.endorse(waiting)
        if not self.coordinator.wait_for_quorum(proposal, timeout_seconds=QUORUM_SECONDS):
            raise PlanNotApproved("the custodians' signatures did not arrive")

    def custodian(self, number: int) -> CustodianDesk:
        """Open a custodian's desk."""
        name = f"custodian-{number}"
        connection, desk = open_custodian(CustodianSettings.load(self.layout.settings(name)), clock=self.clock)
        self._connections[name] = connection
        return desk

    def team(self) -> TeamDesk:
        """Open the desk of the coordinator's team."""
        connection = Connection(
            self.coordinator.settings, clock=self.clock, memory=self.coordinator.settings.state / "team"
        )
        self._connections["coordinator"] = connection
        return TeamDesk(connection, clock=self.clock)

    def issuer(self) -> IssuerDesk:
        """Open the issuer's desk."""
        connection, desk = open_issuer(IssuerSettings.load(self.layout.settings("issuer")), clock=self.clock)
        self._connections["issuer"] = connection
        return desk

    def investigator(self) -> InvestigatorDesk:
        """Open the investigator's desk."""
        settings = InvestigatorSettings.load(self.layout.settings("investigator"))
        connection, desk = open_investigator(settings, clock=self.clock)
        self._connections["investigator"] = connection
        return desk
