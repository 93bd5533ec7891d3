"""What the mitigation of group differences does on a table, before and after: ``python -m benchmarks.fairness --help``.

    python -m benchmarks.fairness --table FILE --catalogue FILE --train-until YEAR --test YEAR --attribute NAME [NAME ...]

For each attribute, and all of them together, plans with a mitigation are trained as in benchmarks/simulated.py (gradients
by its closed form), a few times with fresh noise. From the **same** published sums follow the weights without mitigation
and with each strength, so before and after differ by the mitigation alone. Selected are the 1.3 % of the test cohort with
the highest scores; what a threshold's own noise adds is not measured here. The share for group moments comes from the
plan's share for evaluation, so training has the noise of the plan without mitigation.

Fields of ``--json``, one object a group: ``mitigated`` (attributes, joined by +), ``strength`` (0: before), ``run``,
``label``, ``auc`` (of the label, all groups), ``attribute``, ``group``, ``people``, ``positives``, ``selection_rate``,
``true_positive_rate``, ``false_positive_rate`` (null without positives or negatives).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.reading import Measured, read_measured
from benchmarks.task import TOP_SHARE, accuracy, linear
from benchmarks.utility import SAMPLE_PLAN, numbers
from coordinator.registry.drafting import PlanChoices
from protocol.documents.plan import Fairness, Mitigation, Shares
from protocol.errors import ConfigurationError
from protocol.rpc.process import explained_errors
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.final import final_weights
from protocol.scorecard.run import Run

Row = dict[str, Any]
RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")


def mitigating(choices: PlanChoices, attributes: Sequence[str], *, group_share: float) -> PlanChoices:
    """Return choices that mitigate these attributes in full, at the same shares for training.

    Raises: ConfigurationError if the evaluation has no such share to give.
    """
    shares = dict(choices.shares)
    if not 0 < group_share < shares["evaluation"]:
        raise ConfigurationError(
            f"option --group-share: from above 0 to below the plan's share for evaluation, {shares['evaluation']:g}"
        )
    shares |= {"group_moments": shares["group_moments"] + group_share, "evaluation": shares["evaluation"] - group_share}
    if choices.fairness is None:
        raise ConfigurationError("option --plan: the plan measures nothing by group; give it a section fairness")
    fairness = Fairness(
        **dict(choices.fairness)
        | {
            "attributes": tuple(attributes),
            "gates": (),
            "mitigations": tuple(Mitigation(attribute=name, strength=1.0) for name in attributes),
        }
    )
    return choices.model_copy(update={"shares": Shares(**shares), "fairness": fairness})


def weights_at(run: Run, strength: float) -> list[Float64Array]:
    """Return the final weights that follow from a run if its mitigations had this strength; 0: if it had none."""
    fairness = run.plan.fairness
    assert fairness is not None
    changed = tuple(one.model_copy(update={"strength": strength}) for one in fairness.mitigations if strength > 0)
    plan = run.plan.model_copy(update={"fairness": fairness.model_copy(update={"mitigations": changed})})
    return final_weights(replace(run, plan=plan))


def group_rates(selected: npt.NDArray[np.bool_], labels: Float64Array, group: npt.NDArray[np.bool_]) -> Row:
    """Return the size of a group and its rates."""
    positives, negatives = group & (labels == 1), group & (labels == 0)
    return {
        "people": int(group.sum()),
        "positives": int(positives.sum()),
        "selection_rate": float(selected[group].mean()) if group.any() else None,
        "true_positive_rate": float(selected[positives].mean()) if positives.any() else None,
        "false_positive_rate": float(selected[negatives].mean()) if negatives.any() else None,
    }


def measure(
    measured: Measured,
    attributes: Sequence[str],
    *,
    strengths: Sequence[float],
    runs: int,
    group_share: float,
    tell: Callable[[str], None],
) -> Iterator[Row]:
    """Yield the rows of each run; ``tell`` hears once a run."""
    task = measured.task
    sets = [(name,) for name in attributes] + ([tuple(attributes)] if len(attributes) > 1 else [])
    for chosen in sets:
        choices = mitigating(task.choices, chosen, group_share=group_share)
        plan = task.force.plan(
            choices, train_until=task.plan.train_until, evaluation_cutoff=task.plan.evaluation_cutoff
        )
        for number in range(runs):
            run = task.force.train(plan, closed_form=True)
            for strength in (0.0, *strengths):
                score = linear(run.columns, weights_at(run, strength))(measured.test.rows)
                common = {"mitigated": "+".join(chosen), "strength": strength, "run": number}
                yield from _rows(measured, attributes, score, common)
            tell("+".join(chosen))


def _rows(measured: Measured, attributes: Sequence[str], score: Float64Array, common: Row) -> Iterator[Row]:
    catalogue = measured.task.force.catalogue
    for head, label in enumerate(measured.labels):
        who, truth = measured.eligible[head], measured.truth[head]
        own = score[who, head]
        selected = np.zeros(own.size, dtype=bool)
        selected[np.argsort(-own, kind="stable")[: math.ceil(TOP_SHARE * own.size)]] = True
        area = accuracy(own, truth).auc
        for name in attributes:
            codes = measured.test.groups[who, catalogue.protected_names().index(name)]
            for code, group in enumerate(catalogue.attribute(name).groups):
                rates = group_rates(selected, truth, codes == code)
                yield {**common, "label": label, "auc": area, "attribute": name, "group": group, **rates}


def lowest_over_highest(rows: Sequence[Row], rate: str) -> float | None:
    """Return the ratio of the lowest to the highest rate, each group's a mean over the runs; None if all are 0."""
    groups = dict.fromkeys(row["group"] for row in rows)
    found = [[row[rate] for row in rows if row["group"] == group and row[rate] is not None] for group in groups]
    means = [statistics.fmean(values) for values in found if values]
    return min(means) / max(means) if means and max(means) > 0 else None


