"""The model's weights: the descent's last iterate, with the catalogue's directions kept and group differences narrowed."""

from __future__ import annotations

import numpy as np

from protocol.scorecard.columns import Float64Array
from protocol.scorecard.constraints import constrained
from protocol.scorecard.descent import replay
from protocol.scorecard.run import Run


def final_weights(run: Run) -> list[Float64Array]:
    """Return each head's weights in feature units, intercept first. Raises: StateError while a release is missing."""
    columns = run.columns
    whiteners = columns.split_square(run.of("gradient")[-1].inputs["whitening"])
    gaps, strengths = _gaps(run)
    signs = np.array(columns.directions)
    return [
        constrained(weights, whitener, signs[list(head)], gaps[:, list(head)], strengths)
        for weights, whitener, head in zip(replay(run).weights, whiteners, columns.heads, strict=True)
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
    for weights, whitener, head in zip(final, whiteners, columns.heads, strict=True):
        inverse, identity = whitener @ whitener, np.eye(len(head))
        held = identity[(weights == 0) & (signs[list(head)] != 0)]
        directed = identity + _onto(held, -held, inverse)
        rows, open_share = gaps[strengths > 0][:, list(head)], 1 - strengths[strengths > 0]
        normals = np.concatenate([held, rows])
        targets = np.concatenate([np.zeros_like(held), open_share[:, None] * (rows @ directed)])
        found.append(identity + _onto(normals, targets - normals, inverse))
    return found


def _onto(normals: Float64Array, missing: Float64Array, inverse: Float64Array) -> Float64Array:
    """Return the shortest move, in the inverse metric, by which the constraints' values grow by ``missing``."""
    if not normals.shape[0]:
        return np.zeros_like(inverse)
    return np.asarray(inverse @ normals.T @ np.linalg.pinv(normals @ inverse @ normals.T) @ missing)


def _gaps(run: Run) -> tuple[Float64Array, Float64Array]:
    """Return the differences of group means, shape (gaps, width), and how far to close each, shape (gaps,)."""
    fairness, columns = run.plan.fairness, run.columns
    if fairness is None or not fairness.mitigations:
        return np.zeros((0, columns.width)), np.zeros(0)
    release = run.only("group_moments")
    sums = release.values.reshape(columns.shape("group_moments")) * run.plan.descent.row_norm
    noise = release.sigma * run.plan.descent.row_norm
    sizes = [len(attribute.groups) for attribute in columns.mitigated]
    rows, strengths = [], []
    for part, mitigation in zip(np.split(sums, np.cumsum(sizes)[:-1]), fairness.mitigations, strict=True):
        found = group_gaps(part, noise)
        rows.append(found)
        strengths.append(np.full(found.shape[0], mitigation.strength))
    return np.concatenate(rows), np.concatenate(strengths)


def group_gaps(sums: Float64Array, noise: float) -> Float64Array:
    """Return how the mean row of each other group differs from the largest group's, shape (groups - 1 or fewer, width).

    Args:
        sums: Noised sums of each group's rows, shape (groups, width); column 0 is the group's size.
        noise: sd of each entry. A group of fewer than ten of them is left out: its mean would be noise.
    """
    sizes = sums[:, 0]
    largest = int(np.argmax(sizes))
    known = [group for group in np.flatnonzero(sizes > 10 * noise).tolist() if group != largest]
    means = sums[[largest, *known]] / sizes[[largest, *known], None]
    return np.asarray(means[1:] - means[0])
