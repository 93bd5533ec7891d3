"""What the plans in the log have spent, by purpose: recomputed from the public documents alone.

The coordinator and the auditor run this same code, one over its own log and one over a copy of the files. A plan is
counted whole from the day on which it was logged, whatever became of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from protocol.aggregation.accounting import Statement, epsilon_of, person_in_plans
from protocol.aggregation.planning import DELTA_RESERVE, plan_rho
from protocol.documents.plan import TrainingPlan
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
    person: Statement | None
    """What holds for a person whose rows all these plans used, at the largest delta of their statements; None without plans."""
    plans: tuple[PlanSpending, ...]
    """The plans that count, oldest first."""

    def lines(self) -> tuple[str, ...]:
        """Return what a person reads."""
        person: tuple[str, ...] = ()
        if self.person is not None:
            person = (f"  {self.person.adversary}: epsilon {self.person.epsilon:.3f} at delta {self.person.delta:g}",)
        return (
            f"{self.purpose}: rho {self.spent:.6f} of {self.budget:.6f} spent, {self.left:.6f} left",
            *person,
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
    counting = {
        digest: record
        for digest, record in public.plans.items()
        if record.plan.purpose == purpose and on - BUDGET_WINDOW < record.day <= on
    }
    return PurposeSpending(
        purpose=purpose,
        budget=budget,
        spent=spent,
        left=max(0.0, budget - spent),
        person=_person([record.plan for record in counting.values()]),
        plans=tuple(
            PlanSpending(
                plan=digest,
                approved_on=record.day.isoformat(),
                returns_on=(record.day + BUDGET_WINDOW).isoformat(),
                epsilon=record.plan.privacy.epsilon,
                rho=plan_rho(record.plan),
            )
            for digest, record in counting.items()
        ),
    )


def _person(plans: list[TrainingPlan]) -> Statement | None:
    if not plans:
        return None
    mu = person_in_plans(math.sqrt(2.0 * plan_rho(plan)) for plan in plans)
    delta = max(plan.privacy.delta for plan in plans) * (1 - DELTA_RESERVE)
    return Statement(
        f"a person in {len(plans)} plan{'s' if len(plans) > 1 else ''}", epsilon_of(mu=mu, delta=delta), delta, mu
    )
