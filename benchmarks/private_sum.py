"""A private sum, ours and Flower's SecAgg+, in one run and one harness: ``python -m benchmarks.private_sum --help``.

One process plays every party in turn; CPU seconds are those of the process, user and system, booked to whoever's turn
it is (benchmarks/meter.py). Both systems' messages go through Flower's protobuf serialisation and no network
(benchmarks/wire.py). What is inside and outside of the figures: benchmarks/custodes_sum.py and benchmarks/secagg.py.
A round whose sum is not the plain sum of its inputs ends the run with an error: ours must be exact to the last bit,
noise included; SecAgg+'s within its quantisation.

Fields of ``--json``, each the median over the repeats; a client is a borough:

- ``system``: ``custodes`` or ``flower-secagg+``; ``clients``; ``dimension``: entries of a client's vector.
- ``client_cpu_s``: one client's CPU seconds a round, mean over the clients, without noise and without quantisation.
- ``server_cpu_s``: all servers' CPU seconds a round: SecAgg+'s one, our coordinator plus unmasker.
- ``noise_cpu_s``: one client's CPU seconds for its share of differential-privacy noise; SecAgg+ adds none: 0.
- ``bytes_up``, ``bytes_down``: **per client**, serialised messages of all exchanges of a round.
- ``exchanges``: requests that a client must answer in a round.
- ``mask_bits``: length of the seed or key that a mask is expanded from. SecAgg+: 32, of which pairwise masks use 28.

``--details`` adds ``spread``: (highest - lowest) / median of all parties' CPU seconds over the repeats.

The two systems take turns within a cell, so that a slow spell of the machine hits both.
"""

from __future__ import annotations

import os

# Before numpy is imported: one thread, so that CPU seconds are those of the work and not of waiting threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import gc
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks import custodes_sum, secagg
from benchmarks.drops import drops
from benchmarks.goals import goals
from benchmarks.round import Round, vectors

FIELDS = (
    "system",
    "clients",
    "dimension",
    "client_cpu_s",
    "server_cpu_s",
    "noise_cpu_s",
    "bytes_up",
    "bytes_down",
    "exchanges",
    "mask_bits",
)
CLIENTS, DIMENSIONS = (8, 16, 32), (10_000, 100_000, 1_000_000)
SCALING_CLIENTS, SCALING_DIMENSION = (32, 64, 128, 256, 512, 1024), 10_000
QUICK_CLIENTS, QUICK_DIMENSIONS, QUICK_SCALING = (4, 8), (1_000,), (16, 32)
REPEATS, QUICK_REPEATS = 5, 2

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """So many clients with vectors so long, and the systems to run there."""

    clients: int
    dimension: int
    systems: tuple[str, ...]


def cells(clients: Sequence[int], dimensions: Sequence[int], scaling: Sequence[int]) -> list[Cell]:
    """Return both systems for every pair, then ours alone for the numbers of clients not yet among them."""
    both = [Cell(n, d, (secagg.SYSTEM, custodes_sum.SYSTEM)) for n in clients for d in dimensions]
    done = {(cell.clients, cell.dimension) for cell in both}
    alone = [n for n in scaling if (n, SCALING_DIMENSION) not in done]
    return both + [Cell(n, SCALING_DIMENSION, (custodes_sum.SYSTEM,)) for n in alone]


def row_of(system: str, cell: Cell, rounds: Sequence[Round], *, mask_bits: int, graph: str) -> Row:
    """Return the medians of a cell's rounds: the fields of ``--json``, and what ``--details`` adds."""
    medians = {
        one.name: statistics.median(getattr(result, one.name) for result in rounds)
        for one in fields(Round)
        if one.name != "parts"
    }
    whole = {name: round(medians[name]) for name in ("bytes_up", "bytes_down", "exchanges")}
    parts = {name: statistics.median(result.parts[name] for result in rounds) for name in rounds[0].parts}
    cpu = [result.client_cpu_s * cell.clients + result.server_cpu_s for result in rounds]
    return {
        "system": system,
        "clients": cell.clients,
        "dimension": cell.dimension,
        **(medians | whole),
        "mask_bits": mask_bits,
        "graph": graph if system == secagg.SYSTEM else None,
        "parts": parts,
        "repeats": len(rounds),
        "spread": (max(cpu) - min(cpu)) / statistics.median(cpu),
    }


def measure(todo: Sequence[Cell], *, repeats: int, graph: str, say: Callable[[str], None]) -> Iterator[Row]:
    """Yield the rows of each cell as soon as it is done. Raises: WrongSum."""
    bits = {secagg.SYSTEM: secagg.seed_bits(), custodes_sum.SYSTEM: custodes_sum.mask_bits()}
    for clients in dict.fromkeys(cell.clients for cell in todo):
        with tempfile.TemporaryDirectory() as root:
            force = custodes_sum.Force(clients, root=Path(root))
            try:
                for cell in (cell for cell in todo if cell.clients == clients):
                    rounds = _rounds(cell, force, repeats=repeats, graph=graph, say=say)
                    for system in cell.systems:
                        yield row_of(system, cell, rounds[system], mask_bits=bits[system], graph=graph)
            finally:
                force.close()


