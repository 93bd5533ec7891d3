"""``custodes unmasker|witness|custodian|issuer|investigator``: what the oversight roles run."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from oversight.app import (
    UnmaskerProcess,
    WitnessProcess,
    open_custodian,
    open_investigator,
    open_issuer,
)
from oversight.casework_cli import investigator_case_app, issuer_case_app, request_app
from oversight.settings import (
    CustodianSettings,
    InvestigatorSettings,
    IssuerSettings,
    UnmaskerSettings,
    WitnessSettings,
)
from protocol.clock import SystemClock
from protocol.documents.cases import Warrant, WarrantFlag
from protocol.documents.enrolment import Enrolment
from protocol.errors import ConfigurationError, NotLogged
from protocol.ids import random_id
from protocol.keys.creation import create_envelope_key, enrol_again
from protocol.keys.keyfile import write_private
from protocol.rpc.key_commands import add_key_commands
from protocol.rpc.party import read_file
from protocol.rpc.process import event_log, explained_errors, print_json, run_until_signal
from protocol.signing.dsse import Envelope
from protocol.signing.enrolment import verify_enrolment

unmasker_app = typer.Typer(no_args_is_help=True, help="Run the data-protection office's unmasker.")
witness_app = typer.Typer(no_args_is_help=True, help="Run a witness of the log.")
custodian_app = typer.Typer(no_args_is_help=True, help="A custodian's desk.")
issuer_app = typer.Typer(no_args_is_help=True, help="A warrant issuer's desk.")
investigator_app = typer.Typer(no_args_is_help=True, help="An investigator's desk.")
issuer_app.add_typer(issuer_case_app, name="case")
issuer_app.add_typer(request_app, name="request")
investigator_app.add_typer(investigator_case_app, name="case")

add_key_commands(unmasker_app, "unmasker")
add_key_commands(witness_app, "witness")
custodian_keys = add_key_commands(custodian_app, "custodian")
add_key_commands(issuer_app, "issuer")
# ``investigator key`` makes the key of one warrant.
add_key_commands(investigator_app, "investigator", group="keys")

SettingsFile = Annotated[Path, typer.Argument(help="This party's settings.toml.", metavar="SETTINGS")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
By = Annotated[str, typer.Option(help="Who you are: rank or office, and name.")]
WhyLook = Annotated[str, typer.Option(help="Why you look; at least 10 characters, logged before anything is shown.")]


@unmasker_app.command("run")
def run_unmasker(settings_file: SettingsFile) -> None:
    """Serve until stopped. Refuses to start behind the log."""
    with explained_errors():
        settings = UnmaskerSettings.load(settings_file)
        report = event_log(settings.id)
        run_until_signal(
            lambda: UnmaskerProcess(settings, clock=SystemClock(), report=report),
            report=report,
            on_ready=lambda: report("unmasker.ready", f"listening on {settings.listen}"),
        )


@witness_app.command("run")
def run_witness(settings_file: SettingsFile) -> None:
    """Serve until stopped. Stops for good when the log shows two histories."""
    with explained_errors():
        settings = WitnessSettings.load(settings_file)
        report = event_log(settings.id)
        run_until_signal(
            lambda: WitnessProcess(settings, clock=SystemClock(), report=report),
            report=report,
            on_ready=lambda: report("witness.ready", f"listening on {settings.listen}"),
        )


@custodian_app.command("proposals")
def proposals(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """Recompute every waiting plan and policy from the log and say which hold."""
    with explained_errors():
        connection, desk = open_custodian(CustodianSettings.load(settings_file), clock=SystemClock())
        found = desk.proposals()
        connection.close()
        if as_json:
            print_json(
                [
                    {
                        "kind": p.kind,
                        "digest": p.digest,
                        "problem": None if p.problem is None else {"code": p.problem.code, "detail": str(p.problem)},
                        "gates": [dataclasses.asdict(v) | {"waiver": p.reason(v)} for v in p.verdicts],
                        "document": p.document.model_dump(mode="json"),
                    }
                    for p in found
                ]
            )
            return
        for proposal in found:
            holds = (
                "recomputed here and found to hold" if proposal.problem is None else f"DO NOT SIGN: {proposal.problem}"
            )
            typer.echo(f"{proposal.kind} {proposal.digest}: {holds}")
            for verdict in proposal.verdicts:
                typer.echo(f"  fairness gate, {verdict}")
                if reason := proposal.reason(verdict):
                    typer.echo(f"    you would sign this reason: {reason}")


@custodian_app.command("endorse")
def endorse(settings_file: SettingsFile, digest: str) -> None:
    """Sign one waiting plan or policy, after recomputing it."""
    with explained_errors():
        connection, desk = open_custodian(CustodianSettings.load(settings_file), clock=SystemClock())
        wanted = [proposal for proposal in desk.proposals() if proposal.digest == digest]
        if not wanted:
            raise NotLogged("no such proposal waits for a signature")
        desk.endorse(wanted[0])
        connection.close()
        typer.echo(f"signed {wanted[0].kind} {digest}")


@custodian_app.command("collect")
def collect(settings_file: SettingsFile) -> None:
    """Fetch and check the shares of newly raised flags; delete those of flags that were erased."""
    with explained_errors():
        connection, desk = open_custodian(CustodianSettings.load(settings_file), clock=SystemClock())
        typer.echo(
            f"{desk.collect_shares()} shares arrived and hold; {desk.forget_erased()} of erased flags are deleted"
        )
        connection.close()


@custodian_app.command("warrants")
def warrants(settings_file: SettingsFile, as_json: AsJson = False) -> None:
    """List the warrants in the log."""
    with explained_errors():
        connection, desk = open_custodian(CustodianSettings.load(settings_file), clock=SystemClock())
        found = desk.warrants()
        connection.close()
        if as_json:
            print_json([{"digest": w.digest(), **w.model_dump(mode="json")} for w in found])
            return
        for warrant in found:
            flags = ", ".join(named.flag_id for named in warrant.flags)
            typer.echo(
                f"{warrant.digest()} until {warrant.valid_until:%Y-%m-%d %H:%M} UTC, flags {flags}\n  {warrant.purpose}"
            )


@custodian_app.command("decide")
def decide(
    settings_file: SettingsFile,
    warrant: Annotated[str, typer.Option(help="Digest of the warrant.")],
    flag: Annotated[str, typer.Option(help="The flag's id.")],
    decision: Annotated[Literal["approve", "refuse"], typer.Option()],
    reasons: Annotated[str, typer.Option(help="Your reasons; they are logged.")],
) -> None:
    """Approve or refuse the opening of one flag."""
    with explained_errors():
        connection, desk = open_custodian(CustodianSettings.load(settings_file), clock=SystemClock())
        desk.collect_shares()
        typer.echo(desk.decide(warrant, flag, decision=decision, reasons=reasons))
        connection.close()


@custodian_keys.command("epoch")
def epoch_key(
    settings_file: SettingsFile,
    enrolment: Annotated[Path, typer.Option(help="Your present enrolment.json.")],
    out: Annotated[Path, typer.Option(help="File for the new enrolment; it must not exist.")],
) -> None:
    """Make an envelope key for the next retention epoch, or a new one for the present, and enrol it.

    The present key stays until its own epoch has ended, or until `key replace`: what was sealed to it must open until then.
    """
    with explained_errors():
        settings = CustodianSettings.load(settings_file)
        earlier = verify_enrolment(Envelope.decode(read_file(enrolment)))
        signing_key = settings.open_signing_key()
        if earlier.signing_key != signing_key.public:
            raise ConfigurationError(f"{enrolment}: enrols another signing key than your settings name")
        # Sealed under the passphrase that the other keys have.
        public = create_envelope_key(settings.envelope_keys.path(), passphrase=settings.passphrase())
        renewed = enrol_again(earlier, hpke_key=public, signing_key=signing_key, now=SystemClock().now())
        write_private(out, renewed.encode())
        typer.echo(f"enrolment {renewed.document(Enrolment).digest()}")


@custodian_keys.command("destroy")
def destroy_keys(
    settings_file: SettingsFile,
    dry_run: Annotated[bool, typer.Option(help="Show which keys' epochs have ended.")] = False,
) -> None:
    """Destroy the envelope keys of ended retention epochs, with the shares sealed to them, and log your word about it.

    Destroy every backup of them, too: that is what makes erasure true.
    """
    with explained_errors():
        connection, desk = open_custodian(CustodianSettings.load(settings_file), clock=SystemClock())
        gone = tuple(desk.ended_keys()) if dry_run else desk.destroy_ended_keys()
        connection.close()
        for digest in gone:
            typer.echo(f"{'would destroy' if dry_run else 'destroyed'} envelope key {digest}")
        typer.echo(f"{len(gone)} keys of ended epochs", err=True)


@custodian_keys.command("replace")
def replace_key(
    settings_file: SettingsFile,
    dry_run: Annotated[bool, typer.Option(help="Show which keys the roster has replaced.")] = False,
) -> None:
    """Seal your shares to the envelope key that the present roster names, then destroy the one that it replaces.

    For a new key within the same epoch: made with `key epoch`, enrolled, and in the roster by `roster rotate`.
    """
    with explained_errors():
        connection, desk = open_custodian(CustodianSettings.load(settings_file), clock=SystemClock())
        gone = tuple(desk.replaced_keys()) if dry_run else desk.destroy_replaced_keys()
        connection.close()
        for digest in gone:
            typer.echo(f"{'would replace' if dry_run else 'replaced and destroyed'} envelope key {digest}")
        typer.echo(f"{len(gone)} keys replaced", err=True)


@issuer_app.command("flags")
def flags(
    settings_file: SettingsFile,
    by: By,
    reason: WhyLook,
    after: Annotated[str | None, typer.Option(help="Id of the last flag that you have read; begin behind it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Flags to read at once; all without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the flags' headers: pseudonyms, categories, bands, reasons; no names. That you looked, and why, is logged."""
    with explained_errors():
        connection, desk = open_issuer(IssuerSettings.load(settings_file), clock=SystemClock())
        found = desk.flags(by=by, reason=reason, after=after, limit=limit)
        connection.close()
        if as_json:
            print_json([header.model_dump(mode="json") for header in found])
            return
        for header in found:
            typer.echo(header.line())


