"""What a plan may release and what that costs: computed when it is drafted, recomputed by everybody before acting."""

from __future__ import annotations

import math
from dataclasses import replace

from protocol.aggregation import accounting
from protocol.aggregation.encoding import check_capacity
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import (
    Descent,
    Histogram,
    Privacy,
    PrivacyStatement,
    ReleaseFunction,
    ReleaseSpec,
    TrainingPlan,
)
from protocol.errors import PlanInvalid
from protocol.scorecard.columns import Columns, columns_of

DELTA_RESERVE = 1e-3
"""Share of delta kept for the sampler and for sums of discrete Gaussians; both must fit in it."""
TOLERANCE = 1e-9

Step = tuple[ReleaseFunction, int, float, float, int]
"""(function, length, l2, share of mu**2, most rows of a person)."""


def schedule(
    *,
    privacy: Privacy,
    descent: Descent,
    histogram: Histogram,
    columns: Columns,
    scale: int,
) -> tuple[ReleaseSpec, ...]:
    """Return the releases of a plan: the second moment, the gradients, the evaluation, with calibrated noise.

    The Gaussians compose exactly: ``mu**2 = sum (sensitivity / sigma)**2`` (Dong, Roth, Su 2022), so each release gets
    its share of the plan's mu**2, and each spare as much as the costliest release, which it may have to repeat.
    Sensitivity includes the rounding of every row.
    """
    heads = len(columns.heads)
    mu = accounting.mu_of(epsilon=privacy.epsilon, delta=privacy.delta * (1 - DELTA_RESERVE))
    shares = privacy.shares
    moment: Step = ("second_moment", columns.second_moment_length, 1.0, shares.second_moment, privacy.rows_per_person)
    share, joint = shares.gradients / descent.steps, math.sqrt(heads)
    gradient: Step = ("gradient", columns.gradient_length, joint, share, privacy.rows_per_person)
    evaluation: Step = ("evaluation", 2 * heads * histogram.bins, joint, shares.evaluation, 1)
    steps = [moment, *[gradient] * descent.steps, evaluation]
    budgeted_shares = 1 + privacy.spares * max(step[3] for step in steps)
    return tuple(
        ReleaseSpec(
            index=index,
            function=function,
            length=length,
            l2=l2,
            sigma=accounting.sensitivity_ring_units(l2=l2, scale=scale, rows_per_person=rows, length=length)
            / scale
            / (mu * math.sqrt(share / budgeted_shares)),
        )
        for index, (function, length, l2, share, rows) in enumerate(steps)
    )


def rows_per_person(spec: ReleaseSpec, privacy: Privacy) -> int:
    """Return the most rows a person has in one release; the evaluation reads one cutoff."""
    return 1 if spec.function == "evaluation" else privacy.rows_per_person


def events(releases: tuple[ReleaseSpec, ...], *, privacy: Privacy, scale: int) -> tuple[accounting.ReleaseEvent, ...]:
    """Return the releases as accountable events, in ring units."""
    return tuple(
        accounting.ReleaseEvent(
            index=spec.index,
            sensitivity=accounting.sensitivity_ring_units(
                l2=spec.l2, scale=scale, rows_per_person=rows_per_person(spec, privacy), length=spec.length
            ),
            sigma=spec.sigma * scale,
        )
        for spec in releases
    )


def budgeted(releases: tuple[ReleaseSpec, ...], *, privacy: Privacy, scale: int) -> tuple[accounting.ReleaseEvent, ...]:
    """Return all that may be answered: every release, and for each spare one more of the costliest."""
    planned = events(releases, privacy=privacy, scale=scale)
    costliest = max(planned, key=lambda event: event.mu)
    return (*planned, *(replace(costliest, index=len(planned) + spare) for spare in range(privacy.spares)))


def statements(
    releases: tuple[ReleaseSpec, ...], *, privacy: Privacy, scale: int, boroughs: int
) -> tuple[PrivacyStatement, ...]:
    """Return what each adversary can learn about one person from the whole plan."""
    return tuple(
        PrivacyStatement(adversary=entry.adversary, epsilon=entry.epsilon, delta=entry.delta, mu=entry.mu)
        for entry in accounting.statements(
            budgeted(releases, privacy=privacy, scale=scale),
            delta=privacy.delta * (1 - DELTA_RESERVE),
            min_boroughs=privacy.min_boroughs,
            colluding=privacy.colluding,
            boroughs=boroughs,
        )
    )


