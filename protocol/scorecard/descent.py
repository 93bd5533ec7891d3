"""Training as a pure function of the plan and the published sums.

The coordinator calls ``next_inputs`` to make a request; custodians, nodes and auditors call it again to see that the
request follows from what was published before. Whitening needs an eigendecomposition, whose last bits differ between
machines, so the coordinator's whitening bytes travel in the request: everybody checks them to a tolerance and then
computes with **those** bytes. All else is elementwise IEEE arithmetic or ``math.fsum``, which is correctly rounded,
so weights and the model digest are the same bits everywhere.

Formulas: docs/spec/training.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protocol.aggregation.accounting import realised_sigma
from protocol.aggregation.encoding import decode
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import Release, ReleaseRequest, ReleaseSpec, TrainingPlan
from protocol.errors import ModelMismatch
from protocol.scorecard.columns import Columns, Float64Array, columns_of

TOLERANCE = 1e-8
"""Relative difference allowed between two machines' eigendecompositions of the same matrix."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published sum, decoded."""

    spec: ReleaseSpec
    inputs: dict[str, Float64Array]
    values: Float64Array
    """Noised sums in units of the clip, shape (spec.length,)."""
    sigma: float
    """Realised sd of the noise in units of the clip: more boroughs than required answered, so more noise arrived."""


def published(release: Release, spec: ReleaseSpec, plan: TrainingPlan) -> Published:
    """Return a release document as numbers; ``spec`` is the plan's entry that it answers."""
    return Published(
        spec=spec,
        inputs={name: array.floats() for name, array in release.request.inputs.items()},
        values=decode(release.sums.integers(), scale=plan.scale),
        sigma=realised_sigma(
            sigma=spec.sigma,
            min_boroughs=plan.privacy.min_boroughs,
            colluding=plan.privacy.colluding,
            answered=len(release.boroughs),
        ),
    )


def second_moment(plan: TrainingPlan, columns: Columns, release: Published) -> Float64Array:
    """Return the noised M / N of release 0, symmetric, shape (width, width)."""
    upper = np.triu_indices(columns.width)
    entries = release.values * plan.descent.row_norm**2
    matrix = np.zeros((columns.width, columns.width))
    matrix[upper] = np.where(upper[0] == upper[1], entries, entries / math.sqrt(2))
    return (matrix + np.triu(matrix, 1).T) / plan.people


def whitening(plan: TrainingPlan, columns: Columns, release: Published) -> tuple[Float64Array, Float64Array]:
    """Return all heads' whitening matrices, flattened one after the other, and their clipping norms.

    ``W = Q (L+ + lambda)^(-1/2) Q^T`` with a ridge of half the noise's spectral norm; ``C = c sqrt(sum L+/(L+ + lambda))``.
    """
    moment = second_moment(plan, columns, release)
    matrices, clips = [], []
    for head in columns.heads:
        values, vectors = np.linalg.eigh(moment[np.ix_(head, head)])
        values = np.maximum(values, 0.0)
        noise = release.sigma * plan.descent.row_norm**2 / plan.people
        ridge = plan.descent.ridge_factor * 2 * math.sqrt(len(head)) * noise
        matrices.append(((vectors / np.sqrt(values + ridge)) @ vectors.T).ravel())
        clips.append(plan.descent.clip_factor * math.sqrt(float((values / (values + ridge)).sum())))
    return np.concatenate(matrices), np.array(clips)


def exact_product(matrix: Float64Array, vector: Float64Array) -> Float64Array:
    """Return ``matrix @ vector``, the same bits on every machine.

    Each product is one IEEE multiplication, and the sum of the rounded products is correctly rounded.
    """
    return np.array([math.fsum(row) for row in (matrix * vector).tolist()])


@dataclass(frozen=True, slots=True)
class Iterate:
    """Where the descent stands: weights in feature units, velocity in whitened units, one array a head."""

    weights: tuple[Float64Array, ...]
    velocity: tuple[Float64Array, ...]


def start(columns: Columns, plan: TrainingPlan, catalogue: FeatureCatalogue) -> Iterate:
    """Return zero weights with each head's intercept at the log-odds of its public prior."""
    weights = []
    for category, head in zip(plan.categories, columns.heads, strict=True):
        prior = catalogue.head(category).prior
        weights.append(np.concatenate([[round(math.log(prior / (1 - prior)), 9)], np.zeros(len(head) - 1)]))
    return Iterate(tuple(weights), tuple(np.zeros(len(head)) for head in columns.heads))


