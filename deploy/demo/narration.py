"""How the demo speaks: a numbered sentence a step, a bar a release, one table at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from deploy.force.events.cases import LOOKALIKES, OFFENCES
from deploy.force.truth import FIGURES
from protocol.documents.plan import TrainingPlan

RELEASE_NAMES = {
    "second_moment": "how features vary",
    "gradient": "where the model moves",
    "group_moments": "how groups differ",
    "evaluation": "how well it separates",
    "fairness": "whom it singles out",
    "drift": "how features are spread",
    "outcomes": "what reviews found",
}


def tell_force(narrator: Narrator, force: dict[str, Any]) -> None:
    """Say what was written of a synthetic force, and what is hidden in it."""
    rows = force["rows"]
    narrator.say(
        f"{rows['duties']:,} duties, {rows['access_events']:,} badge reads, {rows['attendance_claims']:,} attendance claims of "
        f"senior grades, {rows['expenses']:,} expenses, {rows['lookups']:,} searches."
    )
    for number, offence in enumerate(OFFENCES):
        planted = force["planted"][offence.category]
        alike = ", ".join(kind.replace("_", " ") for kind in LOOKALIKES[number])
        narrator.say(
            f"{offence.category}: {planted['serious_open']} serious and {planted['lesser_open']} lesser cases open at "
            f"{force['evaluation_cutoff']}, as behaviour in these events; {planted['lookalikes']} honest look-alikes ({alike})."
        )


class Narrator:
    """Writes to a terminal or, when machines listen on stdout, to stderr."""

    def __init__(self, *, to_stderr: bool) -> None:
        self.console = Console(stderr=to_stderr, highlight=False)
        self.seconds: dict[str, float] = {}
        self._step = 0
        self._started = time.monotonic()

    def step(self, key: str, sentence: str) -> None:
        """Begin a step: tell it, and time it until the next begins."""
        self.finish()
        self._step += 1
        self._key, self._began = key, time.monotonic()
        self.console.print(f"[bold cyan]{self._step:>2}.[/] {sentence}")

    def finish(self) -> None:
        """End the running step."""
        if self._step:
            self.seconds[self._key] = round(time.monotonic() - self._began, 2)
        self.seconds["total"] = round(time.monotonic() - self._started, 2)

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show a bar while something is done borough by borough; yield what is to be told (done, of how many)."""
        with Progress(*_columns(), console=self.console) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    def say(self, sentence: str) -> None:
        """Add a sentence to the running step."""
        self.console.print(f"    [dim]{sentence}[/]")


def _columns() -> tuple[ProgressColumn, ...]:
    described = TextColumn("    {task.description:<38}")
    return described, BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn()


class ReleaseBars:
    """One progress bar a release: how many boroughs have answered."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(*_columns(), console=console)
        self._tasks: dict[int, TaskID] = {}
        self._plan: TrainingPlan | None = None

    def watch(self, plan: TrainingPlan) -> None:
        """Show the bars of this plan."""
        self._plan = plan

    def __call__(self, plan: str, index: int, done: int, asked: int) -> None:
        """Move a bar."""
        if self._plan is None:
            return
        if index not in self._tasks:
            name = RELEASE_NAMES[self._plan.releases[index].function]
            text = f"{index + 1} of {len(self._plan.releases)}: {name}"
            self._tasks[index] = self.progress.add_task(text, total=asked)
        self.progress.update(self._tasks[index], completed=done)


def summary_table(summary: dict[str, Any]) -> Table:
    """Return the closing table of a summary."""
    table = Table(title="What happened", title_justify="left", show_lines=False)
    for name, side in (
        ("category", "left"),
        ("AUC", "right"),
        ("precision", "right"),
        ("flags", "right"),
        ("in truth", "left"),
    ):
        table.add_column(name, justify=side)
    for category, figures in summary["categories"].items():
        kinds = Counter[str]()
        for kind, count in figures["flagged_kinds"].items():
            kinds[kind.split(":")[0]] += count
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        table.add_row(category, _share(figures["auc"]), _share(figures["precision"]), str(figures["flags"]), told)
    return table


def truth_table(summary: dict[str, Any]) -> Table | None:
    """Return the share that was flagged of what was planted, and of everybody else; None for a real table.

    Under each figure stands what as many flags by the public rules would have reached.
    """
    table = Table(title="Flagged, of what was planted", title_justify="left", show_lines=True)
    table.add_column("category\n  as many by the rules", no_wrap=True)
    for name in ("serious\ncases", "all open\ncases", "precision", "look-\nalikes", "other\nhonest"):
        table.add_column(name, justify="right", no_wrap=True)
    for category, figures in summary["categories"].items():
        if both := figures["against_planted"]:
            ours, rules = both["custodes"], both["rules"]
            shown = (f"{_share(ours[name])}\n{_share(rules[name])}" for name in FIGURES)
            table.add_row(f"{category}\n  rules", *shown)
    return table if table.row_count else None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def privacy_table(summary: dict[str, Any]) -> Table:
    """Return epsilon per adversary."""
    table = Table(title="What one person's records can change, for the whole plan", title_justify="left")
    table.add_column("who looks")
    table.add_column("epsilon", justify="right")
    table.add_column("delta", justify="right")
    for statement in summary["privacy"]["statements"]:
        table.add_row(statement["adversary"], f"{statement['epsilon']:.3f}", f"{statement['delta']:.1e}")
    return table
