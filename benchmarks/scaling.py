"""What one borough more costs, from 32 to 1,024 boroughs: ``python -m benchmarks.scaling [--json]``.

Ours alone, the harness of ``benchmarks.private_sum``. Each round goes through all sizes before the next one begins: the
speed of a shared machine drifts by a third within minutes, and one size after the other would measure that.

Fields of ``--json``: ``clients``; ``dimension``; ``cpu_per_borough_s``, median over the rounds of one borough's CPU seconds
and its share of both servers'; ``relative``, median over the rounds of that to the smallest size's of the same round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from benchmarks.custodes_sum import Force
from benchmarks.private_sum import SCALING_DIMENSION, vectors

CLIENTS, REPEATS = (32, 64, 128, 256, 512, 1024), 5


def measure(clients: Sequence[int], *, dimension: int, repeats: int) -> list[dict[str, Any]]:
    """Return one row a size, the smallest first."""
    rounds: list[list[float]] = []
    with ExitStack() as stack:
        forces = [
            stack.enter_context(closing(Force(n, root=Path(stack.enter_context(tempfile.TemporaryDirectory())))))
            for n in clients
        ]
        for repeat in range(repeats + 1):
            found = [force.one_round(vectors(n, dimension)) for n, force in zip(clients, forces, strict=True)]
            cost = [one.client_cpu_s + one.server_cpu_s / n for n, one in zip(clients, found, strict=True)]
            sys.stderr.write(f"round {repeat} of {repeats}: {', '.join(f'{1000 * one:.2f} ms' for one in cost)}\n")
            if repeat:  # the first one warms up
                rounds.append(cost)
    return [
        {
            "clients": n,
            "dimension": dimension,
            "cpu_per_borough_s": round(statistics.median(row[place] for row in rounds), 6),
            "relative": round(statistics.median(row[place] / row[0] for row in rounds), 3),
        }
        for place, n in enumerate(clients)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default=",".join(map(str, CLIENTS)), help="sizes; default: %(default)s")
    parser.add_argument("--dimension", type=int, default=SCALING_DIMENSION, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="default: %(default)s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    sizes = [int(text) for text in options.clients.split(",")]
    rows = measure(sizes, dimension=options.dimension, repeats=options.repeats)
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    for row in rows:
        sys.stdout.write(
            f"{row['clients']:>6} boroughs {1000 * row['cpu_per_borough_s']:>8.2f} ms a borough, "
            f"{row['relative']:.2f} of {sizes[0]}'s\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
