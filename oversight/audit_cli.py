"""``custodes audit``: what an auditor, or anybody, runs over a copy of the public log. Needs no key and no network."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from oversight.audit.disclosed import Disclosure, verify_disclosed
from oversight.audit.proof import check_leaf_proof, leaf_proof
from oversight.audit.verify import read_mirror, report_of
from oversight.audit.watch import Growth, Watch
from oversight.reports.model_card import model_card, write_card
from oversight.reports.period_report import period_report
from oversight.reports.records import write_report
from protocol.clock import SystemClock
from protocol.errors import ConfigurationError
from protocol.history.public import PublicRecord
from protocol.log.proof import LogProof
from protocol.rpc.party import read_file
from protocol.rpc.process import explained_errors, print_json
from protocol.rpc.rosters import BEGUN
from protocol.scorecard.table import ScorecardTable, scorecard_tables
from protocol.signing.dsse import Envelope

audit_app = typer.Typer(no_args_is_help=True, help="Check the log.")

AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
Directory = Annotated[Path, typer.Argument(help="The log's static files.")]
Genesis = Annotated[str, typer.Option(help="Digest of the first roster.")]


@audit_app.command("verify")
def verify(
    directory: Directory,
    genesis: Genesis,
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Show budgets as they stood on this day; else today.")
    ] = None,
    disclosed: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of `custodes auditor fetch`; repeat for earlier ones, which hold what was erased since."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the whole public log, offline: signatures, quorums, spending, the model, every unmasking and opening.

    With --disclosed also what only bodies tell: who was opened under which warrant, who reviewed, and that nothing is missing.
    """
    with explained_errors():
        mirror = read_mirror(directory, genesis=genesis)
        report = report_of(mirror, on=(on or SystemClock().now()).date())
        bodies = None
        if disclosed:
            bodies = verify_disclosed(mirror.history, [Disclosure.decode(read_file(path)) for path in disclosed])
        if as_json:
            shown = {} if bodies is None else {"disclosed": dataclasses.asdict(bodies)}
            print_json(dataclasses.asdict(report) | shown)
            return
        typer.echo(f"The log of {report.size} leaves holds; root {report.root}.")
        for kind, count in report.leaves_by_kind.items():
            typer.echo(f"  {count:>6} {kind}")
        for plan in report.plans:
            state = "closed" if plan.closed else "open"
            typer.echo(
                f"plan {plan.plan[:16]}: epsilon {plan.epsilon:g}, {plan.releases} releases, {state}; model follows from the sums"
            )
        for purpose in report.spending:
            typer.echo("\n".join(purpose.lines()))
        typer.echo(f"openings: {report.openings}, each under a live warrant with its quorum")
        if bodies is not None:
            typer.echo("\n".join(bodies.lines()))


@audit_app.command("scorecard")
def scorecard(
    directory: Directory,
    genesis: Genesis,
    plan: Annotated[str, typer.Option(help="Digest of the finished plan.")],
    as_json: AsJson = False,
) -> None:
    """Print a plan's model as one table for each category, in the catalogue's words; the whole log is checked first."""
    with explained_errors():
        record = read_mirror(directory, genesis=genesis).history.public.plan(plan)
        model = record.model()
        tables = scorecard_tables(model, record.catalogue)
        if as_json:
            print_json({"model": model.digest(), "heads": [dataclasses.asdict(table) for table in tables]})
            return
        typer.echo(f"Model {model.digest()}; 20 points double the odds.")
        for table in tables:
            for line in _table_lines(table):
                typer.echo(line)


def _table_lines(table: ScorecardTable) -> Iterator[str]:
    yield ""
    yield f"{table.title} ({table.category}): intercept {table.intercept:+.3f}, the force's mean {table.mean_score:+.3f}"
    for row in table.rows:
        yield f"  {row.points_per_unit:+8.2f} points for {row.points_are_for}, weight {row.weight:+.3f}: {row.feature}"
        yield f"           {row.definition} Unit: {row.unit}."
        yield (
            f"           Counts from {row.counts_from:g} until {row.counts_until:g}; the force's mean is {row.mean:+.3f}, "
            f"that is {row.mean_value:.4g}; {row.direction}."
        )


