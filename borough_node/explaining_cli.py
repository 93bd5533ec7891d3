"""``custodes node operator|explain|journal``: two operators look at one score, and the journal of all who did."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from borough_node.explaining.consultation import Consulting
from borough_node.explaining.counterfactual import Change
from borough_node.explaining.explanation import Explanation
from borough_node.explaining.request import ExplanationRequest, agree, ask
from borough_node.ledger import Ledger
from borough_node.ledger.journal import Journal
from borough_node.records import Records, reader_of
from borough_node.settings import NodeSettings
from protocol.clock import SystemClock
from protocol.documents.base import describe
from protocol.errors import ConfigurationError
from protocol.history.files import mirror_from_files
from protocol.ids import random_id
from protocol.keys.keyfile import write_private
from protocol.keys.passphrase import passphrase_source
from protocol.rpc.party import read_file, read_signing_key, read_text
from protocol.rpc.process import event_log, explained_errors, print_json
from protocol.signing.dsse import Envelope
from protocol.signing.keys import SigningKey

operator_app = typer.Typer(no_args_is_help=True, help="Keys of the node's operators.")
explain_app = typer.Typer(
    no_args_is_help=True, help="Why one person has the score they have; two operators, journalled."
)
journal_app = typer.Typer(no_args_is_help=True, help="The journal of everybody who looked at an explanation.")

SettingsFile = Annotated[Path, typer.Argument(help="The node's settings.toml.", metavar="SETTINGS")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show, write nothing.")]
OwnKey = Annotated[Path, typer.Option(help="File with your own operator's key.")]
JournalFile = Annotated[Path | None, typer.Option(help="A copy of the journal instead of the node's own file.")]


@operator_app.command("new")
def new_operator(
    name: Annotated[str, typer.Argument(help="The operator's name in the settings.")],
    file: Annotated[Path, typer.Argument(help="Where to write the private key; must not exist.")],
) -> None:
    """Make an operator's key, and print the line that names its public half in the node's settings."""
    with explained_errors():
        key = SigningKey.generate()
        write_private(file, key.seed().hex().encode() + b"\n")
        typer.echo(f'{name} = "{key.public}"')
        typer.echo("That line belongs under [operators] in the node's settings.", err=True)


@explain_app.command("request")
def request_explanation(
    settings_file: SettingsFile,
    person_file: Annotated[
        Path,
        typer.Option(
            "--person", help="File with the identifier as the table has it; a command line is read by others."
        ),
    ],
    category: Annotated[str, typer.Option()],
    policy: Annotated[str, typer.Option(help="Digest of the approved policy.")],
    reason: Annotated[str, typer.Option(help="Why; the journal keeps it. Write no name.")],
    operator: Annotated[str, typer.Option(help="Your name in the settings.")],
    key: OwnKey,
    hours: Annotated[int, typer.Option(min=1, help="Hours of validity.")],
    out: Annotated[Path, typer.Option(help="Where to write the request; must not exist.")],
    dry_run: DryRun = False,
) -> None:
    """Sign a request to see one explanation. Another operator has to agree to it. The file names the person."""
    with explained_errors():
        settings, now = NodeSettings.load(settings_file), SystemClock().now()
        try:
            request = ExplanationRequest(
                request_id=random_id(),
                borough=settings.id,
                policy=policy,
                category=category,
                person=read_text(person_file).strip(),
                reason=reason,
                asked_by=operator,
                asked_at=now,
                valid_until=now + timedelta(hours=hours),
            )
        except ValidationError as error:
            raise ConfigurationError(describe(error)) from None
        envelope = ask(request, _operator_key(key), settings.operators)
        if not dry_run:
            write_private(out, envelope.encode())
        typer.echo(request.digest())


@explain_app.command("agree")
def agree_to_explanation(
    settings_file: SettingsFile,
    request: Annotated[Path, typer.Argument(help="The request's file; your signature is added to it.")],
    key: OwnKey,
    dry_run: DryRun = False,
) -> None:
    """Countersign another operator's request, after reading what this prints."""
    with explained_errors():
        settings = NodeSettings.load(settings_file)
        envelope = Envelope.decode(read_file(request))
        agreed = agree(envelope, _operator_key(key), settings.operators, now=SystemClock().now())
        document = envelope.document(ExplanationRequest)
        typer.echo(f"{document.asked_by} asks, until {document.valid_until:%Y-%m-%d %H:%M} UTC,")
        typer.echo(f"why {document.person} has their score of {document.category} under policy {document.policy}:")
        typer.echo(f"  {document.reason}")
        if not dry_run:
            request.write_bytes(agreed.encode())
            typer.echo("Signed.")


