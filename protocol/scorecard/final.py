"""The model's weights: the descent's last iterate, with the catalogue's directions kept and group differences narrowed."""

from __future__ import annotations

import numpy as np

from protocol.scorecard.columns import Float64Array
from protocol.scorecard.constraints import constrained
from protocol.scorecard.descent import replay
from protocol.scorecard.run import Run

MOST_NOISE = 0.5
"""A gap is narrowed if noise explains at most this share of its squared length."""


def final_weights(run: Run) -> list[Float64Array]:
    """Return each head's weights in feature units, intercept first. Raises: StateError while a release is missing."""
    columns = run.columns
    whiteners = columns.split_square(run.of("gradient")[-1].inputs["whitening"])
    gaps, strengths = _gaps(run)
    signs = np.array(columns.directions)
    return [
        constrained(weights, whitener, signs[list(head)], own, strengths)
        for weights, whitener, head, own in zip(replay(run).weights, whiteners, columns.heads, gaps, strict=True)
    ]


def response(run: Run) -> list[Float64Array]:
    """Return, per head, the derivative of the final weights by the last iterate, shape (columns, columns).

    Taken where the weights are: a weight held at zero stays there, and every narrowed gap stays narrowed. So projected
    weights vary less over reruns than the descent's. Gaps themselves are taken as released.
    """
    columns = run.columns
    whiteners = columns.split_square(run.of("gradient")[-1].inputs["whitening"])
    final = columns.split(run.only("evaluation").inputs["weights"])
    gaps, strengths = _gaps(run)
    signs = np.array(columns.directions)
    found = []
    for weights, whitener, head, own in zip(final, whiteners, columns.heads, gaps, strict=True):
        inverse, identity = whitener @ whitener, np.eye(len(head))
        held = identity[(weights == 0) & (signs[list(head)] != 0)]
        directed = identity + _onto(held, -held, inverse)
        rows, open_share = own[strengths > 0], 1 - strengths[strengths > 0]
        normals = np.concatenate([held, rows])
        targets = np.concatenate([np.zeros_like(held), open_share[:, None] * (rows @ directed)])
        found.append(identity + _onto(normals, targets - normals, inverse))
    return found


def _onto(normals: Float64Array, missing: Float64Array, inverse: Float64Array) -> Float64Array:
    """Return the shortest move, in the inverse metric, by which the constraints' values grow by ``missing``."""
    if not normals.shape[0]:
        return np.zeros_like(inverse)
    return np.asarray(inverse @ normals.T @ np.linalg.pinv(normals @ inverse @ normals.T) @ missing)


def _gaps(run: Run) -> tuple[list[Float64Array], Float64Array]:
    """Return, per head, the differences of group means, shape (gaps, columns), and how far to close each, shape (gaps,)."""
    fairness, columns = run.plan.fairness, run.columns
    if fairness is None or not fairness.mitigations:
        return [np.zeros((0, len(head))) for head in columns.heads], np.zeros(0)
    release = run.only("group_moments")
    sums = release.values.reshape(columns.shape("group_moments")) * run.plan.descent.row_norm
    noise = release.sigma * run.plan.descent.row_norm
    sizes = [len(attribute.groups) for attribute in columns.mitigated]
    rows, variances, strengths = [], [], []
    for part, mitigation in zip(np.split(sums, np.cumsum(sizes)[:-1]), fairness.mitigations, strict=True):
        found, variance = group_gaps(part, noise)
        rows.append(found)
        variances.append(variance)
        strengths.append(np.full(found.shape[0], mitigation.strength))
    whiteners = columns.split_square(run.of("gradient")[-1].inputs["whitening"])
    noised, variance = np.concatenate(rows), np.concatenate(variances)
    estimated = [
        estimated_gaps(noised[:, list(head)], variance, weights, whitener)
        for head, weights, whitener in zip(columns.heads, replay(run).weights, whiteners, strict=True)
    ]
    return estimated, np.concatenate(strengths)


def group_gaps(sums: Float64Array, noise: float) -> tuple[Float64Array, Float64Array]:
    """Return how the mean row of each other group differs from the largest group's, and the noise of that.

    Args:
        sums: Noised sums of each group's rows, shape (groups, width); column 0 is the group's size.
        noise: sd of each entry. A group of fewer than ten of them is left out: its mean would be noise.
    Returns: differences, shape (groups - 1 or fewer, width), and the variance of each difference's entries but the first,
        which is 0; the noise of the sizes is left out: it is small beside that of all entries.
    """
    sizes = sums[:, 0]
    largest = int(np.argmax(sizes))
    known = [group for group in np.flatnonzero(sizes > 10 * noise).tolist() if group != largest]
    means = sums[[largest, *known]] / sizes[[largest, *known], None]
    variances = (noise / sizes[known]) ** 2 + (noise / sizes[largest]) ** 2
    return np.asarray(means[1:] - means[0]), np.asarray(variances)


def estimated_gaps(
    noised: Float64Array, variances: Float64Array, weights: Float64Array, whitener: Float64Array
) -> Float64Array:
    """Return estimates of one head's gaps whose closing closes the true ones.

    Weights that are moved until a **noised** gap is closed move along its noise, where moving is cheap: on a real table at
    epsilon 1 that left two fifths of the true gap (docs/measurements.md). What the gap says about the scores as they are,
    ``noised @ weights``, is one number and is kept. The rest, which only says where to move, is shrunk by the share of its
    squared length, in the metric of moving, that noise explains. A gap that is mostly noise is left as it is: it would be
    closed by shrinking all scores alike, and a head without scores has lost its accuracy.

    Args:
        noised: Shape (gaps, columns), column 0 zero.
        variances: Of each gap's entries, shape (gaps,).
        weights: The last iterate, intercept first, shape (columns,).
        whitener: The head's ``W``, shape (columns, columns).
    Returns: Shape (gaps, columns), column 0 zero; zeros for a gap that is left as it is.
    Source: James and Stein 1961, the positive part, towards the direction that is known.
    """
    slopes, inverse = weights[1:], (whitener @ whitener)[1:, 1:]
    dual = np.linalg.solve(inverse, slopes)
    length = float(slopes @ dual)
    if length <= 0:
        return noised
    along = np.outer(noised[:, 1:] @ slopes / length, dual)
    rest = noised[:, 1:] - along
    squares = np.einsum("ij,jk,ik->i", rest, inverse, rest)
    explained = variances * (float(np.trace(inverse)) - float(slopes @ slopes) / length)
    kept = np.maximum(0.0, 1 - explained / np.maximum(squares, 1e-300))
    whole = squares + np.einsum("ij,jk,ik->i", along, inverse, along)
    found = np.where((explained <= MOST_NOISE * whole)[:, None], along + kept[:, None] * rest, 0.0)
    return np.column_stack([noised[:, 0], found])
