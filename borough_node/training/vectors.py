"""The vector function of each release: what a borough's rows contribute, before clipping and noise leave no row visible.

Every function yields blocks of rows in units of the clip; ``protocol.aggregation.encoding`` clips, quantises and sums.
What a row contributes depends on that row alone, to the last bit, so the integers do not depend on the order of rows,
on the size of blocks or on threads.
Formulas: docs/spec/training.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from borough_node.features.cohort import Cohort
from borough_node.training.heads import per_row_gradients
from protocol.aggregation.rowwise import row_norms, row_products, row_sums
from protocol.documents.plan import ReleaseFunction, TrainingPlan
from protocol.errors import StateError
from protocol.scorecard.columns import DRIFT_BINS, Attribute, Columns, Float64Array
from protocol.scorecard.evaluation import bin_edges

BLOCK_ROWS = 1024
MOMENT_ROWS = 64
"""A row of the second moment has thousands of entries: more rows would not stay in the processor's cache."""

Inputs = dict[str, Float64Array]
IntArray = npt.NDArray[np.int64]
VectorFunction = Callable[[TrainingPlan, Columns, Inputs, Cohort], Iterator[Float64Array]]


def second_moment(plan: TrainingPlan, columns: Columns, inputs: Inputs, cohort: Cohort) -> Iterator[Float64Array]:
    """Yield ``x' x'^T`` with ``|x'| <= R`` as upper triangles, off-diagonals times sqrt 2, in units of R**2."""
    width = columns.width
    first, second = np.triu_indices(width)
    weight = np.where(first == second, 1.0, np.sqrt(2)) / plan.descent.row_norm**2
    for part in _parts(cohort, rows=MOMENT_ROWS):
        clipped = _clipped(cohort.rows[part], plan.descent.row_norm)
        block = np.empty((clipped.shape[0], weight.size))
        place = 0
        for column in range(width):
            np.multiply(clipped[:, column, None], clipped[:, column:], out=block[:, place : place + width - column])
            place += width - column
        block *= weight
        yield block


def gradient(plan: TrainingPlan, columns: Columns, inputs: Inputs, cohort: Cohort) -> Iterator[Float64Array]:
    """Yield whitened per-row gradients of all heads, each head clipped to its C and in units of it."""
    matrices = columns.split_square(inputs["whitening"])
    weights = columns.split(inputs["weights"])
    for part in _parts(cohort):
        heads = []
        raw = per_row_gradients(columns.heads, weights, cohort.rows[part], cohort.labels[part])
        for values, matrix, clip in zip(raw, matrices, inputs["clips"].tolist(), strict=True):
            # W is symmetric, so the gradient in whitened coordinates is the raw one times W.
            whitened = row_products(values, matrix)
            heads.append(whitened / np.maximum(row_norms(whitened), clip)[:, None])
        yield np.concatenate(heads, axis=1)


def group_moments(plan: TrainingPlan, columns: Columns, inputs: Inputs, cohort: Cohort) -> Iterator[Float64Array]:
    """Yield, per mitigated attribute, ``x' / R`` in the place of the row's group: at most 1 in L2 an attribute."""
    groups, width = columns.shape("group_moments")
    for part in _parts(cohort):
        block = _clipped(cohort.rows[part], plan.descent.row_norm) / plan.descent.row_norm
        cells = np.zeros((block.shape[0], groups, width))
        for first, attribute in _offsets(columns.mitigated):
            codes = cohort.groups[part, attribute.position]
            member = np.nonzero(codes >= 0)[0]
            cells[member, first + codes[member]] = block[member]
        yield cells.reshape(cells.shape[0], -1)


def evaluation(plan: TrainingPlan, columns: Columns, inputs: Inputs, cohort: Cohort) -> Iterator[Float64Array]:
    """Yield, per head, a one in the cell (label, bin of the score) of each eligible person: at most sqrt(K) in L2."""
    edges = [
        bin_edges(plan, center, spread)
        for center, spread in zip(inputs["center"].tolist(), inputs["spread"].tolist(), strict=True)
    ]
    for part in _parts(cohort):
        cells = np.zeros((cohort.rows[part].shape[0], *columns.shape("evaluation")))
        for head, counted, labels, bins in _placed(columns, inputs["weights"], edges, cohort, part):
            cells[counted, head, labels, bins] = 1.0
        yield cells.reshape(cells.shape[0], -1)


