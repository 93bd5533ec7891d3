"""``custodes node``: what a borough operator runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from borough_node.explaining_cli import explain_app, journal_app, operator_app
from borough_node.features.extract import covered_cutoffs
from borough_node.informing_cli import notice_app, rights_app
from borough_node.ledger import GENESIS, Ledger, LedgerEntry
from borough_node.ledger.account import Account, Loss, account_of
from borough_node.ledger.chain import charges_of
from borough_node.ledger.comparison import LogComparison, compare
from borough_node.records import table_reader
from borough_node.reviewing_cli import review_app
from borough_node.settings import NodeSettings
from borough_node.sources.contract.cutoffs import date_of
from borough_node.sources.layout import load_catalogue
from borough_node.sources.personnel.checking import Report as PersonnelReport
from borough_node.sources.personnel.checking import as_json as report_json
from borough_node.sources.personnel.checking import check as check_tables
from borough_node.sources.personnel.settings import PersonnelSettings, is_personnel
from borough_node.sources.personnel.skeleton import SETTINGS, skeleton, write_skeleton
from borough_node.sources.personnel.staging import staged
from protocol.clock import SystemClock
from protocol.errors import ConfigurationError
from protocol.history.files import mirror_from_files
from protocol.rpc.key_commands import add_key_commands
from protocol.rpc.party import read_file, roster_book
from protocol.rpc.process import event_log, explained_errors, print_json, run_until_signal

app = typer.Typer(no_args_is_help=True, help="Run and inspect a borough node.")
ledger_app = typer.Typer(no_args_is_help=True, help="The borough's privacy ledger.")
add_key_commands(app, "borough")
app.add_typer(ledger_app, name="ledger")
app.add_typer(operator_app, name="operator")
app.add_typer(explain_app, name="explain")
app.add_typer(journal_app, name="journal")
app.add_typer(review_app, name="review")
app.add_typer(notice_app, name="notice")
app.add_typer(rights_app, name="rights")

ON_SCREEN = "These counts are for the operator's screen; they are sent nowhere."

SettingsFile = Annotated[Path, typer.Argument(help="The node's settings.toml.", metavar="SETTINGS")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
LedgerFile = Annotated[Path | None, typer.Option(help="A copy of the ledger instead of the node's own file.")]


@app.command()
def run(settings_file: SettingsFile) -> None:
    """Serve this borough until stopped. Waits for the coordinator; refuses to start behind the log."""
    from borough_node.app import Node  # torch and Flower take seconds to load; the other commands do without

    with explained_errors():
        settings = NodeSettings.load(settings_file)
        report = event_log(settings.id)
        run_until_signal(
            lambda: Node(settings, clock=SystemClock(), report=report),
            report=report,
            on_ready=lambda: report("node.ready", f"connected to {settings.coordinator}"),
        )


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="A folder; made if absent.", metavar="DIRECTORY")],
    borough: Annotated[str, typer.Option(help="The borough's id, as the exports have it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
) -> None:
    """Write commented settings for a borough's own tables (CSV, Parquet, PostgreSQL), and an empty table of each kind."""
    with explained_errors():
        files = skeleton(borough)
        if not dry_run:
            write_skeleton(directory, files)
        for name in files:
            typer.echo(f"{'would write' if dry_run else 'wrote'} {directory / name}")
        typer.echo(f"Put the exports into {directory / 'exports'}, then: custodes node check {directory / SETTINGS}")


@app.command()
def check(
    settings_file: Annotated[
        Path, typer.Argument(help="The node's settings.toml, or the personnel.toml alone.", metavar="SETTINGS")
    ],
    as_json: AsJson = False,
) -> None:
    """Read the borough's tables and say whether they can be used, and what to do if not. Changes nothing."""
    with explained_errors():
        if is_personnel(settings_file):
            _check_personnel(settings_file, as_json=as_json)
            return
        settings = NodeSettings.load(settings_file)
        if settings.personnel is not None:
            _check_personnel(settings.personnel, as_json=as_json)
        elif settings.table is not None:
            _check_table(settings.table, settings.catalogue, as_json=as_json)


