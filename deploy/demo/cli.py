"""``custodes demo``: the whole path on this machine."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from protocol.clock import SystemClock
from protocol.errors import ConfigurationError
from protocol.rpc.process import explained_errors, print_json

PEOPLE, MONTHS = 46_000, 12
"""By default the whole force, and the two half-years that a plan needs; docs/measurements.md says how long it takes."""


def demo(
    people: Annotated[
        int, typer.Option(help="People of the synthetic force, 200 to 100,000; the whole force by default.")
    ] = PEOPLE,
    months: Annotated[int, typer.Option(help="Months of events: 12, 18 or 24.")] = MONTHS,
    boroughs: Annotated[int, typer.Option(min=2, help="Boroughs of the synthetic force.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic force; noise and keys never have one.")] = 2026,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-out"),
    epsilon: Annotated[
        float | None, typer.Option(min=0.01, help="Of the whole plan; default: as the sample plan says.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON; the story goes to stderr.")
    ] = False,
    table: Annotated[Path | None, typer.Option(help="A real table instead of the synthetic force.")] = None,
    catalogue: Annotated[Path | None, typer.Option(help="The table's catalogue, TOML.")] = None,
    train_until: Annotated[int | None, typer.Option(help="Last training cutoff of the table.")] = None,
    test: Annotated[int | None, typer.Option(help="Evaluation and scoring cutoff of the table.")] = None,
) -> None:
    """Run the main job end to end on this machine, from events to one opened flag, and write the results to a folder.

    Records and keys live in a temporary folder that is removed at the end; the results hold neither.
    """
    # torch and Flower take seconds to load; `custodes audit verify` and the desks do without.
    from deploy.demo.narration import Narrator, privacy_table, summary_table, tell_force, truth_table
    from deploy.demo.scenario import from_events, from_table
    from deploy.demo.story import Story

    with explained_errors(), tempfile.TemporaryDirectory(prefix="custodes-demo-") as temporary:
        directory = Path(temporary)
        narrator = Narrator(to_stderr=as_json)
        if table is None:
            narrator.step(
                "events",
                f"What the systems of a force that does not exist would have recorded: {people:,} people, {boroughs} boroughs, "
                f"{months} months (the whole force, {PEOPLE:,} and {MONTHS}, unless --people and --months say otherwise).",
            )
            with narrator.counting("boroughs written") as told:
                scenario = from_events(
                    directory,
                    people=people,
                    months=months,
                    boroughs=boroughs,
                    seed=seed,
                    epsilon=epsilon,
                    told=told,
                    today=SystemClock().now().date(),
                )
            tell_force(narrator, scenario.force or {})
        elif catalogue is None or train_until is None or test is None:
            raise ConfigurationError("option --table needs --catalogue, --train-until and --test beside it")
        else:
            scenario = from_table(
                directory,
                table=table,
                catalogue=catalogue,
                train_until=train_until,
                evaluation_cutoff=test,
                epsilon=epsilon,
            )
        out.mkdir(parents=True, exist_ok=True)
        summary = Story(scenario, directory=directory, out=out, narrator=narrator).run()
        (out / "summary.json").write_text(json.dumps(summary, indent=2, sort_keys=True) + "\n")
    console = narrator.console
    console.print()
    console.print(summary_table(summary))
    if (found := truth_table(summary)) is not None:
        console.print(found)
    console.print(privacy_table(summary))
    seconds = summary["seconds"]
    console.print(
        f"Log: {summary['log_size']} entries. Time: {seconds['total']:.0f} s, of which reading records "
        f"{seconds['records']:.0f} s and training {seconds['training']:.0f} s. "
        f"Peak memory: {summary['peak_memory_mb']:,} MB."
    )
    console.print(f"Results: {out}/summary.json, model-card.html, log/, ledgers/, documents/.")
    console.print(f"Check the log yourself: custodes audit verify {out}/log --genesis $(cat {out}/genesis)")
    if as_json:
        print_json(summary)
