"""A plan's noise follows from its epsilon, and every number that does not follow is refused by name."""

from __future__ import annotations

import math

import pytest

from protocol.aggregation import accounting, planning
from protocol.documents.plan import Capacity, Establishment, Fairness, Mitigation, Shares
from protocol.errors import ConfigurationError, PlanInvalid
from protocol.ids import digest_of
from tests.federation import DESCENT, PRIVACY, SCALE, START, Federation, catalogue, head

FORCE = Federation()
PLAN = FORCE.plan()
CATALOGUE = FORCE.catalogue


def with_release(index: int, /, **changes: object) -> dict[str, object]:
    releases = list(PLAN.releases)
    releases[index] = releases[index].model_copy(update=changes)
    return {"releases": tuple(releases)}


def with_statement(index: int, /, **changes: object) -> dict[str, object]:
    statements = list(PLAN.statements)
    statements[index] = statements[index].model_copy(update=changes)
    return {"statements": tuple(statements)}


def with_privacy(**changes: object) -> dict[str, object]:
    return {"privacy": PRIVACY.model_copy(update=changes)}


def test_a_plan_that_follows_from_its_numbers_is_accepted():
    planning.check_plan(PLAN, CATALOGUE)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_releases_spend_exactly_the_plans_mu(epsilon, steps):
    plan = FORCE.plan(
        privacy=PRIVACY.model_copy(update={"epsilon": epsilon}),
        descent=DESCENT.model_copy(update={"steps": steps}),
    )
    mu = accounting.mu_of(epsilon=epsilon, delta=PRIVACY.delta * (1 - planning.DELTA_RESERVE))
    squares = [event.mu**2 for event in planning.events(plan.releases, privacy=plan.privacy, scale=plan.scale)]
    assert math.fsum(squares) == pytest.approx(mu**2, rel=1e-12)
    assert squares[0] / mu**2 == pytest.approx(PRIVACY.shares.second_moment)
    assert math.fsum(squares[1:-1]) / mu**2 == pytest.approx(PRIVACY.shares.gradients)
    assert squares[-1] / mu**2 == pytest.approx(PRIVACY.shares.evaluation)
    assert planning.plan_rho(plan) == pytest.approx(mu**2 / 2, rel=1e-12)
    planning.check_plan(plan, CATALOGUE)


@pytest.mark.parametrize("spares", [1, 2, 8])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_spare_is_budgeted_as_the_costliest_release(spares, steps):
    privacy = PRIVACY.model_copy(update={"spares": spares})
    plan = FORCE.plan(privacy=privacy, descent=DESCENT.model_copy(update={"steps": steps}))
    mu = accounting.mu_of(epsilon=1.0, delta=PRIVACY.delta * (1 - planning.DELTA_RESERVE))
    squares = [event.mu**2 for event in planning.events(plan.releases, privacy=privacy, scale=plan.scale)]
    assert math.fsum(squares) + spares * max(squares) == pytest.approx(mu**2, rel=1e-12)
    assert planning.plan_rho(plan) == pytest.approx(mu**2 / 2, rel=1e-12)
    assert [statement.epsilon for statement in plan.statements][1] == pytest.approx(1.0, rel=1e-9)
    # Whichever releases are repeated: what is asked never costs more than was budgeted.
    for place in range(len(squares)):
        assert math.fsum(squares) + spares * squares[place] <= mu**2 * (1 + 1e-12)


def test_spares_that_the_noise_does_not_pay_for_are_refused():
    with pytest.raises(PlanInvalid, match=r"releases.0.sigma: too little noise"):
        planning.check_plan(FORCE.plan(**with_privacy(spares=1), releases=PLAN.releases), CATALOGUE)


