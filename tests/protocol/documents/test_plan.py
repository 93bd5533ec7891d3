"""What a plan's own fields rule out, before anybody recomputes its numbers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocol.documents.plan import Histogram, Privacy, Shares, TrainingPlan
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


@pytest.mark.parametrize(
    "shares",
    [
        {"second_moment": 0.2, "gradients": 0.6, "evaluation": 0.3},
        {"second_moment": 0.0, "gradients": 0.8, "evaluation": 0.2},
        {"second_moment": -0.1, "gradients": 0.9, "evaluation": 0.2},
        {"second_moment": 0.12, "gradients": 0.68},
    ],
)
def test_shares_are_positive_and_sum_to_one(shares):
    with pytest.raises(ValidationError):
        Shares(**shares)


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