def local_sigma_ring(plan: TrainingPlan, spec: ReleaseSpec) -> float:
    """Return the sd of the noise that one borough adds to one entry, in ring units."""
    return plan.scale * accounting.local_sigma(
        sigma=spec.sigma, min_boroughs=plan.privacy.min_boroughs, colluding=plan.privacy.colluding
    )


def plan_rho(plan: TrainingPlan) -> float:
    """Return what the whole plan takes from the budget, spares included: mu**2 / 2 against the colluding boroughs."""
    mus = [event.mu for event in budgeted(plan.releases, privacy=plan.privacy, scale=plan.scale)]
    return accounting.rho_of(accounting.compose(mus))


def check_plan(plan: TrainingPlan, catalogue: FeatureCatalogue) -> None:
    """Return if the plan is what its own numbers and the catalogue imply.

    Raises: PlanInvalid naming the field.
    """
    columns = columns_of(plan, catalogue)
    privacy = plan.privacy
    if catalogue.digest() != plan.catalogue:
        raise PlanInvalid("field catalogue: the plan names another catalogue")
    if not plan.train_from <= plan.train_until < plan.evaluation_cutoff:
        raise PlanInvalid("field evaluation_cutoff: evaluation comes after training, and training has a first cutoff")
    if plan.train_until - plan.train_from + 1 > privacy.rows_per_person:
        raise PlanInvalid("field privacy.rows_per_person: a person can have a row at every training cutoff")
    if privacy.min_boroughs > len(plan.boroughs) or privacy.min_boroughs <= privacy.colluding:
        raise PlanInvalid("field privacy.min_boroughs: must exceed colluding and not exceed the boroughs")
    if len(set(plan.borough_ids())) != len(plan.boroughs):
        raise PlanInvalid("field boroughs: a borough stands twice")
    if {capacity.category for capacity in plan.capacities} != set(plan.categories):
        raise PlanInvalid("field capacities: every category, and no other, needs one")
    if plan.valid_from >= plan.valid_until:
        raise PlanInvalid("field valid_until: must be after valid_from")
    expected = schedule(
        privacy=privacy, descent=plan.descent, histogram=plan.histogram, columns=columns, scale=plan.scale
    )
    for ours, theirs in zip(expected, plan.releases, strict=False):
        same = (ours.index, ours.function, ours.length) == (theirs.index, theirs.function, theirs.length)
        if not same or not math.isclose(ours.l2, theirs.l2, rel_tol=TOLERANCE):
            raise PlanInvalid(f"field releases.{ours.index}: the release is not what the catalogue implies")
        if theirs.sigma < ours.sigma * (1 - TOLERANCE):
            raise PlanInvalid(f"field releases.{ours.index}.sigma: too little noise for epsilon {privacy.epsilon}")
    if len(expected) != len(plan.releases):
        raise PlanInvalid("field releases: not as many as the plan's steps imply")
    implied = statements(plan.releases, privacy=privacy, scale=plan.scale, boroughs=len(plan.boroughs))
    if len(implied) != len(plan.statements) or any(
        ours.adversary != theirs.adversary
        or not math.isclose(ours.epsilon, theirs.epsilon, rel_tol=1e-6)
        or not math.isclose(ours.delta, theirs.delta, rel_tol=1e-6)
        or not math.isclose(ours.mu, theirs.mu, rel_tol=1e-6)
        for ours, theirs in zip(implied, plan.statements, strict=True)
    ):
        raise PlanInvalid("field statements: not what the releases imply")
    _check_numerics(plan)


def _check_numerics(plan: TrainingPlan) -> None:
    sigmas = [local_sigma_ring(plan, spec) for spec in plan.releases]
    for spec, sigma in zip(plan.releases, sigmas, strict=True):
        check_capacity(
            people=plan.people,
            rows_per_person=plan.privacy.rows_per_person,
            l2=spec.l2,
            scale=plan.scale,
            sigma_ring=sigma * math.sqrt(len(plan.boroughs)),
        )
    lengths, spares = [spec.length for spec in plan.releases], plan.privacy.spares
    for statement in plan.statements:
        extra = accounting.extra_delta(
            lengths=[*lengths, *[max(lengths)] * spares],
            local_sigmas_ring=[*sigmas, *[min(sigmas)] * spares],
            boroughs=len(plan.boroughs),
            epsilon=statement.epsilon,
            mu=statement.mu,
        )
        if extra > plan.privacy.delta * DELTA_RESERVE:
            raise PlanInvalid(f"field scale: numerical delta {extra:.1e} exceeds its reserve; use a larger scale")
