"""DP-SGD with Poisson sampling, by a curator whom everybody trusts: Opacus' optimizer and Opacus' PRV accountant.

Joint epsilon: a sample is a **person** with all rows, the mean over m of the rows' losses; each step draws every person
with probability q and adds noise once to the gradients of all heads together, each clipped to C, so to C sqrt(K) in all.
One accountant therefore covers all labels. Tests check it with dp_accounting's PLD.

Settings are chosen on a fifth of the people, held out: free of budget, so in the method's favour, as is the curator.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from opacus.accountants.utils import get_noise_multiplier

from benchmarks.methods.heads import Heads, PrivateTrainer, tensor
from benchmarks.task import Fitted, Guarantee, Mechanism, Task, linear
from protocol.scorecard.columns import Float64Array


@dataclass(frozen=True, slots=True)
class Setting:
    """What is tuned."""

    clip: float
    learning_rate: float
    sampling_rate: float = 0.1
    steps: int = 100
    momentum: float = 0.9


GRID = tuple(Setting(clip, rate) for clip in (1.0, 2.0, 4.0) for rate in (0.03, 0.1, 0.3))


@cache
def noise_multiplier(guarantee: Guarantee, *, sampling_rate: float, steps: int) -> float:
    """Return the noise that Opacus' accountant asks for."""
    with warnings.catch_warnings():
        # PRV sizes its grid by Renyi orders; that the best of them is the largest makes the grid larger, nothing else.
        warnings.simplefilter("ignore", UserWarning)
        found = get_noise_multiplier(
            target_epsilon=guarantee.epsilon,
            target_delta=guarantee.delta,
            sample_rate=sampling_rate,
            steps=steps,
            accountant="prv",
            epsilon_tolerance=0.01 * guarantee.epsilon,
        )
    return float(found)


def by_person(task: Task) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return rows, labels and row weights by person: shapes (people, m, width), (people, m, heads), (people, m).

    Somebody with fewer rows has zeros of weight 0 in their place.
    """
    _, person = np.unique(task.persons.astype(str), return_inverse=True)
    order = np.argsort(person, kind="stable")
    sizes = np.bincount(person)
    places = np.arange(order.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shape = (sizes.size, task.rows_per_person)
    rows = np.zeros((*shape, task.columns.width))
    labels = np.zeros((*shape, len(task.columns.heads)))
    weights = np.zeros(shape)
    where = (person[order], places)
    rows[where], labels[where] = task.rows[order], task.labels[order]
    weights[where] = 1 / task.rows_per_person
    return rows, labels, weights


def fit(task: Task, guarantee: Guarantee, *, seed: int, setting: Setting) -> Fitted:
    """Return one draw of the method."""
    noise = noise_multiplier(guarantee, sampling_rate=setting.sampling_rate, steps=setting.steps)
    rows, labels, weights = (tensor(values) for values in by_person(task))
    model = Heads(task.columns.heads, task.starts)
    trainer = PrivateTrainer(
        model,
        learning_rate=setting.learning_rate,
        momentum=setting.momentum,
        clip=setting.clip,
        noise_multiplier=noise,
        seed=seed,
    )
    sampling = torch.Generator().manual_seed(seed + 1_000_003)
    for _ in range(setting.steps):
        drawn = torch.rand(rows.shape[0], generator=sampling) < setting.sampling_rate
        # Of no sample there is no gradient to noise; a row of zeros of weight 0 stands for nobody.
        batch = [values[drawn] if drawn.any() else torch.zeros_like(values[:1]) for values in (rows, labels, weights)]
        trainer.step(*batch, expected=setting.sampling_rate * task.people)
    trainer.close()
    return Fitted(
        score=linear(task.columns, model.weights()),
        rounds=setting.steps,
        mechanisms=(Mechanism(noise, setting.sampling_rate, setting.steps),),
    )