@audit_app.command("card")
def card(
    directory: Directory,
    genesis: Genesis,
    plan: Annotated[str, typer.Option(help="Digest of the finished plan.")],
    out: Annotated[Path, typer.Option(help="Folder for model-card.html and model-card.json.")],
    as_json: AsJson = False,
) -> None:
    """Write a plan's model card, as a page and as JSON; the whole log is checked first, and nothing else is read."""
    with explained_errors():
        made = model_card(read_mirror(directory, genesis=genesis).history, plan)
        paths = write_card(made, out)
        if as_json:
            typer.echo(made.encode(), nl=False)
            return
        for path in paths:
            typer.echo(path)


@audit_app.command("report")
def report(
    directory: Directory,
    genesis: Genesis,
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of the period, in UTC.")],
    last: Annotated[datetime, typer.Option("--until", formats=["%Y-%m-%d"], help="Its last day.")],
    out: Annotated[Path, typer.Option(help="Folder for the report and the two records.")],
    as_json: AsJson = False,
) -> None:
    """Write the oversight board's report of a period, and with it the transparency record and the DPIA, filled as far as
    the log knows; the whole log is checked first, and nothing else is read."""
    with explained_errors():
        history = read_mirror(directory, genesis=genesis).history
        made = period_report(history, first=first.date(), last=last.date())
        paths = write_report(made, history, out)
        if as_json:
            typer.echo(made.encode(), nl=False)
            return
        for path in paths:
            typer.echo(path)


@audit_app.command("watch")
def watch(
    directory: Directory,
    genesis: Genesis,
    state: Annotated[Path, typer.Option(help="Folder for what was seen last, and for the evidence of a fork.")],
    every: Annotated[float, typer.Option(min=1.0, help="Seconds between two looks.")] = 60.0,
    once: Annotated[bool, typer.Option(help="Look once and end, for a scheduler.")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow the log as it grows and say what came; stop, with both checkpoints kept, if it was ever rewritten."""
    with explained_errors():
        follower = Watch(directory, genesis=genesis, state=state)
        while True:
            growth = follower.look()
            if as_json:
                print_json(dataclasses.asdict(growth))
            else:
                typer.echo(_growth_text(growth))
            if once:
                return
            time.sleep(every)


@audit_app.command("prove")
def prove(
    directory: Directory,
    genesis: Genesis,
    index: Annotated[int, typer.Option(help="Of the leaf.")],
    out: Annotated[Path, typer.Option(help="File to write, usually ending in .tlog-proof; it must not exist.")],
) -> None:
    """Write one leaf with its proof into a file that anybody can check without the log (C2SP tlog-proof)."""
    with explained_errors():
        proof = leaf_proof(read_mirror(directory, genesis=genesis), index)
        try:
            with out.open("xb") as file:
                file.write(proof.encode())
        except OSError as error:
            raise ConfigurationError(f"{out}: {error.strerror}") from None
        typer.echo(f"{out}: leaf {index} in a log of {proof.signed.checkpoint.size} leaves.")


@audit_app.command("check-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(help="The proof.")],
    genesis: Genesis,
    roster: Annotated[
        list[Path], typer.Option(help="A signed roster; repeat for every version from the first, in order.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check a proof by itself: that its leaf is in the log, as a majority of the last roster's witnesses have seen it."""
    with explained_errors():
        public = PublicRecord(genesis=genesis)
        for version in roster:
            public.apply("roster", Envelope.decode(read_file(version)), BEGUN)
        proof = LogProof.decode(read_file(file))
        leaf = check_leaf_proof(proof, public.roster)
        if as_json:
            skeleton = leaf.skeleton().model_dump(mode="json")
            print_json({"index": proof.index, "size": proof.signed.checkpoint.size, "skeleton": skeleton})
            return
        kind, day = leaf.skeleton().kind, leaf.skeleton().day
        typer.echo(f"Leaf {proof.index}, a {kind} of {day}, is in the log of {proof.signed.checkpoint.size} leaves.")


def _growth_text(growth: Growth) -> str:
    if not growth.leaves_by_kind:
        return f"{growth.size} leaves, nothing new"
    came = ", ".join(f"{count} {kind}" for kind, count in growth.leaves_by_kind.items())
    return f"{growth.size} leaves, of which new: {came}"
