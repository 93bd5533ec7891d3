"""How long a plan takes in a whole federation: ``python -m benchmarks.training --help``.

32 boroughs, 46,000 made-up people, 80 features, four heads (two of 60 features, two of ten), the releases of
deploy/samples/synthetic.plan.toml. Every party runs as ``deploy.local`` builds it, over gRPC with mutual TLS on loopback:
boroughs with tables on disk and ledgers, coordinator, unmasker, three witnesses. The rows come from a seed. The boroughs'
machines are one machine here, so all of their work is in the time; ``--processes`` share the boroughs among them.

``--json`` prints ``seconds`` (from the approved plan to its closure), ``releases`` (function, length, seconds of each),
``cpu_s`` of all processes, and the plan's numbers. ``--profile`` adds ``profile``: CPU seconds by subsystem, by cProfile on
every thread of one process, which then has all boroughs; profiling slows Python down, so its ``seconds`` are not the plan's.
"""

from __future__ import annotations

import os

# Before numpy is imported: 37 parties share this machine's cores, which each would otherwise fill with threads of its own.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import cProfile
import json
import multiprocessing
import pstats
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from borough_node.app import Node
from borough_node.settings import NodeSettings
from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import split_table
from coordinator.registry.drafting import PlanChoices
from deploy.local import GRACE_SECONDS, Layout, LocalFederation, create
from protocol.clock import SystemClock
from protocol.documents.roster import Budget
from protocol.ids import Digest

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLE = REPOSITORY / "deploy" / "samples" / "synthetic.plan.toml"
SEED = 20260301
FEATURES = 80
HEADS = {"wide_one": range(60), "wide_two": range(20, 80), "narrow_one": range(10), "narrow_two": range(40, 50)}
CUTOFFS = (2024, 2025)
JOIN_SECONDS = 120.0


def _feature(number: int) -> str:
    return "\n".join(
        [
            "[[catalogue.features]]",
            f'name = "f{number:02d}"',
            f'definition = "Made-up value {number}."',
            'unit = "none"',
            'transform = { kind = "scaled", center = 0.0, scale = 1.0, limit = 3.0 }',
            "direction = 0",
            f'reason = "Made-up value {number} was taken into account."',
            'legal_note = "Synthetic."',
        ]
    )


def catalogue_text() -> str:
    """Return the catalogue as an operator would write it."""
    parts = [
        '[table]\nperson = "person"\nsilo = "borough"\ncutoff = "cutoff"\nignored = []',
        '[catalogue]\ncatalogue_id = "made-up"\nversion = 1',
        '[[catalogue.protected]]\nname = "sex"\ntitle = "Sex"\ngroups = ["a", "b"]',
        '[[catalogue.protected]]\nname = "ethnicity_group"\ntitle = "Group"\ngroups = ["g1", "g2", "g3", "g4"]',
    ]
    for category, places in HEADS.items():
        names = json.dumps([f"f{place:02d}" for place in places])
        parts.append(
            f'[[catalogue.heads]]\ncategory = "{category}"\ntitle = "{category}"\nlabel = "y_{category}"\n'
            f"prior = 0.01\nfeatures = {names}"
        )
    return "\n\n".join(parts + [_feature(number) for number in range(FEATURES)]) + "\n"


def rows(people: int, boroughs: int) -> pa.Table:
    """Return one row a person and cutoff; a head's label depends on the first five of its features."""
    random = np.random.default_rng(SEED)
    size = people * len(CUTOFFS)
    values = random.normal(size=(size, FEATURES))
    who = np.tile(np.arange(people), len(CUTOFFS))
    columns: dict[str, Any] = {
        "person": [f"p{number:06d}" for number in who],
        "borough": [f"borough-{number % boroughs + 1:02d}" for number in who],
        "cutoff": np.repeat(CUTOFFS, people).astype(np.int32),
        "sex": np.array(["a", "b"])[who % 2],
        "ethnicity_group": np.array(["g1", "g2", "g3", "g4"])[who % 4],
    }
    columns |= {f"f{number:02d}": values[:, number] for number in range(FEATURES)}
    for category, places in HEADS.items():
        score = values[:, list(places)[:5]].sum(axis=1)
        columns[f"y_{category}"] = (score + random.logistic(size=size) > 7.0).astype(np.int8)
    return pa.table(columns)


