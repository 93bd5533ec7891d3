"""``custodes force``: a synthetic force to try things on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from protocol.errors import ConfigurationError
from protocol.rpc.process import explained_errors, print_json

app = typer.Typer(no_args_is_help=True, help="A police force that does not exist, to try things on.")


@app.callback()
def force() -> None:
    """A police force that does not exist, to try things on."""


@app.command("generate")
def generate(
    out: Annotated[Path, typer.Option(help="New folder for the force.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same force.")],
    people: Annotated[int, typer.Option(help="People, 200 to 100,000.")] = 46_000,
    months: Annotated[int, typer.Option(help="Months of events, even, 2 to 24.")] = 12,
    boroughs: Annotated[int, typer.Option(help="Boroughs, at least 20 people in each.")] = 32,
    processes: Annotated[
        int | None, typer.Option(help="1 or 2; default: 2 if it is worth it. The bytes are the same.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write the events of a synthetic force: Parquet tables of the personnel contract, one folder a borough.

    Who was planted as what stands in truth/, apart from the boroughs' folders; see deploy/force/README.md.
    """
    from rich.console import Console
    from rich.progress import Progress

    from deploy.force.events.generate import generate_events, peak_mb

    started = time.monotonic()
    with (
        explained_errors(),
        Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar,
    ):
        task = bar.add_task("boroughs", total=boroughs)
        summary = generate_events(
            out,
            people=people,
            months=months,
            boroughs=boroughs,
            seed=seed,
            processes=processes,
            told=lambda done, _: bar.update(task, completed=done),
        )
    measured = {"generate_s": round(time.monotonic() - started, 1), "peak_mb": peak_mb()}
    if as_json:
        print_json(summary | measured)
        return
    rows = summary["rows"]
    typer.echo(
        f"{out}: {people:,} people, {boroughs} boroughs, {months} months from {summary['first_day']}; {rows['duties']:,} "
        f"duties, {rows['access_events']:,} badge reads, {rows['lookups']:,} searches, {rows['expenses']:,} expenses."
    )
    typer.echo(
        f"Train at {summary['training_cutoff']}, evaluate at {summary['evaluation_cutoff']}; findings until "
        f"{summary['findings_until']}. Who was planted: {out}/truth/planted.parquet, never for a borough."
    )
    typer.echo(f"Took {measured['generate_s']} s and at most {measured['peak_mb']:,} MB.")


@app.command("table")
def table(
    out: Annotated[Path, typer.Option(help="New Parquet file.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.")],
    people: Annotated[int, typer.Option(help="People, 40 or more.")] = 46_000,
    boroughs: Annotated[int, typer.Option(help="Boroughs, at most as many as people.")] = 32,
) -> None:
    """Write a smaller thing: one table of ready features whose effects are known, to check what a model finds of them.

    `custodes demo --table FILE --catalogue deploy/samples/synthetic.catalogue.toml` trains on it.
    """
    import pyarrow.parquet as pq

    from deploy.force.generate import generate as drawn
    from deploy.force.population import CUTOFFS

    with explained_errors():
        if out.exists():
            raise ConfigurationError(f"{out} exists; a force never replaces a file")
        pq.write_table(drawn(people=people, boroughs=boroughs, seed=seed).table, out)
        typer.echo(f"{out}: {people:,} people at cutoffs {CUTOFFS[0]} and {CUTOFFS[1]}")
