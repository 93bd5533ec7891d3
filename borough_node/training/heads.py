"""The model while it trains: one linear head per category, a torch module, differentiated per row by Opacus.

For a linear head the per-row gradient has the closed form ``(sigmoid(s) - y) x``; a test proves the two equal. Opacus
is what runs, because the same code serves a head that is not linear.
"""

from __future__ import annotations

import numpy as np
import torch
from opacus import GradSampleModule

from protocol.scorecard.columns import Float64Array


class AdditiveHeads(torch.nn.Module):
    """K linear heads, each over its own columns; the intercept is the first column."""

    def __init__(self, columns: tuple[tuple[int, ...], ...], weights: list[Float64Array]) -> None:
        super().__init__()
        self.columns = [list(head) for head in columns]
        self.heads = torch.nn.ModuleList()
        for values in weights:
            head = torch.nn.Linear(values.size, 1, bias=False, dtype=torch.float64)
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
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        watched(inputs), torch.from_numpy(labels), reduction="sum"
    )
    loss.backward()
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
