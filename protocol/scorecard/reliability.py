"""How reliable a model's stability is, measured without records: the plan is rerun on people made up from public sums.

Each head gets a population whose scores have the smoothed released histogram, whose labels follow its recalibrated
rates, and whose columns given the score have the released second moment, noise taken out of it as far as that goes. On
these people the plan's own algorithm runs again and again with the plan's noise, and what `stability` predicts from one
run's sums is held against the other runs. A head that is off by more than
``LARGEST_STABILITY_ERROR`` shows none.

Nothing here reads a record or draws secret noise: everybody who has the log finds the same table.
Formulas: docs/spec/training.md, section 9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import expit

from protocol.documents.flags import LARGEST_STABILITY_ERROR, Band
from protocol.documents.plan import ReleaseFunction
from protocol.scorecard.calibration import recalibration
from protocol.scorecard.capacity import smoothed_counts
from protocol.scorecard.columns import Float64Array, columns_of
from protocol.scorecard.descent import second_moment
from protocol.scorecard.draws import normals, uniforms
from protocol.scorecard.evaluation import HeadEvaluation, bin_edges, evaluate
from protocol.scorecard.inputs import Inputs, next_inputs
from protocol.scorecard.model import model_of
from protocol.scorecard.run import Published, Released, Run
from protocol.scorecard.stability import (
    BANDS,
    band,
    bin_width,
    capacity_of,
    head_stability,
    threshold_scatter,
    weight_covariance,
)

RERUNS = 40
ERROR_TOLERANCE = 0.002
"""How far two machines' errors may lie apart. Eigenvectors and fits end in other last digits (`inputs`), which moves a
few of thousands of flags across a threshold or from one band to the next: by 0.0001 where thresholds move by 1e-5."""
TRAINED = 8192
"""At most so many made-up people are trained on: gradients are means, and more people make them no truer."""
MOST_NOISE = 0.15
"""A head whose scores vary over the force by more noise than this share shows no stability, whatever the simulation says:
people made up from a score that is largely noise are not the people."""
MOST_PEOPLE = 2
"""A smoothed histogram of more than so many times the establishment is a fit gone astray, and nobody is made up from it:
a cubic may rise in the last bins, and is bounded only at exp(30)."""
UNKNOWN = 1.0
"""The error of a head that cannot be simulated, as the noise hides its positives or its histogram, or nobody was flagged."""


@dataclass(frozen=True, slots=True)
class ReliabilityRow:
    """One band of predicted stability."""

    band: Band
    predicted: float
    """Mean predicted probability of being flagged again."""
    seen: float
    """Share of reruns that flagged again."""
    people: float
    """Flagged people in the band, a mean over the runs that were predicted."""


@dataclass(frozen=True, slots=True)
class HeadReliability:
    """How far predicted and seen lie apart for one head."""

    category: str
    rows: tuple[ReliabilityRow, ...]
    """Bands that have people, highest first."""

    @property
    def error(self) -> float:
        """Mean over flagged people of how far their band's mean prediction is off; 1 if there is nothing to go by."""
        people = sum(row.people for row in self.rows)
        if not people:
            return UNKNOWN
        return sum(row.people * abs(row.predicted - row.seen) for row in self.rows) / people

    @property
    def shown(self) -> bool:
        """Whether headers may show bands of stability."""
        return self.error <= LARGEST_STABILITY_ERROR


def tabulate(category: str, predicted: Float64Array, seen: Float64Array, *, runs: int) -> HeadReliability:
    """Return the reliability of predictions.

    Args:
        predicted: Of each flagged person of each run, shape (flags,).
        seen: Share of other runs that flag the same person, shape (flags,).
        runs: How many runs the flags are of.
    """
    names = np.array([band(value) for value in predicted.tolist()], dtype=object)
    rows = []
    for _, name in BANDS:
        inside = names == name
        if inside.any():
            rows.append(
                ReliabilityRow(
                    band=name,
                    predicted=float(predicted[inside].mean()),
                    seen=float(seen[inside].mean()),
                    people=float(inside.sum()) / runs,
                )
            )
    return HeadReliability(category, tuple(rows))


def reliability(run: Run) -> tuple[HeadReliability, ...]:
    """Return the reliability of every head's stability, in plan order, by simulation.

    Draws follow from the model's digest, so nobody chooses among simulations. It takes seconds, so the answer for the
    last few runs is kept.

    Raises: StateError while training releases or the evaluation are missing.
    """
    return _measured(Released.of(run))


@lru_cache(maxsize=8)
def _measured(released: Released) -> tuple[HeadReliability, ...]:
    run, seed = released.run, model_of(released.run).digest()
    return tuple(_head_reliability(run, place, seed=f"{seed}/{place}") for place in range(len(run.columns.heads)))