@issuer_app.command("issue")
def issue(
    settings_file: SettingsFile,
    flag: Annotated[list[str], typer.Option(help="Id of a flag; repeat for several.")],
    by: By,
    investigator: Annotated[str, typer.Option()],
    recipient_key: Annotated[Path, typer.Option(help="File with the key that the investigator made for this warrant.")],
    purpose: Annotated[str, typer.Option()],
    regime: Annotated[Literal["UK GDPR", "DPA 2018 Part 3"], typer.Option()],
    legal_basis: Annotated[str, typer.Option()],
    necessity: Annotated[str, typer.Option()],
    proportionality: Annotated[str, typer.Option()],
    days: Annotated[int, typer.Option(min=1, help="Days of validity.")],
    disclosure_days: Annotated[int, typer.Option(min=0, help="Days until the auditor may see the case.")],
) -> None:
    """Issue a warrant for named flags."""
    with explained_errors():
        clock = SystemClock()
        connection, desk = open_issuer(IssuerSettings.load(settings_file), clock=clock)
        headers = {header.flag_id: header for header in desk.flags(*flag, by=by, reason=f"For a warrant: {purpose}")}
        now = clock.now()
        warrant = Warrant(
            warrant_id=random_id(),
            issuer=desk.id,
            investigator=investigator,
            flags=tuple(WarrantFlag(flag_id=flag_id, header=headers[flag_id].digest()) for flag_id in flag),
            purpose=purpose,
            regime=regime,
            legal_basis=legal_basis,
            necessity=necessity,
            proportionality=proportionality,
            recipient_key=recipient_key.read_text().strip(),
            issued_at=now,
            valid_from=now,
            valid_until=now + timedelta(days=days),
            disclosure_on=now + timedelta(days=disclosure_days),
        )
        typer.echo(desk.issue(warrant))
        connection.close()