def _rounds(
    cell: Cell, force: custodes_sum.Force, *, repeats: int, graph: str, say: Callable[[str], None]
) -> dict[str, list[Round]]:
    """Return the rounds of a cell, of each system in turn, after one short round of each that is not counted."""

    def one_round(system: str, dimension: int) -> Round:
        inputs = vectors(cell.clients, dimension)
        if system == secagg.SYSTEM:
            return secagg.one_round(inputs, graph=secagg.graph_of(graph, cell.clients))
        return force.one_round(inputs)

    for system in cell.systems:
        one_round(system, 8)  # imports, caches, compiled SQL
    rounds: dict[str, list[Round]] = {system: [] for system in cell.systems}
    for repeat in range(repeats):
        for system in cell.systems:
            gc.collect()
            began = time.monotonic()
            rounds[system].append(one_round(system, cell.dimension))
            taken = time.monotonic() - began
            say(
                f"{system}, {cell.clients} clients, d = {cell.dimension:,}: "
                f"round {repeat + 1} of {repeats} took {taken:.1f} s"
            )
    return rounds


def table(rows: Sequence[Row]) -> str:
    """Return the rows, what is beside them, and the goals, for reading."""
    lines = [
        "CPU seconds: client and noise of one client, server of all servers. Bytes: per client, all exchanges.",
        f"{'system':15}{'clients':>8}{'dimension':>11}{'client s':>11}{'server s':>11}{'noise s':>11}"
        f"{'bytes up':>12}{'bytes down':>12}{'exchanges':>11}{'mask bits':>11}{'rounds':>8}{'spread':>8}",
    ]
    for row in rows:
        lines.append(
            f"{row['system']:15}{row['clients']:>8}{row['dimension']:>11,}{row['client_cpu_s']:>11.5f}"
            f"{row['server_cpu_s']:>11.4f}{row['noise_cpu_s']:>11.5f}{row['bytes_up']:>12,}{row['bytes_down']:>12,}"
            f"{row['exchanges']:>11}{row['mask_bits']:>11}{row['repeats']:>8}{row['spread']:>8.0%}"
        )
    lines += ["", "Beside these figures, CPU seconds (bytes where it says so):"]
    for row in rows:
        beside = ", ".join(f"{name} {value:.5g}" for name, value in row["parts"].items())
        lines.append(f"{row['system']:15}{row['clients']:>8}{row['dimension']:>11,}  {beside}")
    lines += ["", "Goals:"]
    lines += [f"{'met' if goal.met else 'MISSED':8}{goal.text}: {goal.measured}" for goal in goals(rows)]
    return "\n".join(lines)


def drop_table(outcomes: Sequence[dict[str, str]]) -> str:
    """Return the outcomes of deaths, for reading."""
    lines = ["One client dies:"]
    lines += [f"{one['system']:15}{one['stage']:42}{one['outcome']}" for one in outcomes]
    return "\n".join(lines)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(float(one)) for one in text.split(","))

    parser.add_argument("--clients", type=numbers, help="numbers of clients, with commas between them")
    parser.add_argument("--dimensions", type=numbers, help="lengths of a vector, with commas between them")
    parser.add_argument("--repeats", type=int, help=f"rounds a cell; {REPEATS} unless told")
    parser.add_argument(
        "--scaling",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"afterwards ours alone, up to {SCALING_CLIENTS[-1]} boroughs at d = {SCALING_DIMENSION}",
    )
    parser.add_argument("--graph", choices=("complete", "log", "example"), default="complete", help="of SecAgg+")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it works")
    parser.add_argument("--drops", action="store_true", help="only what the death of a client does")
    parser.add_argument("--json", action="store_true", help="a list of objects on stdout")
    parser.add_argument(
        "--details",
        type=Path,
        help="write the same objects to this file, with graph, repeats, spread and the CPU seconds of each part",
    )
    return parser.parse_args(argv)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt, so that hours of measuring survive whoever sends it."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; whatever was finished is printed after an interruption too."""
    options = _options(argv)
    if options.drops:
        outcomes = list(drops(graph=options.graph))
        sys.stdout.write((json.dumps(outcomes, indent=2) if options.json else drop_table(outcomes)) + "\n")
        return 0
    todo = cells(
        options.clients or (QUICK_CLIENTS if options.quick else CLIENTS),
        options.dimensions or (QUICK_DIMENSIONS if options.quick else DIMENSIONS),
        () if not options.scaling else QUICK_SCALING if options.quick else SCALING_CLIENTS,
    )
    repeats = options.repeats or (QUICK_REPEATS if options.quick else REPEATS)
    rows: list[Row] = []
    stopped = False
    try:
        with _terminated_like_interrupted():
            for row in measure(todo, repeats=repeats, graph=options.graph, say=_say):
                rows.append(row)
                if options.details:
                    options.details.write_text(json.dumps(rows, indent=2) + "\n")
    except KeyboardInterrupt:
        stopped = True
        _say("stopped: unfinished cells are left out")
    if options.json:
        sys.stdout.write(json.dumps([{name: row[name] for name in FIELDS} for row in rows], indent=2) + "\n")
    else:
        sys.stdout.write(table(rows) + "\n")
        if not stopped:
            sys.stdout.write("\n" + drop_table(list(drops(graph=options.graph))) + "\n")
    return 130 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
