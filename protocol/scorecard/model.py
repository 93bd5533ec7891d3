"""The model: one additive scorecard per category, and its exact explanation."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from protocol.documents.base import Document, Value
from protocol.ids import Digest, Name
from protocol.scorecard.columns import Columns, Float64Array
from protocol.scorecard.descent import second_moment
from protocol.scorecard.run import Published, Run


class Weight(Value):
    """What one unit of a transformed feature adds to the score, and the force's noised mean of that feature."""

    feature: Name
    weight: float
    mean: float


class Scorecard(Value):
    """One head: score = intercept + sum of weight * feature, in log-odds."""

    category: Name
    intercept: float
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)]


class Model(Document):
    """All heads of a plan. A deterministic function of the plan and the published sums."""

    payload_type: ClassVar[str] = "application/vnd.custodes.model.v1+json"

    plan: Digest
    catalogue: Digest
    scorecards: tuple[Scorecard, ...]

    def scorecard(self, category: str) -> Scorecard:
        """Return the scorecard of a category, which exists."""
        return next(card for card in self.scorecards if card.category == category)


def model_of(run: Run) -> Model:
    """Return the model that follows from the published sums: the weights that the evaluation was asked for.

    Raises: StateError while training releases or the evaluation are missing.
    """
    plan, columns = run.plan, run.columns
    weights = columns.split(run.only("evaluation").inputs["weights"])
    means = column_means(columns, run.moment)
    cards = []
    for category, head, values in zip(plan.categories, columns.heads, weights, strict=True):
        cards.append(
            Scorecard(
                category=category,
                intercept=float(values[0]),
                weights=tuple(
                    Weight(feature=columns.names[place], weight=float(weight), mean=float(means[place]))
                    for place, weight in zip(head[1:], values[1:], strict=True)
                ),
            )
        )
    return Model(plan=plan.digest(), catalogue=plan.catalogue, scorecards=tuple(cards))


def column_means(columns: Columns, release: Published) -> Float64Array:
    """Return the noised mean of each column over the force: first row of M by elementwise division."""
    first = second_moment(columns, release)[0]
    return np.asarray(first / max(float(first[0]), 1e-3))


def contributions(card: Scorecard, features: dict[str, Float64Array]) -> tuple[Float64Array, Float64Array]:
    """Return each row's score and what each feature adds to it relative to the force's mean.

    Args:
        features: Transformed columns, each of shape (rows,).
    Returns: scores (rows,) and contributions (rows, weights); ``baseline + contributions.sum(axis=1)`` is the score,
        where the baseline is the score of the force's mean row.
    """
    matrix = np.column_stack([features[weight.feature] for weight in card.weights])
    weights = np.array([weight.weight for weight in card.weights])
    means = np.array([weight.mean for weight in card.weights])
    parts = (matrix - means) * weights
    return baseline(card) + parts.sum(axis=1), parts


def baseline(card: Scorecard) -> float:
    """Return the score of the force's mean row."""
    return card.intercept + sum(weight.weight * weight.mean for weight in card.weights)


def reason_codes(card: Scorecard, parts: Float64Array, *, most: int) -> tuple[Name, ...]:
    """Return the features that raised one row's score most, largest first; only those that raised it.

    Args:
        parts: One row of contributions, shape (weights,).
    """
    order = np.argsort(-parts, kind="stable")[:most]
    return tuple(card.weights[place].feature for place in order.tolist() if parts[place] > 0)
