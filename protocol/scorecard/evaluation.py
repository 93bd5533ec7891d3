"""The evaluation release: one noised histogram of the score by label a head. What it says stands in the modules beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocol.documents.plan import TrainingPlan
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.run import Run

CLEAR = 5.0
"""A sum of noised cells is told from 0 when it is this many times its sd."""


@dataclass(frozen=True, slots=True)
class HeadEvaluation:
    """One head's noised histogram of the standardised score, by label."""

    category: str
    edges: Float64Array
    """Inner bin edges in score units, shape (bins - 1,); the outer bins are open."""
    negatives: Float64Array
    positives: Float64Array
    sigma: float
    """sd of the noise in each cell, in people."""


def evaluate(run: Run) -> tuple[HeadEvaluation, ...]:
    """Return the histograms of the evaluation release, one a head in plan order. Raises: StateError if it is missing."""
    plan, release = run.plan, run.only("evaluation")
    cells = release.values.reshape(run.columns.shape("evaluation"))
    return tuple(
        HeadEvaluation(
            category=category,
            edges=bin_edges(plan, float(release.inputs["center"][place]), float(release.inputs["spread"][place])),
            negatives=cells[place, 0],
            positives=cells[place, 1],
            sigma=release.sigma,
        )
        for place, category in enumerate(plan.categories)
    )


def bin_edges(plan: TrainingPlan, center: float, spread: float) -> Float64Array:
    """Return the inner edges: equal steps of the standardised score between the plan's low and high."""
    return center + spread * np.linspace(plan.histogram.low, plan.histogram.high, plan.histogram.bins - 1)


def corners(head: HeadEvaluation) -> Float64Array:
    """Return where the bins begin and the last one ends, shape (bins + 1,); open bins count as wide as the others."""
    width = head.edges[1] - head.edges[0]
    return np.concatenate([[head.edges[0] - width], head.edges, [head.edges[-1] + width]])


def middles(head: HeadEvaluation) -> Float64Array:
    """Return the middle of each bin, shape (bins,)."""
    ends = corners(head)
    return np.asarray((ends[1:] + ends[:-1]) / 2)
