"""``custodes node``: what a borough operator runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from borough_node.ledger import Ledger
from borough_node.records import table_reader
from borough_node.settings import NodeSettings
from borough_node.sources.layout import load_catalogue
from protocol.clock import SystemClock
from protocol.rpc.process import event_log, explained_errors, print_json, run_until_signal

app = typer.Typer(no_args_is_help=True, help="Run and inspect a borough node.")
ledger_app = typer.Typer(no_args_is_help=True, help="The borough's privacy ledger.")
app.add_typer(ledger_app, name="ledger")

SettingsFile = Annotated[Path, typer.Argument(help="The node's settings.toml.", metavar="SETTINGS")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


@app.command()
def run(settings_file: SettingsFile) -> None:
    """Serve this borough until stopped. Waits for the coordinator; refuses to start behind the log."""
    from borough_node.app import Node  # torch and Flower take seconds to load; the other commands do without

    with explained_errors():
        settings = NodeSettings.load(settings_file)
        report = event_log(settings.id)
        run_until_signal(
            lambda: Node(settings, clock=SystemClock(), report=report),
            report=report,
            on_ready=lambda: report("node.ready", f"connected to {settings.coordinator}"),
        )


@app.command()
def check(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """Read the borough's table with its catalogue and say whether it can be used. Changes nothing."""
    with explained_errors():
        settings = NodeSettings.load(settings_file)
        _, catalogue = load_catalogue(settings.catalogue)
        table = table_reader(settings.table, layout_of=settings.catalogue)(catalogue)
        cutoffs = sorted(set(table.cutoff.tolist()))
        if as_json:
            print_json({"rows": table.rows, "cutoffs": cutoffs, "features": len(catalogue.features), "usable": True})
        else:
            typer.echo(
                f"Usable: {table.rows} rows, cutoffs {cutoffs[0]} to {cutoffs[-1]}, {len(catalogue.features)} features."
            )
            typer.echo("These counts are for the operator's screen; they are sent nowhere.")


@ledger_app.command()
def show(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """Show every row of the ledger: what was charged and what was raised."""
    with explained_errors():
        entries = _ledger(settings_file).entries()
        if as_json:
            print_json([{"number": entry.number, "hash": entry.hash, **entry.content} for entry in entries])
            return
        for entry in entries:
            content = entry.content
            what = (
                f"release {content['index']} of plan {content['plan'][:12]}: rho {content['rho']:.6f} ({content['purpose']})"
                if content["kind"] == "release"
                else f"{content['count']} flags under policy {content['policy'][:12]}"
            )
            typer.echo(f"{entry.number:>5}  {content['at']}  {what}  {entry.hash[:12]}")


@ledger_app.command()
def verify(settings_file: SettingsFile) -> None:
    """Check that every row of the ledger continues its hash chain."""
    with explained_errors():
        number, head = _ledger(settings_file).head()
        typer.echo(f"The ledger holds {number} rows and its chain is whole; head {head}.")


def _ledger(settings_file: Path) -> Ledger:
    return Ledger(NodeSettings.load(settings_file).state / "ledger.sqlite")