def as_values(found: Sequence[HeadReliability]) -> list[dict[str, object]]:
    """Return the reliability table as plain values, for the model card.

    Each head: ``category, error, shown, rows``; each row: ``band, predicted, seen, people``.
    """
    return [
        {
            "category": head.category,
            "error": head.error,
            "shown": head.shown,
            "rows": [
                {"band": row.band, "predicted": row.predicted, "seen": row.seen, "people": row.people}
                for row in head.rows
            ],
        }
        for head in found
    ]


@dataclass(frozen=True, slots=True)
class _People:
    """Made-up people of one head."""

    rows: Float64Array
    """Shape (people, columns); column 0 is 1."""
    labels: Float64Array
    """Shape (people,)."""


def _head_reliability(run: Run, place: int, *, seed: str) -> HeadReliability:
    category, head = run.plan.categories[place], evaluate(run)[place]
    people = _made_up(run, place, head, seed=seed)
    if people is None or noise_share(run, place) > MOST_NOISE:
        return HeadReliability(category, ())
    scatter = threshold_scatter(head, capacity=capacity_of(run, place), seed=seed)
    begun = _narrowed(run, place)
    predictions, flagged, rows = [], np.zeros((RERUNS, people.rows.shape[0]), dtype=bool), people.rows
    moment = _moment_sum(begun, people)
    for number in range(RERUNS):
        again = _rerun(begun, people, moment, of=run, place=place, seed=f"{seed}/{number}")
        known = head_stability(again, 0, scatter=scatter)
        scores = rows @ again.only("evaluation").inputs["weights"]
        flagged[number] = scores >= known.threshold
        predictions.append(known.probability(rows[flagged[number]], scores[flagged[number]]))
    times = flagged.sum(axis=0)
    seen = [(times[one] - 1) / (RERUNS - 1) for one in flagged]
    return tabulate(category, np.concatenate(predictions), np.concatenate(seen), runs=RERUNS)


def noise_share(run: Run, place: int) -> float:
    """Return the share of noise in the variance of a head's scores over the force, 0 to 1 and more.

    About one minus the correlation of two reruns' scores.
    """
    moment = _quietened(run, run.columns.heads[place])
    covariance = moment[1:, 1:] - np.outer(moment[0, 1:], moment[0, 1:])
    noise = float((covariance * weight_covariance(run)[place][1:, 1:]).sum())
    return noise / float(run.only("evaluation").inputs["spread"][place]) ** 2


def _narrowed(run: Run, place: int) -> Run:
    """Return a run of the same plan with one head, of which nothing is published."""
    plan, category = run.plan, run.plan.categories[place]
    kept: set[ReleaseFunction] = {"second_moment", "gradient", "group_moments", "evaluation"}
    narrowed = plan.model_copy(
        update={
            "categories": (category,),
            "capacities": tuple(one for one in plan.capacities if one.category == category),
            "releases": tuple(spec for spec in plan.releases if spec.function in kept),
        }
    )
    columns = columns_of(narrowed, run.catalogue)
    reused = None if run.reused is None else replace(run.reused, values=_upper(run, place))
    return Run(narrowed, run.catalogue, columns, (), reused)


def _upper(run: Run, place: int) -> Float64Array:
    """Return the entries of the second moment's release that a head's columns have."""
    columns, width = run.columns.heads[place], run.columns.width
    where = np.zeros((width, width), dtype=int)
    where[np.triu_indices(width)] = np.arange(run.moment.values.size)
    return run.moment.values[where[np.ix_(columns, columns)][np.triu_indices(len(columns))]]


def _rerun(begun: Run, people: _People, moment: Float64Array, *, of: Run, place: int, seed: str) -> Run:
    """Return the published sums of one rerun on made-up people, up to the evaluation."""
    run = begun
    for number, (spec, original) in enumerate(zip(begun.plan.releases, _originals(of), strict=True)):
        inputs = next_inputs(run)
        match spec.function:
            case "second_moment":
                sums = moment
            case "gradient":
                sums = _gradient_sum(run, people, inputs)
            case "group_moments":
                # Nobody here has a group: the released means stand, with fresh noise on them.
                shape = of.columns.shape("group_moments")
                sums = original.values.reshape(shape)[:, list(of.columns.heads[place])].ravel()
            case _:
                sums = _evaluation_sum(run, people, inputs)
        noise = original.sigma * normals(f"release/{seed}/{number}", sums.size)
        run = run.then(Published(run.plan, spec, inputs, sums + noise, original.sigma))
    return run


def _originals(run: Run) -> list[Published]:
    return [release for release in run.releases if release.spec.function not in {"fairness", "drift", "outcomes"}]


