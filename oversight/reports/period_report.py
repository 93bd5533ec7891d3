"""The oversight board's report of a period, built from the public log alone: what was done, who allowed it, what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from statistics import median
from typing import Final

from oversight.reports.card import BudgetCard, ProofCard, WaiverCard
from oversight.reports.model_card import model_card
from oversight.reports.period import FORMAT, CasesLine, DaysLine, HeadLine, PeriodReport, PlanLine, PolicyLine
from oversight.reports.words import COMMAND
from protocol.aggregation.planning import plan_rho
from protocol.documents.flags import FlagPolicy
from protocol.documents.plan import TrainingPlan
from protocol.documents.roster import Roster
from protocol.errors import ConfigurationError
from protocol.history.leaves import PUBLIC, commitment
from protocol.history.mirror import History, log_origin
from protocol.history.spending import spending
from protocol.ids import Name
from protocol.log.leaf import Skeleton

COUNTED: Final = ("flag", "warrant", "withdrawal", "approval", "refusal", "opening")
"""Case steps that the report counts in fields of their own."""


def period_report(history: History, *, first: date, last: date) -> PeriodReport:
    """Return the report of the days from ``first`` to ``last``, both included.

    Raises: ConfigurationError if the period ends before it begins.
    """
    if last < first:
        raise ConfigurationError("options --from and --until: the period ends before it begins")
    public, days = history.public, (first.isoformat(), last.isoformat())
    plans = tuple(
        _plan(history, plan, len(skeleton.signers))
        for skeleton, plan in history.documents(TrainingPlan)
        if days[0] <= skeleton.day <= days[1]
    )
    known = [record.plan for record in public.plans.values() if record.day <= last]
    return PeriodReport(
        format=FORMAT,
        force=public.roster.force,
        first_day=days[0],
        last_day=days[1],
        people=known[-1].people if known else 0,
        rosters=sum(days[0] <= skeleton.day <= days[1] for skeleton, _ in history.documents(Roster)),
        plans=plans,
        policies=tuple(_policies(history, *days)),
        budgets=tuple(
            BudgetCard(
                purpose=one.purpose,
                budget=one.budget,
                spent=one.spent,
                this_plan=sum(plan.rho for plan in plans if plan.purpose == one.purpose),
                plans=len(one.plans),
            )
            for one in spending(public, on=last)
        ),
        cases=_cases(history.skeletons, *days),
        proof=ProofCard(
            origin=log_origin(public.roster.force),
            genesis=public.genesis,
            size=history.tree.size,
            root=history.tree.root().hex(),
            entries=(),
            command=COMMAND.format(genesis=public.genesis),
        ),
    )


def _plan(history: History, plan: TrainingPlan, signers: int) -> PlanLine:
    digest = plan.digest()
    record = history.public.plan(digest)
    card = model_card(history, digest) if record.complete else None
    gates: dict[Name, Counter[str]] = {}
    for one in () if card is None or card.fairness is None else card.fairness.attributes:
        if one.gate is not None:
            gates.setdefault(one.category, Counter())[one.gate.outcome] += 1
    return PlanLine(
        plan=digest,
        purpose=plan.purpose,
        approved_on=record.day.isoformat(),
        signers=signers,
        epsilon=plan.privacy.epsilon,
        delta=plan.privacy.delta,
        rho=plan_rho(plan),
        releases=len(record.releases),
        burnt=len(record.burnt),
        closed=record.closed,
        heads=()
        if card is None
        else tuple(
            HeadLine(category=one.category, title=one.title, auc=one.auc, gates=dict(gates.get(one.category, {})))
            for one in card.heads
        ),
        outcomes=None if card is None else card.outcomes,
    )


def _policies(history: History, first: str, last: str) -> Iterator[PolicyLine]:
    raised = Counter(one.belongs_to for one in history.skeletons if one.kind == "flag" and first <= one.day <= last)
    for skeleton, policy in history.documents(FlagPolicy):
        if first <= skeleton.day <= last:
            boroughs = history.public.plan(policy.plan).plan.boroughs
            yield PolicyLine(
                policy=policy.digest(),
                plan=policy.plan,
                approved_on=skeleton.day,
                flags_allowed=len(boroughs) * sum(rule.cap_per_borough for rule in policy.rules),
                flags_raised=raised[commitment(policy.plan)],
                waivers=tuple(WaiverCard(**dict(waiver)) for waiver in policy.waivers),
            )


def _cases(skeletons: list[Skeleton], first: str, last: str) -> CasesLine:
    """Count case steps; what happened before the period is read for warrants that reach into it."""
    known = [one for one in skeletons if one.day <= last]
    within = [one for one in known if one.day >= first]
    steps = Counter(one.kind for one in within)
    warrants = {one.belongs_to: one for one in known if one.kind == "warrant"}
    openings = [one for one in known if one.kind == "opening"]
    used, opened = {one.belongs_to for one in openings}, {one.subject for one in openings}
    withdrawn = {one.belongs_to for one in known if one.kind == "withdrawal"}
    ended = {
        key for key, one in warrants.items() if one.valid_until is not None and first <= one.valid_until[:10] <= last
    }
    days = [
        (date.fromisoformat(one.day) - date.fromisoformat(warrants[one.belongs_to].day)).days
        for one in within
        if one.kind == "opening"
    ]
    return CasesLine(
        flags=steps["flag"],
        warrants=steps["warrant"],
        withdrawn=steps["withdrawal"],
        unused=len(ended - used - withdrawn),
        decided=len({one.subject for one in within if one.kind in ("approval", "refusal")}),
        approvals=steps["approval"],
        refusals=steps["refusal"],
        opened=steps["opening"],
        refused=len({one.subject for one in within if one.kind == "refusal"} - opened),
        warrant_to_opening=DaysLine(cases=len(days), fewest=min(days), median=median(days), most=max(days))
        if days
        else None,
        other_steps={kind: count for kind, count in sorted(steps.items()) if kind not in (*PUBLIC, *COUNTED)},
    )
