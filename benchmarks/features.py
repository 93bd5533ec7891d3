"""From a force's events to features, ours and pandas', in one run: ``python -m benchmarks.features --json``.

The synthetic force is written first (``deploy.force.events``), or read where ``--force`` says. Then every borough, one after the
other: ours checks its Parquet tables (``custodes node check``) and computes all features at every covered cutoff;
pandas does the same (benchmarks/features_pandas.py). Every feature of every person is compared, and a difference ends
the run with an error. Each side works in a process of its own, so that its peak memory is its own.

Fields of ``--json``: ``people``, ``months``; ``generate_s`` (null with ``--force``); ``check_s`` (reading and checking)
and ``features_s``, ours, all boroughs together; ``pandas_s``, the same work; ``ratio`` = pandas_s / (check_s +
features_s); ``peak_mb``: highest resident memory of our process, one borough at a time in it. Seconds are wall time; ``cpu_s``
and ``pandas_cpu_s`` are CPU time, which a busy machine disturbs less; ``rows``: people times cutoffs compared.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import features_pandas
from borough_node.features.extract import INDICATORS, LABELS, covered_cutoffs, rows_at_all
from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.checking import check
from borough_node.sources.personnel.settings import PersonnelSettings
from borough_node.sources.personnel.staging import staged

NOW = datetime(2026, 11, 1, tzinfo=UTC)
"""After everything that the generator dates."""

Rows = dict[int, pd.DataFrame]
"""Cutoff to features and labels by staff number."""


@dataclass
class Work:
    """What one side did for one borough."""

    rows: Rows
    check_s: float
    features_s: float
    cpu_s: float
    peak_mb: float = field(default=0.0)


def ours(folder: Path) -> Work:
    """Check and compute with the product."""
    begun, cpu = time.perf_counter(), time.process_time()
    settings = PersonnelSettings(
        borough=folder.name,
        time_zone=features_pandas.ZONE,
        tables={name: str(folder / f"{name}.parquet") for name in TABLES if name != "sickness"},
        absent=("sickness",),
    )
    with staged(settings) as tables:
        check(tables, now=NOW).require_usable()
        checked = time.perf_counter()
        cutoffs = covered_cutoffs(tables)
        made = rows_at_all(tables, cutoffs, features=list(INDICATORS), labels=list(LABELS), protected=())
    done, cpu_done, peak = time.perf_counter(), time.process_time(), _peak_mb()
    # Only so that the two can be compared.
    rows = {
        cutoff: pd.DataFrame(table.features | table.labels, index=table.person)
        for cutoff, table in zip(cutoffs, made, strict=True)
    }
    return Work(rows, checked - begun, done - checked, cpu_done - cpu, peak)


def theirs(folder: Path, cutoffs: tuple[int, ...]) -> Work:
    """Check and compute with pandas."""
    begun, cpu = time.perf_counter(), time.process_time()
    frames = features_pandas.read(folder)
    features_pandas.problems(frames, NOW)
    checked = time.perf_counter()
    rows = {cutoff: features_pandas.features(frames, cutoff, folder.name) for cutoff in cutoffs}
    return Work(rows, checked - begun, time.perf_counter() - checked, time.process_time() - cpu)


def require_equal(mine: Rows, other: Rows) -> int:
    """Return how many rows are equal in every column. Raises: AssertionError naming a column that is not."""
    assert mine.keys() == other.keys()
    for cutoff, frame in mine.items():
        assert frame.index.tolist() == other[cutoff].index.tolist(), f"cutoff {cutoff}: other people"
        for name in frame:
            default = INDICATORS[name].default if name in INDICATORS else 0.0
            wanted = other[cutoff][name].fillna(default).to_numpy(dtype=float)
            assert np.allclose(frame[name].to_numpy(), wanted, rtol=1e-12, atol=1e-12), f"cutoff {cutoff}: {name}"
    return sum(len(frame) for frame in mine.values())


def measure(force: Path) -> dict[str, Any]:
    """Return the figures over all boroughs of a force."""
    folders = sorted((force / "boroughs").iterdir())
    context = multiprocessing.get_context("spawn")
    total = {"check_s": 0.0, "features_s": 0.0, "pandas_s": 0.0, "cpu_s": 0.0, "pandas_cpu_s": 0.0}
    rows, peak = 0, 0.0
    with context.Pool(1) as our_process, context.Pool(1) as their_process:
        for place, folder in enumerate(folders, start=1):
            mine = our_process.apply(ours, (folder,))
            other = their_process.apply(theirs, (folder, tuple(mine.rows)))
            rows += require_equal(mine.rows, other.rows)
            peak = max(peak, mine.peak_mb)
            for name, seconds in (
                ("check_s", mine.check_s),
                ("features_s", mine.features_s),
                ("pandas_s", other.check_s + other.features_s),
                ("cpu_s", mine.cpu_s),
                ("pandas_cpu_s", other.cpu_s),
            ):
                total[name] += seconds
            print(f"{place} of {len(folders)} boroughs: equal", file=sys.stderr)
    ratio = total["pandas_s"] / (total["check_s"] + total["features_s"])
    rounded = {name: round(seconds, 1) for name, seconds in total.items()}
    return rounded | {"ratio": round(ratio, 1), "peak_mb": round(peak), "rows": rows}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=46_000)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--boroughs", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--force", type=Path, help="A force that was generated before; people and months are read from it."
    )
    parser.add_argument("--json", action="store_true", help="Print the figures as JSON.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate_s = None
        force = chosen.force
        if force is None:
            from deploy.force.events.generate import generate_events

            force, begun = Path(folder) / "force", time.perf_counter()
            generate_events(
                force, people=chosen.people, months=chosen.months, boroughs=chosen.boroughs, seed=chosen.seed
            )
            generate_s = round(time.perf_counter() - begun, 1)
        told = json.loads((force / "force.json").read_text(encoding="utf-8"))
        figures = {"people": told["people"], "months": told["months"], "generate_s": generate_s} | measure(force)
    if chosen.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name}: {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
