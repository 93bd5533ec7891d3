"""How stable a flag is: would a rerun of the same plan, with fresh noise, flag the same person again?

A rerun has other weights and another threshold. Both laws are public, so the probability is a function of the published
sums and the person's own row. It leaves out caps, and everything that a rerun would not draw anew: the people, their
rows and labels. How well the predictions do is measured in ``reliability``, and a head that they do badly on shows none.

Formulas: docs/spec/training.md, section 9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from protocol.documents.flags import Band
from protocol.scorecard.capacity import smoothed_counts, smoothed_tail, threshold_for, threshold_of
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.descent import second_moment
from protocol.scorecard.draws import normals
from protocol.scorecard.evaluation import HeadEvaluation, evaluate
from protocol.scorecard.final import response
from protocol.scorecard.model import model_of
from protocol.scorecard.run import Published, Released, Run

BANDS: tuple[tuple[float, Band], ...] = ((0.8, "high"), (0.6, "medium"), (0.0, "low"))
THRESHOLD_DRAWS = 24
"""Evaluations drawn to learn how thresholds scatter: their sd is then known to 15 %."""
THRESHOLD_OFFSETS = 32
"""Quantiles that stand for the differences between two of those thresholds."""


@dataclass(frozen=True, slots=True)
class HeadStability:
    """What a rerun does to one head's scores, as far as published sums tell."""

    threshold: float
    covariance: Float64Array
    """Of the final weights over reruns, feature units, shape (columns, columns)."""
    tangent: Float64Array
    """The mean row of people at the threshold, shape (columns,): the threshold moves with the weights as its score."""
    offsets: Float64Array
    """Equally likely differences between a rerun's threshold and this one's from the evaluations' noise, score units."""
    excess: float
    """How far people above the threshold are above it on average; minus its inverse is the slope of their log density."""

    def probability(self, rows: Float64Array, scores: Float64Array) -> Float64Array:
        """Return the probability that a rerun flags each person again.

        Args:
            rows: Transformed columns of the head with the intercept, shape (rows, columns).
            scores: Shape (rows,), at or above the threshold: selection is corrected for.
        """
        apart = rows - self.tangent
        variance = np.maximum(np.einsum("ij,jk,ik->i", apart, self.covariance, apart), 1e-24)
        # The mean of the score without noise, given the score (Efron 2011, "Tweedie's formula and selection bias").
        expected = scores - variance / self.excess
        distance = (expected - self.threshold)[:, None] - self.offsets
        return np.asarray(ndtr(distance / np.sqrt(2 * variance)[:, None]).mean(axis=1))


def stability(run: Run, category: str) -> HeadStability:
    """Return what a rerun does to the scores of one of the plan's categories.

    A function of published sums alone, so the answer for the last few is kept.

    Raises: StateError while training releases or the evaluation are missing.
    """
    return _stability(Released.of(run), category)


@lru_cache(maxsize=32)
def _stability(released: Released, category: str) -> HeadStability:
    run = released.run
    place = run.plan.categories.index(category)
    seed = f"{model_of(run).digest()}/{place}"
    scatter = threshold_scatter(evaluate(run)[place], capacity=capacity_of(run, place), seed=seed)
    return head_stability(run, place, scatter=scatter)


def head_stability(run: Run, place: int, *, scatter: Float64Array) -> HeadStability:
    """Return one head's stability, by its place in the plan.

    Args:
        scatter: As `threshold_scatter` returns it, for these sums or for others with the same noise.
    """
    release, head, columns = run.only("evaluation"), evaluate(run)[place], list(run.columns.heads[place])
    tail = smoothed_tail(head)
    threshold = threshold_of(head, tail, capacity=capacity_of(run, place))
    center, spread = float(release.inputs["center"][place]), float(release.inputs["spread"][place])
    weights = run.columns.split(release.inputs["weights"])[place]
    moment = second_moment(run.columns, run.moment)
    moment = (moment / max(float(moment[0, 0]), 1e-3))[np.ix_(columns, columns)]
    mean = moment[0]
    # The regression of the columns on the score, carried to the threshold; normal columns have no other.
    tangent = mean + (threshold - center) / spread**2 * (moment @ weights - mean * float(mean @ weights))
    return HeadStability(
        threshold=threshold,
        covariance=_covariance(run, place, response(run)[place]),
        tangent=tangent,
        offsets=bin_width(head) * scatter,
        excess=mean_excess(head, tail, threshold),
    )


