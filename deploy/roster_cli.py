"""``custodes roster``: every part of the key ceremony under one name; ``show`` and ``accept`` are anybody's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import typer
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from coordinator.registry.rosters import changes_between
from coordinator.roster_cli import roster_app
from oversight.roster_cli import sign_roster
from protocol.clock import SystemClock
from protocol.documents.roster import Roster
from protocol.errors import ConfigurationError
from protocol.history.public import PublicRecord
from protocol.ids import Role, digest_of, key_id
from protocol.rpc.party import PartySettings, read_file, roster_book
from protocol.rpc.process import explained_errors, print_json
from protocol.rpc.rosters import BEGUN
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import custodian_quorum

roster_app.command("sign")(sign_roster)


class AnyPartySettings(PartySettings):
    """What all parties' settings share; the rest is passed over."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")
    role: ClassVar[Role] = "auditor"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the file alone: which prefix a variable would have depends on the role."""
        return (init_settings,)


@roster_app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A roster, signed or not.")],
    genesis: Annotated[str | None, typer.Option(help="Check that the first roster has this digest.")] = None,
    earlier: Annotated[
        list[Path] | None, typer.Option(help="The signed versions before it, from the first; repeat in order.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show who is in a roster, with which keys, what it changes, and which custodians have signed it.

    With the versions before it, everything that its readers will check is checked, except that enough have signed yet.
    """
    with explained_errors():
        envelope = Envelope.decode(read_file(file))
        before = [Envelope.decode(read_file(path)) for path in earlier or ()]
        first = (before or [envelope])[0].document(Roster)
        if first.version != 1:
            raise ConfigurationError("give the versions before it, from the first: --earlier roster.json ...")
        record = PublicRecord(genesis=genesis or first.digest())
        for one in before:
            record.apply("roster", one, BEGUN)
        roster = record.check_new_roster(envelope, BEGUN)
        previous = record.roster if before else None
        quorum = custodian_quorum(envelope, roster if previous is None else previous)
        if as_json:
            print_json(
                {
                    "digest": roster.digest(),
                    "roster": roster.model_dump(mode="json"),
                    "signed": list(quorum.approved),
                    "missing": quorum.missing,
                    "changes": changes_between(previous, roster),
                }
            )
            return
        typer.echo(f"roster {roster.version} of {roster.force}, digest {roster.digest()}")
        typer.echo(
            f"{roster.approval_threshold} custodians decide; epoch {roster.epoch} until {roster.epoch_until:%Y-%m-%d}"
        )
        for party in roster.parties:
            envelope_key = (
                "" if party.hpke_key is None else f", envelope key {digest_of(bytes.fromhex(party.hpke_key))[:16]}"
            )
            conflicts = f", not for {', '.join(party.conflicts)}" if party.conflicts else ""
            typer.echo(
                f"  {party.role:<12} {party.id}: key {key_id(party.signing_key)[:16]}, TLS {party.tls_key[:16]}"
                f"{envelope_key}{conflicts}"
            )
        if previous is not None:
            typer.echo("changes:")
            for line in changes_between(previous, roster):
                typer.echo(f"  {line}")
        typer.echo(f"signed by {', '.join(quorum.approved) or 'nobody'}; {quorum.missing} missing")


@roster_app.command()
def accept(
    settings_file: Annotated[Path, typer.Argument(help="Your settings.toml.", metavar="SETTINGS")],
    file: Annotated[Path, typer.Argument(help="The next roster, signed by the quorum of the one before.")],
    dry_run: Annotated[bool, typer.Option(help="Check only.")] = False,
) -> None:
    """Let a newer roster count here before the log shows it, from a file that you were given; then start again.

    Needed by a party that is new or has new keys, and by all when the coordinator has a new TLS key: nobody reads that in
    the log of a coordinator whom the roster known here does not name.
    """
    with explained_errors():
        book = roster_book(AnyPartySettings.load(settings_file))
        envelope = Envelope.decode(read_file(file))
        day = SystemClock().now().date()
        if dry_run:
            book.check(envelope, day=day)
            roster = book.checked((envelope,))
        else:
            roster = book.accept(envelope, day=day)
        typer.echo(f"{'would accept' if dry_run else 'accepted'} roster {roster.version}, digest {roster.digest()}")
