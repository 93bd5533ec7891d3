"""Accuracy of the whole path on a table, over several runs: ``python -m benchmarks.table --help``.

Each run is a fresh federation with fresh noise from the operating system's cryptographic source, so runs differ although
the table is the same. Figures are at the evaluation cutoff, which the model never saw.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from typing import Any


def one_run(arguments: list[str]) -> dict[str, Any]:
    """Return the summary of one demo run in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "deploy.cli", "demo", *arguments, "--out", out, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def mean_and_spread(values: list[float]) -> dict[str, float]:
    """Return mean, lowest and highest."""
    return {"mean": round(statistics.fmean(values), 4), "low": round(min(values), 4), "high": round(max(values), 4)}


def main() -> None:
    """Run and print; everything after ``--`` goes to the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--json", action="store_true")
    options, rest = parser.parse_known_args()
    summaries = [one_run([argument for argument in rest if argument != "--"]) for _ in range(options.runs)]
    result: dict[str, Any] = {
        category: {
            name: mean_and_spread([summary["categories"][category][name] for summary in summaries])
            for name in ("auc", "average_precision", "precision_top", "flags")
        }
        for category in summaries[0]["categories"]
    }
    result["seconds"] = mean_and_spread([summary["seconds"]["total"] for summary in summaries])
    result["peak_memory_mb"] = mean_and_spread([summary["peak_memory_mb"] for summary in summaries])
    if options.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    for name, figures in result.items():
        sys.stdout.write(f"{name}: {json.dumps(figures)}\n")


if __name__ == "__main__":
    main()
