"""Vector functions: no row exceeds the norm that its release is charged for, and sums are what they claim to be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, target
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from borough_node.features.cohort import Cohort
from borough_node.training import vectors
from borough_node.training.vectors import (
    FUNCTIONS,
    drift,
    evaluation,
    fairness,
    gradient,
    group_moments,
    outcomes,
    second_moment,
)
from protocol.aggregation.accounting import sensitivity_ring_units
from protocol.aggregation.encoding import quantised_sum
from protocol.aggregation.planning import rows_per_person
from protocol.errors import StateError
from protocol.scorecard.columns import OUTCOME_CELLS, columns_of
from protocol.scorecard.evaluation import bin_edges
from tests.world import CATALOGUE, EVERYTHING, World

SLACK = 1 + 1e-9
EVERY_BIT = 2**60
"""A scale at which an integer shows the last bit of a float64 from 2**-8 upwards; sums may wrap."""


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    made = World.create(tmp_path_factory.mktemp("vectors"))
    shares = EVERYTHING.shares.model_copy(update={"gradients": 0.3, "outcomes": 0.1})
    yield made.draft(EVERYTHING.model_copy(update={"shares": shares}), outcomes_of="1" * 64)
    made.close()


def cohort(columns, rows, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    matrix = scale * rng.standard_t(2, size=(rows, columns.width))
    matrix[:, 0] = 1.0
    labels = (rng.random((rows, len(columns.heads))) < 0.4).astype(float)
    groups, reviews = rng.integers(-1, [2, 3], size=(rows, 2)), rng.integers(-1, OUTCOME_CELLS, size=labels.shape)
    return people_of(matrix, labels, groups, reviews)


def people_of(matrix, labels, groups=None, reviews=None):
    """Rows as a release reads them; without groups, nobody states any, and without reviews, none is finished."""
    nobody, nothing = np.full((len(matrix), 2), -1), np.full(labels.shape, -1)
    return Cohort(
        matrix,
        labels,
        np.arange(len(matrix)).astype(object),
        nobody if groups is None else groups,
        nothing if reviews is None else reviews,
    )


def taken(people, order, layout=np.ascontiguousarray):
    return Cohort(
        layout(people.rows[order]),
        layout(people.labels[order]),
        people.persons[order],
        people.groups[order],
        people.outcomes[order],
    )


def inputs_for(columns, seed, scale=1.0):
    """Inputs of every function, as a hostile coordinator would choose them if nobody recomputed them."""
    rng = np.random.default_rng(seed)
    squares = []
    for head in columns.heads:
        half = rng.normal(size=(len(head), len(head)))
        squares.append((scale * (half + half.T)).ravel())
    return {
        "whitening": np.concatenate(squares),
        "clips": rng.uniform(0.01, 3.0, size=len(columns.heads)),
        "weights": scale * rng.normal(size=columns.shape("gradient")),
        "edges": np.sort(rng.normal(size=(len(columns.heads), columns.fairness_bins - 1))).ravel(),
        "center": rng.normal(size=len(columns.heads)),
        "spread": rng.uniform(0.01, 3.0, size=len(columns.heads)),
    }


def rows_of(function, document, columns, inputs, people):
    return np.concatenate(list(function(document, columns, inputs, people)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-6, 0.1, 1.0, 30.0, 1e6]))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_row_exceeds_the_norm_that_its_release_is_charged_for(document, name, seed, scale):
    columns = columns_of(document, CATALOGUE)
    spec = next(spec for spec in document.releases if spec.function == name)
    people = cohort(columns, 40, seed, scale)
    rows = rows_of(FUNCTIONS[name], document, columns, inputs_for(columns, seed, scale), people)
    assert rows.shape == (40, spec.length)
    assert np.linalg.norm(rows, axis=1).max() <= spec.l2 * SLACK


def test_second_moment_of_short_rows_is_that_of_numpy(document):
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 3000, seed=4, scale=0.1)
    people = taken(people, np.linalg.norm(people.rows, axis=1) < document.descent.row_norm)
    matrix = people.rows
    total = rows_of(second_moment, document, columns, {}, people).sum(axis=0)
    upper = np.triu_indices(columns.width)
    weight = np.where(upper[0] == upper[1], 1.0, np.sqrt(2)) / document.descent.row_norm**2
    np.testing.assert_allclose(total, (matrix.T @ matrix)[upper] * weight, rtol=1e-12)


def test_long_row_is_scaled_to_the_row_norm_and_keeps_its_direction(document):
    columns = columns_of(document, CATALOGUE)
    row = np.array([[1.0, 30.0, -40.0, 10.0, 1.0]])
    values = rows_of(second_moment, document, columns, {}, people_of(row, np.zeros((1, 2))))[0]
    scaled = row[0] / np.linalg.norm(row)
    diagonal = values[[place for place, pair in enumerate(zip(*np.triu_indices(5), strict=True)) if pair[0] == pair[1]]]
    np.testing.assert_allclose(diagonal, scaled**2, rtol=1e-12)
    assert np.linalg.norm(values) == pytest.approx(1.0)


def test_gradient_is_whitened_and_clipped_head_by_head(document):
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 60, seed=11)
    inputs = inputs_for(columns, seed=11)
    rows = rows_of(gradient, document, columns, inputs, people)
    start = 0
    for head, where in enumerate(columns.heads):
        own = people.rows[:, list(where)]
        weights = columns.split(inputs["weights"])[head]
        raw = (1 / (1 + np.exp(-own @ weights)) - people.labels[:, head])[:, None] * own
        whitened = raw @ columns.split_square(inputs["whitening"])[head]
        norms = np.linalg.norm(whitened, axis=1, keepdims=True)
        expected = whitened / np.maximum(norms, inputs["clips"][head])
        np.testing.assert_allclose(rows[:, start : start + len(where)], expected, atol=1e-9)
        start += len(where)


def integers(document, name, inputs, people, *, scale):
    """What a borough with these rows would noise and mask, as its gate computes it."""
    columns = columns_of(document, CATALOGUE)
    spec = next(spec for spec in document.releases if spec.function == name)
    return quantised_sum(
        FUNCTIONS[name](document, columns, inputs, people),
        length=spec.length,
        l2=spec.l2,
        scale=scale,
        rows_per_person=rows_per_person(spec, document.privacy),
    )


@pytest.fixture
def restored(monkeypatch):
    """Give torch its threads back, and the module its block size."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(vectors, "BLOCK_ROWS", vectors.BLOCK_ROWS)
    yield monkeypatch
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_order_batch_layout_or_number_of_threads_changes_a_bit_of_the_integers(document, restored, name):
    columns = columns_of(document, CATALOGUE)

    @settings(max_examples=25, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        rows=st.integers(1, 60),
        block=st.integers(1, 70),
        threads=st.integers(1, 3),
        layout=st.sampled_from([np.ascontiguousarray, np.asfortranarray]),
        data=st.data(),
    )
    def holds(seed, rows, block, threads, layout, data):
        people = cohort(columns, rows, seed)
        inputs = inputs_for(columns, seed)
        restored.setattr(vectors, "BLOCK_ROWS", 1024)
        whole = integers(document, name, inputs, people, scale=EVERY_BIT)
        order = data.draw(st.permutations(range(rows)))
        restored.setattr(vectors, "BLOCK_ROWS", block)
        torch.set_num_threads(threads)
        again = integers(document, name, inputs, taken(people, order, layout), scale=EVERY_BIT)
        np.testing.assert_array_equal(again, whole)

    holds()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_threads_do_not_change_a_bit_where_torch_would_share_out_the_work(document, restored, name):
    # Torch uses one thread up to 32,768 elements of an elementwise operation.
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 20_000, seed=6)
    inputs = inputs_for(columns, seed=6)
    torch.set_num_threads(1)
    whole = integers(document, name, inputs, people, scale=EVERY_BIT)
    torch.set_num_threads(4)
    restored.setattr(vectors, "BLOCK_ROWS", 20_000)
    np.testing.assert_array_equal(integers(document, name, inputs, people, scale=EVERY_BIT), whole)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_search_finds_no_person_who_moves_a_sum_further_than_accounted(document, name):
    """The whole path of a borough: m rows of any content, any inputs, every head clipped by itself and all jointly."""
    columns = columns_of(document, CATALOGUE)
    spec = next(spec for spec in document.releases if spec.function == name)
    most = rows_per_person(spec, document.privacy)
    bound = sensitivity_ring_units(l2=spec.l2, scale=document.scale, rows_per_person=most, length=spec.length)
    others = cohort(columns, 20, seed=2)

    @settings(max_examples=60, deadline=None)
    @given(
        rows=st.integers(1, most),
        seed=st.integers(0, 2**32 - 1),
        scale=st.sampled_from([1e-6, 0.1, 1.0, 30.0, 1e6]),
        data=st.data(),
    )
    def holds(rows, seed, scale, data):
        values = st.floats(-10, 10) | st.sampled_from([0.0, 1e-300, 1e-160, 1e150, -1e150])
        matrix = data.draw(hnp.arrays(np.float64, (rows, columns.width), elements=values))
        labels = data.draw(hnp.arrays(np.float64, (rows, len(columns.heads)), elements=st.sampled_from([0.0, 1.0])))
        # Whatever a person states, it is one group of each attribute or none.
        groups = np.column_stack([data.draw(hnp.arrays(np.int64, rows, elements=st.integers(-1, n))) for n in (1, 2)])
        cells = hnp.arrays(np.int64, labels.shape, elements=st.integers(-1, OUTCOME_CELLS - 1))
        reviews = data.draw(cells)
        inputs = inputs_for(columns, seed, scale)
        without = integers(document, name, inputs, others, scale=document.scale)
        joined = Cohort(
            np.concatenate([others.rows, matrix]),
            np.concatenate([others.labels, labels]),
            np.arange(20 + rows).astype(object),
            np.concatenate([others.groups, groups]),
            np.concatenate([others.outcomes, reviews]),
        )
        moved = float(np.linalg.norm(integers(document, name, inputs, joined, scale=document.scale) - without))
        target(moved / bound)
        assert moved <= bound

    holds()


