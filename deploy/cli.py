"""The one command, ``custodes``: every party's commands under one name."""

from __future__ import annotations

import typer

from borough_node.cli import app as node_app
from coordinator.cli import app as coordinator_app
from deploy.demo.cli import demo
from deploy.federation_cli import app as federation_app
from deploy.force.cli import app as force_app
from deploy.privacy_audit.cli import privacy
from oversight.audit_cli import audit_app
from oversight.cli import (
    custodian_app,
    investigator_app,
    issuer_app,
    unmasker_app,
    witness_app,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Finding misconduct in a police force's own ranks: locally, privately, and under warrant.",
)
app.command()(demo)
app.add_typer(federation_app, name="federation")
app.add_typer(force_app, name="force")
app.add_typer(node_app, name="node")
app.add_typer(coordinator_app, name="coordinator")
app.add_typer(unmasker_app, name="unmasker")
app.add_typer(witness_app, name="witness")
app.add_typer(custodian_app, name="custodian")
app.add_typer(issuer_app, name="issuer")
app.add_typer(investigator_app, name="investigator")
# The audit of the noise runs a whole federation, which no party alone can.
audit_app.command()(privacy)
app.add_typer(audit_app, name="audit")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
