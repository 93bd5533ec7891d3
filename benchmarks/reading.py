"""From the files of a command line to a task: only the columns that are needed are read, and whatever is off is named.

A table of another year or another city may have other silos, lack labels that nobody asked for, and lack protected
columns: no method trains on these. The rules for what is read stay those of a borough (borough_node/sources).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.simulated import SimulatedForce
from benchmarks.task import Task
from borough_node.features.cohort import Cohort
from borough_node.sources.file import opened
from borough_node.sources.layout import TableLayout, load_catalogue
from borough_node.sources.table import PersonnelTable, read_table, rows_at, split_by_silo
from coordinator.registry.drafting import PlanChoices
from protocol.documents.catalogue import FeatureCatalogue, Head
from protocol.documents.plan import Shares
from protocol.errors import ConfigurationError
from protocol.scorecard.columns import Float64Array

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A task and the cohort it is measured on."""

    task: Task
    test: Cohort
    labels: tuple[str, ...]
    """As they were asked for, one a head."""
    truth: tuple[Float64Array, ...]
    """Labels of each head's eligible people in the test cohort."""
    eligible: tuple[npt.NDArray[np.bool_], ...]
    """Of the test cohort, one mask a head."""


def read_measured(
    *,
    train: Path,
    test: Path,
    catalogue: Path,
    labels: str | None,
    choices: PlanChoices,
    train_from: int | None,
    train_until: int,
    test_cutoff: int,
    skip_missing_features: bool,
    say: Say,
) -> Measured:
    """Return the task of a table and its test cohort.

    Args:
        labels: Columns or categories, separated by commas; None: all heads of the catalogue.
        say: Hears what was left out.
    Raises: ConfigurationError, TableInvalid, PlanInvalid naming the field or column and what to do.
    """
    layout, whole = load_catalogue(catalogue)
    if layout.silo is None:
        raise ConfigurationError(f"{catalogue}: field table.silo: name the column that holds the silo")
    asked, heads = asked_heads(whole, labels)
    present = set.intersection(*(_columns(path) for path in dict.fromkeys((train, test))))
    if skip_missing_features:
        heads = tuple(_without(head, present, say) for head in heads)
    narrowed = narrow(whole, heads, protected=present)
    if choices.fairness is not None and len(narrowed.protected) < len(whole.protected):
        say("The table lacks protected columns: the plan's share for fairness goes to its evaluation.")
        choices = without_fairness(choices)
    tables = {path: _read(path, layout, narrowed) for path in dict.fromkeys((train, test))}
    used = rows_at(tables[train], first_cutoff=_first(tables[train], train_from), last_cutoff=train_until)
    _require_cutoff(used, train_until, "--train-until", train)
    _require_cutoff(tables[test], test_cutoff, "--test", test)
    cohort_rows = rows_at(tables[test], first_cutoff=test_cutoff, last_cutoff=test_cutoff)
    force = SimulatedForce(narrowed, SimulatedForce.by_party(split_by_silo(used)))
    task = Task.of(force, choices, train_until=train_until, evaluation_cutoff=test_cutoff)
    # The test cohort is read as one more borough would be, whose rows nobody trains on.
    together = SimulatedForce(narrowed, {"test": cohort_rows}).cohort("test", "evaluation", task.plan)
    eligible = tuple(
        np.ones(together.rows.shape[0], dtype=bool) if rule is None else together.rows[:, rule] >= 1.0
        for rule in task.columns.eligible
    )
    truth = tuple(together.labels[mask, head] for head, mask in enumerate(eligible))
    for label, known, trained in zip(asked, truth, task.labels.T, strict=True):
        for values, where in ((trained, f"trained on up to {train_until}"), (known, f"of cutoff {test_cutoff}")):
            if not values.size or not 0 < values.mean() < 1:
                raise ConfigurationError(f"option --labels: {label} is the same for everybody {where}; leave it out")
    return Measured(task, together, asked, truth, eligible)