# --- where the time goes ------------------------------------------------------------------------------------------


@contextmanager
def profiling() -> Iterator[list[cProfile.Profile]]:
    """Profile every thread that starts inside the block, and this one; each by its own CPU time."""
    profiles: list[cProfile.Profile] = []
    run = threading.Thread.run

    def profiled(thread: threading.Thread) -> None:
        profile = cProfile.Profile(time.thread_time)
        profile.enable()
        try:
            run(thread)
        finally:
            profile.disable()
            profiles.append(profile)  # only then: another thread's clock would end it wrongly

    replaced = patch.object(threading.Thread, "run", profiled)
    replaced.start()
    own = cProfile.Profile(time.thread_time)
    own.enable()
    try:
        yield profiles
    finally:
        own.disable()
        profiles.append(own)
        replaced.stop()


def subsystem(file: str) -> str:
    """Return our package and folder, or the library, of a source file."""
    path = Path(file)
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1].removesuffix(".py")
    if path.is_relative_to(REPOSITORY):
        return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts[:2])
    return "python"


def by_subsystem(profiles: Sequence[cProfile.Profile]) -> dict[str, float]:
    """Return CPU seconds by subsystem; what is compiled counts where it was called from."""
    seconds: Counter[str] = Counter()
    for profile in profiles:
        for (file, _, _), (_, _, own, _, callers) in pstats.Stats(profile).stats.items():
            if file != "~":
                seconds[subsystem(file)] += own
                continue
            for (caller, _, _), (_, _, part, _) in callers.items():
                seconds["compiled" if caller == "~" else subsystem(caller)] += part
    return {name: round(spent, 3) for name, spent in seconds.most_common() if spent >= 0.05}


# --- the federation -----------------------------------------------------------------------------------------------


class Times:
    """When each release of the plan was first asked for."""

    def __init__(self) -> None:
        self.began: dict[int, float] = {}

    def __call__(self, plan: Digest, index: int, done: int, asked: int) -> None:
        """Note when an index is asked for first."""
        self.began.setdefault(index, time.monotonic())


def _serve(layout: Layout, boroughs: Sequence[str], orders: Connection) -> None:
    """Run nodes in this process; answer each order with the CPU seconds so far, until there are no more."""
    nodes = [
        Node(NodeSettings.load(layout.settings(borough)), clock=SystemClock(), report=lambda *said: None)
        for borough in boroughs
    ]
    for node in nodes:
        node.start()
    while orders.recv():
        orders.send(time.process_time())
    for node in nodes:
        node.stop(grace_seconds=GRACE_SECONDS)


class Elsewhere:
    """Nodes in other processes, which share this machine with the rest and not an interpreter."""

    def __init__(self, layout: Layout, boroughs: Sequence[str], processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._running = []
        for share in (boroughs[number::processes] for number in range(processes)):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(layout, share, theirs), daemon=True)
            process.start()
            self._running.append((process, ours))

    def cpu_seconds(self) -> float:
        """Return what they have used; at first it waits until all of their nodes have started."""
        for _, orders in self._running:
            orders.send(True)
        return sum(orders.recv() for _, orders in self._running)

    def stop(self) -> None:
        """Stop them."""
        for _, orders in self._running:
            orders.send(False)
        for process, _ in self._running:
            process.join()