def _moment_sum(run: Run, people: _People) -> Float64Array:
    """Return the sum over the force of ``x' x'^T / R^2``, as upper triangle with off-diagonals times sqrt 2."""
    norm = run.plan.descent.row_norm
    rows = people.rows * np.minimum(1.0, norm / np.linalg.norm(people.rows, axis=1))[:, None]
    upper = np.triu_indices(run.columns.width)
    weight = np.where(upper[0] == upper[1], 1.0, math.sqrt(2)) / norm**2
    return np.asarray((rows.T @ rows)[upper] * weight * (run.plan.people / rows.shape[0]))


def _gradient_sum(run: Run, people: _People, inputs: Inputs) -> Float64Array:
    """Return the sum over the force of clipped whitened gradients, in units of the clip, by the closed form."""
    rows, labels = people.rows[:TRAINED], people.labels[:TRAINED]
    matrix, clip = run.columns.split_square(inputs["whitening"])[0], float(inputs["clips"][0])
    residual = expit(rows @ inputs["weights"]) - labels
    lengths = np.abs(residual) * np.linalg.norm(rows @ matrix, axis=1)
    return np.asarray(matrix @ (rows.T @ (residual / np.maximum(lengths, clip))) * (run.plan.people / rows.shape[0]))


def _evaluation_sum(run: Run, people: _People, inputs: Inputs) -> Float64Array:
    """Return how many people have each label and bin of the score."""
    edges = bin_edges(run.plan, float(inputs["center"][0]), float(inputs["spread"][0]))
    bins = np.searchsorted(edges, people.rows @ inputs["weights"], side="right")
    cells = bins + run.columns.bins * people.labels.astype(int)
    return np.bincount(cells, minlength=2 * run.columns.bins).astype(np.float64)


def _made_up(run: Run, place: int, head: HeadEvaluation, *, seed: str) -> _People | None:
    """Return people of one head from the released sums alone; None if the noise hides their labels."""
    fitted = recalibration(head)
    if fitted is None:
        return None
    if not 1 <= np.rint(smoothed_counts(head)).sum() <= MOST_PEOPLE * run.plan.people:
        return None
    scores = _scores(head, seed)
    columns, weights = (
        list(run.columns.heads[place]),
        run.columns.split(run.only("evaluation").inputs["weights"])[place],
    )
    moment = _quietened(run, columns)
    mean = moment[0, 1:]
    spread = moment[1:, 1:] - np.outer(mean, mean)
    # Columns given the score: the regression on it, and what is left, independent of it.
    shared = spread @ weights[1:]
    variance = max(float(weights[1:] @ shared), 1e-12)
    values, vectors = np.linalg.eigh(spread - np.outer(shared, shared) / variance)
    # The symmetric root: many eigenvalues are equal, and which of their eigenvectors a machine finds must not matter.
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    residual = normals(f"columns/{seed}", scores.size, values.size) @ root
    center = float(weights[0] + mean @ weights[1:])
    rows = mean + (scores - center)[:, None] * (shared / variance) + residual
    low, high = np.array([run.columns.ranges[place] for place in columns[1:]]).T
    labels = uniforms(f"labels/{seed}", scores.size) < fitted.rate(scores)
    return _People(
        np.concatenate([np.ones((scores.size, 1)), np.clip(rows, low, high)], axis=1), labels.astype(np.float64)
    )


def _scores(head: HeadEvaluation, seed: str) -> Float64Array:
    """Return a score for each person of the smoothed histogram, in no order."""
    counts, width = np.rint(smoothed_counts(head)).astype(int), bin_width(head)
    low = np.repeat(np.concatenate([[head.edges[0] - width], head.edges]), counts)
    within = uniforms(f"scores/{seed}", low.size)
    order = np.argsort(uniforms(f"order/{seed}", low.size), kind="stable")
    return (low + width * within)[order]


def _quietened(run: Run, columns: Sequence[int]) -> Float64Array:
    """Return the second moment of a head's columns with its noise taken out as far as its eigenvalues show it.

    Eigenvalues that stand out of the noise are shrunk to what they were before it (Donoho, Gavish and Johnstone 2018);
    what is left of the trace is spread over the others. Divided by its first entry.
    """
    moment = second_moment(run.columns, run.moment)[np.ix_(columns, columns)]
    release = run.moment
    noise = release.sigma * release.plan.descent.row_norm**2 / release.plan.people / math.sqrt(2)
    values, vectors = np.linalg.eigh(moment)
    edge = 2 * noise * math.sqrt(len(columns))
    clear = np.sqrt(np.maximum(values**2 - edge**2, 0.0)) * (values > edge)
    rest = max(float(np.trace(moment)) - float(clear.sum()), 0.0)
    hidden = clear == 0
    clear[hidden] = rest / max(int(hidden.sum()), 1)
    found = (vectors * clear) @ vectors.T
    return np.asarray(found / max(float(found[0, 0]), 1e-3))
