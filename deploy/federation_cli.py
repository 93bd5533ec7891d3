"""``custodes federation``: folders for a whole federation on one machine, to try every party's commands on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import read_table, split_table
from protocol.clock import SystemClock
from protocol.documents.roster import Budget
from protocol.errors import ConfigurationError
from protocol.ids import PartyId
from protocol.rpc.process import explained_errors

app = typer.Typer(no_args_is_help=True, help="Make a federation on this machine.")


@app.command()
def create(
    directory: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    table: Annotated[Path, typer.Option(help="The whole force's table; each borough gets its own part.")],
    catalogue: Annotated[Path, typer.Option(help="The table's catalogue, TOML.")],
    purpose: Annotated[str, typer.Option(help="What the privacy budget is for.")],
    budget_rho: Annotated[float, typer.Option(help="What all plans of that purpose may spend in 365 days.")],
    reply_slot_seconds: Annotated[float, typer.Option(help="Answers leave at multiples of this.")],
    force: Annotated[str, typer.Option(help="Name of the force.")] = "example-force",
) -> None:
    """Write keys, certificates, the signed roster and settings for every party.

    Every secret of every party lies in one folder: for trying out, never for a real force.
    """
    from deploy.local import create as create_federation  # loads every party's code

    with explained_errors():
        if directory.exists():
            raise ConfigurationError(f"{directory} exists already; nothing was changed")
        layout, features = load_catalogue(catalogue)
        read_table(table, layout=layout, catalogue=features, with_silo=True)
        directory.mkdir(parents=True)
        (directory / "catalogue.json").write_bytes(features.encode())
        made = create_federation(
            directory,
            force=force,
            tables=_tables(split_table(table, layout, directory / "tables")),
            catalogue=catalogue,
            budgets=[Budget(purpose=purpose, rho=budget_rho)],
            reply_slot_seconds=reply_slot_seconds,
            clock=SystemClock(),
        )
        typer.echo(f"genesis {made.genesis}")
        typer.echo(f"settings: {directory}/parties/NAME/settings.toml", err=True)


def _tables(by_silo: Mapping[str, Path]) -> dict[PartyId, Path]:
    return {path.stem: path for path in by_silo.values()}
