"""``custodes node review``: whom to review, what was found; who was drawn at random and who was flagged is not told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from borough_node.ledger import Ledger
from borough_node.ledger.chain import instant_text
from borough_node.ledger.reviews import Outcome, Review, Reviews
from borough_node.records import Records, reader_of
from borough_node.reviewing.admission import admit, referred_person
from borough_node.settings import NodeSettings
from protocol.clock import SystemClock
from protocol.history.files import mirror_from_files
from protocol.rpc.party import read_file
from protocol.rpc.process import event_log, explained_errors, print_json
from protocol.signing.dsse import Envelope

review_app = typer.Typer(no_args_is_help=True, help="Blind reviews inside the borough, and what they found.")

SettingsFile = Annotated[Path, typer.Argument(help="The node's settings.toml.", metavar="SETTINGS")]
MIN_REASONS = 10
"""Characters."""
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show, write nothing.")]


@review_app.command("list")
def list_reviews(
    settings_file: SettingsFile,
    finished: Annotated[bool, typer.Option("--finished", help="Those with an outcome instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List whom to review today: people drawn at random and people whose flag was opened, without saying which."""
    with explained_errors():
        reviews = Reviews(NodeSettings.load(settings_file).state / "reviews.sqlite", read_only=True)
        listed = reviews.listed(on=SystemClock().now().date().isoformat())
        found = [one for one in listed if (one.outcome is not None) == finished]
        if as_json:
            print_json([_shown(one) for one in found])
            return
        for one in found:
            typer.echo(f"{one.review_id}  {one.category}, cutoff {one.cutoff}: {one.person}{_outcome_text(one)}")


@review_app.command("record")
def record_outcome(
    settings_file: SettingsFile,
    review: Annotated[str, typer.Argument(help="Id of a review on the list.")],
    outcome: Annotated[Literal["substantiated", "not-substantiated"], typer.Option()],
    reviewer: Annotated[str, typer.Option(help="Who reviewed.")],
    reasons: Annotated[str, typer.Option(help="What the finding rests on; at least 10 characters.")],
    correct: Annotated[bool, typer.Option("--correct", help="Replace an outcome that was recorded before.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Record what a review found. It becomes the person's label in later plans, and counts in their sums of outcomes."""
    if len(reasons) < MIN_REASONS or not reviewer.strip():
        raise typer.BadParameter("a finding needs its reviewer, and reasons of at least 10 characters")
    with explained_errors():
        reviews, now = Reviews(NodeSettings.load(settings_file).state / "reviews.sqlite"), SystemClock().now()
        found = Outcome(outcome == "substantiated", reviewer, reasons, instant_text(now))
        reviews.record(review, found, on=now.date().isoformat(), is_correction=correct, dry_run=dry_run)
        if as_json:
            print_json({"review": review, "outcome": outcome, "recorded_at": found.recorded_at, "written": not dry_run})
        else:
            typer.echo(f"{review}: {outcome}{' (nothing was written)' if dry_run else ''}")


@review_app.command("admit")
def admit_referred(
    settings_file: SettingsFile,
    referral: Annotated[Path, typer.Argument(help="What the issuer's `custodes issuer refer` printed.")],
    log: Annotated[Path, typer.Option(help="A copy of the public log: folder of its files.")],
    dry_run: DryRun = False,
) -> None:
    """Put the person behind an opened flag on the reviewers' list. Prints no name; tell reviewers nothing of it."""
    with explained_errors():
        settings = NodeSettings.load(settings_file)
        history = mirror_from_files(lambda name: read_file(log / name), genesis=settings.genesis).history
        reviews, clock = Reviews(settings.state / "reviews.sqlite"), SystemClock()
        found, selected = referred_person(
            Envelope.decode(read_file(referral).strip()),
            borough=settings.id,
            history=history,
            ledger=Ledger(settings.state / "ledger.sqlite"),
            records=Records(reader_of(settings, clock=clock, report=event_log(settings.id))),
            today=clock.now().date(),
        )
        if not dry_run:
            admit(found, selected, history=history, reviews=reviews)
        typer.echo(f"flag {found.flag_id}: {'would be' if dry_run else 'is'} on the list")


def _shown(review: Review) -> dict[str, object]:
    shown: dict[str, object] = {
        "review": review.review_id,
        "policy": review.policy,
        "cutoff": review.cutoff,
        "category": review.category,
        "person": review.person,
    }
    if review.outcome is not None:
        shown["outcome"] = _outcome_name(review.outcome)
        shown["reviewer"] = review.outcome.reviewer
        shown["reasons"] = review.outcome.reasons
        shown["recorded_at"] = review.outcome.recorded_at
    return shown


def _outcome_name(outcome: Outcome) -> str:
    return "substantiated" if outcome.is_substantiated else "not-substantiated"


def _outcome_text(review: Review) -> str:
    if review.outcome is None:
        return ""
    return f"\n    {_outcome_name(review.outcome)}, {review.outcome.reviewer}: {review.outcome.reasons}"
