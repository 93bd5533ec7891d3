"""``custodes roster sign``: a custodian's part in the ceremony."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oversight.settings import CustodianSettings
from protocol.clock import SystemClock
from protocol.documents.roster import Roster
from protocol.durable import write_durably
from protocol.errors import ConfigurationError, DigestMismatch, UnknownSigner
from protocol.ids import PartyId
from protocol.rpc.party import read_file, roster_book
from protocol.rpc.process import explained_errors
from protocol.signing.dsse import Envelope, sign


def sign_roster(
    draft: Annotated[Path, typer.Argument(help="The drafted roster; your signature is added to it.")],
    settings_file: Annotated[Path, typer.Argument(help="Your settings.toml.", metavar="SETTINGS")],
    digest: Annotated[str, typer.Option(help="The digest that you compared with the others, by voice or on paper.")],
    dry_run: Annotated[bool, typer.Option(help="Check only.")] = False,
) -> None:
    """Sign a roster, after checking that it is the one that was read out and that it may follow the one before.

    Look at it with `custodes roster show` first. For version 1 the digest is also the genesis in your settings. For a later
    one your key must stand in the version before: it is that version's custodians who decide.
    """
    with explained_errors():
        settings = CustodianSettings.load(settings_file)
        envelope = Envelope.decode(read_file(draft))
        roster = envelope.document(Roster)
        if roster.digest() != digest:
            raise DigestMismatch(f"the file holds roster {roster.digest()}; do not sign, and ask who changed it")
        if roster.version == 1:
            if digest != settings.genesis:
                raise ConfigurationError("field genesis: your settings name another first roster")
            deciding = roster
        else:
            book = roster_book(settings)
            if roster.version > book.current.version + 1:
                raise ConfigurationError(
                    f"your desk knows roster {book.current.version}: let it read the log (custodian proposals), or "
                    "accept the versions in between (roster accept)"
                )
            book.check(envelope, day=SystemClock().now().date())
            deciding = book.current
        key = settings.open_signing_key()
        require_own_entry(deciding, settings.id, key.public)
        if not dry_run:
            write_durably(draft, envelope.merged(sign(roster, key)).encode())
        typer.echo(f"{'would sign' if dry_run else 'signed'} roster {roster.version}, digest {digest}")


def require_own_entry(roster: Roster, custodian: PartyId, public: str) -> None:
    """Return if the roster gives this custodian this key. Raises: UnknownSigner."""
    if roster.party(custodian, "custodian").signing_key != public:
        raise UnknownSigner(f"roster {roster.version} names another key for {custodian}")