def _check_table(table_file: Path, catalogue_file: Path, *, as_json: bool) -> None:
    _, catalogue = load_catalogue(catalogue_file)
    table = table_reader(table_file, layout_of=catalogue_file)(catalogue)
    cutoffs = sorted(set(table.cutoff.tolist()))
    if as_json:
        print_json({"rows": table.rows, "cutoffs": cutoffs, "features": len(catalogue.features), "usable": True})
    else:
        typer.echo(
            f"Usable: {table.rows} rows, cutoffs {cutoffs[0]} to {cutoffs[-1]}, {len(catalogue.features)} features."
        )
        typer.echo(ON_SCREEN)


def _check_personnel(settings_file: Path, *, as_json: bool) -> None:
    """Print the report. Raises: TableInvalid, after it, if the tables may not be used."""
    with staged(PersonnelSettings.load(settings_file)) as tables:
        report = check_tables(tables, now=SystemClock().now())
        cutoffs = covered_cutoffs(tables) if report.usable else ()
    if as_json:
        print_json(report_json(report) | {"cutoffs": list(cutoffs)})
    else:
        for line in _report_lines(report, cutoffs):
            typer.echo(line)
    report.require_usable()


def _report_lines(report: PersonnelReport, cutoffs: tuple[int, ...]) -> Iterator[str]:
    for name, rows in report.rows.items():
        months = report.coverage.get(name, {})
        when = f", {min(months)} to {max(months)}" if months else ""
        yield f"{name}: absent" if name in report.absent else f"{name}: {rows} rows{when}"
    for problem in report.problems:
        where = problem.table if problem.column is None else f"{problem.table}.{problem.column}"
        rows = f" ({problem.rows} rows)" if problem.rows else ""
        yield f"{problem.severity}: {where}{rows}: {problem.advice}"
        yield from (f"    {key}" for key in problem.keys)
    errors = len(report.errors())
    if errors:
        yield f"Not usable: {errors} errors. Correct them at the source and export again; nothing was taken over."
    elif cutoffs:
        days = ", ".join(f"{cutoff} ({date_of(cutoff)})" for cutoff in cutoffs)
        yield f"Usable. Cutoffs whose half-year is covered: {days}."
    else:
        yield "Usable, but no whole half-year is covered by duties, so there is nothing to train on or to score yet."
    yield ON_SCREEN


