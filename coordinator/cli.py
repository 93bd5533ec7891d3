"""``custodes coordinator``: what the coordinator's team runs."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError

from coordinator.registry.drafting import PlanChoices, draft_plan, draft_policy, second_moment
from coordinator.settings import CoordinatorSettings
from coordinator.store.backup import back_up
from coordinator.store.database import Database
from coordinator.store.place import database_place
from coordinator.warrants.register import Register
from coordinator.warrants.team import TeamDesk
from coordinator.worker import RunningCoordinator
from protocol.clock import SystemClock
from protocol.documents.base import describe
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.flags import Waiver
from protocol.errors import ConfigurationError
from protocol.history.spending import spending
from protocol.ids import PartyId, random_id
from protocol.rpc.connection import Connection
from protocol.rpc.key_commands import add_key_commands
from protocol.rpc.process import answer_with, event_log, explained_errors, print_json, run_until_signal
from protocol.scorecard.gates import gate_verdicts

if TYPE_CHECKING:
    # Flower takes seconds to load; it is imported where a coordinator is opened.
    from coordinator.app import Coordinator

app = typer.Typer(
    no_args_is_help=True, help="Run the coordinator, propose plans and policies, triage flags, erase what has expired."
)

add_key_commands(app, "coordinator")

SettingsFile = Annotated[Path, typer.Argument(help="The coordinator's settings.toml.", metavar="SETTINGS")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
By = Annotated[str, typer.Option(help="Who you are: rank or office, and name.")]
POLL_SECONDS = 2.0


@app.command()
def run(settings_file: SettingsFile) -> None:
    """Serve until stopped; run every approved plan to its end, from wherever it stands."""
    from coordinator.app import Coordinator

    with explained_errors():
        settings = CoordinatorSettings.load(settings_file)
        report = event_log(settings.id)

        def opened() -> RunningCoordinator:
            coordinator = Coordinator(settings, clock=SystemClock(), report=report, on_progress=lambda *_: None)
            return RunningCoordinator(coordinator, report, poll_seconds=POLL_SECONDS)

        run_until_signal(
            opened,
            report=report,
            on_ready=lambda: report("coordinator.ready", f"listening on {settings.coordinator}"),
        )


@app.command()
def migrate(
    settings_file: SettingsFile,
    dry_run: Annotated[bool, typer.Option(help="Say which steps are missing and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Bring the database to the schema of this version. Stop the coordinator and make a backup first: no step goes back."""
    with explained_errors():
        settings = CoordinatorSettings.load(settings_file)
        steps = Database.migrate(database_place(settings), dry_run=dry_run)
        if as_json:
            print_json({"dry_run": dry_run, "steps": [dataclasses.asdict(step) for step in steps]})
            return
        for step in steps:
            typer.echo(f"{'would take' if dry_run else 'took'} step {step.revision}: {step.what}")
        if not steps:
            typer.echo("The database has the schema of this version.")


@app.command()
def backup(
    settings_file: SettingsFile,
    copy: Annotated[Path, typer.Argument(help="A new file.", metavar="FILE")],
) -> None:
    """Copy the database, as it is at one moment, into a file; the coordinator may run meanwhile."""
    with explained_errors():
        back_up(database_place(CoordinatorSettings.load(settings_file)), copy)
        typer.echo(f"wrote {copy}")