@explain_app.command("show")
def show_explanation(
    settings_file: SettingsFile,
    request: Annotated[Path, typer.Argument(help="The request that two operators signed.")],
    log: Annotated[Path, typer.Option(help="A copy of the public log: folder of its files.")],
    as_json: AsJson = False,
) -> None:
    """Write the journal, then show the explanation on this screen: once for each request. Nothing of it is stored."""
    with explained_errors():
        settings = NodeSettings.load(settings_file)
        mirror = mirror_from_files(lambda name: read_file(log / name), genesis=settings.genesis)
        consulting = Consulting(
            borough=settings.id,
            operators=settings.operators,
            public=mirror.history.public,
            records=Records(reader_of(settings, clock=SystemClock(), report=event_log(settings.id))),
            ledger=Ledger(settings.state / "ledger.sqlite"),
            journal=Journal(settings.state / "journal.sqlite"),
            clock=SystemClock(),
        )
        explanation = consulting.show(Envelope.decode(read_file(request)))
        if as_json:
            print_json(dataclasses.asdict(explanation))
            return
        for line in _explanation_lines(explanation):
            typer.echo(line)


@journal_app.command("show")
def show_journal(settings_file: SettingsFile, file: JournalFile = None, as_json: AsJson = False) -> None:
    """Show who looked, who agreed, when and why; people by pseudonym. Note the head somewhere else."""
    with explained_errors():
        settings = NodeSettings.load(settings_file)
        journal = _read_journal(settings, file)
        (length, head), rows = journal.head(), journal.entries()
        if as_json:
            shown = [{"number": row.number, "hash": row.hash, **row.content} for row in rows]
            print_json({"borough": settings.id, "length": length, "head": head, "rows": shown})
            return
        typer.echo(f"{settings.id}: {length} rows, head {head}")
        for row in rows:
            said = row.content
            typer.echo(
                f"{row.number:>5}  {said['at']}  {said['asked_by']} asked and {said['agreed_by']} agreed: "
                f"{said['category']} of {said['pseudonym'][:12]} under policy {said['policy'][:12]}"
            )
            typer.echo(f"       {said['reason']}")


@journal_app.command("verify")
def verify_journal(
    settings_file: SettingsFile,
    head: Annotated[
        str | None, typer.Option(help="A head that was noted earlier: it must still be in the chain.")
    ] = None,
    file: JournalFile = None,
    as_json: AsJson = False,
) -> None:
    """Check that every row continues the hash chain. Changes nothing.

    A journal from which the last rows are gone is whole in itself; a head noted elsewhere finds that.
    """
    with explained_errors():
        journal = _read_journal(NodeSettings.load(settings_file), file)
        length, now = journal.head()
        noted = None if head is None else journal.require_head(head)
        if as_json:
            print_json({"length": length, "head": now, "rows_at_noted_head": noted})
            return
        typer.echo(f"The journal holds {length} rows and its chain is whole; head {now}.")
        if noted is not None:
            typer.echo(f"The noted head is that of its first {noted} rows.")


def _read_journal(settings: NodeSettings, file: Path | None) -> Journal:
    """Return the journal, verified, to be read only. Raises: StorageError."""
    return Journal(file or settings.state / "journal.sqlite", read_only=True)


def _explanation_lines(found: Explanation) -> Iterator[str]:
    side = "at or above" if found.score >= found.threshold else "below"
    yield f"{found.title} ({found.category}), cutoff {found.cutoff}, policy {found.policy}"
    yield f"Score {found.score:+.4f}, {side} the threshold {found.threshold:+.4f}; score band {found.score_band}."
    yield f"Stability band {found.stability_band}: would a rerun with fresh noise find it above the threshold?"
    if not found.is_eligible:
        yield "Not eligible: nobody in this position is flagged in this category, whatever the score."
    yield f"The force's mean scores {found.mean_score:+.4f}. What each feature adds to that:"
    for one in found.contributions:
        yield (
            f"  {one.contribution:+.4f}  {one.feature}: {one.value:g} against the force's {one.mean_value:.4g} "
            f"({one.unit}). {one.definition}"
        )
    for number, reason in enumerate(found.reasons, start=1):
        yield f"Reason {number}, {reason.feature}: {reason.text}"
    if found.score < found.threshold:
        return
    ways = found.counterfactual
    if ways.alone:
        yield "Below the threshold, all else as it is, if any one of these held:"
        yield from map(_change_text, ways.alone)
    elif ways.together:
        yield "No one feature suffices. Below the threshold, all else as it is, if all of these held:"
        yield from map(_change_text, ways.together)
    else:
        yield "No change of features within their public bounds leads below the threshold."
    yield "This says what the score depends on; not what anybody can or should change."


def _change_text(change: Change) -> str:
    return f"  {change.feature} {change.side} {change.limit:.6g} ({change.unit}; now {change.value:g})"


def _operator_key(path: Path) -> SigningKey:
    """Return an operator's own key; if it is sealed, the operator at the terminal is asked."""
    return read_signing_key(path, passphrase_source(file=None, descriptor=None))
