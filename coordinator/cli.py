"""``custodes coordinator``: what the coordinator's team runs."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.registry.drafting import PlanChoices, draft_plan, draft_policy
from coordinator.settings import CoordinatorSettings
from protocol.clock import SystemClock
from protocol.documents.catalogue import FeatureCatalogue
from protocol.errors import ConfigurationError, ProtocolError, SumInvalid
from protocol.ids import Digest, PartyId, random_id
from protocol.rpc.process import event_log, explained_errors, print_json, run_until_signal

if TYPE_CHECKING:
    # Flower takes seconds to load; it is imported where a coordinator is opened.
    from coordinator.app import Coordinator, Report

app = typer.Typer(no_args_is_help=True, help="Run the coordinator and propose plans and policies.")

SettingsFile = Annotated[Path, typer.Argument(help="The coordinator's settings.toml.", metavar="SETTINGS")]
POLL_SECONDS = 2.0


class RunningCoordinator:
    """The coordinator with a worker that runs approved plans and collects approved policies' flags, again and again."""

    def __init__(self, coordinator: Coordinator, report: Report) -> None:
        self._coordinator = coordinator
        self._report = report
        self._stopped = threading.Event()
        self._workers = [
            threading.Thread(target=self._repeat, args=(work,), name=work.__name__, daemon=True)
            for work in (self._run_plans, self._collect_flags)
        ]
        self._given_up: set[Digest] = set()
        self._collected: set[Digest] = set()

    def start(self) -> None:
        """Serve, then work."""
        self._coordinator.start()
        for worker in self._workers:
            worker.start()

    def stop(self, *, grace_seconds: float) -> None:
        """Stop working, then serving; whatever is half done is finished after the next start."""
        self._stopped.set()
        self._coordinator.stop(grace_seconds=grace_seconds)

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            try:
                work()
            except ProtocolError as error:
                # A missing witness, an unmasker that restarts: everything stands where it stood and is tried again.
                self._report(error.code, error.detail)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the work in silence
                self._report("bug", f"{work.__name__}: {type(error).__name__}")

    def _run_plans(self) -> None:
        self._coordinator.log_proposed_catalogues()
        for plan in self._coordinator.unfinished_plans():
            if plan in self._given_up:
                continue
            try:
                self._coordinator.run_plan(plan)
                self._report("plan.finished", f"plan {plan[:16]}")
            except SumInvalid:
                self._given_up.add(plan)
                raise

    def _collect_flags(self) -> None:
        for policy in self._coordinator.live_policies():
            if policy not in self._collected:
                confirmed, asked = self._coordinator.collect_flags(policy)
                self._report("policy.collected", f"{len(confirmed)} of {len(asked)} boroughs, policy {policy[:16]}")
                if len(confirmed) == len(asked):
                    self._collected.add(policy)


@app.command()
def run(settings_file: SettingsFile) -> None:
    """Serve until stopped; run every approved plan to its end, from wherever it stands."""
    from coordinator.app import Coordinator

    with explained_errors():
        settings = CoordinatorSettings.load(settings_file)
        report = event_log(settings.id)

        def opened() -> RunningCoordinator:
            coordinator = Coordinator(settings, clock=SystemClock(), report=report, on_progress=lambda *_: None)
            return RunningCoordinator(coordinator, report)

        run_until_signal(
            opened,
            report=report,
            on_ready=lambda: report("coordinator.ready", f"listening on {settings.coordinator}"),
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


@app.command("propose-plan")
def propose_plan(
    settings_file: SettingsFile,
    catalogue: Annotated[Path, typer.Option(help="The catalogue, canonical JSON.")],
    choices: Annotated[Path, typer.Option(help="The plan's choices, TOML.")],
    establishment: Annotated[Path, typer.Option(help="Published people by borough, CSV: borough,people.")],
    train_from: Annotated[int, typer.Option()],
    train_until: Annotated[int, typer.Option()],
    evaluate_at: Annotated[int, typer.Option()],
    dry_run: Annotated[bool, typer.Option(help="Draft and check only.")] = False,
) -> None:
    """Draft a plan, with all that follows from the choices, and offer it to the custodians."""
    with explained_errors():
        coordinator = _offline(settings_file)
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
) -> None:
    """Draft the flag policy that follows from a finished plan and offer it to the custodians."""
    with explained_errors():
        coordinator = _offline(settings_file)
        record = coordinator.appender.history.public.plan(plan)
        policy = draft_policy(
            PlanChoices.load(choices), record=record, roster=coordinator.roster(), now=SystemClock().now()
        )
        typer.echo(coordinator.propose("policy", policy))


def _offline(settings_file: Path) -> Coordinator:
    """Return the coordinator's state without serving; it may run in another process meanwhile."""
    from coordinator.app import Coordinator

    settings = CoordinatorSettings.load(settings_file)
    return Coordinator(settings, clock=SystemClock(), report=event_log(settings.id), on_progress=lambda *_: None)


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