def threshold_scatter(head: HeadEvaluation, *, capacity: int, seed: str) -> Float64Array:
    """Return equally likely differences between the thresholds of two evaluations of one population.

    The population has the smoothed counts; the evaluations have the noise of the release.

    Returns: Quantiles in bin widths, symmetric about 0, shape (THRESHOLD_OFFSETS,).
    """
    counts = smoothed_counts(head)
    noise = math.sqrt(2) * head.sigma * normals(f"threshold/{seed}", THRESHOLD_DRAWS, counts.size)
    drawn = np.array(
        [
            threshold_for(replace(head, negatives=counts + one, positives=np.zeros_like(counts)), capacity=capacity)
            for one in noise
        ]
    )
    apart = (drawn[:, None] - drawn[None, :])[~np.eye(drawn.size, dtype=bool)]
    return np.asarray(np.quantile(apart / bin_width(head), (np.arange(THRESHOLD_OFFSETS) + 0.5) / THRESHOLD_OFFSETS))


def capacity_of(run: Run, place: int) -> int:
    """Return how many flags of a head the force can review."""
    category = run.plan.categories[place]
    return next(one.flags for one in run.plan.capacities if one.category == category)


def bin_width(head: HeadEvaluation) -> float:
    """Return how wide the evaluation's bins are, in score units."""
    return float(head.edges[1] - head.edges[0])


def mean_excess(head: HeadEvaluation, tail: Float64Array, threshold: float) -> float:
    """Return how far people above the threshold are above it on average by the smoothed tail.

    Scores fall off above a threshold about exponentially; the slope of their log density is minus one over this. At
    least a bin's width; infinite in the last bin, which is open, so that its histogram says nothing of a slope.
    """
    width = bin_width(head)
    if threshold >= head.edges[-1]:
        return math.inf
    corners = np.concatenate([[head.edges[0] - width], head.edges, [head.edges[-1] + width]])
    above = np.append(np.maximum(tail, 0.0), 0.0)
    at = float(np.interp(threshold, corners, above))
    beyond = corners > threshold
    places = np.concatenate([[threshold], corners[beyond]])
    area = float(np.trapezoid(np.concatenate([[at], above[beyond]]), places))
    return max(area / at, width) if at > 0 else width


def weight_covariance(run: Run) -> tuple[Float64Array, ...]:
    """Return each head's covariance of its final weights over reruns, in feature units.

    To first order: the gradients' noise through the recursion of the descent with the Hessian ``p (1 - p) M`` at the
    prior; the second moment's noise through the whitening, whose derivative is that of a function of a matrix; both
    through the projection of the final weights, where constraints that bind are taken to bind again.
    """
    return tuple(_covariance(run, place, move) for place, move in enumerate(response(run)))


def _covariance(run: Run, place: int, move: Float64Array) -> Float64Array:
    return _symmetric(move @ (_gradient_part(run, place) + _moment_part(run, place)) @ move.T)


def _gradient_part(run: Run, place: int) -> Float64Array:
    gradients, step, momentum = run.of("gradient"), run.plan.descent.learning_rate, run.plan.descent.momentum
    matrix = run.columns.split_square(gradients[0].inputs["whitening"])[place]
    hessian = _curvature(run, place) * matrix @ _block(run, place) @ matrix
    identity = np.eye(len(hessian))
    covariance = np.zeros_like(identity)
    for born, release in enumerate(gradients):
        # Response of (theta, velocity) to unit noise in this gradient, carried to the last step.
        theta, velocity = -step * identity, -step * identity
        for _ in gradients[born + 1 :]:
            velocity = momentum * velocity - step * hessian @ (theta + momentum * velocity)
            theta = theta + velocity
        covariance += _noise(run, release, place) ** 2 * theta @ theta.T
    return np.asarray(matrix @ covariance @ matrix)


