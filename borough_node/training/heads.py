"""The model while it trains: one linear head per category, a torch module, differentiated per row by Opacus.

For a linear head the per-row gradient has the closed form ``(sigmoid(s) - y) x``; a test proves the two equal. Opacus
is what runs, because the same code serves a head that is not linear.

A row's gradient depends on that row alone, to the last bit: in which block a row stands, and how many threads torch
has, must not move a rounded sum. Two things in torch would: a matrix product's order of addition, hence `OrderedLinear`,
and its sigmoid, which takes another code path for the last elements of an array than for the rest, hence SciPy's, which
goes element by element.
"""

from __future__ import annotations

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.grad_sample import register_grad_sampler
from opacus.grad_sample.linear import compute_linear_grad_sample
from scipy.special import expit

from protocol.scorecard.columns import Float64Array


class OrderedLinear(torch.nn.Linear):
    """A linear layer of one output and no bias that adds up each row in an order fixed by the row's length alone."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return ``rows @ weight.T``, shape (rows, 1), by elementwise operations only."""
        terms = rows * self.weight
        while terms.shape[1] > 1:
            if terms.shape[1] % 2:
                terms = torch.nn.functional.pad(terms, (0, 1))
            half = terms.shape[1] // 2
            terms = terms[:, :half] + terms[:, half:]
        return terms


# Opacus knows layers by their exact class. The gradient of each row is the same outer product as any linear layer's: one
# multiplication an entry, nothing is added up.
register_grad_sampler(OrderedLinear)(compute_linear_grad_sample)


class AdditiveHeads(torch.nn.Module):
    """K linear heads, each over its own columns; the intercept is the first column."""

    def __init__(self, columns: tuple[tuple[int, ...], ...], weights: list[Float64Array]) -> None:
        super().__init__()
        self.columns = [list(head) for head in columns]
        self.heads = torch.nn.ModuleList()
        for values in weights:
            head = OrderedLinear(values.size, 1, bias=False, dtype=torch.float64)
            with torch.no_grad():
                head.weight.copy_(torch.from_numpy(values).reshape(1, -1))
            self.heads.append(head)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of each row under each head, shape (rows, heads)."""
        return torch.cat([head(rows[:, where]) for head, where in zip(self.heads, self.columns, strict=True)], dim=1)


def per_row_gradients(
    columns: tuple[tuple[int, ...], ...], weights: list[Float64Array], rows: Float64Array, labels: Float64Array
) -> list[Float64Array]:
    """Return each row's gradient of the logistic loss with respect to each head's weights.

    Args:
        weights: One array a head.
        rows: Design matrix, shape (rows, width), float64.
        labels: 0 or 1, shape (rows, heads).
    Returns: One array a head, shape (rows, columns of the head), float64.
    Source: Opacus' GradSampleModule (Yousefpour et al. 2021).
    """
    if not rows.shape[0]:
        return [np.zeros((0, values.size)) for values in weights]
    model = AdditiveHeads(columns, weights)
    watched = GradSampleModule(model, loss_reduction="sum")
    # Opacus' hooks want an input that takes part in differentiation; the gradient with respect to it is not used.
    inputs = torch.from_numpy(rows).requires_grad_()
    scores = watched(inputs)
    # The logistic loss of a row, differentiated by its score: where back-propagation starts.
    scores.backward(torch.from_numpy(expit(scores.detach().numpy()) - labels))
    gradients = [head.weight.grad_sample.squeeze(1).numpy().copy() for head in model.heads]
    watched.remove_hooks()
    return gradients


def closed_form_gradients(
    columns: tuple[tuple[int, ...], ...], weights: list[Float64Array], rows: Float64Array, labels: Float64Array
) -> list[Float64Array]:
    """Return the same as ``per_row_gradients`` by ``(sigmoid(s) - y) x``; the reference of the test."""
    gradients = []
    for place, (where, values) in enumerate(zip(columns, weights, strict=True)):
        own = rows[:, list(where)]
        gradients.append((1 / (1 + np.exp(-(own @ values))) - labels[:, place])[:, None] * own)
    return gradients
