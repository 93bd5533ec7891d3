"""AdaSSP: linear regression on the labels from noised sufficient statistics, by a curator whom everybody trusts.

Joint epsilon: three Gaussian releases with a third of mu^2 each, which compose exactly: the smallest eigenvalue of
``X^T X`` and ``X^T X`` itself, once for all labels, and ``X^T y`` of all labels as one vector. Rows are clipped to the
plan's ``row_norm`` R and weighted 1/m, so one person moves the first two by at most R^2 and the third by R sqrt(K).
In the method's favour: noise of one curator and not of boroughs that may fail or collude, an off-diagonal entry carries
half the variance (Frobenius norm, as in ours), and no budget goes to evaluation.

Source: Wang 2018, "Revisiting differentially private linear regression", algorithm 2, with its rho = 0.05.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.task import Fitted, Guarantee, Mechanism, Task, linear
from protocol.aggregation.accounting import mu_of
from protocol.scorecard.columns import Float64Array

FAILURE = 0.05


def sums(task: Task) -> tuple[Float64Array, Float64Array]:
    """Return ``X^T X`` and ``X^T y`` of clipped rows weighted 1/m, shapes (width, width) and (width, heads)."""
    rows, norm = task.rows, task.plan.descent.row_norm
    rows = rows * np.minimum(1.0, norm / np.maximum(np.linalg.norm(rows, axis=1), 1e-300))[:, None]
    return rows.T @ rows / task.rows_per_person, rows.T @ task.labels / task.rows_per_person


def fit(task: Task, guarantee: Guarantee, *, seed: int) -> Fitted:
    """Return one draw of the method; each head uses the block of its own columns."""
    rng = np.random.default_rng(seed)
    multiplier = math.sqrt(3) / mu_of(epsilon=guarantee.epsilon, delta=guarantee.delta)
    bound, heads, width = task.plan.descent.row_norm**2, len(task.columns.heads), task.columns.width
    second, first = sums(task)
    sigma = multiplier * bound
    upper = np.triu(rng.normal(scale=sigma / math.sqrt(2), size=(width, width)), 1)
    noised = second + upper + upper.T + np.diag(rng.normal(scale=sigma, size=width))
    moments = first + rng.normal(scale=multiplier * math.sqrt(heads * bound), size=first.shape)
    # The smallest eigenvalue of a head's block is at least that of the whole (interlacing), so one release serves all.
    smallest = float(np.linalg.eigvalsh(second)[0]) + rng.normal(scale=sigma)
    smallest = max(0.0, smallest - math.sqrt(math.log(6 / guarantee.delta)) * sigma)
    weights = []
    for head, where in enumerate(task.columns.heads):
        size = len(where)
        ridge = max(0.0, math.sqrt(size * math.log(2 * size**2 / FAILURE)) * sigma - smallest)
        block = noised[np.ix_(where, where)] + ridge * np.eye(size)
        weights.append(np.linalg.solve(block, moments[list(where), head]))
    return Fitted(
        score=linear(task.columns, weights),
        rounds=1,
        mechanisms=(Mechanism(noise_multiplier=multiplier, sampling_rate=1.0, count=3),),
    )
