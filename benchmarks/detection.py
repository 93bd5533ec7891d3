"""Who is found, from events to flags: ``python -m benchmarks.detection --help``.

    python -m benchmarks.detection --seeds 1,2,3,4,5 [--people 46000] [--draws 3] [--keep DIR] [--json]

Generates a force for each seed (deploy/force/README.md), computes its features as a node does, trains at the first cutoff
on what findings said about it by the second one, and flags there. What counts is the planted truth, which no method sees:
who has an open case at that cutoff. Each method flags as many people of each category as have an open case there, the
public report's figures: 598 and 42 of 46,000 for roster and attendance, together 1.4 % of people.

Methods: ``rules``, the public thresholds, which need no labels; ``custodes``, ours at a joint epsilon of 1 over all
categories and releases, trained from the weights of the catalogue; ``custodes-from-rules``, from the rules as public
starting weights; ``logistic`` and ``lightgbm`` without privacy, on the same features. Ours draws its noise from the
operating system ``--draws`` times for each force.

Fields of ``--json``, one object a force, method, draw and category:

- ``seed`` of the force, ``method``, ``draw``, ``category``, ``flags``.
- ``recall_serious``, ``recall``: share of the open serious cases, and of all open cases, that are flagged.
- ``precision``: share of the flagged who have an open case.
- ``lookalike_rate``, ``base_rate``: share of the category's honest look-alikes, and of all other honest people who can
  be flagged, that are flagged. Honest: without a planted case in the category, found or not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.events import EventForce, read_force
from benchmarks.methods import not_private
from benchmarks.simulated import SimulatedForce
from benchmarks.task import Guarantee, Task, linear
from borough_node.features.rules import rule_scores, start_weights
from borough_node.sources.layout import load_catalogue
from coordinator.registry.drafting import PlanChoices
from deploy.force.events.cases import OFFENCES
from deploy.force.events.generate import generate_events
from deploy.force.population import scaled_size
from deploy.force.truth import FIGURES, figures, highest
from protocol.documents.catalogue import FeatureCatalogue
from protocol.rpc.process import explained_errors
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.final import final_weights

Row = dict[str, Any]
SAMPLES = Path(__file__).resolve().parents[1] / "deploy" / "samples"
CATALOGUE, PLAN = SAMPLES / "personnel.catalogue.toml", SAMPLES / "synthetic.plan.toml"
EPSILON = 1.0
BOROUGHS, MONTHS = 32, 12
Tell = Callable[[str], None]


def measured(
    force: EventForce, catalogue: FeatureCatalogue, choices: PlanChoices, *, draws: int, tell: Tell
) -> Iterator[Row]:
    """Yield one row per method, draw and category of a force."""
    people = sum(int((table.cutoff == force.evaluation_cutoff).sum()) for table in force.tables.values())
    started = with_rule_starts(catalogue)
    tasks = {
        name: Task.of(
            SimulatedForce(used, SimulatedForce.by_party(force.tables)),
            choices,
            train_until=force.train_until,
            evaluation_cutoff=force.evaluation_cutoff,
        )
        for name, used in (("custodes", catalogue), ("custodes-from-rules", started))
    }
    plain = tasks["custodes"]
    cohort = plain.force.everybody("evaluation", plain.plan)
    persons = cohort.persons.astype(str)
    eligible = [
        np.ones(len(persons), dtype=bool) if rule is None else cohort.rows[:, rule] >= 1.0
        for rule in plain.columns.eligible
    ]

    def rows(method: str, draw: int, scores: Float64Array) -> Iterator[Row]:
        tell(method)
        for head, entry in enumerate(catalogue.heads):
            flags = scaled_size(_open_cases(entry.category), people, least=2)
            flagged = highest(scores[:, head], eligible[head], flags)
            known = {"method": method, "draw": draw, "category": entry.category, "flags": flags}
            yield known | figures(entry.category, persons, eligible[head], flagged, force.truth)

    yield from rows("rules", 0, rules(force, catalogue, persons))
    for name, fit in (("logistic", not_private.logistic), ("lightgbm", not_private.lightgbm)):
        yield from rows(name, 0, fit(plain, seed=0).score(cohort.rows))
    for name, task in tasks.items():
        for draw in range(draws):
            # Closed-form gradients: a tenth of the time, and off by less than a thousandth of the noise.
            run = task.force.train(task.plan_for(Guarantee(EPSILON, choices.delta)), closed_form=True)
            yield from rows(name, draw, linear(task.columns, final_weights(run))(cohort.rows))


def _open_cases(category: str) -> int:
    offence = next(offence for offence in OFFENCES if offence.category == category)
    return offence.serious + offence.lesser


def rules(force: EventForce, catalogue: FeatureCatalogue, persons: npt.NDArray[np.str_]) -> Float64Array:
    """Return the rule scores of these people at the evaluation cutoff, one column a category."""
    now = [(table, table.cutoff == force.evaluation_cutoff) for table in force.tables.values()]
    known = np.concatenate([table.person[rows] for table, rows in now]).astype(str)
    order = np.argsort(known)
    place = order[np.searchsorted(known[order], persons)]
    features = {
        feature.name: np.concatenate([table.features[feature.name][rows] for table, rows in now])[place]
        for feature in catalogue.features
    }
    return np.column_stack([rule_scores(head.category, features) for head in catalogue.heads])


def with_rule_starts(catalogue: FeatureCatalogue) -> FeatureCatalogue:
    """Return the catalogue with the rules as public starting weights, of the features that a head names."""
    heads = tuple(
        head.model_copy(
            update={
                "start": {
                    name: weight for name, weight in start_weights(head.category).items() if name in head.features
                }
            }
        )
        for head in catalogue.heads
    )
    return catalogue.model_copy(update={"heads": heads})


def table(rows: Sequence[Row]) -> Table:
    """Return the means over forces and draws, lowest and highest force beside the recall of serious cases."""
    shown = Table(title="Means over forces (lowest to highest force)", title_justify="left")
    for name in ("category", "method"):
        shown.add_column(name, no_wrap=True)
    for name in FIGURES:
        shown.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for category in dict.fromkeys(row["category"] for row in rows):
        for method in dict.fromkeys(row["method"] for row in rows):
            own = [row for row in rows if (row["category"], row["method"]) == (category, method)]
            shown.add_row(category, method, *(_spread(own, figure) for figure in FIGURES))
        shown.add_section()
    return shown


def _spread(rows: Sequence[Row], figure: str) -> str:
    forces = [
        statistics.fmean(row[figure] for row in rows if row["seed"] == seed)
        for seed in dict.fromkeys(row["seed"] for row in rows)
    ]
    return f"{statistics.fmean(forces):.3f} ({min(forces):.3f} to {max(forces):.3f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3,4,5", metavar="A,B", help="forces; default: %(default)s")
    parser.add_argument("--people", type=int, default=46_000, help="of each force; default: %(default)s")
    parser.add_argument("--boroughs", type=int, default=BOROUGHS, help="default: %(default)s")
    parser.add_argument("--draws", type=int, default=3, help="of the noise, for each force; default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="forces are kept here by seed, and used again")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _parser().parse_args(argv)
    console = Console(stderr=True, highlight=False)
    torch.set_num_threads(1)
    rows: list[Row] = []
    with explained_errors():
        _, catalogue = load_catalogue(CATALOGUE)
        choices = PlanChoices.load(PLAN)
        for seed in [int(seed) for seed in options.seeds.split(",")]:
            keep = (
                tempfile.TemporaryDirectory(prefix="custodes-") if options.keep is None else nullcontext(options.keep)
            )
            with keep as folder:
                place = Path(folder) / str(seed)
                if not place.exists():
                    console.print(f"force {seed}: events", style="dim")
                    generate_events(place, people=options.people, months=MONTHS, boroughs=options.boroughs, seed=seed)
                console.print(f"force {seed}: features", style="dim")
                force = read_force(place, catalogue, tell=lambda _: None)
            tell = _teller(console, seed)
            rows += [
                {"seed": seed} | row for row in measured(force, catalogue, choices, draws=options.draws, tell=tell)
            ]
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        Console().print(table(rows))
    return 0


def _teller(console: Console, seed: int) -> Tell:
    return lambda method: console.print(f"force {seed}: {method}", style="dim")


if __name__ == "__main__":
    sys.exit(main())