def fairness(plan: TrainingPlan, columns: Columns, inputs: Inputs, cohort: Cohort) -> Iterator[Float64Array]:
    """Yield, per head and attribute, a one in the cell (group, label, bin) of each eligible person: sqrt(K A) in L2."""
    edges = list(inputs["edges"].reshape(len(columns.heads), -1))
    for part in _parts(cohort):
        cells = np.zeros((cohort.rows[part].shape[0], *columns.shape("fairness")))
        for head, counted, labels, bins in _placed(columns, inputs["weights"], edges, cohort, part):
            for first, attribute in _offsets(columns.measured):
                codes = cohort.groups[part][counted, attribute.position]
                known = codes >= 0
                cells[counted[known], head, first + codes[known], labels[known], bins[known]] = 1.0
        yield cells.reshape(cells.shape[0], -1)


def drift(plan: TrainingPlan, columns: Columns, inputs: Inputs, cohort: Cohort) -> Iterator[Float64Array]:
    """Yield, per feature, a one in the bin of its value, equal steps of its public range: sqrt(features) in L2."""
    low, high = np.array(columns.ranges[1:]).T
    for part in _parts(cohort):
        block = cohort.rows[part][:, 1:]
        places = np.clip((block - low) * (DRIFT_BINS / (high - low)), 0, DRIFT_BINS - 1).astype(int)
        cells = np.zeros((block.shape[0], *columns.shape("drift")))
        np.put_along_axis(cells, places[:, :, None], 1.0, axis=2)
        yield cells.reshape(cells.shape[0], -1)


def outcomes(plan: TrainingPlan, columns: Columns, inputs: Inputs, cohort: Cohort) -> Iterator[Float64Array]:
    """Yield, per head, a one in the cell of each finished review: at most sqrt(K) in L2."""
    if cohort.outcomes is None:
        raise StateError("a release of outcomes reads reviewed people")
    for part in _parts(cohort):
        found = cohort.outcomes[part]
        cells = np.zeros((found.shape[0], *columns.shape("outcomes")))
        person, head = np.nonzero(found >= 0)
        cells[person, head, found[person, head]] = 1.0
        yield cells.reshape(cells.shape[0], -1)


FUNCTIONS: dict[ReleaseFunction, VectorFunction] = {
    "second_moment": second_moment,
    "gradient": gradient,
    "group_moments": group_moments,
    "evaluation": evaluation,
    "fairness": fairness,
    "drift": drift,
    "outcomes": outcomes,
}


def _parts(cohort: Cohort, *, rows: int = BLOCK_ROWS) -> Iterator[slice]:
    for start in range(0, cohort.rows.shape[0], rows):
        yield slice(start, start + rows)


def _clipped(block: Float64Array, norm: float) -> Float64Array:
    """Return the rows, those longer than ``norm`` shortened to it."""
    return block * np.minimum(1.0, norm / np.maximum(row_norms(block), 1e-300))[:, None]


def _offsets(attributes: tuple[Attribute, ...]) -> Iterator[tuple[int, Attribute]]:
    """Yield each attribute with the place of its first group."""
    first = 0
    for attribute in attributes:
        yield first, attribute
        first += len(attribute.groups)


def _placed(
    columns: Columns, weights: Float64Array, edges: list[Float64Array], cohort: Cohort, part: slice
) -> Iterator[tuple[int, IntArray, IntArray, IntArray]]:
    """Yield (head, rows of eligible people, their labels, the bins of their scores); a score on an edge is above it."""
    rows, labels = cohort.rows[part], cohort.labels[part]
    for head, (where, values) in enumerate(zip(columns.heads, columns.split(weights), strict=True)):
        bins = np.searchsorted(edges[head], row_sums(rows[:, list(where)] * values), side="right")
        rule = columns.eligible[head]
        counted = np.arange(bins.size) if rule is None else np.nonzero(rows[:, rule] >= 1.0)[0]
        yield head, counted, labels[counted, head].astype(int), bins[counted]
