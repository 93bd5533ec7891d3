from __future__ import annotations

import numpy as np
import pytest

from protocol.errors import PlanInvalid
from protocol.scorecard.columns import INTERCEPT, columns_of
from tests.federation import Federation

FORCE = Federation()
PLAN = FORCE.plan()
COLUMNS = columns_of(PLAN, FORCE.catalogue)


def test_the_intercept_comes_first_and_features_follow_in_catalogue_order():
    assert COLUMNS.names == (INTERCEPT, "entries_amended", "overtime_hours", "senior_grade")
    assert COLUMNS.heads == ((0, 1, 2, 3), (0, 1, 3))


def test_a_plan_of_one_category_has_only_its_features():
    columns = columns_of(PLAN.model_copy(update={"categories": ("attendance",)}), FORCE.catalogue)
    assert columns.names == (INTERCEPT, "entries_amended", "senior_grade")
    assert columns.heads == ((0, 1, 2),)


def test_the_order_of_categories_is_the_plans():
    turned = columns_of(PLAN.model_copy(update={"categories": PLAN.categories[::-1]}), FORCE.catalogue)
    assert turned.names == COLUMNS.names
    assert turned.heads == COLUMNS.heads[::-1]


def test_lengths_follow_from_the_columns():
    assert COLUMNS.width == 4
    assert COLUMNS.shape("second_moment") == (10,)
    assert COLUMNS.shape("gradient") == (7,)
    assert COLUMNS.shape("evaluation") == (2, 2, 16)


def test_concatenations_split_into_heads_and_back():
    parts = COLUMNS.split(np.arange(7.0))
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6]]
    squares = COLUMNS.split_square(np.arange(25.0))
    assert [square.shape for square in squares] == [(4, 4), (3, 3)]
    np.testing.assert_array_equal(np.concatenate([square.ravel() for square in squares]), np.arange(25.0))


@pytest.mark.parametrize(
    ("categories", "message"),
    [(("fraud",), "fraud is not a head"), (("attendance", "attendance"), "stands twice")],
)
def test_an_unknown_or_repeated_category_is_refused(categories, message):
    with pytest.raises(PlanInvalid, match=message):
        columns_of(PLAN.model_copy(update={"categories": categories}), FORCE.catalogue)
