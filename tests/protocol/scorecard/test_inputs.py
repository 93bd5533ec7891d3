"""Inputs of every kind of release follow from what was published before it, and no one number of them can be bent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from protocol.documents.arrays import Array
from protocol.errors import ModelMismatch
from protocol.scorecard.capacity import thresholds
from protocol.scorecard.inputs import THRESHOLD_TOLERANCE, check_inputs
from tests.world import EVERYTHING, World

FUNCTIONS = ("second_moment", "gradient", "gradient", "group_moments", "evaluation", "fairness", "drift")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    made = World.create(tmp_path_factory.mktemp("every") / "world")
    plan = made.approve(EVERYTHING)
    made.run(plan)
    yield made.record(plan)
    made.close()


def checked(record, index: int, **inputs: np.ndarray) -> None:
    request = record.releases[index].request
    arrays = dict(request.inputs) | {name: Array.of(values) for name, values in inputs.items()}
    run = replace(record.run, releases=record.run.releases[:index])
    check_inputs(request.model_copy(update={"inputs": arrays}), run)


def test_a_plan_with_every_release_publishes_each_in_its_order(record):
    assert tuple(release.spec.function for release in record.run.releases) == FUNCTIONS
    assert record.complete
    for index in range(len(FUNCTIONS)):
        checked(record, index)


@pytest.mark.parametrize("index", [3, 4, 5, 6])
@pytest.mark.parametrize("factor", [1e-3, -1.0, 1e6])
def test_every_single_changed_number_is_refused(record, index, factor):
    for name, array in record.releases[index].request.inputs.items():
        for place in range(array.floats().size):
            values = array.floats().copy()
            values[place] += factor * max(1.0, np.abs(values).max())
            with pytest.raises(ModelMismatch, match=f"release {index}: input {name}"):
                checked(record, index, **{name: values})


@pytest.mark.parametrize(("index", "names"), [(3, set()), (4, {"weights", "center", "spread"}), (6, set())])
def test_releases_that_need_no_input_take_none(record, index, names):
    assert set(record.releases[index].request.inputs) == names
    with pytest.raises(ModelMismatch, match="the inputs are not those"):
        checked(record, index, edges=np.zeros(3))


def test_the_last_score_bin_of_a_group_holds_those_above_the_threshold(record):
    edges = record.run.only("fairness").inputs["edges"].reshape(2, -1)
    assert edges[:, -1].tolist() == list(thresholds(record.run).values())
    assert (np.diff(edges) > 0).all()


def test_edges_may_differ_by_what_the_fit_ends_in_and_no_more(record):
    edges = record.releases[5].request.inputs["edges"].floats()
    checked(record, 5, edges=edges + 0.9 * THRESHOLD_TOLERANCE)
    with pytest.raises(ModelMismatch, match="input edges"):
        checked(record, 5, edges=edges + 1.1 * THRESHOLD_TOLERANCE)


def test_weights_of_the_evaluation_are_those_of_the_fairness_release_and_no_others(record):
    """Other weights there would measure a model that nobody uses, and could single out one person."""
    weights = record.run.only("evaluation").inputs["weights"].copy()
    np.testing.assert_array_equal(record.run.only("fairness").inputs["weights"], weights)
    weights[1] = 1e6
    with pytest.raises(ModelMismatch, match="input weights"):
        checked(record, 5, weights=weights)
