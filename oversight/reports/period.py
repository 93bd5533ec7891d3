"""The oversight board's report of a period as a document of its own: what its JSON holds, field by field.

Rules this module keeps: everything is counted from the public log, which names no person, no flag and no category of a
flag; what the log does not say is not said here. Days are days in UTC, as the log has them.
"""

from __future__ import annotations

import json
from typing import Final, Literal

from oversight.reports.card import BudgetCard, Estimate, OutcomesCard, ProofCard, WaiverCard
from protocol.documents.base import Value
from protocol.ids import Digest, Name, PartyId

FORMAT: Final = "custodes/period-report/v1"


class HeadLine(Value):
    """How well one category of a plan told people apart, and the gates that its differences between groups met."""

    category: Name
    title: str
    auc: Estimate
    gates: dict[Literal["passed", "missed", "hidden"], int]


class PlanLine(Value):
    """A plan that was approved in the period."""

    plan: Digest
    purpose: Name
    approved_on: str
    signers: int
    """Custodians who signed it."""
    epsilon: float
    delta: float
    rho: float
    releases: int
    burnt: int
    closed: bool
    heads: tuple[HeadLine, ...]
    """Empty until every sum of the plan is published."""
    outcomes: OutcomesCard | None


class PolicyLine(Value):
    """A policy that was approved in the period: leave to raise flags with a plan's model."""

    policy: Digest
    plan: Digest
    approved_on: str
    flags_allowed: int
    """By all boroughs together."""
    flags_raised: int
    """Under all policies of the plan, in the period."""
    waivers: tuple[WaiverCard, ...]


class DaysLine(Value):
    """Days from one step to another, over all cases of the period."""

    cases: int
    fewest: int
    median: float
    most: int


class CasesLine(Value):
    """From a flag to a name: how often each step was taken in the period."""

    flags: int
    warrants: int
    withdrawn: int
    unused: int
    """Warrants whose validity ended in the period and under which nothing was opened."""
    decided: int
    """Flags of warrants on which custodians decided."""
    approvals: int
    refusals: int
    opened: int
    refused: int
    """Flags on which a custodian refused and which were not opened by the period's last day."""
    warrant_to_opening: DaysLine | None
    other_steps: dict[Name, int]
    """Steps after an opening, by kind, as far as the log has any."""


class PeriodReport(Value):
    """All that is said of a period; a function of the public log alone."""

    format: Literal["custodes/period-report/v1"]
    force: PartyId
    first_day: str
    last_day: str
    people: int
    """Published establishment, of the plan approved last; 0 without a plan."""
    rosters: int
    """Versions of the roster that were published in the period."""
    plans: tuple[PlanLine, ...]
    policies: tuple[PolicyLine, ...]
    budgets: tuple[BudgetCard, ...]
    """Of every purpose, on the last day; ``this_plan`` is what the period's plans took."""
    cases: CasesLine
    proof: ProofCard

    def encode(self) -> str:
        """Return the report's JSON file: the same log and period give the same text."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
