"""The feature catalogue: what may be looked at, in which fixed bounds, and how it is said to a person.

Bounds and transforms are public constants, so preparing features costs no privacy budget (ARCHITECTURE.md, model).
Protected attributes are named here only so that they can be refused as features.
"""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator

from protocol.documents.base import Document, Value, describe
from protocol.errors import ConfigurationError
from protocol.ids import Name, PartyId

Text = Annotated[str, Field(min_length=1, max_length=400)]


class Count(Value):
    """``min(log1p(v), cap)`` of a non-negative count."""

    kind: Literal["count"]
    cap: float = Field(gt=0)


class Scaled(Value):
    """``clip((v - center) / scale, -limit, limit)`` of a continuous value."""

    kind: Literal["scaled"]
    center: float
    scale: float = Field(gt=0)
    limit: float = Field(gt=0)


class Bounded(Value):
    """``clip(v, low, high)``: indicators and shares, used as they are."""

    kind: Literal["bounded"]
    low: float
    high: float

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


Sensitivity = Literal["operational", "personal", "criminal", "special", "confidential"]
"""What a feature is made from: equipment, personnel records, allegations and findings, special categories, confidences."""

Transform = Annotated[Count | Scaled | Bounded, Field(discriminator="kind")]


class Feature(Value):
    """One column that a head may use."""

    name: Name
    definition: Text
    unit: Text
    transform: Transform
    missing: float | None
    """The public constant that stands for a missing value; None: a missing value refuses the table."""
    direction: Literal[-1, 0, 1]
    """1: more can only raise concern; -1: only lower it; 0: either."""
    reason: Text
    """What a flagged officer reads when this feature weighed in."""
    legal_note: str
    sensitivity: Sensitivity = "personal"


class Head(Value):
    """One misconduct category: its label column and the features it may use."""

    category: Name
    title: Text
    label: Name
    """The 0/1 column that training and evaluation read."""
    features: Annotated[tuple[Name, ...], Field(min_length=1)]
    prior: float = Field(gt=0, lt=1)
    """Public starting probability of the intercept; never counted from records."""
    eligible: Name | None
    """One of the head's features, 0 or 1: only people with 1 can be flagged in this category; None: everybody can."""
    start: dict[Name, float]
    """Public weights that training starts from, a rule that experts wrote; a feature without one starts at 0."""


class ProtectedAttribute(Value):
    """A column that never is a feature, and the groups that fairness releases may tell apart."""

    name: Name
    title: Text
    groups: Annotated[tuple[Text, ...], Field(min_length=2, max_length=20)]
    """Values of the column. Somebody with another value, or none, is in no group."""

    @model_validator(mode="after")
    def _groups_differ(self) -> Self:
        if len(set(self.groups)) != len(self.groups):
            raise ValueError(f"protected attribute {self.name} names a group twice")
        return self


class FeatureCatalogue(Document):
    """All features and heads that plans may draw on."""

    payload_type: ClassVar[str] = "application/vnd.custodes.feature-catalogue.v1+json"

    catalogue_id: PartyId
    version: int = Field(ge=1)
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    heads: Annotated[tuple[Head, ...], Field(min_length=1)]
    protected: tuple[ProtectedAttribute, ...]
    """Columns that may never be a feature, a label or an eligibility rule."""

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [feature.name for feature in self.features]
        categories = [head.category for head in self.heads]
        if len(set(names)) != len(names) or len(set(categories)) != len(categories):
            raise ValueError("feature and category names must be unique")
        known = set(names)
        for head in self.heads:
            if len(set(head.features)) != len(head.features):
                raise ValueError(f"head {head.category} names a feature twice")
            if head.eligible is not None and head.eligible not in head.features:
                raise ValueError(
                    f"head {head.category}: {head.eligible} must be one of its features to decide eligibility"
                )
            if unknown := [name for name in head.features if name not in known]:
                raise ValueError(f"head {head.category} uses unknown feature {unknown[0]}")
            if head.label in known:
                raise ValueError(f"head {head.category} has a feature as its label")
            if strangers := sorted(set(head.start) - set(head.features)):
                raise ValueError(f"head {head.category} starts from {strangers[0]}, which is not one of its features")
            for name, weight in head.start.items():
                if weight * self.feature(name).direction < 0:
                    raise ValueError(f"head {head.category} starts {name} against its direction")
        if len(set(self.protected_names())) != len(self.protected):
            raise ValueError("a protected attribute stands twice")
        if forbidden := sorted((known | {head.label for head in self.heads}) & set(self.protected_names())):
            raise ValueError(f"{forbidden[0]} is protected and cannot be a feature or a label")
        return self

    def feature(self, name: str) -> Feature:
        """Return the feature of this name, which exists."""
        return next(feature for feature in self.features if feature.name == name)

    def head(self, category: str) -> Head:
        """Return the head of this category, which exists."""
        return next(head for head in self.heads if head.category == category)

    def protected_names(self) -> tuple[Name, ...]:
        """Return the protected columns, in catalogue order."""
        return tuple(attribute.name for attribute in self.protected)

    def attribute(self, name: str) -> ProtectedAttribute:
        """Return the protected attribute of this name, which exists."""
        return next(attribute for attribute in self.protected if attribute.name == name)

    @classmethod
    def from_fields(cls, fields: dict[str, object]) -> FeatureCatalogue:
        """Return the catalogue of a parsed TOML or JSON object.

        Raises: ConfigurationError naming the first wrong field.
        """
        try:
            return cls.model_validate_json(json.dumps(fields))
        except ValidationError as error:
            raise ConfigurationError(f"catalogue: {describe(error)}") from None
