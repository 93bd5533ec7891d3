"""The one command, ``custodes``: every party's commands under one name.

A party's commands are loaded when they are called: a borough's need torch, Polars and DuckDB, which take seconds, and a
custodian's desk needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

COMMANDS = {
    "demo": (
        "deploy.demo.cli:demo",
        "Run the main job end to end on this machine, from events to one opened flag, and write the results to a folder.",
    ),
    "federation": ("deploy.federation_cli:app", "Make a federation on this machine."),
    "force": ("deploy.force.cli:app", "A police force that does not exist, to try things on."),
    "node": ("borough_node.cli:app", "Run and inspect a borough node."),
    "roster": ("deploy.roster_cli:roster_app", "Who takes part, with which keys: the root of trust."),
    "coordinator": (
        "coordinator.cli:app",
        "Run the coordinator, propose plans and policies, triage flags, erase what has expired.",
    ),
    "unmasker": ("oversight.cli:unmasker_app", "Run the data-protection office's unmasker."),
    "witness": ("oversight.cli:witness_app", "Run a witness of the log."),
    "custodian": ("oversight.cli:custodian_app", "A custodian's desk."),
    "issuer": ("oversight.cli:issuer_app", "A warrant issuer's desk."),
    "investigator": ("oversight.cli:investigator_app", "An investigator's desk."),
    "auditor": ("oversight.casework_cli:auditor_app", "What the register discloses to an auditor."),
    "audit": ("deploy.privacy_audit.cli:audit_app", "Check the log."),
}
"""Where each is, and its first line of help."""


def load(name: str) -> click.Command:
    """Return the commands of one name."""
    module, attribute = COMMANDS[name][0].split(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command()(found)
    return get_command(alone)


class Parties(TyperGroup):
    """Lists every name, and loads the one that is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=words) for name, (_, words) in COMMANDS.items()}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the real command behind a name."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if name is None or command is None else load(name), rest


app = typer.Typer(cls=Parties, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def custodes() -> None:
    """Finding misconduct in a police force's own ranks: locally, privately, and under warrant."""


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