def look_ahead(plan: TrainingPlan, columns: Columns, at: Iterate, whiteners: Float64Array) -> Float64Array:
    """Return the weights at which the next gradient is taken (Nesterov), all heads concatenated."""
    return np.concatenate(
        [
            weights + exact_product(matrix, plan.descent.momentum * velocity)
            for weights, velocity, matrix in zip(at.weights, at.velocity, columns.split_square(whiteners), strict=True)
        ]
    )


def advance(plan: TrainingPlan, columns: Columns, at: Iterate, release: Published) -> Iterate:
    """Return the iterate after one published gradient."""
    weights, velocities = [], []
    gradients = columns.split(release.values)
    matrices = columns.split_square(release.inputs["whitening"])
    for head, clip in enumerate(release.inputs["clips"].tolist()):
        gradient = gradients[head] * clip / plan.people
        velocity = plan.descent.momentum * at.velocity[head] - plan.descent.learning_rate * gradient
        velocities.append(velocity)
        weights.append(at.weights[head] + exact_product(matrices[head], velocity))
    return Iterate(tuple(weights), tuple(velocities))


def replay(plan: TrainingPlan, catalogue: FeatureCatalogue, releases: Sequence[Published]) -> Iterate:
    """Return the iterate after all published gradients, in order."""
    columns = columns_of(plan, catalogue)
    at = start(columns, plan, catalogue)
    for release in releases:
        if release.spec.function == "gradient":
            at = advance(plan, columns, at, release)
    return at


def next_inputs(
    plan: TrainingPlan, catalogue: FeatureCatalogue, releases: Sequence[Published]
) -> dict[str, Float64Array]:
    """Return the public inputs of the next request, given all that was published before it.

    second_moment: none. gradient: ``whitening`` (heads' matrices, flattened), ``clips`` (heads,), ``weights`` (heads'
    look-ahead weights, concatenated). evaluation: ``weights`` (final), ``center`` and ``spread`` (heads,) of the score.
    """
    columns = columns_of(plan, catalogue)
    spec = plan.releases[len(releases)]
    if spec.function == "second_moment":
        return {}
    at = replay(plan, catalogue, releases)
    if spec.function == "gradient":
        earlier = releases[-1]
        if earlier.spec.function == "gradient":
            matrices, clips = earlier.inputs["whitening"], earlier.inputs["clips"]
        else:
            matrices, clips = whitening(plan, columns, earlier)
        return {"whitening": matrices, "clips": clips, "weights": look_ahead(plan, columns, at, matrices)}
    center, spread = score_distribution(plan, columns, at, releases[0])
    return {"weights": np.concatenate(at.weights), "center": center, "spread": spread}


def score_distribution(
    plan: TrainingPlan, columns: Columns, at: Iterate, release: Published
) -> tuple[Float64Array, Float64Array]:
    """Return each head's mean and sd of the score over the force, from the noised second moment alone."""
    moment = second_moment(plan, columns, release)
    moment = moment / max(float(moment[0, 0]), 1e-3)
    center, spread = [], []
    for head, weights in zip(columns.heads, at.weights, strict=True):
        block = moment[np.ix_(head, head)]
        mean = float(block[0] @ weights)
        center.append(mean)
        spread.append(math.sqrt(max(float(weights @ block @ weights) - mean**2, 1e-4)))
    return np.array(center), np.array(spread)


def check_inputs(
    request: ReleaseRequest, *, plan: TrainingPlan, catalogue: FeatureCatalogue, releases: Sequence[Published]
) -> None:
    """Return if the request's inputs follow from the plan and what was published before it.

    Raises: ModelMismatch naming the input that does not.
    """
    expected = next_inputs(plan, catalogue, releases)
    if set(expected) != set(request.inputs):
        raise ModelMismatch(f"release {request.index}: the inputs are not those of {request.function}")
    claimed = {name: request.inputs[name].floats() for name in expected}
    if "whitening" in claimed and claimed["whitening"].shape == expected["whitening"].shape:
        # The look-ahead follows from the whitening bytes that were sent, not from ours.
        at = replay(plan, catalogue, releases)
        expected["weights"] = look_ahead(plan, columns_of(plan, catalogue), at, claimed["whitening"])
    for name, ours in expected.items():
        theirs = claimed[name]
        if theirs.shape != ours.shape or np.abs(theirs - ours).max() > TOLERANCE * max(1.0, np.abs(ours).max()):
            raise ModelMismatch(f"release {request.index}: input {name} does not follow from the published sums")
