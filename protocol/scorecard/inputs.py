"""The public inputs of a release request: made by the coordinator, made again by everybody who is asked or reads the log.

What goes through an eigendecomposition, a quadratic program or a fit ends differently on different machines in its last
bits. Such inputs travel as bytes: everybody checks them against its own to a tolerance and then computes with the
**sent** ones, so the model and its digest are the same everywhere.

Formulas: docs/spec/training.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protocol.documents.plan import ReleaseFunction, ReleaseRequest
from protocol.errors import ModelMismatch
from protocol.scorecard.capacity import fairness_edges
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.descent import look_ahead, replay, score_distribution, whitening
from protocol.scorecard.final import final_weights
from protocol.scorecard.run import Run

TOLERANCE = 1e-8
"""Relative difference allowed between two machines' solutions of the same linear or quadratic problem."""
THRESHOLD_TOLERANCE = 1e-4
"""In score units: the fit behind a threshold ends in its last digits differently on different machines."""

Inputs = dict[str, Float64Array]


def _gradient(run: Run) -> Inputs:
    """``whitening`` (heads' matrices, flattened), ``clips`` (heads,), ``weights`` (look-ahead, all heads' concatenated)."""
    earlier = run.of("gradient")
    matrices, clips = (earlier[-1].inputs["whitening"], earlier[-1].inputs["clips"]) if earlier else whitening(run)
    return {"whitening": matrices, "clips": clips, "weights": look_ahead(run, replay(run), matrices)}


def _evaluation(run: Run) -> Inputs:
    """``weights`` (the model's, all heads' concatenated), ``center`` and ``spread`` (heads,) of the score."""
    weights = final_weights(run)
    center, spread = score_distribution(run, weights)
    return {"weights": np.concatenate(weights), "center": center, "spread": spread}


def _fairness(run: Run) -> Inputs:
    """``weights`` (the model's), ``edges`` (heads times inner edges of the score bins, the last the threshold)."""
    return {"weights": run.only("evaluation").inputs["weights"], "edges": fairness_edges(run).ravel()}


def _nothing(run: Run) -> Inputs:
    return {}


_MAKERS: dict[ReleaseFunction, Callable[[Run], Inputs]] = {
    "second_moment": _nothing,
    "gradient": _gradient,
    "group_moments": _nothing,
    "evaluation": _evaluation,
    "fairness": _fairness,
    "drift": _nothing,
    "outcomes": _nothing,
}


def next_inputs(run: Run) -> Inputs:
    """Return the public inputs of the next request, given all that was published before it."""
    return _MAKERS[run.plan.releases[len(run.releases)].function](run)


def check_inputs(request: ReleaseRequest, run: Run) -> None:
    """Return if the request's inputs follow from the plan and what was published before it.

    Raises: ModelMismatch naming the input that does not.
    """
    expected = next_inputs(run)
    if set(expected) != set(request.inputs):
        raise ModelMismatch(f"release {request.index}: the inputs are not those of {request.function}")
    claimed = {name: request.inputs[name].floats() for name in expected}
    for name, theirs in claimed.items():
        if theirs.shape != expected[name].shape:
            raise ModelMismatch(f"release {request.index}: input {name} has another shape")
    if "whitening" in claimed:
        # The look-ahead follows from the whitening bytes that were sent, not from ours.
        expected["weights"] = look_ahead(run, replay(run), claimed["whitening"])
    for name, ours in expected.items():
        off = np.abs(claimed[name] - ours).max()
        allowed = THRESHOLD_TOLERANCE if name == "edges" else TOLERANCE * max(1.0, np.abs(ours).max())
        if not off <= allowed:
            raise ModelMismatch(f"release {request.index}: input {name} does not follow from the published sums")
