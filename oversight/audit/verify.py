"""The auditor's check of the log, from its static files alone: no network, no party's word.

What it proves: every leaf is under the checkpoint that a majority of witnesses cosigned; every public document is
signed as the roster demands; every plan had its quorum and its budget; every unmasking had an approved plan and enough
boroughs; every request and every policy's model follow from the published sums; every opening had a live warrant and
enough approvals. What bodies say is checked on disclosure, not here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from protocol.aggregation.planning import plan_rho
from protocol.history.files import mirror_from_files
from protocol.history.mirror import Mirror
from protocol.history.spending import PurposeSpending, spending
from protocol.ids import Digest
from protocol.rpc.party import read_file


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What one plan did."""

    plan: Digest
    purpose: str
    approved_on: str
    epsilon: float
    rho: float
    releases: int
    complete: bool
    closed: bool
    model: Digest | None


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What the log shows; it exists only if every check passed."""

    size: int
    root: str
    leaves_by_kind: dict[str, int]
    plans: tuple[PlanReport, ...]
    burnt: int
    spending: tuple[PurposeSpending, ...]
    openings: int


def verify_directory(directory: Path, *, genesis: Digest, on: date) -> AuditReport:
    """Return what the log in ``directory`` shows, if all of it holds.

    Args:
        on: The day on which budgets are looked at.

    Raises: ConfigurationError if files are missing; CheckpointInvalid, ProofInvalid, or the rule that a leaf breaks.
    """
    return report_of(read_mirror(directory, genesis=genesis), on=on)


def report_of(mirror: Mirror, *, on: date) -> AuditReport:
    """Return what a verified mirror shows, with budgets as they stand on a day."""
    history, public = mirror.history, mirror.history.public
    plans = tuple(
        PlanReport(
            plan=digest,
            purpose=record.plan.purpose,
            approved_on=record.day.isoformat(),
            epsilon=record.plan.privacy.epsilon,
            rho=plan_rho(record.plan),
            releases=len(record.releases),
            complete=record.complete,
            closed=record.closed,
            model=record.model().digest() if record.complete else None,
        )
        for digest, record in public.plans.items()
    )
    return AuditReport(
        size=mirror.size,
        root=history.tree.root().hex(),
        leaves_by_kind=dict(sorted(Counter(skeleton.kind for skeleton in history.skeletons).items())),
        plans=plans,
        burnt=sum(len(record.burnt) for record in public.plans.values()),
        spending=spending(public, on=on),
        openings=sum(len(warrant.opened) for warrant in history.cases.warrants.values()),
    )


def read_mirror(directory: Path, *, genesis: Digest) -> Mirror:
    """Return the verified mirror of a log's static files. Raises: as ``verify_directory``."""
    return mirror_from_files(lambda path: read_file(directory / path), genesis=genesis)