@ledger_app.command()
def show(
    settings_file: SettingsFile,
    purpose: Annotated[str | None, typer.Option(help="Only this purpose.")] = None,
    delta: Annotated[float | None, typer.Option(help="Also state epsilon, at this delta. There is no default.")] = None,
    file: LedgerFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what was charged and raised, and what each purpose's budget of the last 365 days still holds.

    Budgets are those of the configured roster; the running node goes by the newest roster in the log.
    """
    with explained_errors():
        settings = NodeSettings.load(settings_file)
        roster = roster_book(settings).current
        budgets = {budget.purpose: budget.rho for budget in roster.budgets}
        entries = _read_ledger(settings, file).entries()
        if purpose is not None and purpose not in budgets and all(c.purpose != purpose for c in charges_of(entries)):
            raise ConfigurationError(f"purpose {purpose}: the roster gives it no budget and nothing was charged for it")
        account = account_of(entries, budgets=budgets, now=SystemClock().now(), delta=delta, purpose=purpose)
        rows = [entry for entry in entries if purpose is None or entry.content.get("purpose") == purpose]
        if as_json:
            print_json(
                {
                    "borough": settings.id,
                    "roster_version": roster.version,
                    "length": len(entries),
                    "head": entries[-1].hash if entries else GENESIS,
                    "rows": [{"number": row.number, "hash": row.hash, **row.content} for row in rows],
                    **dataclasses.asdict(account),
                }
            )
            return
        typer.echo(f"{settings.id}: {len(entries)} rows, head {entries[-1].hash if entries else GENESIS}")
        for line in (*map(_row_text, rows), *_account_lines(account, roster_version=roster.version)):
            typer.echo(line)


@ledger_app.command()
def verify(
    settings_file: SettingsFile,
    log: Annotated[Path | None, typer.Option(help="Also compare with the public log: folder of its files.")] = None,
    file: LedgerFile = None,
    as_json: AsJson = False,
) -> None:
    """Check that the ledger is whole: every row continues the hash chain, every answer is paid for. Changes nothing.

    A ledger from which the last rows and their answers are gone is whole in itself; --log finds that.
    """
    with explained_errors():
        settings = NodeSettings.load(settings_file)
        ledger = _read_ledger(settings, file)
        length, head = ledger.head()
        answers = ledger.verify_statements()
        comparison = None
        if log is not None:
            mirror = mirror_from_files(lambda name: read_file(log / name), genesis=settings.genesis)
            comparison = compare(ledger, mirror.history, borough=settings.id)
        if as_json:
            shown = None if comparison is None else dataclasses.asdict(comparison)
            print_json({"length": length, "head": head, "answers": answers, "log": shown})
            return
        typer.echo(f"The ledger holds {length} rows and its chain is whole; head {head}.")
        typer.echo(f"It holds {answers} answers; each is paid for, and is what its statement says.")
        if comparison is not None:
            for line in _comparison_lines(comparison):
                typer.echo(line)


def _read_ledger(settings: NodeSettings, file: Path | None) -> Ledger:
    """Return the ledger, verified, to be read only. Raises: StorageError."""
    return Ledger(file or settings.state / "ledger.sqlite", read_only=True)


def _row_text(row: LedgerEntry) -> str:
    content = row.content
    if content["kind"] == "release":
        what = (
            f"rho {content['rho']:.6f}  release {content['index']} of plan {content['plan'][:12]}, {content['purpose']}"
        )
    else:
        what = f"{content['count']} flags under policy {content['policy'][:12]}"
    return f"{row.number:>5}  {content['at']}  {what}"


def _account_lines(account: Account, *, roster_version: int) -> Iterator[str]:
    yield f"Within the 365 days up to {account.now}, budgets of roster {roster_version}:"
    for one in account.purposes:
        yield (
            f"  {one.purpose}: rho {one.spent_rho:.6f} of {one.budget_rho:.6f} is spent, "
            f"{one.remaining_rho:.6f} remains"
        )
        for plan in one.plans:
            yield f"    plan {plan.plan[:12]}: rho {plan.rho:.6f} in {plan.releases} releases"
        if one.next_return is not None:
            yield f"    rho {one.next_return.rho:.6f} returns at {one.next_return.at}"
            yield f"    a person in all of these plans: {_loss_text(one.person)}"
    if sum(one.spent_rho > 0 for one in account.purposes) > 1:
        yield f"  a person in all plans of all purposes: {_loss_text(account.person)}"
    for raising in account.raised:
        yield f"{raising.flags} flags were raised under policy {raising.policy[:12]}; flags are outside epsilon"


def _loss_text(loss: Loss) -> str:
    rho = f"mu {loss.mu:.6f} (rho {loss.mu**2 / 2:.6f})"
    return rho if loss.epsilon is None else f"{rho}, epsilon {loss.epsilon:.4f} at delta {loss.delta}"


def _comparison_lines(found: LogComparison) -> Iterator[str]:
    yield (
        f"The log of {found.leaves} leaves shows {found.statements} statements and {found.flags} flags of this borough: "
        "each is in the ledger, and each statement's head and length are the ledger's."
    )
    for one in found.purposes:
        yield (
            f"  {one.purpose}: rho {one.charged_rho:.6f} was ever charged, the log shows {one.logged_rho:.6f} of it; "
            f"the plans approved there may cost {one.approved_rho:.6f}"
        )
    if found.charges_without_statement or found.flags_not_logged:
        yield (
            f"  not in the log: {found.charges_without_statement} charges (left out of a sum, or newer than this copy) "
            f"and {found.flags_not_logged} flags"
        )
