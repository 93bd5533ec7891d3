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