def test_the_schedule_is_second_moment_gradients_evaluation_with_the_formulas_lengths():
    functions = [spec.function for spec in PLAN.releases]
    assert functions == ["second_moment", "gradient", "gradient", "evaluation"]
    assert [spec.length for spec in PLAN.releases] == [4 * 5 // 2, 4 + 3, 4 + 3, 2 * 2 * 16]
    assert [spec.l2 for spec in PLAN.releases] == [1.0, math.sqrt(2), math.sqrt(2), math.sqrt(2)]


def test_the_evaluation_reads_one_row_a_person_and_training_all():
    rows = [planning.rows_per_person(spec, PRIVACY) for spec in PLAN.releases]
    assert rows == [2, 2, 2, 1]


def test_the_noise_of_the_boroughs_that_do_not_collude_adds_up_to_the_plans():
    for spec in PLAN.releases:
        local = planning.local_sigma_ring(PLAN, spec)
        honest = PRIVACY.min_boroughs - PRIVACY.colluding
        assert local * math.sqrt(honest) == pytest.approx(spec.sigma * SCALE, rel=1e-12)


def test_the_statement_against_colluding_boroughs_is_the_plans_epsilon():
    stated = {statement.adversary: statement.epsilon for statement in PLAN.statements}
    assert stated["released sums and 1 borough"] == pytest.approx(PRIVACY.epsilon, rel=1e-9)
    assert stated["released sums"] < PRIVACY.epsilon < stated["coordinator and unmasker together"]


def test_more_noise_than_needed_is_accepted_with_the_statements_that_follow():
    releases = tuple(spec.model_copy(update={"sigma": spec.sigma * 2}) for spec in PLAN.releases)
    statements = planning.statements(releases, privacy=PRIVACY, scale=SCALE, boroughs=6)
    planning.check_plan(FORCE.plan(releases=releases, statements=statements), CATALOGUE)
    with pytest.raises(PlanInvalid, match="field statements"):
        planning.check_plan(FORCE.plan(releases=releases), CATALOGUE)


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("factor", [0.999999, 0.5, 1e-6])
def test_too_little_noise_in_any_release_is_refused(index, factor):
    lying = FORCE.plan(**with_release(index, sigma=PLAN.releases[index].sigma * factor))
    statements = planning.statements(lying.releases, privacy=PRIVACY, scale=SCALE, boroughs=6)
    for plan in (lying, lying.model_copy(update={"statements": statements})):
        with pytest.raises(PlanInvalid, match=rf"field releases\.{index}\.sigma: too little noise"):
            planning.check_plan(plan, CATALOGUE)


WRONG = [
    ({"catalogue": digest_of(b"another catalogue")}, "field catalogue"),
    ({"train_from": 2024, "evaluation_cutoff": 2025}, "field evaluation_cutoff"),
    ({"evaluation_cutoff": 2023}, "field evaluation_cutoff"),
    ({"train_from": 2021}, r"field privacy\.rows_per_person"),
    (with_privacy(rows_per_person=1), r"field privacy\.rows_per_person"),
    (with_privacy(min_boroughs=7), r"field privacy\.min_boroughs"),
    (with_privacy(colluding=5), r"field privacy\.min_boroughs"),
    ({"boroughs": (*PLAN.boroughs[:5], PLAN.boroughs[0])}, "field boroughs: a borough stands twice"),
    ({"capacities": PLAN.capacities[:1]}, "field capacities"),
    ({"capacities": (*PLAN.capacities, Capacity(category="fraud", flags=1))}, "field capacities"),
    ({"valid_until": START}, "field valid_until"),
    (with_privacy(epsilon=0.5), r"releases\.0\.sigma: too little noise"),
    (with_privacy(delta=1e-9), r"releases\.0\.sigma: too little noise"),
    (
        with_privacy(shares=PRIVACY.shares.model_copy(update={"gradients": 0.6, "evaluation": 0.28})),
        r"releases\.1\.sigma",
    ),
    (with_privacy(colluding=2), "field statements"),
    (with_release(0, function="gradient"), r"field releases\.0:"),
    (with_release(1, index=2), r"field releases\.1:"),
    (with_release(1, length=8), r"field releases\.1:"),
    (with_release(2, l2=1.0), r"field releases\.2:"),
    (with_release(3, l2=5.0), r"field releases\.3:"),
    ({"releases": PLAN.releases[:-1]}, "field releases: not as many"),
    ({"releases": (*PLAN.releases, PLAN.releases[-1])}, "field releases: not as many"),
    ({"statements": PLAN.statements[:2]}, "field statements"),
    ({"statements": tuple(reversed(PLAN.statements))}, "field statements"),
    (with_statement(0, epsilon=0.1), "field statements"),
    (with_statement(1, adversary="nobody"), "field statements"),
    (with_statement(1, delta=1e-30), "field statements"),
    (with_statement(2, mu=0.01), "field statements"),
]


def measured(**changes: object) -> Fairness:
    fields = {"attributes": ("sex",), "bins": 4, "min_cell": 5.0, "mitigations": (), "gates": ()}
    return Fairness(**(fields | changes))


MITIGATED = measured(mitigations=(Mitigation(attribute="sex", strength=1.0),))
DIGEST = digest_of(b"an earlier document")


def sharing(**changes: float) -> object:
    """The privacy of ``PLAN`` with a part of the evaluation's share given to others."""
    shares = dict(PRIVACY.shares) | changes
    shares["evaluation"] -= math.fsum(shares.values()) - 1
    return PRIVACY.model_copy(update={"shares": Shares(**shares)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"second_moment_of": DIGEST}, r"shares\.second_moment: nothing of the plan needs it"),
        ({"privacy": sharing(second_moment=0.0)}, r"shares\.second_moment: a share is needed"),
        ({"fairness": measured()}, r"shares\.fairness: a share is needed"),
        ({"privacy": sharing(fairness=0.05)}, r"shares\.fairness: nothing of the plan needs it"),
        ({"fairness": MITIGATED, "privacy": sharing(fairness=0.05)}, r"shares\.group_moments: a share is needed"),
        (
            {"fairness": measured(), "privacy": sharing(fairness=0.05, group_moments=0.05)},
            r"shares\.group_moments: nothing of the plan needs it",
        ),
        ({"outcomes_of": DIGEST}, r"shares\.outcomes: a share is needed"),
        ({"privacy": sharing(outcomes=0.05)}, r"shares\.outcomes: nothing of the plan needs it"),
        (
            {"fairness": measured(attributes=("age",)), "privacy": sharing(fairness=0.05)},
            "age is no protected attribute",
        ),
    ],
)
def test_every_part_of_a_plan_has_a_share_and_every_share_a_part(changes, message):
    with pytest.raises(PlanInvalid, match=message):
        planning.check_plan(PLAN.model_copy(update=changes), CATALOGUE)


