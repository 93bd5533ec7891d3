"""``custodes issuer case|request``, ``investigator case``, ``auditor``: what follows an opening, to outcome and audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from oversight.app import open_auditor, open_investigator, open_issuer
from oversight.audit.fetching import fetch_disclosure
from oversight.issuing.issuer import IssuerDesk
from oversight.settings import AuditorSettings, InvestigatorSettings, IssuerSettings
from protocol.clock import SystemClock
from protocol.documents.casework import Deferral
from protocol.keys.keyfile import write_private
from protocol.rpc.connection import Connection, LoggedCase
from protocol.rpc.party import read_text
from protocol.rpc.process import answer_with, explained_errors, print_json

issuer_case_app = typer.Typer(no_args_is_help=True, help="Opened cases: defer, give notice, decide.")
auditor_app = typer.Typer(no_args_is_help=True, help="What the register discloses to an auditor.")
request_app = typer.Typer(no_args_is_help=True, help="Requests of data subjects, and their answers.")
investigator_case_app = typer.Typer(no_args_is_help=True, help="Opened cases: look, and review.")

SettingsFile = Annotated[Path, typer.Argument(help="This party's settings.toml.", metavar="SETTINGS")]
WarrantDigest = Annotated[str, typer.Option("--warrant", help="Digest of the warrant.")]
FlagId = Annotated[str, typer.Option("--flag", help="The flag's id.")]
By = Annotated[str, typer.Option(help="Who decides: rank or office, and name.")]
Law = Annotated[
    Literal["UK GDPR", "DPA 2018 Part 3"], typer.Option("--regime", help="Which law the processing is under.")
]
LegalBasis = Annotated[str, typer.Option(help="The provision, and why it applies; at least 10 characters.")]
Reasons = Annotated[str, typer.Option(help="At least 10 characters; logged.")]
Finding = Annotated[Literal["no_case", "misconduct", "gross_misconduct", "referred"], typer.Option()]
INSTANTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
"""In UTC."""
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the fields and show the document; log nothing.")]


@contextmanager
def issuers_desk(settings_file: Path) -> Iterator[IssuerDesk]:
    """Yield an open issuer's desk; errors are explained."""
    with explained_errors():
        connection, desk = open_issuer(IssuerSettings.load(settings_file), clock=SystemClock())
        yield desk
        connection.close()


def list_cases(connection: Connection, *, as_json: bool) -> None:
    """Print the documents of cases that this party may see."""
    found = connection.cases(lambda kind: kind not in ("consultation", "request", "answer", "erasure"))
    if as_json:
        print_json([_shown(one) for one in found])
        return
    for one in found:
        flag = getattr(one.document, "flag_id", "")
        ends = f", ends {one.document.until:%Y-%m-%d}" if isinstance(one.document, Deferral) else ""
        typer.echo(f"{one.index:>6} {one.kind:<14} {one.document.digest()} {flag}{ends}".rstrip())


def _shown(case: LoggedCase) -> dict[str, object]:
    document = case.document
    return {
        "kind": case.kind,
        "index": case.index,
        "digest": document.digest(),
        "document": document.model_dump(mode="json"),
    }


@auditor_app.command("fetch")
def fetch(
    settings_file: SettingsFile,
    out: Annotated[
        Path, typer.Option(help="File to write; it must not exist. It holds what is secret from the public.")
    ],
    as_json: AsJson = False,
) -> None:
    """Fetch bodies and salts of every warrant whose disclosure date has come, for `custodes audit verify --disclosed`.

    Keep every file: what is erased later stands in earlier ones only.
    """
    with explained_errors():
        connection = open_auditor(AuditorSettings.load(settings_file), clock=SystemClock())
        disclosure = fetch_disclosure(connection)
        connection.close()
        write_private(out, disclosure.encode())
        if as_json:
            print_json({"file": str(out), "leaves": len(disclosure.leaves)})
        else:
            typer.echo(f"{out}: {len(disclosure.leaves)} bodies")


