"""Predicted stability against reruns: would the same plan with fresh noise flag the same people again?

``python -m benchmarks.stability --table FILE --catalogue FILE --train-until YEAR --test YEAR --epsilon 1 --reruns 200
--json``, or ``--synthetic`` for a synthetic force. The plan runs many times over one table (`benchmarks.simulated`).
From each rerun's published sums the stability of everybody whom it flags is predicted and held against the share of the
other reruns that flag the person again. Caps are left out. For some reruns the error that the model would carry, which
is simulated from its public sums alone, is set beside the error found here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulated import TRAINING, SimulatedForce
from benchmarks.synthetic import force_of
from borough_node.sources.layout import load_catalogue
from coordinator.registry.drafting import PlanChoices
from protocol.documents.flags import LARGEST_STABILITY_ERROR
from protocol.documents.plan import TrainingPlan
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.reliability import as_values, reliability, tabulate
from protocol.scorecard.run import Run
from protocol.scorecard.stability import stability

SAMPLES = Path("deploy/samples")
NEEDED = TRAINING | {"evaluation"}
DECILES = 10


def measure(force: SimulatedForce, plan: TrainingPlan, *, reruns: int, models: int) -> list[dict[str, Any]]:
    """Return what was predicted and seen of every head.

    Args:
        reruns: At least 2.
        models: Of how many reruns the error is simulated as their models would carry it.
    """
    runs = [force.run(plan, releases=NEEDED, closed_form=True) for _ in range(reruns)]
    carried = [{head.category: head for head in reliability(run)} for run in runs[:models]]
    rows = force.everybody("evaluation", plan).rows
    found = []
    for place, category in enumerate(plan.categories):
        predicted, seen, flags = _head(runs, place, rows)
        table = tabulate(category, predicted, seen, runs=reruns)
        errors = [head[category].error for head in carried]
        found.append(
            {
                **as_values([table])[0],
                "reruns": reruns,
                "flags": {"mean": float(flags.mean()), "sd": float(flags.std())},
                "predicted": float(predicted.mean()),
                "seen": float(seen.mean()),
                "deciles": _deciles(predicted, seen, reruns),
                "carried_errors": errors,
                "carried_shown": sum(error <= LARGEST_STABILITY_ERROR for error in errors),
            }
        )
    return found


def _head(runs: list[Run], place: int, rows: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return predicted and seen of each flag, shape (flags of all runs,), and each run's number of flags."""
    columns = runs[0].columns
    rule = columns.eligible[place]
    own = rows if rule is None else rows[rows[:, rule] >= 1.0]
    own = own[:, list(columns.heads[place])]
    flagged, predictions = np.zeros((len(runs), own.shape[0]), dtype=bool), []
    for number, run in enumerate(runs):
        known = stability(run, run.plan.categories[place])
        scores = own @ columns.split(run.only("evaluation").inputs["weights"])[place]
        flagged[number] = scores >= known.threshold
        predictions.append(known.probability(own[flagged[number]], scores[flagged[number]]))
    times = flagged.sum(axis=0)
    seen = [(times[one] - 1) / (len(runs) - 1) for one in flagged]
    return np.concatenate(predictions), np.concatenate(seen), flagged.sum(axis=1)


def _deciles(predicted: Float64Array, seen: Float64Array, runs: int) -> list[dict[str, float]]:
    parts = np.array_split(np.argsort(predicted, kind="stable"), DECILES)
    return [
        {"predicted": float(predicted[part].mean()), "seen": float(seen[part].mean()), "people": part.size / runs}
        for part in parts
        if part.size
    ]


def _force(options: argparse.Namespace) -> tuple[SimulatedForce, TrainingPlan]:
    if options.synthetic:
        return force_of(people=46_000, boroughs=32, seed=2026, epsilon=options.epsilon)
    layout, catalogue = load_catalogue(options.catalogue)
    choices = PlanChoices.load(options.choices).model_copy(update={"epsilon": options.epsilon})
    force = SimulatedForce.read(options.table, layout=layout, catalogue=catalogue)
    return force, force.plan(choices, train_until=options.train_until, evaluation_cutoff=options.test)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--catalogue", type=Path)
    parser.add_argument("--choices", type=Path, default=SAMPLES / "table.plan.toml")
    parser.add_argument("--train-until", type=int)
    parser.add_argument("--test", type=int)
    parser.add_argument("--synthetic", action="store_true", help="a synthetic force instead of a table")
    parser.add_argument("--epsilon", type=float, required=True)
    parser.add_argument("--reruns", type=int, required=True)
    parser.add_argument("--models", type=int, default=10, help="reruns whose carried error is simulated")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.synthetic and None in (options.table, options.catalogue, options.train_until, options.test):
        parser.error("give --table, --catalogue, --train-until and --test, or --synthetic")
    if options.reruns < 2:
        parser.error("--reruns: at least 2")
    force, plan = _force(options)
    found = measure(force, plan, reruns=options.reruns, models=options.models)
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for head in found:
        sys.stdout.write(
            f"{head['category']}: predicted {head['predicted']:.3f}, seen {head['seen']:.3f}, error {head['error']:.3f}; "
            f"shown by {head['carried_shown']} of {len(head['carried_errors'])} models\n"
        )
        for row in head["rows"]:
            sys.stdout.write(
                f"  {row['band']}: predicted {row['predicted']:.2f}, seen {row['seen']:.2f}, "
                f"people {row['people']:.0f}\n"
            )


if __name__ == "__main__":
    main()