def test_a_plan_with_every_part_has_each_release_once_with_its_own_sensitivity():
    shares = sharing(group_moments=0.04, fairness=0.03, drift=0.02, outcomes=0.01)
    plan = FORCE.plan(fairness=MITIGATED, privacy=shares, outcomes_of=DIGEST)
    planning.check_plan(plan, CATALOGUE)
    assert [(spec.function, spec.length, spec.l2) for spec in plan.releases] == [
        ("second_moment", 10, 1.0),
        ("gradient", 7, math.sqrt(2)),
        ("gradient", 7, math.sqrt(2)),
        ("group_moments", 2 * 4, 1.0),
        ("evaluation", 2 * 2 * 16, math.sqrt(2)),
        ("fairness", 2 * 2 * 2 * 4, math.sqrt(2)),
        ("drift", 3 * 10, math.sqrt(3)),
        ("outcomes", 2 * 4, math.sqrt(2)),
    ]
    assert [planning.rows_per_person(spec, plan.privacy) for spec in plan.releases] == [2, 2, 2, 2, 1, 1, 1, 1]
    mu = accounting.mu_of(epsilon=1.0, delta=PRIVACY.delta * (1 - planning.DELTA_RESERVE))
    spent = [event.mu**2 / mu**2 for event in planning.events(plan.releases, privacy=plan.privacy, scale=plan.scale)]
    assert spent == pytest.approx([0.12, 0.34, 0.34, 0.04, 0.10, 0.03, 0.02, 0.01])


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_every_wrong_field_is_refused_by_its_name(changes, message):
    with pytest.raises(PlanInvalid, match=message):
        planning.check_plan(PLAN.model_copy(update=changes), CATALOGUE)


def test_an_unknown_category_is_refused():
    with pytest.raises(PlanInvalid, match="fraud is not a head"):
        planning.check_plan(PLAN.model_copy(update={"categories": ("roster_manipulation", "fraud")}), CATALOGUE)


def test_a_category_that_stands_twice_is_refused():
    with pytest.raises(PlanInvalid, match="stands twice"):
        planning.check_plan(PLAN.model_copy(update={"categories": ("attendance", "attendance")}), CATALOGUE)


def test_a_plan_that_leaves_out_a_category_must_leave_out_its_noise_and_length_too():
    with pytest.raises(PlanInvalid, match=r"field releases\.\d:"):
        planning.check_plan(
            PLAN.model_copy(update={"categories": ("attendance",), "capacities": PLAN.capacities[1:]}), CATALOGUE
        )


def test_a_catalogue_whose_head_grew_a_feature_no_longer_fits_the_plan():
    wider = head("attendance", "y_attendance", ("entries_amended", "overtime_hours", "senior_grade"), prior=0.1)
    other = catalogue(heads=(CATALOGUE.heads[0], wider))
    with pytest.raises(PlanInvalid, match=r"field releases\.1:"):
        planning.check_plan(PLAN.model_copy(update={"catalogue": other.digest()}), other)


def test_sums_that_could_leave_the_ring_are_refused():
    crowd = tuple(Establishment(borough=entry.borough, people=2**41) for entry in PLAN.boroughs)
    with pytest.raises(ConfigurationError, match="field scale"):
        planning.check_plan(PLAN.model_copy(update={"boroughs": crowd}), CATALOGUE)


def test_noise_too_coarse_for_the_samplers_analysis_is_refused():
    privacy = PRIVACY.model_copy(update={"epsilon": 200.0})
    with pytest.raises(ConfigurationError):
        planning.check_plan(FORCE.plan(privacy=privacy, scale=2**10), CATALOGUE)
