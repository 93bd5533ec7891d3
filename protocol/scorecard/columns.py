"""Which columns a plan's vectors have, in one place: the borough fills them, everybody else reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import ReleaseFunction, TrainingPlan
from protocol.errors import PlanInvalid
from protocol.scorecard.transforms import bounds

INTERCEPT = "intercept"
DRIFT_BINS = 10
"""Bins of a feature's public range: what the population stability index is usually computed over."""
OUTCOME_CELLS = 4
"""Flagged and substantiated, flagged and not, control sample and substantiated, control sample and not."""
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Attribute:
    """A protected attribute that a release tells apart."""

    name: str
    position: int
    """Its place among the catalogue's protected attributes."""
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """The design matrix of a plan: the intercept, then every feature that a head uses, in catalogue order."""

    names: tuple[str, ...]
    heads: tuple[tuple[int, ...], ...]
    """Per head the column positions it may use; 0, the intercept, always first."""
    eligible: tuple[int | None, ...]
    """Per head the 0/1 column that says who can be flagged; None: everybody."""
    directions: tuple[int, ...]
    """Per column the sign that its weights may have: 1, -1, or 0 for either."""
    ranges: tuple[tuple[float, float], ...]
    """Per column the public bounds of its values."""
    bins: int
    """Score bins of the evaluation."""
    fairness_bins: int
    measured: tuple[Attribute, ...]
    """Attributes of the fairness release."""
    mitigated: tuple[Attribute, ...]
    """Attributes whose groups' mean scores are brought together."""

    @property
    def width(self) -> int:
        """Number of columns, with the intercept."""
        return len(self.names)

    def shape(self, function: ReleaseFunction) -> tuple[int, ...]:
        """Return the shape of a release's vector; a label of 0 comes before 1."""
        heads = len(self.heads)
        match function:
            case "second_moment":
                return (self.width * (self.width + 1) // 2,)
            case "gradient":
                return (sum(len(head) for head in self.heads),)
            case "group_moments":
                return (sum(len(attribute.groups) for attribute in self.mitigated), self.width)
            case "evaluation":
                return (heads, 2, self.bins)
            case "fairness":
                return (heads, sum(len(attribute.groups) for attribute in self.measured), 2, self.fairness_bins)
            case "drift":
                return (self.width - 1, DRIFT_BINS)
            case "outcomes":
                return (heads, OUTCOME_CELLS)

    def norm(self, function: ReleaseFunction) -> float:
        """Return the largest L2 norm of what one person puts into a release, in units of the clip."""
        heads = len(self.heads)
        match function:
            case "second_moment":
                return 1.0
            case "gradient" | "evaluation" | "outcomes":
                return math.sqrt(heads)
            case "group_moments":
                return math.sqrt(len(self.mitigated))
            case "fairness":
                return math.sqrt(heads * len(self.measured))
            case "drift":
                return math.sqrt(self.width - 1)

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

    Raises: PlanInvalid if the plan names a category or a protected attribute that the catalogue lacks, or one twice.
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
    features = [catalogue.feature(name) for name in names[1:]]
    fairness = plan.fairness
    return Columns(
        names=names,
        heads=heads,
        eligible=tuple(None if rule is None else position[rule] for rule in rules),
        directions=(0, *(feature.direction for feature in features)),
        ranges=((1.0, 1.0), *(bounds(feature.transform) for feature in features)),
        bins=plan.histogram.bins,
        fairness_bins=fairness.bins if fairness else 0,
        measured=_attributes(catalogue, fairness.attributes if fairness else ()),
        mitigated=_attributes(catalogue, tuple(one.attribute for one in fairness.mitigations) if fairness else ()),
    )


def _attributes(catalogue: FeatureCatalogue, names: tuple[str, ...]) -> tuple[Attribute, ...]:
    position = {name: place for place, name in enumerate(catalogue.protected_names())}
    if strangers := [name for name in names if name not in position]:
        raise PlanInvalid(f"field fairness: {strangers[0]} is no protected attribute of {catalogue.catalogue_id}")
    return tuple(Attribute(name, position[name], catalogue.attribute(name).groups) for name in names)
