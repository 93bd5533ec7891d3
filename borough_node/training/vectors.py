"""The vector function of each release: what a borough's rows contribute, before clipping and noise leave no row visible.

Every function yields blocks of rows in units of the clip; ``protocol.aggregation.encoding`` clips, quantises and sums.
What a row contributes depends on that row alone, to the last bit, so the integers do not depend on the order of rows,
on the size of blocks or on threads.
Formulas: docs/spec/training.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from borough_node.training.heads import per_row_gradients
from protocol.aggregation.rowwise import row_norms, row_products, row_sums
from protocol.documents.plan import ReleaseFunction, TrainingPlan
from protocol.scorecard.columns import Columns, Float64Array
from protocol.scorecard.evaluation import bin_edges

BLOCK_ROWS = 1024

Inputs = dict[str, Float64Array]
VectorFunction = Callable[[TrainingPlan, Columns, Inputs, Float64Array, Float64Array], Iterator[Float64Array]]


def second_moment(
    plan: TrainingPlan, columns: Columns, inputs: Inputs, rows: Float64Array, labels: Float64Array
) -> Iterator[Float64Array]:
    """Yield ``x' x'^T`` with ``|x'| <= R`` as upper triangles, off-diagonals times sqrt 2, in units of R**2."""
    first, second = np.triu_indices(columns.width)
    weight = np.where(first == second, 1.0, np.sqrt(2)) / plan.descent.row_norm**2
    for block in _blocks(rows):
        clipped = block * np.minimum(1.0, plan.descent.row_norm / np.maximum(row_norms(block), 1e-300))[:, None]
        yield clipped[:, first] * clipped[:, second] * weight


def gradient(
    plan: TrainingPlan, columns: Columns, inputs: Inputs, rows: Float64Array, labels: Float64Array
) -> Iterator[Float64Array]:
    """Yield whitened per-row gradients of all heads, each head clipped to its C and in units of it."""
    matrices = columns.split_square(inputs["whitening"])
    weights = columns.split(inputs["weights"])
    for start in range(0, rows.shape[0], BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        heads = []
        raw = per_row_gradients(columns.heads, weights, rows[part], labels[part])
        for values, matrix, clip in zip(raw, matrices, inputs["clips"].tolist(), strict=True):
            # W is symmetric, so the gradient in whitened coordinates is the raw one times W.
            whitened = row_products(values, matrix)
            heads.append(whitened / np.maximum(row_norms(whitened), clip)[:, None])
        yield np.concatenate(heads, axis=1)


def evaluation(
    plan: TrainingPlan, columns: Columns, inputs: Inputs, rows: Float64Array, labels: Float64Array
) -> Iterator[Float64Array]:
    """Yield, per head, a one in the cell (label, bin of the score) of each eligible person: at most sqrt(K) in L2."""
    weights = columns.split(inputs["weights"])
    bins = plan.histogram.bins
    for start in range(0, rows.shape[0], BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        cells = np.zeros((rows[part].shape[0], len(weights), 2, bins))
        for head, where in enumerate(columns.heads):
            scores = row_sums(rows[part][:, list(where)] * weights[head])
            edges = bin_edges(plan, float(inputs["center"][head]), float(inputs["spread"][head]))
            places = np.searchsorted(edges, scores, side="right")
            rule = columns.eligible[head]
            counted = np.arange(scores.size) if rule is None else np.nonzero(rows[part][:, rule] >= 1.0)[0]
            cells[counted, head, labels[part][counted, head].astype(int), places[counted]] = 1.0
        yield cells.reshape(cells.shape[0], -1)


FUNCTIONS: dict[ReleaseFunction, VectorFunction] = {
    "second_moment": second_moment,
    "gradient": gradient,
    "evaluation": evaluation,
}


def _blocks(rows: Float64Array) -> Iterator[Float64Array]:
    for start in range(0, rows.shape[0], BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]
