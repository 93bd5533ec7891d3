"""Renders docs/benchmarks.md and its plots from measured files: ``python -m benchmarks.report --help``.

Plots need altair and vl-convert-python, which the product does not: ``pip install -e '.[bench]'``. Run it on the machine
that measured: the page names the machine it is rendered on. Every ratio and verdict on the page is computed here from
the rows; a section whose file is not given says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.goals import CLIENTS, FLAT, per_borough
from benchmarks.markdown import figure, markdown_table, milliseconds, plot, times
from benchmarks.private_sum import FIELDS, SCALING_DIMENSION
from benchmarks.sum_section import GRAPHS, OURS, THEIRS, most_clients, private_sum

Row = dict[str, Any]

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
LIBRARIES = ("flwr", "numpy", "cryptography", "protobuf", "grpcio", "sqlalchemy", "pycryptodome", "opendp")

# --- the machine --------------------------------------------------------------------------------------------------


def machine(libraries: Sequence[str] = LIBRARIES) -> list[tuple[str, str]]:
    """Return what the figures depend on: processor, memory, system, versions."""
    facts = [
        ("processor", f"{_from('/proc/cpuinfo', 'model name') or platform.processor()}, {os.cpu_count()} cores"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("system", f"{_from('/etc/os-release', 'PRETTY_NAME')}, Linux {'.'.join(platform.release().split('.')[:2])}"),
        ("Python", platform.python_version()),
    ]
    for library in libraries:
        try:
            facts.append((library, version(library)))
        except PackageNotFoundError:
            continue
    return facts


def _from(file: str, field: str) -> str:
    """Return a field of a file of ``name : value`` or ``name=value`` lines, or nothing."""
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.replace("=", ":", 1).partition(":")
        if name.strip() == field:
            return value.strip().strip('"')
    return ""


# --- the other benchmarks -----------------------------------------------------------------------------------------


def exchange(rows: Sequence[Row]) -> str:
    """Return the section on one exchange, from ``benchmarks.exchange --json``."""
    title = "## One exchange with all nodes"
    if not rows:
        return f"{title}\n\nNot measured for this page: `python -m benchmarks.exchange`."
    body = []
    for row in sorted(rows, key=lambda row: (row["nodes"], row["system"])):
        ours = next((r for r in rows if r["nodes"] == row["nodes"] and r["system"] == OURS), None)
        against = "" if ours in (None, row) else times(row["median_s"], ours["median_s"])
        body.append(
            [f"{row['nodes']}", row["system"], figure(row["median_s"]), milliseconds(row["cpu_per_message_s"]), against]
        )
    header = ["nodes", "system", "median seconds", "CPU milliseconds a message", "times ours"]
    text = (
        "One request to every node and one reply from each, wall-clock seconds; on loopback, one node a process, over TLS. "
        "Ours also asks callers for certificates and has messages and replies on disk before it counts them."
    )
    alternative = "Seconds of one exchange against the number of nodes, both axes logarithmic; the numbers are above."
    return "\n\n".join([title, text, markdown_table(header, body), plot("exchange", alternative)])


def masking(rows: Sequence[Row]) -> str:
    """Return the section on masking and noise, from ``benchmarks.masking --json``."""
    title = "## Masking and noise against their raw cost"
    if not rows:
        return f"{title}\n\nNot measured for this page: `python -m benchmarks.masking`."
    body = []
    for row in rows:
        raw, nanoseconds = row.get("ratio_to_raw"), row.get("noise_ns_per_sample")
        body.append(
            [
                row["operation"],
                f"{row['dimension']:,}",
                milliseconds(row["seconds"]),
                "" if raw is None else f"{raw:.2f}",
                "" if nanoseconds is None else figure(nanoseconds),
            ]
        )
    header = ["operation", "entries", "CPU milliseconds", "times raw", "nanoseconds a sample"]
    text = "Raw is the faster of two ways to run AES-256-CTR and an addition of uint64 with nothing around them."
    return "\n\n".join([title, text, markdown_table(header, body)])


# --- the page -----------------------------------------------------------------------------------------------------


def page(
    rows: Sequence[Row],
    *,
    others: Sequence[Row] = (),
    drops: Sequence[dict[str, str]] = (),
    exchanges: Sequence[Row] = (),
    maskings: Sequence[Row] = (),
    today: datetime,
    note: str = "",
) -> str:
    """Return the whole page; ``note`` is what its reader has to know about the run."""
    facts = markdown_table(["machine", ""], machine())
    return (
        "\n\n".join(
            [
                "# Benchmarks",
                f"Rendered on {today:%Y-%m-%d} by `benchmarks/report.py` from measured files; no figure on this page is typed by "
                "hand. Times are CPU times unless they say otherwise. What else was measured, accuracy among it, stands in "
                "[measurements](measurements.md).",
                *([f"**About this run.** {note}"] if note else []),
                facts,
                "To repeat, from the repository, with the packages of `pip install -e '.[bench]'`:",
                "    python -m benchmarks.everything measured",
                private_sum(rows, others, drops),
                exchange(exchanges),
                masking(maskings),
            ]
        )
        + "\n"
    )


def draw(rows: Sequence[Row], others: Sequence[Row], exchanges: Sequence[Row], folder: Path) -> None:
    """Write the plots that the page shows."""
    from benchmarks import plots

    most = most_clients(rows)
    compared = {row["dimension"] for row in rows if row["system"] == THEIRS and row["clients"] == most}

    def points(source: Sequence[Row], system: str, field: str, name: str) -> list[Row]:
        return [
            {"series": name, "dimension": row["dimension"], "milliseconds": 1e3 * row[field]}
            for row in source
            if (row["system"], row["clients"]) == (system, most) and row["dimension"] in compared
        ]

    panels = []
    for field in ("client_cpu_s", "server_cpu_s"):
        panel = points(rows, OURS, field, "Custodes") + points(rows, THEIRS, field, "SecAgg+, complete graph")
        for graph in dict.fromkeys(row["graph"] for row in others if row["system"] == THEIRS):
            chosen = [row for row in others if row["graph"] == graph]
            panel += points(chosen, THEIRS, field, f"SecAgg+, {GRAPHS[graph]}")
        panels.append(panel)
    panels[0] += points(rows, OURS, "noise_cpu_s", "Custodes, noise alone")
    if panels[0]:
        plots.plot_cpu(panels[0], panels[1], folder / "private-sum-cpu.svg", clients=most)
    costs = per_borough(rows, SCALING_DIMENSION)
    if len(costs) > 1 and CLIENTS in costs:
        relative = [
            {"series": name, "boroughs": boroughs, "relative": cost[place] / costs[CLIENTS][place]}
            for place, name in enumerate(("client", "servers"))
            for boroughs, cost in costs.items()
        ]
        plots.plot_scaling(relative, folder / "private-sum-scaling.svg", flat=FLAT)
    if exchanges:
        plots.plot_exchange(
            [{"series": row["system"], "nodes": row["nodes"], "seconds": row["median_s"]} for row in exchanges],
            folder / "exchange.svg",
        )


def _read(path: Path | None, required: Sequence[str] = ()) -> list[Row]:
    if path is None:
        return []
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for row in rows for name in required if name not in row]
    if missing:
        raise SystemExit(f"{path}: no field {missing[0]}")
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--private-sum", type=Path, required=True, help="of private_sum --details (or --json)")
    parser.add_argument(
        "--other-graphs", type=Path, action="append", default=[], help="of private_sum --graph --details"
    )
    parser.add_argument("--drops", type=Path, help="of private_sum --drops --json")
    parser.add_argument("--exchange", type=Path, help="of exchange --json")
    parser.add_argument("--masking", type=Path, help="of masking --json")
    parser.add_argument("--note", default="", help="what a reader has to know about the run")
    parser.add_argument("--out", type=Path, default=OUT, help="the page; its plots go to plots/ beside it")
    options = parser.parse_args(argv)
    rows = _read(options.private_sum, FIELDS)
    others = [row for path in options.other_graphs for row in _read(path, (*FIELDS, "graph"))]
    exchanges = _read(options.exchange, ("system", "nodes", "median_s", "cpu_per_message_s"))
    text = page(
        rows,
        others=others,
        drops=_read(options.drops, ("system", "stage", "outcome")),
        exchanges=exchanges,
        maskings=_read(options.masking, ("operation", "dimension", "seconds")),
        today=datetime.now(UTC),
        note=options.note,
    )
    draw(rows, others, exchanges, options.out.parent / "plots")
    options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