@issuer_app.command("withdraw")
def withdraw(
    settings_file: SettingsFile, warrant: str, reason: Annotated[str, typer.Option(help="Logged with the withdrawal.")]
) -> None:
    """Take a warrant back, for good."""
    with explained_errors():
        connection, desk = open_issuer(IssuerSettings.load(settings_file), clock=SystemClock())
        desk.withdraw(warrant, reason=reason)
        connection.close()
        typer.echo(f"withdrew {warrant}")


@issuer_app.command("refer")
def refer(
    settings_file: SettingsFile,
    warrant: Annotated[str, typer.Option(help="Digest of the warrant under which the flag was opened.")],
    flag: Annotated[str, typer.Option(help="The flag's id.")],
    by: By,
    reason: WhyLook = "Referral to the borough's blind review",
) -> None:
    """Print the signed word to a borough that a case has come so far that its reviewers may see the person.

    It tells the borough that the flag was pursued: give it after the notice to the person.
    """
    with explained_errors():
        connection, desk = open_issuer(IssuerSettings.load(settings_file), clock=SystemClock())
        referral = desk.refer(warrant, flag, by=by, reason=reason)
        connection.close()
        typer.echo(referral.encode().decode())


@investigator_app.command("key")
def key(settings_file: SettingsFile) -> None:
    """Make a key for one warrant and print its public half, for the issuer."""
    with explained_errors():
        connection, desk = open_investigator(InvestigatorSettings.load(settings_file), clock=SystemClock())
        typer.echo(desk.new_recipient_key())
        connection.close()


@investigator_app.command("open")
def open_flag(settings_file: SettingsFile, warrant: str, flag: str) -> None:
    """Log the opening of one flag and print the identity. The screen is the only place it appears."""
    with explained_errors():
        connection, desk = open_investigator(InvestigatorSettings.load(settings_file), clock=SystemClock())
        typer.echo(desk.open(warrant, flag).identity)
        connection.close()
