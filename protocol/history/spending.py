"""What the plans in the log have spent, by purpose: recomputed from the public documents alone.

The coordinator and the auditor run this same code, one over its own log and one over a copy of the files. A plan is
counted whole from the day on which it was logged, whatever became of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from protocol.aggregation.planning import plan_rho
from protocol.history.public import BUDGET_WINDOW, PublicRecord
from protocol.ids import Digest


@dataclass(frozen=True, slots=True)
class PlanSpending:
    """What one plan has taken from its purpose's budget, and until when it counts."""

    plan: Digest
    approved_on: str
    returns_on: str
    """The first day on which the plan no longer counts."""
    epsilon: float
    rho: float


@dataclass(frozen=True, slots=True)
class PurposeSpending:
    """A purpose's budget in the rolling 365 days up to a day."""

    purpose: str
    budget: float
    """rho, from the current roster; 0 if it gives none."""
    spent: float
    left: float
    mu: float
    """Of a person whose rows all these plans used: sqrt(2 * spent)."""
    plans: tuple[PlanSpending, ...]
    """The plans that count, oldest first."""

    def lines(self) -> tuple[str, ...]:
        """Return what a person reads."""
        head = f"{self.purpose}: rho {self.spent:.6f} of {self.budget:.6f} spent, {self.left:.6f} left"
        return (
            head,
            *(
                f"  plan {plan.plan[:16]} of {plan.approved_on}: epsilon {plan.epsilon:g}, rho {plan.rho:.6f}, "
                f"counts until {plan.returns_on}"
                for plan in self.plans
            ),
        )


def spending(public: PublicRecord, *, on: date) -> tuple[PurposeSpending, ...]:
    """Return every purpose that has a budget or a plan, in order of name, as it stands on a day."""
    purposes = {budget.purpose for budget in public.roster.budgets}
    purposes |= {record.plan.purpose for record in public.plans.values()}
    return tuple(_of(public, purpose, on) for purpose in sorted(purposes))


def _of(public: PublicRecord, purpose: str, on: date) -> PurposeSpending:
    spent, budget = public.spent(purpose, on=on), public.roster.budget(purpose)
    return PurposeSpending(
        purpose=purpose,
        budget=budget,
        spent=spent,
        left=max(0.0, budget - spent),
        mu=math.sqrt(2.0 * spent),
        plans=tuple(
            PlanSpending(
                plan=digest,
                approved_on=record.day.isoformat(),
                returns_on=(record.day + BUDGET_WINDOW).isoformat(),
                epsilon=record.plan.privacy.epsilon,
                rho=plan_rho(record.plan),
            )
            for digest, record in public.plans.items()
            if record.plan.purpose == purpose and on - BUDGET_WINDOW < record.day <= on
        ),
    )
