"""``custodes node notice|rights``: tell a person what they may know, and carry what they say to the centre."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from borough_node.informing.desk import NEUTRAL, InformingDesk
from borough_node.ledger import Ledger
from borough_node.records import Records, reader_of
from borough_node.reviewing.admission import person_of
from borough_node.settings import NodeSettings
from protocol.clock import SystemClock
from protocol.errors import NotLogged
from protocol.rpc.connection import Connection
from protocol.rpc.party import read_text
from protocol.rpc.process import answer_with, event_log, explained_errors, print_json

notice_app = typer.Typer(no_args_is_help=True, help="Notices that the borough serves, and what people say to them.")
rights_app = typer.Typer(no_args_is_help=True, help="Requests of people about themselves. Opens nothing.")

SettingsFile = Annotated[Path, typer.Argument(help="The node's settings.toml.", metavar="SETTINGS")]
NoticeDigest = Annotated[str, typer.Argument(help="Digest of the notice.", metavar="NOTICE")]
By = Annotated[str, typer.Option(help="Who took the step: rank or office, and name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show the document; log nothing.")]


@contextmanager
def informing(settings_file: Path) -> Iterator[tuple[NodeSettings, Connection, InformingDesk]]:
    """Yield the borough's desk; errors are explained."""
    with explained_errors():
        settings = NodeSettings.load(settings_file)
        connection = Connection(settings, clock=SystemClock(), memory=settings.state / "informing")
        ledger = Ledger(settings.state / "ledger.sqlite")
        yield settings, connection, InformingDesk(connection, ledger=ledger, clock=SystemClock())
        ledger.close()
        connection.close()


@notice_app.command("list")
def list_notices(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """List the notices to serve, and outcomes of which the person is to be told. Names nobody."""
    with informing(settings_file) as (_, _, desk):
        notices, outcomes = desk.notices(), desk.outcomes()
        if as_json:
            print_json(
                {
                    "notices": [{"digest": one.digest(), **one.model_dump(mode="json")} for one in notices],
                    "outcomes": [{"digest": one.digest(), **one.model_dump(mode="json")} for one in outcomes],
                }
            )
            return
        for notice in notices:
            typer.echo(f"notice {notice.digest()}, {notice.representations_days} days to answer: {notice.text}")
        for outcome in outcomes:
            typer.echo(f"outcome {outcome.finding}, contest until {outcome.contest_until:%Y-%m-%d}: {outcome.reasons}")


@notice_app.command("person")
def person(settings_file: SettingsFile, notice: NoticeDigest) -> None:
    """Print whom a notice is for, by the borough's own identifier. The screen is the only place it appears."""
    with informing(settings_file) as (settings, connection, desk):
        found = next((one for one in desk.notices() if one.digest() == notice), None)
        if found is None:
            raise NotLogged("no notice of this digest is there for this borough")
        header, ledger = desk.header_of(found), Ledger(settings.state / "ledger.sqlite")
        reader = reader_of(settings, clock=SystemClock(), report=event_log(settings.id))
        typer.echo(
            person_of(
                header,
                borough=settings.id,
                public=connection.reader.public,
                ledger=ledger,
                records=Records(reader),
            )
        )
        ledger.close()


@notice_app.command("told")
def told(
    settings_file: SettingsFile,
    notice: NoticeDigest,
    by: By,
    manner: Annotated[str, typer.Option(help="How the person was told, and who was there; at least 10 characters.")],
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M"], help="When, in UTC; else now.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Log that the person was told. Their days to answer begin."""
    with informing(settings_file) as (_, _, desk):
        at = SystemClock().now() if on is None else on.replace(tzinfo=UTC)
        document = desk.told(notice, told_by=by, manner=manner, told_at=at, dry_run=dry_run)
        answer_with(document, dry_run=dry_run, as_json=as_json)


@notice_app.command("heard")
def heard(
    settings_file: SettingsFile,
    notice: NoticeDigest,
    by: By,
    text: Annotated[Path, typer.Option(help="File with what the person says.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Log the person's representations; a reviewer reads them before anything is decided."""
    with informing(settings_file) as (_, _, desk):
        said = read_text(text)
        document = desk.heard(notice, received_by=by, text=said, dry_run=dry_run)
        answer_with(document, dry_run=dry_run, as_json=as_json)


@rights_app.command("request")
def request(
    settings_file: SettingsFile,
    kind: Annotated[Literal["access", "contest"], typer.Option(help="To know what is held, or to contest it.")],
    person_file: Annotated[
        Path, typer.Option("--person", help="File with the borough's own identifier of the person.")
    ],
    statement: Annotated[str, typer.Option(help="What the person asks, without their name; at least 10 characters.")],
    by: By,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send a person's request to the centre under their pseudonyms, and print what to tell everybody who asks."""
    with informing(settings_file) as (_, _, desk):
        whom = read_text(person_file).strip()
        document = desk.request(whom, kind=kind, statement=statement, by=by, dry_run=dry_run)
        if as_json:
            print_json({"digest": document.digest(), "logged": not dry_run, "tell": NEUTRAL})
        else:
            typer.echo(f"{document.digest()}{' (nothing was logged)' if dry_run else ''}\n{NEUTRAL}")


@rights_app.command("replies")
def replies(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """List what may be told about each request now. Until a notice was served it is one sentence for everybody."""
    with informing(settings_file) as (_, _, desk):
        found = desk.replies()
        if as_json:
            print_json(
                [{"request": one.request, "tell": one.text, "is_answered": one.answer is not None} for one in found]
            )
            return
        for one in found:
            typer.echo(f"{one.request}: {one.text}")
