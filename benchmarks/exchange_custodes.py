"""Exchanges over our own wire, every borough a process of its own, set up as a force would set it up.

Mutual TLS with certificates that the roster pins, messages and replies in SQLite with every commit on disk, Flower's
messages on both sides. Two things are not as in production: nodes answer without records, and the slot at which a reply
may leave, which hides how long a node works, is a millisecond and not a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from coordinator.grid import GrpcGrid  # first: sets Flower's environment

# isort: split
from flwr.app import ConfigRecord, RecordDict
from flwr.supercore.run import Run

from benchmarks.measured import Failed, Measured, Say
from benchmarks.process_tree import BOUND_TO_US, cpu_seconds
from coordinator.services.federation import FederationService
from coordinator.settings import CoordinatorSettings
from coordinator.store.database import Database
from coordinator.store.mail import Mailbox
from deploy.local import create
from protocol.clock import SystemClock
from protocol.rpc.party import Party
from protocol.rpc.server import serve
from protocol.rpc.v1 import federation_pb2_grpc

SLOT_SECONDS = 0.001
WARM_UP = 3
PATIENCE_SECONDS = 120.0
STOP_SECONDS = 10.0
REPOSITORY = Path(__file__).parents[1]


def measure(root: Path, *, nodes: int, exchanges: int, payload_bytes: int, say: Say) -> Measured:
    """Return ``exchanges`` exchanges with ``nodes`` boroughs; ``root`` must be new. Raises: Failed."""
    names = [f"borough-{number}" for number in range(1, nodes + 1)]
    nowhere = root / "nowhere"
    layout = create(
        root / "federation",
        force="benchforce",
        tables=dict.fromkeys(names, nowhere),
        catalogue=nowhere,
        budgets=[],
        reply_slot_seconds=SLOT_SECONDS,
        clock=SystemClock(),
    )
    settings = CoordinatorSettings.load(layout.settings("coordinator"))
    with ExitStack() as stack:
        mailbox, federation = stack.enter_context(_coordinator(settings, say))
        stack.enter_context(_boroughs([layout.settings(name) for name in names]))
        _wait_for(federation, nodes)
        grid = GrpcGrid(mailbox, names, on_progress=lambda done, asked: None)
        grid.set_run(Run.create_empty(1))
        payload = os.urandom(payload_bytes)
        for number in range(WARM_UP):
            _exchange(grid, f"warm-up-{number}", payload)
        cpu, own = cpu_seconds(), time.process_time()
        seconds = tuple(_exchange(grid, f"exchange-{number}", payload) for number in range(exchanges))
        measured = Measured(nodes, seconds, cpu_seconds() - cpu)
        say(f"CPU of the coordinator: {(time.process_time() - own) / measured.cpu_seconds:.0%}")
        return measured


def _exchange(grid: GrpcGrid, group: str, payload: bytes) -> float:
    """Ask every borough once and return how long it took. Raises: Failed if one does not answer with the payload."""
    began = time.perf_counter()
    content = RecordDict({"request": ConfigRecord({"payload": payload})})
    messages = [grid.create_message(content, "query.echo", node, group) for node in grid.get_node_ids()]
    replies = list(grid.send_and_receive(messages, timeout=PATIENCE_SECONDS))
    seconds = time.perf_counter() - began
    if [reply.content["answer"]["payload"] for reply in replies if reply.has_content()] != [payload] * len(messages):
        raise Failed(f"{len(replies)} of {len(messages)} boroughs answered, or not with what they were sent")
    grid.forget(group, "query.echo")
    return seconds


def _wait_for(federation: FederationService, nodes: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while len(federation.connected()) < nodes:
        if time.monotonic() > end:
            raise Failed(f"{len(federation.connected())} of {nodes} boroughs connected")
        time.sleep(0.05)


@contextmanager
def _coordinator(settings: CoordinatorSettings, say: Say) -> Iterator[tuple[Mailbox, FederationService]]:
    """Serve the boroughs' stream as the coordinator does."""
    roster = Party.open(settings).roster
    database = Database(settings.state / "coordinator.sqlite")
    mailbox = Mailbox(database)
    federation = FederationService(mailbox, lambda: roster)
    server, _ = serve(
        settings.coordinator,
        files=settings.tls(),
        roster=lambda: roster,
        report=lambda method, code, detail: say(f"{code}: {detail}"),
        register=lambda server: federation_pb2_grpc.add_FederationServicer_to_server(federation, server),
        threads=settings.server_threads,
    )
    try:
        yield mailbox, federation
    finally:
        server.stop(1).wait()
        database.close()


@contextmanager
def _boroughs(settings: Iterable[Path]) -> Iterator[None]:
    """Run one process a borough; what they say goes to our standard error."""
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for path in settings:
            command = [*BOUND_TO_US, sys.executable, "-m", "benchmarks.exchange_node", str(path)]
            environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
            nodes.append(subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True))
        yield
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            try:
                node.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