def _moment_part(run: Run, place: int) -> Float64Array:
    """Return what the noise of M adds; nothing where an earlier plan's is used again, as a rerun would use it too.

    With ``A = (L+ + lambda)^-1`` in the eigenbasis of M, gradient ``g_j`` moves the weights by ``R_j A g_j``, ``R_j``
    diagonal. Symmetric noise E of M moves ``A g`` by ``(F o E) g``, F the divided differences of A (Daleckii and Krein
    1965), and E has the same law in every basis. Clipping norms are taken as they are.
    """
    columns = run.columns.heads[place]
    if run.reused is not None:
        return np.zeros((len(columns), len(columns)))
    gradients, step, momentum = run.of("gradient"), run.plan.descent.learning_rate, run.plan.descent.momentum
    entry_sd = run.moment.sigma * run.plan.descent.row_norm**2 / run.plan.people
    eigenvalues, basis = np.linalg.eigh(_block(run, place))
    positive = np.maximum(eigenvalues, 0.0)
    metric = positive + run.plan.descent.ridge_factor * 2 * math.sqrt(len(columns)) * entry_sd
    differences = _divided_differences(eigenvalues, 1 / metric, np.where(eigenvalues > 0, -1 / metric**2, 0.0))
    decay = step * _curvature(run, place) * positive / metric
    responses, raws, noises = [], [], []
    for born, release in enumerate(gradients):
        theta, velocity = np.full_like(metric, -step), np.full_like(metric, -step)
        for _ in gradients[born + 1 :]:
            velocity = momentum * velocity - decay * (theta + momentum * velocity)
            theta = theta + velocity
        noise = _noise(run, release, place)
        responses.append(theta)
        released = run.columns.split(release.values)[place] * float(release.inputs["clips"][place]) / run.plan.people
        raws.append(np.sqrt(metric) * (basis.T @ released))
        noises.append(noise**2 * metric)
    total = np.zeros_like(basis)
    for first, (response_one, raw_one) in enumerate(zip(responses, raws, strict=True)):
        for second, (response_two, raw_two) in enumerate(zip(responses, raws, strict=True)):
            # The published gradients' own noise is taken out of their products.
            own = noises[first] if first == second else np.zeros_like(metric)
            squares = raw_one * raw_two - own
            outer = differences**2 * (np.outer(raw_two, raw_one) - np.diag(own))
            if first == second:
                squares = np.maximum(squares, 0.0)
            part = np.diag(differences**2 @ squares) + outer
            total += entry_sd**2 / 2 * response_one[:, None] * part * response_two
    # Taking noise out can leave a direction with less than none.
    values, vectors = np.linalg.eigh(_symmetric(basis @ total @ basis.T))
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _divided_differences(points: Float64Array, values: Float64Array, derivatives: Float64Array) -> Float64Array:
    """Return ``(f(a) - f(b)) / (a - b)`` for all pairs, the mean derivative where a and b are next to equal."""
    apart = points[:, None] - points[None, :]
    near = np.abs(apart) < 1e-9 * max(float(np.abs(points).max()), 1e-300)
    slopes = (values[:, None] - values[None, :]) / np.where(near, 1.0, apart)
    return np.where(near, (derivatives[:, None] + derivatives[None, :]) / 2, slopes)


def _block(run: Run, place: int) -> Float64Array:
    columns = run.columns.heads[place]
    return second_moment(run.columns, run.moment)[np.ix_(columns, columns)]


def _curvature(run: Run, place: int) -> float:
    prior = run.catalogue.head(run.plan.categories[place]).prior
    return prior * (1 - prior)


def _noise(run: Run, release: Published, place: int) -> float:
    """Return the sd of the noise of each entry of a head's mean gradient, in whitened coordinates."""
    return release.sigma * float(release.inputs["clips"][place]) / run.plan.people


def _symmetric(matrix: Float64Array) -> Float64Array:
    return (matrix + matrix.T) / 2


def band(value: float, edges: Sequence[tuple[float, Band]] = BANDS) -> Band:
    """Return the name of the band that ``value`` falls in."""
    return next(name for low, name in edges if value >= low)