def test_evaluation_counts_each_eligible_row_once_a_head_in_the_cell_of_its_label_and_score(document):
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 500, seed=8)
    inputs = inputs_for(columns, seed=8)
    bins = document.histogram.bins
    counts = rows_of(evaluation, document, columns, inputs, people).sum(axis=0).reshape(-1, 2, bins)
    for head, where in enumerate(columns.heads):
        scores = people.rows[:, list(where)] @ columns.split(inputs["weights"])[head]
        edges = bin_edges(document, float(inputs["center"][head]), float(inputs["spread"][head]))
        rule = columns.eligible[head]
        eligible = np.ones(500, dtype=bool) if rule is None else people.rows[:, rule] >= 1
        assert counts[head].sum() == eligible.sum()
        for label in (0, 1):
            own = scores[eligible & (people.labels[:, head] == label)]
            expected, _ = np.histogram(own, bins=np.concatenate([[-np.inf], edges, [np.inf]]))
            assert counts[head, label].tolist() == expected.tolist()
    assert any(rule is not None for rule in columns.eligible), "the test needs a head with an eligibility rule"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_rows_yield_no_blocks_with_rows(document, name):
    columns = columns_of(document, CATALOGUE)
    nobody = people_of(np.zeros((0, columns.width)), np.zeros((0, 2)))
    blocks = list(FUNCTIONS[name](document, columns, inputs_for(columns, 1), nobody))
    assert sum(block.shape[0] for block in blocks) == 0


