"""What a plan's own fields rule out, before anybody recomputes its numbers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocol.documents.plan import Fairness, FairnessGate, Histogram, Mitigation, Privacy, Shares, TrainingPlan
from tests.federation import PRIVACY, Federation

FORCE = Federation()
PLAN = FORCE.plan()


def test_a_plan_reads_back_as_itself_with_the_same_digest():
    again = TrainingPlan.decode(PLAN.encode())
    assert again == PLAN
    assert again.digest() == PLAN.digest()


def test_the_people_of_a_plan_are_its_published_establishment():
    assert PLAN.people == sum(entry.people for entry in PLAN.boroughs) == 1200
    assert PLAN.borough_ids() == FORCE.boroughs


def shares(**changes):
    """The shares of ``PRIVACY`` as a mapping, some of them changed."""
    return dict(PRIVACY.shares) | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": 0.3}, "must sum to 1"),
        ({"drift": 0.1}, "must sum to 1"),
        ({"second_moment": -0.1, "evaluation": 0.42}, "second_moment"),
        ({"gradients": 0.0, "evaluation": 0.88}, "gradients"),
        ({"evaluation": 0.0, "gradients": 0.88}, "evaluation"),
        ({"fairness": -0.05, "drift": 0.05}, "fairness"),
    ],
)
def test_shares_are_not_negative_and_sum_to_one(changes, message):
    with pytest.raises(ValidationError, match=message):
        Shares(**shares(**changes))


def test_a_plan_trains_and_evaluates_whatever_else_it_leaves_out():
    assert Shares(**shares(second_moment=0.0, evaluation=0.32)).second_moment == 0


@pytest.mark.parametrize("field", sorted(Shares.model_fields))
def test_no_share_has_a_default(field):
    with pytest.raises(ValidationError, match=field):
        Shares(**{name: value for name, value in shares().items() if name != field})


GATE = FairnessGate(attribute="sex", minimum=0.8, when_hidden="refuse")
FAIRNESS = Fairness(
    attributes=("sex", "ethnicity_group"),
    bins=4,
    min_cell=10.0,
    mitigations=(Mitigation(attribute="sex", strength=0.5),),
    gates=(GATE,),
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": ()}, "attributes"),
        ({"attributes": ("sex", "sex")}, "stands twice"),
        ({"attributes": ("ethnicity_group",)}, "sex has a mitigation or gate and is not measured"),
        ({"mitigations": (*FAIRNESS.mitigations, *FAIRNESS.mitigations)}, "stands twice"),
        ({"gates": (GATE, GATE.model_copy(update={"minimum": 0.5}))}, "stands twice"),
        ({"bins": 1}, "bins"),
        ({"min_cell": -1.0}, "min_cell"),
    ],
)
def test_what_is_measured_by_group_is_said_once_and_covers_what_is_done_about_it(changes, message):
    with pytest.raises(ValidationError, match=message):
        Fairness(**(dict(FAIRNESS) | changes))


@pytest.mark.parametrize("minimum", [0.0, 1.01, float("nan")])
def test_a_gate_asks_for_a_share_of_the_highest_rate(minimum):
    with pytest.raises(ValidationError, match="minimum"):
        FairnessGate(attribute="sex", minimum=minimum, when_hidden="refuse")


@pytest.mark.parametrize("strength", [0.0, 1.01])
def test_a_mitigation_closes_some_or_all_of_a_gap(strength):
    with pytest.raises(ValidationError, match="strength"):
        Mitigation(attribute="sex", strength=strength)


@pytest.mark.parametrize("field", sorted(Privacy.model_fields))
def test_no_privacy_parameter_has_a_default(field):
    fields = {name: getattr(PRIVACY, name) for name in Privacy.model_fields if name != field}
    with pytest.raises(ValidationError, match=field):
        Privacy(**fields)


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon": 0.0},
        {"epsilon": float("inf")},
        {"delta": 0.0},
        {"delta": 1.0},
        {"unit": "one row"},
        {"adjacency": "replace one person's rows"},
        {"rows_per_person": 0},
        {"min_boroughs": 1},
        {"colluding": 0},
    ],
)
def test_a_privacy_parameter_out_of_range_is_refused(changes):
    with pytest.raises(ValidationError):
        Privacy(**(dict(PRIVACY) | changes))


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, -2.0)])
def test_a_histogram_has_its_bounds_in_order(low, high):
    with pytest.raises(ValidationError, match="low must be below high"):
        Histogram(bins=16, low=low, high=high)


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 2**9},
        {"scale": 2**41},
        {"scale": 2.0**20},
        {"boroughs": PLAN.boroughs[:1]},
        {"categories": ()},
        {"releases": ()},
        {"unmasker_key": "aa" * 31},
        {"plan_id": "not hex"},
        {"reply_slot_seconds": 0.0},
        {"roster": "AA" * 32},
        {"note": "an unknown field"},
    ],
)
def test_a_plan_with_an_impossible_field_is_refused(changes):
    with pytest.raises(ValidationError):
        TrainingPlan(**(dict(PLAN) | changes))


def test_a_changed_copy_has_a_digest_of_its_own():
    """The digest is remembered; a copy that remembered its original's would pass for the document that was signed."""
    before = PLAN.digest()
    changed = PLAN.model_copy(update={"purpose": "another_purpose"})
    assert changed.digest() != before == PLAN.digest()
    assert changed.digest() == TrainingPlan.decode(changed.encode()).digest()
    assert PLAN.model_copy().digest() == before
