"""How stable a flag is: would a rerun of the same plan, with fresh noise, flag the same person?

The noise law is public, so the sd of a score follows from the released second moment by the delta method, never from
records. Noise of the second moment itself and of the selection is not included, so bands are optimistic on noisy heads;
docs/spec/training.md says so and the model card repeats it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from protocol.documents.flags import Band
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.descent import second_moment
from protocol.scorecard.run import Run

BANDS: tuple[tuple[float, Band], ...] = ((0.8, "high"), (0.6, "medium"), (0.0, "low"))


def weight_covariance(run: Run) -> tuple[Float64Array, ...]:
    """Return each head's covariance of its final weights over reruns, in feature units.

    Propagates each gradient's noise through the Nesterov recursion with the Hessian ``p (1 - p) W M W / N`` at the prior.
    """
    plan, columns, gradients = run.plan, run.columns, run.of("gradient")
    priors = [run.catalogue.head(category).prior for category in plan.categories]
    matrices = columns.split_square(gradients[0].inputs["whitening"])
    moment = second_moment(columns, run.moment)
    step, momentum = plan.descent.learning_rate, plan.descent.momentum
    result = []
    for place, (head, matrix) in enumerate(zip(columns.heads, matrices, strict=True)):
        hessian = priors[place] * (1 - priors[place]) * matrix @ moment[np.ix_(head, head)] @ matrix
        identity = np.eye(len(head))
        covariance = np.zeros_like(identity)
        for born, release in enumerate(gradients):
            # Response of (theta, velocity) to unit noise in this gradient, carried to the last step.
            theta, velocity = -step * identity, -step * identity
            for _ in gradients[born + 1 :]:
                velocity = momentum * velocity - step * hessian @ (theta + momentum * velocity)
                theta = theta + velocity
            scale = release.sigma * float(release.inputs["clips"][place]) / plan.people
            covariance += scale**2 * theta @ theta.T
        result.append(matrix @ covariance @ matrix)
    return tuple(result)


def stability(scores: Float64Array, threshold: float, rows: Float64Array, covariance: Float64Array) -> Float64Array:
    """Return ``Phi((s - t) / (sqrt(2) sd))`` for each row.

    Args:
        rows: Transformed columns of the head with the intercept, shape (rows, columns).
    """
    spread = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", rows, covariance, rows), 1e-24))
    return np.asarray(ndtr((scores - threshold) / (math.sqrt(2) * spread)))


def band(value: float, edges: Sequence[tuple[float, Band]] = BANDS) -> Band:
    """Return the name of the band that ``value`` falls in."""
    return next(name for low, name in edges if value >= low)