def table(rows: Sequence[Row]) -> Table:
    """Return, for each label and attribute, the ratios of the lowest to the highest group, means over the runs.

    An attribute is shown where it was mitigated, alone or with others.
    """
    shown = Table(
        title="Lowest group's rate over the highest group's, and AUC; means over the runs", title_justify="left"
    )
    for name in ("label", "attribute", "mitigated"):
        shown.add_column(name, no_wrap=True)
    for name in ("strength", "selected", "true pos.", "false pos.", "AUC"):
        shown.add_column(name, justify="right", no_wrap=True)
    keys = dict.fromkeys((row["label"], row["attribute"], row["mitigated"], row["strength"]) for row in rows)
    for key in sorted(keys, key=str):
        label, attribute, mitigated, strength = key
        if attribute not in mitigated.split("+"):
            continue
        own = [row for row in rows if (row["label"], row["attribute"], row["mitigated"], row["strength"]) == key]
        ratios = [lowest_over_highest(own, rate) for rate in RATES]
        shown.add_row(
            label,
            attribute,
            mitigated,
            f"{strength:g}" if strength else "before",
            *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
            f"{statistics.fmean(row['auc'] for row in own):.3f}",
        )
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, metavar="FILE")
    parser.add_argument("--catalogue", type=Path, required=True, metavar="FILE")
    parser.add_argument("--train-until", type=int, required=True, metavar="YEAR")
    parser.add_argument("--test", type=int, required=True, metavar="YEAR")
    parser.add_argument("--attribute", nargs="+", required=True, metavar="NAME", help="protected columns")
    parser.add_argument("--labels", metavar="A,B", help="label columns or categories; default: all of the catalogue")
    parser.add_argument("--strengths", default="0.5,1", metavar="S,T", help="of the mitigation; default: %(default)s")
    parser.add_argument("--group-share", type=float, default=0.06, help="of mu^2, for group moments; %(default)s")
    parser.add_argument("--epsilon", type=float, help="default: the plan's")
    parser.add_argument("--runs", type=int, default=5, help="draws of the noise; default: %(default)s")
    parser.add_argument(
        "--plan", type=Path, default=SAMPLE_PLAN, metavar="FILE", help="default: the sample plan of tables"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    console = Console(stderr=True, highlight=False)
    torch.set_num_threads(1)
    with explained_errors():
        strengths = numbers(options.strengths, "--strengths")
        if max(strengths) > 1 or options.runs < 1:
            raise ConfigurationError("options --strengths, --runs: strengths are at most 1, runs at least 1")
        choices = PlanChoices.load(options.plan)
        if options.epsilon is not None:
            choices = choices.model_copy(update={"epsilon": numbers(str(options.epsilon), "--epsilon")[0]})
        measured = read_measured(
            train=options.table,
            test=options.table,
            catalogue=options.catalogue,
            labels=options.labels,
            choices=choices,
            train_from=None,
            train_until=options.train_until,
            test_cutoff=options.test,
            skip_missing_features=False,
            say=lambda text: console.print(text, style="dim"),
        )
        attributes = tuple(dict.fromkeys(options.attribute))
        known = measured.task.force.catalogue.protected_names()
        if strangers := [name for name in attributes if name not in known]:
            raise ConfigurationError(
                f"option --attribute: {strangers[0]} is no protected column of catalogue and table: {', '.join(known)}"
            )
        with Progress(console=console) as progress:
            sets = len(attributes) + (len(attributes) > 1)
            bar = progress.add_task("runs", total=sets * options.runs)

            def tell(text: str) -> None:
                progress.update(bar, advance=1, description=text)

            rows = list(
                measure(
                    measured,
                    attributes,
                    strengths=strengths,
                    runs=options.runs,
                    group_share=options.group_share,
                    tell=tell,
                )
            )
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        Console(highlight=False).print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
