"""Accuracy on the demo's synthetic force over many draws of the noise: ``python -m benchmarks.synthetic --help``.

The demo's force, catalogue and sample plan, whose epsilon is for everything: every category, training, evaluation,
fairness and drift. Training runs as in benchmarks/simulated.py, with each borough's own noise from the operating system,
so runs differ although the force is the same; ``python -m benchmarks.table`` does the same with all parties and the wire.
Figures are over the people who can be flagged at the evaluation cutoff, against what was planted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.simulated import SimulatedForce
from benchmarks.task import accuracy, linear
from borough_node.sources.table import read_table
from deploy.demo.scenario import Scenario, synthetic
from protocol.documents.plan import TrainingPlan
from protocol.rpc.process import explained_errors
from protocol.scorecard.final import final_weights

Row = dict[str, Any]


def force_of(scenario: Scenario) -> tuple[SimulatedForce, TrainingPlan]:
    """Return a scenario's boroughs and its plan. Raises: TableInvalid, ConfigurationError, PlanInvalid."""
    force = SimulatedForce(
        scenario.catalogue,
        {
            borough: read_table(path, layout=scenario.layout, catalogue=scenario.catalogue, with_silo=False)
            for borough, path in scenario.tables.items()
        },
    )
    plan = force.plan(scenario.choices, train_until=scenario.train_until, evaluation_cutoff=scenario.evaluation_cutoff)
    return force, plan


def measure(force: SimulatedForce, plan: TrainingPlan, runs: Sequence[int]) -> Iterator[Row]:
    """Yield one row a run and category."""
    cohort = force.everybody("evaluation", plan)
    for number in runs:
        run = force.train(plan)
        scores = linear(run.columns, final_weights(run))(cohort.rows)
        for head, category in enumerate(plan.categories):
            rule = run.columns.eligible[head]
            who = slice(None) if rule is None else cohort.rows[:, rule] >= 1.0
            found = accuracy(scores[who, head], cohort.labels[who, head])
            positives = int(cohort.labels[who, head].sum())
            yield {"category": category, "positives": positives, "run": number, "auc": found.auc, "ap": found.ap}


def summary(rows: Sequence[Row]) -> list[Row]:
    """Return, for each category, mean, lowest and highest AUC and the mean average precision."""
    found = []
    for category in dict.fromkeys(row["category"] for row in rows):
        own = [row for row in rows if row["category"] == category]
        areas = [row["auc"] for row in own]
        found.append(
            {
                "category": category,
                "positives": own[0]["positives"],
                "runs": len(own),
                "auc_mean": statistics.fmean(areas),
                "auc_low": min(areas),
                "auc_high": max(areas),
                "ap_mean": statistics.fmean(row["ap"] for row in own),
            }
        )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=46_000)
    parser.add_argument("--boroughs", type=int, default=32)
    parser.add_argument("--seed", type=int, default=2026, help="of the force; the noise has none")
    parser.add_argument("--runs", type=int, required=True, help="draws of the noise")
    parser.add_argument("--epsilon", type=float, help="of the whole plan; default: as the sample plan says")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    console = Console(stderr=True)
    with explained_errors(), tempfile.TemporaryDirectory() as directory:
        scenario = synthetic(
            Path(directory),
            people=options.people,
            boroughs=options.boroughs,
            seed=options.seed,
            epsilon=options.epsilon,
        )
        force, plan = force_of(scenario)
        rows = [
            row
            for number in track(range(options.runs), description="runs", console=console)
            for row in measure(force, plan, [number])
        ]
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    shown = Table(title=f"{scenario.title}, epsilon {plan.privacy.epsilon:g} for the whole plan", title_justify="left")
    for name in ("category", "positives", "AUC, mean", "lowest", "highest", "avg. prec."):
        shown.add_column(name, justify="left" if name == "category" else "right", no_wrap=True)
    for row in summary(rows):
        areas = (f"{row[name]:.3f}" for name in ("auc_mean", "auc_low", "auc_high", "ap_mean"))
        shown.add_row(row["category"], str(row["positives"]), *areas)
    Console().print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