def measure(
    root: Path, *, people: int, boroughs: int, slot_seconds: float, processes: int, profile: bool
) -> dict[str, Any]:
    """Return the figures of one plan; ``root`` must be empty. ``processes`` 0 keeps the boroughs in this one."""
    catalogue_file = root / "made-up.catalogue.toml"
    catalogue_file.write_text(catalogue_text(), encoding="utf-8")
    table = rows(people, boroughs)
    pq.write_table(table, root / "rows.parquet")
    layout, catalogue = load_catalogue(catalogue_file)
    tables = {path.stem: path for path in split_table(root / "rows.parquet", layout, root / "tables").values()}
    choices = PlanChoices.load(SAMPLE).model_copy(
        update={"reply_slot_seconds": slot_seconds, "capacity_share": {"any": 0.01}}
    )
    clock, times = SystemClock(), Times()
    made = create(
        root / "federation",
        force="benchforce",
        tables=tables,
        catalogue=catalogue_file,
        budgets=[Budget(purpose=choices.purpose, rho=50.0)],
        reply_slot_seconds=slot_seconds,
        clock=clock,
    )
    complaints: list[str] = []
    federation = LocalFederation(made, clock, lambda *said: complaints.append(": ".join(said)), times)
    watch = profiling() if profile else nullcontext([])
    with watch as profiles:
        with federation as running:
            for borough in tables if processes == 0 else ():
                running.start_node(borough)
            elsewhere = Elsewhere(made, list(tables), processes)
            plan = running.propose_plan(
                choices,
                catalogue,
                establishment=dict.fromkeys(tables, people // boroughs),
                train_from=CUTOFFS[0],
                train_until=CUTOFFS[0],
                evaluation_cutoff=CUTOFFS[1],
            )
            running.endorse(plan.digest(), running.custodian(1), running.custodian(2))
            cpu, began = time.process_time() + elsewhere.cpu_seconds(), time.monotonic()
            running.coordinator.run_plan(plan.digest())
            ended = time.monotonic()
            cpu = time.process_time() + elsewhere.cpu_seconds() - cpu
            elsewhere.stop()
            record = running.coordinator.appender.history.public.plan(plan.digest())
        if not record.complete or any(len(release.boroughs) != boroughs for release in record.releases):
            raise SystemExit("a borough is missing: " + "; ".join(complaints))
    marks = [began, *[times.began[index] for index in range(1, len(plan.releases))], ended]
    figures: dict[str, Any] = {
        "people": people,
        "boroughs": boroughs,
        "features": FEATURES,
        "heads": {category: len(places) for category, places in HEADS.items()},
        "processes": processes,
        "reply_slot_seconds": slot_seconds,
        "seconds": round(ended - began, 3),
        "cpu_s": round(cpu, 3),
        "releases": [
            {"function": spec.function, "length": spec.length, "seconds": round(until - since, 3)}
            for spec, since, until in zip(plan.releases, marks[:-1], marks[1:], strict=True)
        ],
    }
    return figures | ({"profile": by_subsystem(profiles)} if profile else {})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=46_000)
    parser.add_argument("--boroughs", type=int, default=32)
    parser.add_argument("--slot", type=float, default=0.2, help="seconds of a reply slot; the sample plan says 1.0")
    parser.add_argument("--processes", type=int, default=2, help="of the boroughs; the other parties have one")
    parser.add_argument("--profile", action="store_true", help="where the CPU time goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as root:
        figures = measure(
            Path(root),
            people=options.people,
            boroughs=options.boroughs,
            slot_seconds=options.slot,
            processes=0 if options.profile else options.processes,
            profile=options.profile,
        )
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return 0
    sys.stdout.write(f"{figures['seconds']:.1f} s, {figures['cpu_s']:.1f} s of CPU\n")
    for release in figures["releases"]:
        sys.stdout.write(f"  {release['function']:16}{release['length']:>8,} entries{release['seconds']:>9.2f} s\n")
    for name, spent in figures.get("profile", {}).items():
        sys.stdout.write(f"  {spent:>8.2f} s CPU  {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
