"""What a plan may release and what that costs: computed when it is drafted, recomputed by everybody before acting."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from protocol.aggregation import accounting
from protocol.aggregation.encoding import check_capacity
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import (
    Descent,
    Privacy,
    PrivacyStatement,
    ReleaseFunction,
    ReleaseSpec,
    Shares,
    TrainingPlan,
)
from protocol.errors import PlanInvalid
from protocol.scorecard.columns import Columns, columns_of

DELTA_RESERVE = 1e-3
"""Share of delta kept for the sampler and for sums of discrete Gaussians; both must fit in it."""
TOLERANCE = 1e-9

PER_PERSON: frozenset[ReleaseFunction] = frozenset({"second_moment", "gradient", "group_moments"})
"""Releases that read the training rows, of which a person may have several; the others read one row a person."""


@dataclass(frozen=True, slots=True)
class _Step:
    function: ReleaseFunction
    share: float
    """Of the plan's mu**2."""


def _steps(shares: Shares, descent: Descent) -> list[_Step]:
    """Return the releases of a plan, in order."""
    steps = [_Step("second_moment", shares.second_moment)]
    steps += [_Step("gradient", shares.gradients / descent.steps)] * descent.steps
    steps += [
        _Step("group_moments", shares.group_moments),
        _Step("evaluation", shares.evaluation),
        _Step("fairness", shares.fairness),
        _Step("drift", shares.drift),
        _Step("outcomes", shares.outcomes),
    ]
    return [step for step in steps if step.share > 0]


def schedule(*, privacy: Privacy, descent: Descent, columns: Columns, scale: int) -> tuple[ReleaseSpec, ...]:
    """Return the releases of a plan with calibrated noise: those that have a share, in the order of ``Shares``.

    The Gaussians compose exactly: ``mu**2 = sum (sensitivity / sigma)**2`` (Dong, Roth, Su 2022), so each release gets
    its share of the plan's mu**2, and each spare as much as the costliest release, which it may have to repeat.
    Sensitivity includes the rounding of every row.
    """
    mu = accounting.mu_of(epsilon=privacy.epsilon, delta=privacy.delta * (1 - DELTA_RESERVE))
    steps = _steps(privacy.shares, descent)
    budgeted_shares = 1 + privacy.spares * max(step.share for step in steps)
    return tuple(
        ReleaseSpec(
            index=index,
            function=step.function,
            length=math.prod(columns.shape(step.function)),
            l2=columns.norm(step.function),
            sigma=accounting.sensitivity_ring_units(
                l2=columns.norm(step.function),
                scale=scale,
                rows_per_person=_rows(step.function, privacy),
                length=math.prod(columns.shape(step.function)),
            )
            / scale
            / (mu * math.sqrt(step.share / budgeted_shares)),
        )
        for index, step in enumerate(steps)
    )


def rows_per_person(spec: ReleaseSpec, privacy: Privacy) -> int:
    """Return the most rows a person has in one release."""
    return _rows(spec.function, privacy)


def _rows(function: ReleaseFunction, privacy: Privacy) -> int:
    return privacy.rows_per_person if function in PER_PERSON else 1


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
    check_parts(plan)
    expected = schedule(privacy=privacy, descent=plan.descent, columns=columns, scale=plan.scale)
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


def check_parts(plan: TrainingPlan) -> None:
    """Return if every part of the plan has a share of the budget, and no share is without its part.

    Raises: PlanInvalid naming the share.
    """
    shares, fairness = plan.privacy.shares, plan.fairness
    for field, share, wanted in (
        ("second_moment", shares.second_moment, plan.second_moment_of is None),
        ("group_moments", shares.group_moments, fairness is not None and bool(fairness.mitigations)),
        ("fairness", shares.fairness, fairness is not None),
        ("outcomes", shares.outcomes, plan.outcomes_of is not None),
    ):
        if (share > 0) != wanted:
            raise PlanInvalid(
                f"field privacy.shares.{field}: {'a share is needed' if wanted else 'nothing of the plan needs it'}"
            )


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