@app.command()
def restore(
    settings_file: SettingsFile,
    copy: Annotated[Path, typer.Argument(help="What backup wrote.", metavar="FILE")],
    dry_run: Annotated[bool, typer.Option(help="Prove the backup and restore nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Fill a new, empty database from a backup, if it is all that the log and its witnesses have seen.

    A backup that is behind the log, or was changed, is refused. A majority of the witnesses must run, the coordinator not.
    """
    from coordinator.app import restore_register

    with explained_errors():
        proven = restore_register(CoordinatorSettings.load(settings_file), copy, dry_run=dry_run)
        if as_json:
            print_json({"dry_run": dry_run} | dataclasses.asdict(proven))
            return
        typer.echo(
            f"{copy} holds {proven.leaves} leaves and {proven.flags} flags; the log is witnessed up to {proven.witnessed}: "
            f"it {'may be' if dry_run else 'was'} restored"
        )


@app.command()
def status(settings_file: SettingsFile, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show plans, policies, proposals that wait, and the log's size."""
    with explained_errors():
        coordinator = _offline(settings_file)
        public = coordinator.appender.history.public
        plans = [
            {"plan": digest, "releases": len(record.releases), "of": len(record.plan.releases), "closed": record.closed}
            for digest, record in public.plans.items()
        ]
        waiting = [{"digest": digest, "kind": kind} for digest, kind, _ in coordinator.proposals.waiting()]
        if as_json:
            print_json({"log_size": coordinator.appender.history.tree.size, "plans": plans, "waiting": waiting})
            return
        typer.echo(f"The log holds {coordinator.appender.history.tree.size} leaves.")
        for plan in plans:
            state = "closed" if plan["closed"] else "open"
            typer.echo(f"plan {plan['plan']}: {plan['releases']} of {plan['of']} releases published, {state}")
        for entry in waiting:
            typer.echo(f"waits for custodians: {entry['kind']} {entry['digest']}")


@app.command()
def budget(
    settings_file: SettingsFile,
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As it stood on this day; else today.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Show what the plans in the log have spent in the rolling 365 days, by purpose: what an auditor recomputes."""
    with explained_errors():
        public = _offline(settings_file).appender.history.public
        found = spending(public, on=(on or SystemClock().now()).date())
        if as_json:
            print_json([dataclasses.asdict(purpose) for purpose in found])
            return
        for purpose in found:
            typer.echo("\n".join(purpose.lines()))


@app.command("propose-plan")
def propose_plan(
    settings_file: SettingsFile,
    catalogue: Annotated[Path, typer.Option(help="The catalogue, canonical JSON.")],
    choices: Annotated[Path, typer.Option(help="The plan's choices, TOML.")],
    establishment: Annotated[Path, typer.Option(help="Published people by borough, CSV: borough,people.")],
    train_from: Annotated[int, typer.Option()],
    train_until: Annotated[int, typer.Option()],
    evaluate_at: Annotated[int, typer.Option()],
    second_moment_of: Annotated[
        str | None, typer.Option(help="Digest of an earlier plan whose second moment is used again.")
    ] = None,
    outcomes_of: Annotated[
        str | None, typer.Option(help="Digest of the policy whose reviewed flags and control sample are counted.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Draft and check only.")] = False,
) -> None:
    """Draft a plan, with all that follows from the choices, and offer it to the custodians."""
    with explained_errors():
        coordinator = _offline(settings_file)
        public = coordinator.appender.history.public
        features = FeatureCatalogue.decode(_read(catalogue))
        plan_id = random_id()
        plan = draft_plan(
            PlanChoices.load(choices),
            plan_id=plan_id,
            roster=coordinator.roster(),
            catalogue=features,
            establishment=_establishment(establishment),
            train_from=train_from,
            train_until=train_until,
            evaluation_cutoff=evaluate_at,
            unmasker_key="00" * 32 if dry_run else coordinator.new_plan_key(plan_id),
            now=SystemClock().now(),
            second_moment_of=None if second_moment_of is None else second_moment(public.plan(second_moment_of)),
            outcomes_of=None if outcomes_of is None else public.policy(outcomes_of).digest(),
        )
        for statement in plan.statements:
            typer.echo(
                f"{statement.adversary}: epsilon {statement.epsilon:.3f} at delta {statement.delta:.1e}", err=True
            )
        if not dry_run:
            coordinator.propose("catalogue", features)
            typer.echo(coordinator.propose("plan", plan))


@app.command("propose-policy")
def propose_policy(
    settings_file: SettingsFile,
    plan: Annotated[str, typer.Option(help="Digest of the finished plan.")],
    choices: Annotated[Path, typer.Option(help="The plan's choices, TOML.")],
    waive: Annotated[
        list[str] | None,
        typer.Option(
            help="Why a category may be flagged although its fairness gate asks for a reason; may be repeated.",
            metavar="CATEGORY:ATTRIBUTE=REASON",
        ),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A category not to flag; may be repeated.", metavar="CATEGORY")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Draft and check only.")] = False,
) -> None:
    """Draft the flag policy that follows from a finished plan and offer it to the custodians.

    Says for each fairness gate of the plan whether it was passed. One that needs a reason and has none is refused.
    """
    with explained_errors():
        coordinator = _offline(settings_file)
        record = coordinator.appender.history.public.plan(plan)
        for verdict in gate_verdicts(record.run):
            typer.echo(str(verdict), err=True)
        policy = draft_policy(
            PlanChoices.load(choices),
            record=record,
            roster=coordinator.roster(),
            now=SystemClock().now(),
            waivers=tuple(_waiver(text) for text in waive or ()),
            without=tuple(without or ()),
        )
        for rule in policy.rules:
            shown = "shown" if rule.shows_stability else "withheld"
            typer.echo(
                f"{rule.category}: predicted stability is off by {rule.stability_error:.3f} and is {shown}; "
                f"least stable band that is flagged: {rule.minimum_band or 'any'}",
                err=True,
            )
        if not dry_run:
            typer.echo(coordinator.propose("policy", policy))


@app.command("flags")
def flags(
    settings_file: SettingsFile,
    by: By,
    reason: Annotated[str, typer.Option(help="Why you look; at least 10 characters, logged before anything is shown.")],
    after: Annotated[str | None, typer.Option(help="Id of the last flag that you have read; begin behind it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Flags to read at once; all without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the flags' headers: no names. That you looked, and why, is logged."""
    with _team(settings_file) as (desk, _):
        found = desk.flags(by=by, reason=reason, after=after, limit=limit)
        if as_json:
            print_json([header.model_dump(mode="json") for header in found])
            return
        for header in found:
            typer.echo(header.line())


@app.command("triage")
def triage(
    settings_file: SettingsFile,
    flag: Annotated[str, typer.Argument(help="The flag's id.")],
    by: By,
    decision: Annotated[Literal["pursue", "set-aside"], typer.Option(help="Worth asking for a warrant, or not.")],
    reasons: Annotated[str, typer.Option(help="At least 10 characters; logged.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look, and log no triage; the look itself is logged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at one flag and say whether it is worth asking for a warrant. A flag that is set aside can be taken up again."""
    with _team(settings_file) as (desk, _):
        document = desk.triage(
            flag, by=by, decision="pursue" if decision == "pursue" else "set_aside", reasons=reasons, dry_run=dry_run
        )
        answer_with(document, dry_run=dry_run, as_json=as_json)


@app.command("retention")
def retention(
    settings_file: SettingsFile,
    legal_basis: Annotated[str, typer.Option(help="The provision under which expired cases are erased.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased; erase nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase every flag and case whose retention is over: ciphertexts, salts, bodies. Run it daily.

    What a live warrant, an open contest, a missing outcome or a coming disclosure holds is left for the next run.
    """
    with _team(settings_file) as (desk, coordinator):
        erasure = Register(coordinator.appender, coordinator.cases).erasure_due(
            coordinator.settings.id, legal_basis=legal_basis
        )
        if erasure is not None and not dry_run:
            desk.erase(erasure)
        flags = 0 if erasure is None else len(erasure.flags)
        leaves = 0 if erasure is None else len(erasure.leaves)
        if as_json:
            print_json({"erased": erasure is not None and not dry_run, "flags": flags, "leaves": leaves})
        else:
            typer.echo(f"{flags} flags, {leaves} bodies {'would be' if dry_run else 'are'} erased")


@contextmanager
def _team(settings_file: Path) -> Iterator[tuple[TeamDesk, Coordinator]]:
    """Yield the team's desk at the serving coordinator, and the stored state; errors are explained."""
    with explained_errors():
        coordinator = _offline(settings_file)
        connection = Connection(coordinator.settings, clock=SystemClock(), memory=coordinator.settings.state / "team")
        yield TeamDesk(connection, clock=SystemClock()), coordinator
        connection.close()


def _offline(settings_file: Path) -> Coordinator:
    """Return the coordinator's state without serving; it may run in another process meanwhile."""
    from coordinator.app import Coordinator

    settings = CoordinatorSettings.load(settings_file)
    return Coordinator(settings, clock=SystemClock(), report=event_log(settings.id), on_progress=lambda *_: None)


def _waiver(text: str) -> Waiver:
    gate, _, reason = text.partition("=")
    category, _, attribute = gate.partition(":")
    try:
        return Waiver(category=category, attribute=attribute, reason=reason)
    except ValidationError as error:
        raise ConfigurationError(f"--waive needs CATEGORY:ATTRIBUTE=REASON: {describe(error)}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def _establishment(path: Path) -> dict[PartyId, int]:
    try:
        rows = list(csv.DictReader(_read(path).decode().splitlines()))
        return {row["borough"]: int(row["people"]) for row in rows}
    except (KeyError, ValueError, UnicodeDecodeError):
        raise ConfigurationError(f"{path}: needs the columns borough and people, people in whole numbers") from None
