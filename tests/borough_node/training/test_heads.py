"""Per-row gradients: what Opacus computes is the closed form."""

import numpy as np
import pytest
import torch

from borough_node.training.heads import AdditiveHeads, closed_form_gradients, per_row_gradients

COLUMNS = ((0, 1, 3), (0, 2), (0, 1, 2, 3, 4))


def sample(rows, seed):
    rng = np.random.default_rng(seed)
    matrix = np.concatenate([np.ones((rows, 1)), rng.normal(scale=2.0, size=(rows, 4))], axis=1)
    labels = (rng.random((rows, len(COLUMNS))) < 0.3).astype(float)
    return [rng.normal(size=len(head)) for head in COLUMNS], matrix, labels


@pytest.mark.parametrize("rows", [1, 7, 1500])
def test_opacus_gradients_are_the_closed_form(rows):
    weights, matrix, labels = sample(rows, seed=rows)
    opacus = per_row_gradients(COLUMNS, weights, matrix, labels)
    exact = closed_form_gradients(COLUMNS, weights, matrix, labels)
    for ours, theirs, head in zip(opacus, exact, COLUMNS, strict=True):
        assert ours.shape == (rows, len(head))
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_rows_sum_to_the_gradient_that_torch_computes():
    weights, matrix, labels = sample(200, seed=5)
    model = AdditiveHeads(COLUMNS, weights)
    torch.nn.functional.binary_cross_entropy_with_logits(
        model(torch.from_numpy(matrix)), torch.from_numpy(labels), reduction="sum"
    ).backward()
    for ours, head in zip(per_row_gradients(COLUMNS, weights, matrix, labels), model.heads, strict=True):
        np.testing.assert_allclose(ours.sum(axis=0), head.weight.grad.numpy().ravel(), atol=1e-9)


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1000])
def test_gradient_of_a_row_depends_on_that_row_alone_to_the_last_bit(block):
    columns = (tuple(range(40)), (0, *range(20, 41)))
    rng = np.random.default_rng(9)
    matrix = rng.normal(size=(1000, 41))
    labels = (rng.random((1000, 2)) < 0.5).astype(float)
    weights = [rng.normal(size=len(head)) for head in columns]
    together = per_row_gradients(columns, weights, matrix, labels)
    order = rng.permutation(1000)
    for start in range(0, 1000 if block > 7 else 100, block):
        chosen = order[start : start + block]
        alone = per_row_gradients(columns, weights, matrix[chosen], labels[chosen])
        for ours, theirs in zip(alone, together, strict=True):
            np.testing.assert_array_equal(ours, theirs[chosen])


def test_no_rows_give_empty_gradients():
    weights, matrix, labels = sample(3, seed=1)
    gradients = per_row_gradients(COLUMNS, weights, matrix[:0], labels[:0])
    assert [part.shape for part in gradients] == [(0, len(head)) for head in COLUMNS]


def test_extreme_scores_give_finite_gradients():
    weights, matrix, labels = sample(20, seed=2)
    gradients = per_row_gradients(COLUMNS, [1e4 * values for values in weights], matrix, labels)
    assert all(np.isfinite(part).all() for part in gradients)
