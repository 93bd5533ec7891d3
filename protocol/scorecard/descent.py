"""Whitened Nesterov descent as a pure function of the plan and the published sums.

Whitening needs an eigendecomposition, whose last bits differ between machines, so the coordinator's whitening bytes
travel in the request (``protocol.scorecard.inputs``) and everybody computes with **those** bytes. All else is elementwise
IEEE arithmetic or ``math.fsum``, which is correctly rounded, so an iterate is the same bits everywhere.

Formulas: docs/spec/training.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from protocol.scorecard.columns import Columns, Float64Array
from protocol.scorecard.run import Published, Run


def second_moment(columns: Columns, release: Published) -> Float64Array:
    """Return the noised M / N of a release of the second moment, symmetric, shape (width, width)."""
    upper = np.triu_indices(columns.width)
    entries = release.values * release.plan.descent.row_norm**2
    matrix = np.zeros((columns.width, columns.width))
    matrix[upper] = np.where(upper[0] == upper[1], entries, entries / math.sqrt(2))
    return (matrix + np.triu(matrix, 1).T) / release.plan.people


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A head's block of M / N, made positive definite: ``vectors diag(values + ridge) vectors^T``."""

    values: Float64Array
    """Eigenvalues, at least 0."""
    vectors: Float64Array
    ridge: float
    """Half the spectral norm of the noise, by the plan's ridge factor."""

    def metric(self) -> Float64Array:
        """Return the matrix itself, shape (columns, columns): how far two weight vectors are apart in prediction."""
        return (self.vectors * (self.values + self.ridge)) @ self.vectors.T

    def whitener(self) -> Float64Array:
        """Return its inverse root ``W = Q (L+ + lambda)^(-1/2) Q^T``."""
        return np.asarray((self.vectors / np.sqrt(self.values + self.ridge)) @ self.vectors.T)

    def effective_dimension(self) -> float:
        """Return ``sum L+ / (L+ + lambda)``."""
        return float((self.values / (self.values + self.ridge)).sum())


def spectra(run: Run) -> list[Spectrum]:
    """Return each head's spectrum from the run's second moment. Raises: StateError while it is missing."""
    release = run.moment
    moment = second_moment(run.columns, release)
    noise = release.sigma * release.plan.descent.row_norm**2 / release.plan.people
    found = []
    for head in run.columns.heads:
        values, vectors = np.linalg.eigh(moment[np.ix_(head, head)])
        ridge = run.plan.descent.ridge_factor * 2 * math.sqrt(len(head)) * noise
        found.append(Spectrum(np.maximum(values, 0.0), vectors, ridge))
    return found


def whitening(run: Run) -> tuple[Float64Array, Float64Array]:
    """Return all heads' whitening matrices, flattened one after the other, and their clipping norms, shape (heads,)."""
    found = spectra(run)
    clips = [run.plan.descent.clip_factor * math.sqrt(spectrum.effective_dimension()) for spectrum in found]
    return np.concatenate([spectrum.whitener().ravel() for spectrum in found]), np.array(clips)


def exact_product(matrix: Float64Array, vector: Float64Array) -> Float64Array:
    """Return ``matrix @ vector``, the same bits on every machine.

    Each product is one IEEE multiplication, and the sum of the rounded products is correctly rounded.
    """
    return np.array([math.fsum(row) for row in (matrix * vector).tolist()])


@dataclass(frozen=True, slots=True)
class Iterate:
    """Where the descent stands: weights in feature units, velocity in whitened units, one array a head."""

    weights: tuple[Float64Array, ...]
    velocity: tuple[Float64Array, ...]


def start(run: Run) -> Iterate:
    """Return each head's public starting weights, its intercept at the log-odds of its public prior."""
    weights = []
    for category, where in zip(run.plan.categories, run.columns.heads, strict=True):
        head = run.catalogue.head(category)
        intercept = round(math.log(head.prior / (1 - head.prior)), 9)
        weights.append(np.array([intercept, *(head.start.get(run.columns.names[place], 0.0) for place in where[1:])]))
    return Iterate(tuple(weights), tuple(np.zeros(len(head)) for head in run.columns.heads))


def look_ahead(run: Run, at: Iterate, whiteners: Float64Array) -> Float64Array:
    """Return the weights at which the next gradient is taken (Nesterov), all heads concatenated."""
    return np.concatenate(
        [
            weights + exact_product(matrix, run.plan.descent.momentum * velocity)
            for weights, velocity, matrix in zip(
                at.weights, at.velocity, run.columns.split_square(whiteners), strict=True
            )
        ]
    )


def advance(run: Run, at: Iterate, release: Published) -> Iterate:
    """Return the iterate after one published gradient."""
    weights, velocities = [], []
    descent, gradients = run.plan.descent, run.columns.split(release.values)
    matrices = run.columns.split_square(release.inputs["whitening"])
    for head, clip in enumerate(release.inputs["clips"].tolist()):
        gradient = gradients[head] * clip / run.plan.people
        velocity = descent.momentum * at.velocity[head] - descent.learning_rate * gradient
        velocities.append(velocity)
        weights.append(at.weights[head] + exact_product(matrices[head], velocity))
    return Iterate(tuple(weights), tuple(velocities))


def replay(run: Run) -> Iterate:
    """Return the iterate after all published gradients, in order."""
    at = start(run)
    for release in run.of("gradient"):
        at = advance(run, at, release)
    return at


def score_distribution(run: Run, weights: list[Float64Array]) -> tuple[Float64Array, Float64Array]:
    """Return each head's mean and sd of the score over the force, from the noised second moment alone."""
    moment = second_moment(run.columns, run.moment)
    moment = moment / max(float(moment[0, 0]), 1e-3)
    center, spread = [], []
    for head, values in zip(run.columns.heads, weights, strict=True):
        block = moment[np.ix_(head, head)]
        mean = float(block[0] @ values)
        center.append(mean)
        spread.append(math.sqrt(max(float(values @ block @ values) - mean**2, 1e-4)))
    return np.array(center), np.array(spread)
