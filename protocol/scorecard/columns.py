"""Which columns a plan's vectors have, in one place: the borough fills them, everybody else reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import TrainingPlan
from protocol.errors import PlanInvalid

INTERCEPT = "intercept"
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """The design matrix of a plan: the intercept, then every feature that a head uses, in catalogue order."""

    names: tuple[str, ...]
    heads: tuple[tuple[int, ...], ...]
    """Per head the column positions it may use; 0, the intercept, always first."""
    eligible: tuple[int | None, ...]
    """Per head the 0/1 column that says who can be flagged; None: everybody."""

    @property
    def width(self) -> int:
        """Number of columns, with the intercept."""
        return len(self.names)

    @property
    def second_moment_length(self) -> int:
        """Entries of the upper triangle."""
        return self.width * (self.width + 1) // 2

    @property
    def gradient_length(self) -> int:
        """Entries of all heads' gradients, one after the other."""
        return sum(len(head) for head in self.heads)

    def split(self, values: Float64Array) -> list[Float64Array]:
        """Return a concatenation over heads as one array a head."""
        return np.split(values, np.cumsum([len(head) for head in self.heads])[:-1])

    def split_square(self, values: Float64Array) -> list[Float64Array]:
        """Return a concatenation of square matrices as one matrix a head."""
        sizes = [len(head) for head in self.heads]
        parts = np.split(values, np.cumsum([size * size for size in sizes])[:-1])
        return [part.reshape(size, size) for part, size in zip(parts, sizes, strict=True)]


def columns_of(plan: TrainingPlan, catalogue: FeatureCatalogue) -> Columns:
    """Return the columns of a plan.

    Raises: PlanInvalid if the plan names a category that the catalogue lacks, or one twice.
    """
    known = {head.category: head for head in catalogue.heads}
    for category in plan.categories:
        if category not in known:
            raise PlanInvalid(f"field categories: {category} is not a head of catalogue {catalogue.catalogue_id}")
    if len(set(plan.categories)) != len(plan.categories):
        raise PlanInvalid("field categories: a category stands twice")
    used = {name for category in plan.categories for name in known[category].features}
    names = (INTERCEPT, *(feature.name for feature in catalogue.features if feature.name in used))
    position = {name: place for place, name in enumerate(names)}
    heads = tuple((0, *sorted(position[name] for name in known[category].features)) for category in plan.categories)
    rules = [known[category].eligible for category in plan.categories]
    return Columns(names, heads, tuple(None if rule is None else position[rule] for rule in rules))
