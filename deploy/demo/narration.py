"""How the demo speaks: a numbered sentence a step, a bar a release, one table at the end."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

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

    def say(self, sentence: str) -> None:
        """Add a sentence to the running step."""
        self.console.print(f"    [dim]{sentence}[/]")


class ReleaseBars:
    """One progress bar a release: how many boroughs have answered."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("    {task.description:<38}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
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
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for category, figures in summary["categories"].items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(figures["flagged_kinds"].items()))
        precision = "-" if figures["precision"] is None else f"{figures['precision']:.3f}"
        table.add_row(category, f"{figures['auc']:.3f}", precision, str(figures["flags"]), kinds)
    return table


def privacy_table(summary: dict[str, Any]) -> Table:
    """Return epsilon per adversary."""
    table = Table(title="What one person's records can change, for the whole plan", title_justify="left")
    table.add_column("who looks")
    table.add_column("epsilon", justify="right")
    table.add_column("delta", justify="right")
    for statement in summary["privacy"]["statements"]:
        table.add_row(statement["adversary"], f"{statement['epsilon']:.3f}", f"{statement['delta']:.1e}")
    return table
