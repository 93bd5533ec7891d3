"""Final weights from the descent's last iterate: promised directions kept, gaps between groups narrowed.

Both are post-processing of published sums and cost no budget. The weights move as little as they can, measured by what
moving them does to the scores of the force: ``(w - w0)^T W^-2 (w - w0)``, with ``W^-2 = M + lambda`` of the head's
columns, is the sum of squares by which scores change, per person, plus the ridge.

In whitened coordinates ``w = w0 + W z`` this is the point of a polyhedron that is nearest to the origin: it exists, it
is one point, and whoever solves for it finds the same one, so readers recompute it and compare.

Formulas: docs/spec/training.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocol.errors import ModelMismatch
from protocol.scorecard.columns import Float64Array

SLACK = 1e-12
"""How far below its bound a constraint counts as kept, relative to the largest bound or 1."""

PARALLEL = 1e-9
"""A unit constraint normal whose part outside the span of the active ones is shorter than this adds nothing to them."""


def constrained(
    weights: Float64Array,
    whitener: Float64Array,
    signs: npt.ArrayLike,
    gaps: Float64Array,
    strengths: npt.ArrayLike,
) -> Float64Array:
    """Return the nearest weights of one head that keep every direction and narrow every gap.

    First the nearest weights with ``signs[i] * w[i] >= 0`` are found. They have a gap ``gaps[j] @ w`` between groups;
    then the nearest weights with the same signs and ``|gaps[j] @ w| <= (1 - strengths[j])`` times that. Zero weights
    would do both, so the answer exists.

    Args:
        weights: The last iterate, feature units, intercept first, shape (columns,).
        whitener: The head's ``W`` as it was sent, shape (columns, columns), symmetric, positive definite.
        signs: -1, 0 or 1 of each column, shape (columns,); the intercept's is 0.
        gaps: Differences of groups' mean columns, one a row, shape (rows, columns); no rows: no mitigation.
        strengths: Of each row, 0 (leave it) to 1 (close it), shape (rows,).
    Returns: New weights, shape (columns,): ``weights`` bit for bit where they keep everything already. Weights held at
        zero are exactly zero.
    Raises: ModelMismatch if rounding keeps the constraints from being met, which only near-parallel gaps can do.
    Source: Goldfarb and Idnani 1983, the dual method, here for the identity as the metric.
    """
    sign = np.asarray(signs, dtype=np.float64)
    shares = np.asarray(strengths, dtype=np.float64)
    held = np.flatnonzero(sign)
    normals = sign[held, None] * whitener[held]
    directed = _moved(weights, whitener, nearest(normals, -sign[held] * weights[held]), sign)
    rows = gaps[shares > 0]
    if not rows.size:
        return directed
    limits = (1 - shares[shares > 0]) * np.abs(rows @ directed)
    through = rows @ whitener
    at = rows @ weights
    step = nearest(
        np.concatenate([normals, through, -through]),
        np.concatenate([-sign[held] * weights[held], -limits - at, at - limits]),
    )
    return _moved(weights, whitener, step, sign)


def _moved(weights: Float64Array, whitener: Float64Array, step: Float64Array, sign: Float64Array) -> Float64Array:
    """Return the weights after a step, where rounding left one on the wrong side of zero, or a hair from it, zero."""
    found = weights + whitener @ step if step.any() else weights
    hair = SLACK * max(1.0, float(np.abs(weights).max()))
    beyond = (sign * found < 0) | ((sign != 0) & (np.abs(found) <= hair) & (found != weights))
    return np.where(beyond, 0.0, found)


def nearest(normals: Float64Array, bounds: Float64Array) -> Float64Array:
    """Return the shortest ``z`` with ``normals @ z >= bounds``.

    Args:
        normals: One constraint a row, shape (constraints, columns), in any scale; a row of zeros is left out.
        bounds: Shape (constraints,).
    Returns: Shape (columns,); zeros where zero keeps all constraints.
    Raises: ModelMismatch if no point keeps them.
    """
    lengths = np.linalg.norm(normals, axis=1)
    rows = normals[lengths > 0] / lengths[lengths > 0, None]
    bound = bounds[lengths > 0] / lengths[lengths > 0]
    slack = SLACK * max(1.0, float(np.abs(bound).max(initial=0.0)))
    point = np.zeros(normals.shape[1])
    active: list[int] = []
    pull = np.zeros(0)  # multipliers of the active constraints, never negative
    # The length of the point grows with every constraint that enters, so none is met twice with the same company: the
    # method ends. The bound is for a defect, not for a slow problem.
    for _ in range(50 * (rows.shape[0] + 1)):
        missing = bound - rows @ point
        missing[active] = -np.inf
        worst = int(np.argmax(missing)) if missing.size else 0
        if not missing.size or missing[worst] <= slack:
            return _on_faces(rows[active], bound[active], normals.shape[1])
        own = 0.0
        while worst not in active:
            shares, rest = _split(rows[active], rows[worst])
            square = float(rest @ rest)
            full = (bound[worst] - rows[worst] @ point) / square if square > PARALLEL**2 else np.inf
            blocking = np.flatnonzero(shares > 0)
            ratios = pull[blocking] / shares[blocking]
            first = int(np.argmin(ratios)) if blocking.size else -1
            length = min(full, float(ratios[first]) if blocking.size else np.inf)
            if length == np.inf:
                raise ModelMismatch("the constraints on the weights contradict each other")
            pull = np.maximum(pull - length * shares, 0.0)
            own += length
            if full < np.inf:
                point = point + length * rest
            if length == full:
                active.append(worst)
                pull = np.append(pull, own)
            else:
                active.pop(int(blocking[first]))
                pull = np.delete(pull, int(blocking[first]))
    raise ModelMismatch("the constraints on the weights were not met in the steps that any problem needs")


def _split(active: Float64Array, normal: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the shares of the active normals in another one, and what of it they do not reach."""
    if not active.shape[0]:
        return np.zeros(0), normal
    basis, triangle = np.linalg.qr(active.T)
    inside = basis.T @ normal
    rest = normal - basis @ inside
    rest = rest - basis @ (basis.T @ rest)  # twice is enough (Parlett 1998, section 6.9)
    return np.linalg.solve(triangle, inside), rest


def _on_faces(active: Float64Array, bound: Float64Array, width: int) -> Float64Array:
    """Return the shortest point at which the active constraints hold with equality: free of what the steps rounded."""
    if not active.shape[0]:
        return np.zeros(width)
    basis, triangle = np.linalg.qr(active.T)
    return np.asarray(basis @ np.linalg.solve(triangle.T, bound))
