"""Accuracy of ours and of peers on a table, at the same joint epsilon: ``python -m benchmarks.utility --help``.

    python -m benchmarks.utility --train FILE --train-until YEAR --test YEAR --catalogue FILE --labels A,B \\
        --epsilon 0.5,1,2 --seeds 5 [--test-file FILE] [--json]

Trains on the rows with cutoffs up to ``--train-until`` and measures on those of the cutoff ``--test``, of the same file
or another. Table and catalogue are in the format of ``custodes demo --table``: one row per (person, cutoff), a silo
column, features, 0/1 labels. A label is named by its column or by its category in the catalogue; columns that neither
catalogue nor labels need are not read.

Methods, one file each in ``benchmarks/methods``: ``custodes``, ``adassp``, ``dp-sgd`` and ``local-dp-fedavg`` with
privacy, ``logistic``, ``lightgbm`` and ``ebm`` without; ``local-dp-fedavg-prior`` only when it is named: the naive method
with our public start, which closes most of its distance. **Epsilon is joint**: for one person with all rows, over all
labels and everything released; each file says how it is accounted for, and the tests check it with another accountant.
Delta, and all that ours needs, come from the plan file (``--plan``). Settings of dp-sgd and local-dp-fedavg are chosen
at each epsilon on a fifth of the training people, at no cost in budget.

Fields of ``--json``, one object a method, epsilon, label and seed:

- ``method``; ``epsilon``, null without privacy; ``label`` as it was asked for; ``seed``: ours draws its noise from the
  operating system, so there it numbers the run; methods without privacy run once.
- ``auc``, ``ap``: area under the ROC curve, average precision; ``p13``: precision among the highest 1.3 %.
- ``rounds``: exchanges with the boroughs, or steps of the curator; null without privacy.
- ``seconds``: wall time of training all labels once, without choosing settings.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.methods import adassp, custodes, dp_sgd, local_fedavg, not_private
from benchmarks.reading import Measured, read_measured
from benchmarks.task import Accuracy, Fitted, Guarantee, Task, accuracy
from coordinator.registry.drafting import PlanChoices
from protocol.documents.base import describe
from protocol.errors import ConfigurationError
from protocol.rpc.process import explained_errors

Row = dict[str, Any]
FIELDS = ("method", "epsilon", "label", "seed", "auc", "ap", "p13", "rounds", "seconds")
SAMPLE_PLAN = Path(__file__).resolve().parents[1] / "deploy" / "samples" / "table.plan.toml"
HELD_OUT, TUNING_SEED = 0.2, 20_260_101


@dataclass(frozen=True, slots=True)
class Method:
    """One entry of the comparison."""

    fit: Callable[..., Fitted]
    """(task, guarantee, seed[, setting]) with privacy, (task, seed) without."""
    is_private: bool
    grid: tuple[Any, ...] = ()
    """Settings to choose from; empty: nothing is tuned."""


METHODS: dict[str, Method] = {
    "custodes": Method(custodes.fit, is_private=True),
    "adassp": Method(adassp.fit, is_private=True),
    "dp-sgd": Method(dp_sgd.fit, is_private=True, grid=dp_sgd.GRID),
    "local-dp-fedavg": Method(local_fedavg.fit, is_private=True, grid=local_fedavg.GRID),
    "local-dp-fedavg-prior": Method(local_fedavg.fit_from_prior, is_private=True, grid=local_fedavg.PRIOR_GRID),
    "logistic": Method(not_private.logistic, is_private=False),
    "lightgbm": Method(not_private.lightgbm, is_private=False),
    "ebm": Method(not_private.ebm, is_private=False),
}


DEFAULT = tuple(name for name in METHODS if name != "local-dp-fedavg-prior")
"""What runs unless ``--methods`` says otherwise: all but the variant that is not naive any more."""


def fits(methods: Sequence[str], epsilons: Sequence[float], seeds: int) -> int:
    """Return how many times something is trained: what the progress bar counts to."""
    private = [METHODS[name] for name in methods if METHODS[name].is_private]
    return sum(len(epsilons) * (seeds + len(one.grid)) for one in private) + len(methods) - len(private)


def measure(
    measured: Measured, methods: Sequence[str], epsilons: Sequence[float], seeds: int, *, tell: Callable[[str], None]
) -> Iterator[Row]:
    """Yield the rows of each fit as soon as it is done; ``tell`` hears what was done, once a fit."""
    task = measured.task
    for name in methods:
        method = METHODS[name]
        if not method.is_private:
            yield from _one(measured, name, None, 0, partial(method.fit, task, seed=0))
            tell(name)
            continue
        for epsilon in epsilons:
            guarantee = Guarantee(epsilon, task.choices.delta)
            fit = partial(method.fit, task, guarantee)
            if method.grid:
                fit = partial(fit, setting=tuned(task, method, guarantee, tell=partial(tell, f"{name}: settings")))
            for seed in range(seeds):
                yield from _one(measured, name, epsilon, seed, partial(fit, seed=seed))
                tell(f"{name}, epsilon {epsilon:g}")


def tuned(task: Task, method: Method, guarantee: Guarantee, *, tell: Callable[[], None]) -> Any:
    """Return the setting with the highest AUC, mean over the labels, on people whom it was not trained on.

    They are a fifth of the training people and their rows are used without noise: this costs budget that is not counted.
    """
    kept, held = task.split(share=HELD_OUT, seed=TUNING_SEED)
    known = [head for head in range(held.labels.shape[1]) if 0 < held.labels[:, head].mean() < 1]

    def figure(setting: Any) -> float:
        score = method.fit(kept, guarantee, seed=TUNING_SEED, setting=setting).score(held.rows)
        tell()
        found = [accuracy(score[:, head], held.labels[:, head]).auc for head in known]
        return float(np.mean(found)) if np.isfinite(score).all() else 0.0

    return max(method.grid, key=figure)


def _one(measured: Measured, name: str, epsilon: float | None, seed: int, fit: Callable[[], Fitted]) -> list[Row]:
    began = time.monotonic()
    fitted = fit()
    seconds = time.monotonic() - began
    score = fitted.score(measured.test.rows)
    rows = []
    for head, label in enumerate(measured.labels):
        found: Accuracy = accuracy(score[measured.eligible[head], head], measured.truth[head])
        figures = (name, epsilon, label, seed, found.auc, found.ap, found.p13, fitted.rounds, seconds)
        rows.append(dict(zip(FIELDS, figures, strict=True)))
    return rows


def table(rows: Sequence[Row]) -> Table:
    """Return means over the seeds, one line a label, method and epsilon."""
    shown = Table(title="Means over the seeds; epsilon is joint over all labels", title_justify="left")
    for name in ("label", "method"):
        shown.add_column(name, no_wrap=True)
    for name in ("epsilon", "AUC", "avg. prec.", "top 1.3 %", "rounds", "seconds"):
        shown.add_column(name, justify="right", no_wrap=True)
    labels = list(dict.fromkeys(row["label"] for row in rows))
    for label in labels:
        of_label = [row for row in rows if row["label"] == label]
        for method, epsilon in dict.fromkeys((row["method"], row["epsilon"]) for row in of_label):
            own = [row for row in of_label if (row["method"], row["epsilon"]) == (method, epsilon)]
            rounds = own[0]["rounds"]
            shown.add_row(
                label,
                method,
                "-" if epsilon is None else f"{epsilon:g}",
                *(f"{statistics.fmean(row[figure] for row in own):.3f}" for figure in ("auc", "ap", "p13")),
                "-" if rounds is None else f"{rounds}",
                f"{statistics.fmean(row['seconds'] for row in own):.1f}",
            )
        shown.add_section()
    return shown


# --- the command --------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="the table, .parquet or .csv")
    parser.add_argument("--train-until", type=int, required=True, metavar="YEAR", help="last training cutoff")
    parser.add_argument("--train-from", type=int, metavar="YEAR", help="first training cutoff; default: the table's")
    parser.add_argument("--test-file", type=Path, metavar="FILE", help="table of the test cohort; default: --train")
    parser.add_argument("--test", type=int, required=True, metavar="YEAR", help="cutoff of the test cohort")
    parser.add_argument("--catalogue", type=Path, required=True, metavar="FILE", help="the table's catalogue, TOML")
    parser.add_argument("--labels", metavar="A,B", help="label columns or categories; default: all of the catalogue")
    parser.add_argument("--epsilon", required=True, metavar="E,F", help="joint epsilons, for example 0.5,1,2")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each private method at each epsilon")
    parser.add_argument("--methods", default=",".join(DEFAULT), metavar="A,B", help="default: %(default)s")
    parser.add_argument(
        "--plan", type=Path, default=SAMPLE_PLAN, metavar="FILE", help="default: the sample plan of tables"
    )
    parser.add_argument("--min-boroughs-share", type=float, metavar="SHARE", help="of the silos; default: the plan's")
    parser.add_argument("--colluding", type=int, metavar="C", help="boroughs that may collude; default: the plan's")
    parser.add_argument(
        "--skip-missing-features", action="store_true", help="leave out features of the catalogue that a table lacks"
    )
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    return parser


def numbers(text: str, option: str) -> list[float]:
    """Return positive numbers of a comma-separated list. Raises: ConfigurationError naming the option."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigurationError(f"option {option}: {text} is not a list of numbers such as 0.5,1,2") from None
    if not all(0 < value < float("inf") for value in found):
        raise ConfigurationError(f"option {option}: every number must be above 0")
    return list(dict.fromkeys(found))


