"""What one round of either system gives, and what both are fed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

VECTOR_SEED = 20260105


class WrongSum(Exception):
    """A round ended with a sum that is not the sum of what was put in. No figure of such a run means anything."""


@dataclass(frozen=True, slots=True)
class Round:
    """CPU seconds and bytes of one round with the right sum.

    ``parts`` are CPU seconds of work that is not in the three figures: see the module that made the round.
    """

    client_cpu_s: float
    """Mean over the clients."""
    server_cpu_s: float
    noise_cpu_s: float
    bytes_up: float
    """Mean over the clients, all exchanges together."""
    bytes_down: float
    exchanges: int
    parts: dict[str, float] = field(default_factory=dict)


def vectors(clients: int, dimension: int) -> list[Float32Array]:
    """Return one vector a client, uniform in [-1, 1), the same ones for both systems and in every run."""
    random = np.random.default_rng([VECTOR_SEED, clients, dimension])
    return [random.uniform(-1, 1, dimension).astype(np.float32) for _ in range(clients)]