def test_fairness_counts_each_eligible_row_once_a_head_and_attribute_in_the_cell_of_its_group(document):
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 500, seed=9)
    inputs = inputs_for(columns, seed=9)
    counts = rows_of(fairness, document, columns, inputs, people).sum(axis=0).reshape(columns.shape("fairness"))
    edges = inputs["edges"].reshape(2, -1)
    for head, where in enumerate(columns.heads):
        scores = people.rows[:, list(where)] @ columns.split(inputs["weights"])[head]
        rule = columns.eligible[head]
        eligible = np.ones(500, dtype=bool) if rule is None else people.rows[:, rule] >= 1
        cell = 0
        for attribute in columns.measured:
            for group in range(len(attribute.groups)):
                member = eligible & (people.groups[:, attribute.position] == group)
                for label in (0, 1):
                    own = scores[member & (people.labels[:, head] == label)]
                    expected, _ = np.histogram(own, bins=np.concatenate([[-np.inf], edges[head], [np.inf]]))
                    assert counts[head, cell, label].tolist() == expected.tolist()
                    assert own.size, "the test needs people in every group"
                cell += 1


def test_group_moments_are_the_sums_of_each_groups_shortened_rows(document):
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 500, seed=10)
    sums = rows_of(group_moments, document, columns, {}, people).sum(axis=0).reshape(columns.shape("group_moments"))
    norm = document.descent.row_norm
    short = people.rows * np.minimum(1, norm / np.linalg.norm(people.rows, axis=1))[:, None] / norm
    for group in range(3):
        np.testing.assert_allclose(sums[group], short[people.groups[:, 1] == group].sum(axis=0), rtol=1e-9)


def test_drift_counts_every_feature_in_ten_equal_steps_of_its_public_range(document):
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 500, seed=11, scale=0.5)
    counts = rows_of(drift, document, columns, {}, people).sum(axis=0).reshape(columns.shape("drift"))
    for feature, (low, high) in enumerate(columns.ranges[1:]):
        values = np.clip(people.rows[:, feature + 1], low, high)
        expected, _ = np.histogram(values, bins=10, range=(low, high))
        assert counts[feature].tolist() == expected.tolist()


def test_outcomes_count_each_finished_review_once_in_its_cell(document):
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 500, seed=12)
    counts = rows_of(outcomes, document, columns, {}, people).sum(axis=0).reshape(columns.shape("outcomes"))
    for head in range(2):
        assert counts[head].tolist() == [np.count_nonzero(people.outcomes[:, head] == cell) for cell in range(4)]
    assert counts.sum() == np.count_nonzero(people.outcomes >= 0) < 1000


def test_release_of_outcomes_over_people_who_were_not_reviewed_is_refused(document):
    columns = columns_of(document, CATALOGUE)
    people = cohort(columns, 3, seed=13)
    unreviewed = Cohort(people.rows, people.labels, people.persons, people.groups)
    with pytest.raises(StateError):
        list(outcomes(document, columns, {}, unreviewed))