def asked_heads(catalogue: FeatureCatalogue, labels: str | None) -> tuple[tuple[str, ...], tuple[Head, ...]]:
    """Return what was asked for and the heads that it names. Raises: ConfigurationError."""
    if labels is None:
        return tuple(head.label for head in catalogue.heads), catalogue.heads
    asked = tuple(dict.fromkeys(name.strip() for name in labels.split(",")))
    heads = []
    for name in asked:
        found = [head for head in catalogue.heads if name in (head.category, head.label)]
        if not found:
            known = ", ".join(f"{head.label} ({head.category})" for head in catalogue.heads)
            raise ConfigurationError(
                f"option --labels: {name or 'an empty name'} is no label of the catalogue, which has {known};"
                " name one of them or add a head to the catalogue"
            )
        heads.append(found[0])
    if len({head.category for head in heads}) != len(heads):
        raise ConfigurationError("option --labels: a label stands twice, by its column and by its category")
    return asked, tuple(heads)


def narrow(catalogue: FeatureCatalogue, heads: Sequence[Head], *, protected: set[str]) -> FeatureCatalogue:
    """Return the catalogue of these heads: their features, and the protected attributes of which there are columns."""
    needed = {name for head in heads for name in head.features}
    return FeatureCatalogue(
        catalogue_id=catalogue.catalogue_id,
        version=catalogue.version,
        features=tuple(feature for feature in catalogue.features if feature.name in needed),
        heads=tuple(heads),
        protected=tuple(attribute for attribute in catalogue.protected if attribute.name in protected),
    )


def without_fairness(choices: PlanChoices) -> PlanChoices:
    """Return choices that measure nothing by group, at the same shares for training."""
    shares = dict(choices.shares)
    shares["evaluation"] += shares["fairness"]
    shares["gradients"] += shares["group_moments"]
    return choices.model_copy(
        update={"fairness": None, "shares": Shares(**shares | {"fairness": 0.0, "group_moments": 0.0})}
    )


def _without(head: Head, present: set[str], say: Say) -> Head:
    kept = tuple(name for name in head.features if name in present)
    if not kept:
        raise ConfigurationError(f"category {head.category}: the table has none of its features; use its own catalogue")
    if len(kept) < len(head.features):
        say(f"{head.category}: left out {', '.join(name for name in head.features if name not in kept)}.")
    return head.model_copy(
        update={"features": kept, "start": {name: value for name, value in head.start.items() if name in kept}}
    )


def _columns(path: Path) -> set[str]:
    with opened(path) as file:
        return set(file.types)


def _read(path: Path, layout: TableLayout, catalogue: FeatureCatalogue) -> PersonnelTable:
    columns = _columns(path)
    read = {feature.name for feature in catalogue.features} | {head.label for head in catalogue.heads}
    read |= {layout.person, layout.silo or "", layout.cutoff, *catalogue.protected_names()}
    if missing := sorted(read - columns):
        raise ConfigurationError(
            f"{path}: missing columns: {', '.join(missing)}; add them to the table, or use its own"
            " catalogue, or leave features out with --skip-missing-features"
        )
    narrowed = TableLayout(
        person=layout.person, silo=layout.silo, cutoff=layout.cutoff, ignored=tuple(sorted(columns - read))
    )
    return read_table(path, layout=narrowed, catalogue=catalogue, with_silo=True)


def _first(table: PersonnelTable, train_from: int | None) -> int:
    return int(table.cutoff.min()) if train_from is None else train_from


def _require_cutoff(table: PersonnelTable, cutoff: int, option: str, path: Path) -> None:
    known = sorted(set(table.cutoff.tolist()))
    if cutoff not in known:
        stated = f"it has {known[0]} to {known[-1]}" if known else "it has none so early"
        raise ConfigurationError(f"option {option}: {path.name} has no rows at cutoff {cutoff}; {stated}")
