"""Vector functions: no row exceeds the norm that its release is charged for, and sums are what they claim to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from borough_node.training.vectors import FUNCTIONS, evaluation, gradient, second_moment
from protocol.scorecard.columns import columns_of
from protocol.scorecard.evaluation import bin_edges
from tests.world import CATALOGUE, CHOICES, World

SLACK = 1 + 1e-9


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    made = World.create(tmp_path_factory.mktemp("vectors"))
    yield made.draft(CHOICES)
    made.close()


def cohort(columns, rows, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    matrix = scale * rng.standard_t(2, size=(rows, columns.width))
    matrix[:, 0] = 1.0
    return matrix, (rng.random((rows, len(columns.heads))) < 0.4).astype(float)


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
        "weights": scale * rng.normal(size=columns.gradient_length),
        "center": rng.normal(size=len(columns.heads)),
        "spread": rng.uniform(0.01, 3.0, size=len(columns.heads)),
    }


def rows_of(function, document, columns, inputs, matrix, labels):
    return np.concatenate(list(function(document, columns, inputs, matrix, labels)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-6, 0.1, 1.0, 30.0, 1e6]))
@pytest.mark.parametrize("name", ["second_moment", "gradient", "evaluation"])
def test_no_row_exceeds_the_norm_that_its_release_is_charged_for(document, name, seed, scale):
    columns = columns_of(document, CATALOGUE)
    spec = next(spec for spec in document.releases if spec.function == name)
    matrix, labels = cohort(columns, 40, seed, scale)
    rows = rows_of(FUNCTIONS[name], document, columns, inputs_for(columns, seed, scale), matrix, labels)
    assert rows.shape == (40, spec.length)
    assert np.linalg.norm(rows, axis=1).max() <= spec.l2 * SLACK


def test_second_moment_of_short_rows_is_that_of_numpy(document):
    columns = columns_of(document, CATALOGUE)
    matrix, labels = cohort(columns, 3000, seed=4, scale=0.1)
    matrix = matrix[np.linalg.norm(matrix, axis=1) < document.descent.row_norm]
    total = rows_of(second_moment, document, columns, {}, matrix, labels).sum(axis=0)
    upper = np.triu_indices(columns.width)
    weight = np.where(upper[0] == upper[1], 1.0, np.sqrt(2)) / document.descent.row_norm**2
    np.testing.assert_allclose(total, (matrix.T @ matrix)[upper] * weight, rtol=1e-12)


def test_long_row_is_scaled_to_the_row_norm_and_keeps_its_direction(document):
    columns = columns_of(document, CATALOGUE)
    row = np.array([[1.0, 30.0, -40.0, 10.0, 1.0]])
    values = rows_of(second_moment, document, columns, {}, row, np.zeros((1, 2)))[0]
    scaled = row[0] / np.linalg.norm(row)
    diagonal = values[[place for place, pair in enumerate(zip(*np.triu_indices(5), strict=True)) if pair[0] == pair[1]]]
    np.testing.assert_allclose(diagonal, scaled**2, rtol=1e-12)
    assert np.linalg.norm(values) == pytest.approx(1.0)


def test_gradient_is_whitened_and_clipped_head_by_head(document):
    columns = columns_of(document, CATALOGUE)
    matrix, labels = cohort(columns, 60, seed=11)
    inputs = inputs_for(columns, seed=11)
    rows = rows_of(gradient, document, columns, inputs, matrix, labels)
    start = 0
    for head, where in enumerate(columns.heads):
        own = matrix[:, list(where)]
        weights = columns.split(inputs["weights"])[head]
        raw = (1 / (1 + np.exp(-own @ weights)) - labels[:, head])[:, None] * own
        whitened = raw @ columns.split_square(inputs["whitening"])[head]
        norms = np.linalg.norm(whitened, axis=1, keepdims=True)
        expected = whitened / np.maximum(norms, inputs["clips"][head])
        np.testing.assert_allclose(rows[:, start : start + len(where)], expected, atol=1e-9)
        start += len(where)


def test_gradient_does_not_depend_on_the_block_that_a_row_falls_in(document):
    columns = columns_of(document, CATALOGUE)
    matrix, labels = cohort(columns, 1500, seed=3)
    inputs = inputs_for(columns, seed=3)
    whole = rows_of(gradient, document, columns, inputs, matrix, labels)
    last = rows_of(gradient, document, columns, inputs, matrix[1400:], labels[1400:])
    np.testing.assert_allclose(whole[1400:], last, atol=1e-12)


def test_evaluation_counts_each_eligible_row_once_a_head_in_the_cell_of_its_label_and_score(document):
    columns = columns_of(document, CATALOGUE)
    matrix, labels = cohort(columns, 500, seed=8)
    inputs = inputs_for(columns, seed=8)
    bins = document.histogram.bins
    counts = rows_of(evaluation, document, columns, inputs, matrix, labels).sum(axis=0).reshape(-1, 2, bins)
    for head, where in enumerate(columns.heads):
        scores = matrix[:, list(where)] @ columns.split(inputs["weights"])[head]
        edges = bin_edges(document, float(inputs["center"][head]), float(inputs["spread"][head]))
        rule = columns.eligible[head]
        eligible = np.ones(500, dtype=bool) if rule is None else matrix[:, rule] >= 1
        assert counts[head].sum() == eligible.sum()
        for label in (0, 1):
            own = scores[eligible & (labels[:, head] == label)]
            expected, _ = np.histogram(own, bins=np.concatenate([[-np.inf], edges, [np.inf]]))
            assert counts[head, label].tolist() == expected.tolist()
    assert any(rule is not None for rule in columns.eligible), "the test needs a head with an eligibility rule"


@pytest.mark.parametrize("name", ["second_moment", "gradient", "evaluation"])
def test_no_rows_yield_no_blocks_with_rows(document, name):
    columns = columns_of(document, CATALOGUE)
    blocks = list(
        FUNCTIONS[name](document, columns, inputs_for(columns, 1), np.zeros((0, columns.width)), np.zeros((0, 2)))
    )
    assert sum(block.shape[0] for block in blocks) == 0