def chosen_methods(text: str) -> list[str]:
    """Return methods of a comma-separated list. Raises: ConfigurationError naming one that is not known."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if strangers := [name for name in names if name not in METHODS]:
        raise ConfigurationError(f"option --methods: {strangers[0]} is none of {', '.join(METHODS)}")
    return names


def choices_of(options: argparse.Namespace) -> PlanChoices:
    """Return the plan file's choices with what the command line says instead. Raises: ConfigurationError."""
    changed = {"min_boroughs_share": options.min_boroughs_share, "colluding": options.colluding}
    kept = {name: value for name, value in changed.items() if value is not None}
    try:
        return PlanChoices.model_validate(dict(PlanChoices.load(options.plan)) | kept)
    except ValidationError as error:
        raise ConfigurationError(f"option --min-boroughs-share or --colluding: {describe(error)}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _parser().parse_args(argv)
    console = Console(stderr=True, highlight=False)
    torch.set_num_threads(1)
    with explained_errors():
        if options.seeds < 1:
            raise ConfigurationError("option --seeds: at least 1")
        methods, epsilons = chosen_methods(options.methods), numbers(options.epsilon, "--epsilon")
        measured = read_measured(
            train=options.train,
            test=options.test_file or options.train,
            catalogue=options.catalogue,
            labels=options.labels,
            choices=choices_of(options),
            train_from=options.train_from,
            train_until=options.train_until,
            test_cutoff=options.test,
            skip_missing_features=options.skip_missing_features,
            say=lambda text: console.print(text, style="dim"),
        )
        columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("training", total=fits(methods, epsilons, options.seeds))

            def tell(text: str) -> None:
                progress.update(bar, advance=1, description=text)
                if not console.is_terminal:
                    # A bar is drawn on a terminal only; a log gets a line a fit.
                    console.print(f"{progress.tasks[0].completed:.0f} of {progress.tasks[0].total:.0f}: {text}")

            rows = list(measure(measured, methods, epsilons, options.seeds, tell=tell))
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        Console(highlight=False).print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
