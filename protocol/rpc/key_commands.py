"""The commands about keys that every role has: make them before the ceremony, on the machine on which they stay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from protocol.clock import SystemClock
from protocol.errors import ConfigurationError
from protocol.ids import Role
from protocol.keys.creation import ENROLMENT_FILE, create_keys
from protocol.keys.passphrase import new_passphrase
from protocol.rpc.process import explained_errors, print_json

UNATTENDED: frozenset[Role] = frozenset({"borough", "coordinator", "unmasker", "witness"})
"""Roles whose servers start without a person: a passphrase in a file beside the key would protect nothing."""

PassphraseFile = Annotated[Path | None, typer.Option(help="File whose first line is the passphrase.")]
PassphraseFd = Annotated[int | None, typer.Option(help="File descriptor to read the passphrase from.")]


def add_key_commands(app: typer.Typer, role: Role, *, group: str = "key") -> typer.Typer:
    """Add ``GROUP new`` to a role's commands and return the group, for those that a role has besides."""
    keys = typer.Typer(no_args_is_help=True, help="This party's keys.")
    app.add_typer(keys, name=group)

    @keys.command("new")
    def new(
        directory: Annotated[Path, typer.Argument(help="The party's own folder; made if absent.")],
        force: Annotated[str, typer.Option(help="Name of the force, as all parties agreed it.")],
        party: Annotated[str, typer.Option("--id", help="This party's id in the roster.")],
        passphrase_file: PassphraseFile = None,
        passphrase_fd: PassphraseFd = None,
        unprotected: Annotated[
            bool, typer.Option(help="No passphrase: for a server that starts without a person.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
    ) -> None:
        """Make this party's keys in its own folder, and its enrolment for whoever drafts the roster.

        Private keys stay in the folder. The passphrase is asked for twice, or read from a file or descriptor; it is never
        given on the command line. Read the enrolment's digest out when keys are compared.
        """
        with explained_errors():
            if unprotected and role not in UNATTENDED:
                raise ConfigurationError(
                    f"--unprotected: the keys of a {role} are used by a person and have a passphrase"
                )
            passphrase = None
            if not unprotected:
                passphrase = new_passphrase(file=passphrase_file, descriptor=passphrase_fd)
            made = create_keys(
                directory, force=force, role=role, party=party, passphrase=passphrase, now=SystemClock().now()
            )
            if as_json:
                print_json({"digest": made.digest(), "enrolment": made.model_dump(mode="json")})
                return
            typer.echo(f"enrolment {made.digest()}")
            typer.echo(
                f"Hand over {directory / ENROLMENT_FILE}, and tls.csr to the force's certificate authority.", err=True
            )

    return keys
