"""``custodes roster draft|rotate|revoke|publish``: the coordinator's team's part in the ceremony."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Annotated

import typer

from coordinator.registry.rosters import Terms, changes_between, draft_roster, revoked, rotated
from coordinator.settings import CoordinatorSettings
from protocol.clock import SystemClock
from protocol.documents.enrolment import Enrolment
from protocol.documents.roster import Roster
from protocol.durable import write_durably
from protocol.errors import ConfigurationError
from protocol.rpc.party import read_file, roster_book
from protocol.rpc.process import event_log, explained_errors
from protocol.rpc.rosters import RosterBook
from protocol.signing.dsse import Envelope, sign
from protocol.signing.enrolment import verify_enrolment
from protocol.signing.quorum import custodian_quorum

roster_app = typer.Typer(no_args_is_help=True, help="Who takes part, with which keys: the root of trust.")

SettingsFile = Annotated[Path, typer.Argument(help="The coordinator's settings.toml.", metavar="SETTINGS")]
Enrolments = Annotated[
    list[Path] | None, typer.Option("--enrolment", help="A party's enrolment.json; repeat for each.")
]
Out = Annotated[Path, typer.Option(help="File to write the draft to; it must not exist.")]
DryRun = Annotated[bool, typer.Option(help="Check and show only.")]


@roster_app.command()
def draft(
    terms: Annotated[Path, typer.Option(help="TOML: force, approval_threshold, epoch_days, budgets, conflicts.")],
    out: Out,
    enrolment: Enrolments = None,
    dry_run: DryRun = False,
) -> None:
    """Draft the first roster of every party's enrolment, for the custodians to sign.

    Prints its digest, the genesis: every party compares it by voice or on paper and writes it into its settings by hand.
    """
    with explained_errors():
        decided = Terms.read(read_file(terms))
        roster = draft_roster(decided, _enrolments(enrolment), now=SystemClock().now())
        _write(roster, None, out, dry_run=dry_run, word="genesis")


@roster_app.command()
def rotate(
    settings_file: SettingsFile,
    out: Out,
    enrolment: Enrolments = None,
    terms: Annotated[Path | None, typer.Option(help="TOML with changed terms; absent: as they are.")] = None,
    new_epoch: Annotated[
        bool, typer.Option(help="Begin the next retention epoch; every custodian enrols a new envelope key.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Draft the next roster: parties with new keys, new parties, other terms, a new epoch.

    Every plan approved before ends with it. The quorum of the present roster signs.
    """
    with explained_errors():
        book = _book(settings_file)
        roster = rotated(
            book.versions,
            enrolments=_enrolments(enrolment),
            terms=None if terms is None else Terms.read(read_file(terms)),
            new_epoch=new_epoch,
            now=SystemClock().now(),
        )
        _write(roster, book.current, out, dry_run=dry_run, word="digest")


@roster_app.command()
def revoke(
    settings_file: SettingsFile,
    party: Annotated[list[str], typer.Option(help="Id of a party that leaves at once; repeat for several.")],
    out: Out,
    dry_run: DryRun = False,
) -> None:
    """Draft the next roster without some parties: their keys count for nothing once it is published, for ever.

    Coordinator and unmasker cannot be left out: rotate to new keys for them.
    """
    with explained_errors():
        book = _book(settings_file)
        roster = revoked(book.versions, party, now=SystemClock().now())
        _write(roster, book.current, out, dry_run=dry_run, word="digest")


@roster_app.command()
def publish(
    settings_file: SettingsFile,
    signed: Annotated[list[Path], typer.Argument(help="The signed roster, or copies that custodians signed apart.")],
    dry_run: DryRun = False,
) -> None:
    """Have a signed roster logged: by the running coordinator within seconds, else at its next start.

    From then on it counts: at every door, in every quorum, for every document that follows. The first roster is not
    published: the coordinator logs it when it first starts.
    """
    from coordinator.app import Coordinator

    with explained_errors():
        settings = CoordinatorSettings.load(settings_file)
        envelope = reduce(Envelope.merged, (Envelope.decode(read_file(path)) for path in signed))
        roster = envelope.document(Roster)
        if roster.version == 1:
            raise ConfigurationError("the first roster is logged when the coordinator first starts")
        book = _book(settings_file)
        book.check(envelope, day=SystemClock().now().date())
        book.checked((envelope,))
        if not dry_run:
            coordinator = Coordinator(
                settings, clock=SystemClock(), report=event_log(settings.id), on_progress=lambda *_: None
            )
            coordinator.proposals.propose("roster", envelope)
        signers = ", ".join(custodian_quorum(envelope, book.current).approved)
        typer.echo(f"{'would publish' if dry_run else 'published'} roster {roster.version}, signed by {signers}")


def _book(settings_file: Path) -> RosterBook:
    return roster_book(CoordinatorSettings.load(settings_file))


def _enrolments(paths: list[Path] | None) -> list[Enrolment]:
    return [verify_enrolment(Envelope.decode(read_file(path))) for path in paths or ()]


def _write(roster: Roster, earlier: Roster | None, out: Path, *, dry_run: bool, word: str) -> None:
    for line in changes_between(earlier, roster):
        typer.echo(line, err=True)
    if not dry_run:
        if out.exists():
            raise ConfigurationError(f"{out} exists already; nothing was written")
        write_durably(out, sign(roster).encode())
    typer.echo(f"{word} {roster.digest()}")
