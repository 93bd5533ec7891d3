"""The linear heads of the plan under Opacus: per-sample gradients, clipping a head, noise, for DP-SGD and FedAvg alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPPerLayerOptimizer

from protocol.scorecard.columns import Float64Array


class Heads(torch.nn.Module):
    """One linear layer without bias a head, over its own columns."""

    def __init__(self, columns: Sequence[Sequence[int]], weights: Sequence[Float64Array]) -> None:
        super().__init__()
        self.columns = [list(where) for where in columns]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(len(where), 1, bias=False) for where in self.columns)
        self.put(weights)

    def put(self, weights: Sequence[Float64Array]) -> None:
        """Take these weights, one array a head."""
        with torch.no_grad():
            for layer, values in zip(self.layers, weights, strict=True):
                layer.weight.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)).reshape(1, -1))

    def weights(self) -> list[Float64Array]:
        """Return the weights, one array a head."""
        return [layer.weight.detach().numpy().reshape(-1).astype(np.float64) for layer in self.layers]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return log-odds, shape (..., heads)."""
        parts = [
            # Picking columns copies: not where a head has all of them.
            layer(rows if len(where) == rows.shape[-1] else rows[..., where])
            for layer, where in zip(self.layers, self.columns, strict=True)
        ]
        return torch.cat(parts, dim=-1)


class PrivateTrainer:
    """Opacus' optimizer on the heads. Each sample's gradient of a head is clipped to ``clip``, so to clip sqrt(K) in all."""

    def __init__(
        self, model: Heads, *, learning_rate: float, momentum: float, clip: float, noise_multiplier: float, seed: int
    ) -> None:
        self.model = model
        self._watched = GradSampleModule(model, loss_reduction="sum")
        heads = len(model.layers)
        self._optimizer = DPPerLayerOptimizer(
            torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum),
            noise_multiplier=noise_multiplier,
            max_grad_norm=[clip] * heads,
            expected_batch_size=1,
            loss_reduction="mean",
            generator=torch.Generator().manual_seed(seed),
        )

    def step(self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, *, expected: float) -> None:
        """Take one step on the noised sum of clipped gradients, divided by ``expected``.

        Args:
            rows: Shape (samples, ..., width); a sample may have several rows.
            labels: Shape (samples, ..., heads).
            weights: Of each row in its sample's loss, shape (samples, ...).
            expected: Public number of samples.
        """
        self._optimizer.expected_batch_size = expected
        self._optimizer.zero_grad()
        # Opacus' hooks want an input that takes part in differentiation; the gradient with respect to it is not used.
        scores = self._watched(rows.detach().requires_grad_())
        losses = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")
        (losses * weights[..., None]).sum().backward()
        self._optimizer.step()

    def close(self) -> None:
        """Take Opacus' hooks off the model."""
        self._watched.remove_hooks()


def tensor(values: Float64Array) -> torch.Tensor:
    """Return an array as Opacus gets it."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
