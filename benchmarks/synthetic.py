"""Accuracy on a synthetic force at feature level over many draws of the noise: ``python -m benchmarks.synthetic --help``.

The force of ``deploy.force.generate`` with its catalogue and sample plan, whose epsilon is for everything: every category,
training, evaluation, fairness and drift. Training runs as in benchmarks/simulated.py, with each borough's own noise from
the operating system, so runs differ although the force is the same. From events, as the demo does, a force is measured by
``python -m benchmarks.detection``.
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

import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.simulated import SimulatedForce
from benchmarks.task import accuracy, linear
from borough_node.sources.layout import load_catalogue
from coordinator.registry.drafting import PlanChoices
from deploy.force.generate import generate
from deploy.force.population import CUTOFFS
from protocol.documents.plan import TrainingPlan
from protocol.rpc.process import explained_errors
from protocol.scorecard.final import final_weights

Row = dict[str, Any]
SAMPLES = Path(__file__).resolve().parents[1] / "deploy" / "samples"
CATALOGUE, PLAN = SAMPLES / "synthetic.catalogue.toml", SAMPLES / "synthetic.plan.toml"


def force_of(*, people: int, boroughs: int, seed: int, epsilon: float | None) -> tuple[SimulatedForce, TrainingPlan]:
    """Return the boroughs of a force and its plan.

    Args:
        epsilon: Of the whole plan; None: as the sample plan says.
    Raises: ConfigurationError, PlanInvalid.
    """
    layout, catalogue = load_catalogue(CATALOGUE)
    with tempfile.TemporaryDirectory() as directory:
        table = Path(directory) / "force.parquet"
        pq.write_table(generate(people=people, boroughs=boroughs, seed=seed).table, table)
        force = SimulatedForce.read(table, layout=layout, catalogue=catalogue)
    choices = PlanChoices.load(PLAN)
    if epsilon is not None:
        choices = choices.model_copy(update={"epsilon": epsilon})
    return force, force.plan(choices, train_until=CUTOFFS[0], evaluation_cutoff=CUTOFFS[-1])


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
    with explained_errors():
        force, plan = force_of(
            people=options.people, boroughs=options.boroughs, seed=options.seed, epsilon=options.epsilon
        )
        rows = [
            row
            for number in track(range(options.runs), description="runs", console=console)
            for row in measure(force, plan, [number])
        ]
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    shown = Table(
        title=f"{options.people:,} people (seed {options.seed}), epsilon {plan.privacy.epsilon:g} for the whole plan",
        title_justify="left",
    )
    for name in ("category", "positives", "AUC, mean", "lowest", "highest", "avg. prec."):
        shown.add_column(name, justify="left" if name == "category" else "right", no_wrap=True)
    for row in summary(rows):
        areas = (f"{row[name]:.3f}" for name in ("auc_mean", "auc_low", "auc_high", "ap_mean"))
        shown.add_row(row["category"], str(row["positives"]), *areas)
    Console().print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