@issuer_case_app.command("list")
def list_issuers(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """List every document of every case, in the order of the log."""
    with explained_errors():
        connection, _ = open_issuer(IssuerSettings.load(settings_file), clock=SystemClock())
        list_cases(connection, as_json=as_json)
        connection.close()


@investigator_case_app.command("list")
def list_investigators(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """List the documents of your own cases, in the order of the log."""
    with explained_errors():
        connection, _ = open_investigator(InvestigatorSettings.load(settings_file), clock=SystemClock())
        list_cases(connection, as_json=as_json)
        connection.close()


@investigator_case_app.command("review")
def review(
    settings_file: SettingsFile,
    warrant: WarrantDigest,
    flag: FlagId,
    reviewer: Annotated[str, typer.Option(help="Who reviewed: rank or office, and name.")],
    regime: Law,
    legal_basis: LegalBasis,
    material: Annotated[list[str], typer.Option(help="What was looked at; repeat for each thing.")],
    finding: Finding,
    reasons: Reasons,
    override: Annotated[
        bool, typer.Option("--override/--no-override", help="Whether the finding goes against what the flag suggests.")
    ],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Log your review of an opened case. It is no decision; the issuer decides, and no outcome comes without a review."""
    with explained_errors():
        connection, desk = open_investigator(InvestigatorSettings.load(settings_file), clock=SystemClock())
        document = desk.review(
            warrant,
            flag,
            reviewer=reviewer,
            regime=regime,
            legal_basis=legal_basis,
            material_seen=tuple(material),
            finding=finding,
            override=override,
            reasons=reasons,
            dry_run=dry_run,
        )
        connection.close()
        answer_with(document, dry_run=dry_run, as_json=as_json)


@issuer_case_app.command("defer")
def defer(
    settings_file: SettingsFile,
    warrant: WarrantDigest,
    flag: FlagId,
    by: By,
    regime: Law,
    legal_basis: LegalBasis,
    necessity: Reasons,
    proportionality: Reasons,
    until: Annotated[
        datetime, typer.Option(formats=INSTANTS, help="In UTC; from then on the notice is due after all.")
    ],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put the notice to the person off, for a time and with reasons."""
    with issuers_desk(settings_file) as desk:
        document = desk.defer(
            warrant,
            flag,
            decided_by=by,
            regime=regime,
            legal_basis=legal_basis,
            necessity=necessity,
            proportionality=proportionality,
            until=until.replace(tzinfo=UTC),
            dry_run=dry_run,
        )
        answer_with(document, dry_run=dry_run, as_json=as_json)


@issuer_case_app.command("notice")
def notice(
    settings_file: SettingsFile,
    warrant: WarrantDigest,
    flag: FlagId,
    borough: Annotated[str, typer.Option(help="The borough that raised the flag.")],
    by: By,
    regime: Law,
    legal_basis: LegalBasis,
    text: Annotated[Path, typer.Option(help="File with what the person is told.")],
    representations_days: Annotated[int, typer.Option(min=1, help="Days that the person has to answer.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have the borough tell the person. From now on the borough knows that its flag was opened."""
    with issuers_desk(settings_file) as desk:
        document = desk.give_notice(
            warrant,
            flag,
            borough=borough,
            decided_by=by,
            regime=regime,
            legal_basis=legal_basis,
            text=read_text(text).strip(),
            representations_days=representations_days,
            dry_run=dry_run,
        )
        answer_with(document, dry_run=dry_run, as_json=as_json)


@issuer_case_app.command("outcome")
def outcome(
    settings_file: SettingsFile,
    warrant: WarrantDigest,
    flag: FlagId,
    by: By,
    regime: Law,
    legal_basis: LegalBasis,
    finding: Finding,
    reasons: Reasons,
    contest_until: Annotated[
        datetime, typer.Option(formats=INSTANTS, help="In UTC; the person may contest it until then.")
    ],
    retain_until: Annotated[datetime, typer.Option(formats=INSTANTS, help="In UTC; the case is erased from then on.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Decide a case, on its last review. Who reviewed does not decide."""
    with issuers_desk(settings_file) as desk:
        document = desk.decide(
            warrant,
            flag,
            decided_by=by,
            regime=regime,
            legal_basis=legal_basis,
            finding=finding,
            reasons=reasons,
            contest_until=contest_until.replace(tzinfo=UTC),
            retain_until=retain_until.replace(tzinfo=UTC),
            dry_run=dry_run,
        )
        answer_with(document, dry_run=dry_run, as_json=as_json)


@request_app.command("list")
def list_requests(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """List data subjects' requests. Most are of people without a flag; all get an answer."""
    with issuers_desk(settings_file) as desk:
        found = desk.requests()
        if as_json:
            print_json([{"digest": one.digest(), **one.model_dump(mode="json")} for one in found])
            return
        for one in found:
            typer.echo(f"{one.digest()} {one.kind} of {one.received_at:%Y-%m-%d}, {one.borough}: {one.statement}")


@request_app.command("answer")
def answer(
    settings_file: SettingsFile,
    request: Annotated[str, typer.Argument(help="Digest of the request.")],
    by: By,
    decision: Annotated[
        Literal["neither_confirm_nor_deny", "granted", "upheld", "rejected"],
        typer.Option(help="Until the person was told of an opening, the borough says only that neither is confirmed."),
    ],
    legal_basis: LegalBasis,
    reasons: Reasons,
    until: Annotated[
        datetime | None, typer.Option(formats=INSTANTS, help="Of neither_confirm_nor_deny: until when, in UTC.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Answer a request."""
    with issuers_desk(settings_file) as desk:
        document = desk.answer(
            request,
            decided_by=by,
            decision=decision,
            legal_basis=legal_basis,
            reasons=reasons,
            until=None if until is None else until.replace(tzinfo=UTC),
            dry_run=dry_run,
        )
        answer_with(document, dry_run=dry_run, as_json=as_json)
