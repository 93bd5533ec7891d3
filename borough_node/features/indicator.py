"""What one feature of events is: how it is computed and, beside it, its entry in the catalogue.

Rules these modules keep: an indicator is one aggregate over the rows of its subject, which come from what was known at
a cutoff (`borough_node.sources.personnel.asof`) and from nothing else; a person without rows has the default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from borough_node.features.events import Facts
from protocol.documents.catalogue import Bounded, Count, Scaled, Sensitivity

COUNT = Count(kind="count", cap=4.0)
"""Up to 53 counted, then flat."""

LARGE = Count(kind="count", cap=8.0)
"""For work done: up to 2,979 counted, then flat."""

SHARE = Scaled(kind="scaled", center=0.0, scale=0.2, limit=5.0)
"""For shares: one unit is a fifth."""

FLAG = Bounded(kind="bounded", low=0.0, high=1.0)
"""For 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Indicator:
    """One feature."""

    name: str
    value: pl.Expr
    """Aggregate over the subject's rows of one person."""
    definition: str
    unit: str
    transform: Count | Scaled | Bounded = COUNT
    direction: int = 1
    """1: more can only raise concern; -1: only lower it; 0: taken into account."""
    reason: str
    default: float = 0.0
    """Value of a person without rows, or without this."""

    def filled(self) -> pl.Expr:
        """Return the aggregate under the indicator's name, never empty."""
        return self.value.cast(pl.Float64).fill_null(self.default).alias(self.name)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """The features that are computed from one kind of events."""

    name: str
    rows: Callable[[Facts], pl.LazyFrame]
    """One row per event, with the column ``person``."""
    indicators: tuple[Indicator, ...]
    sensitivity: Sensitivity
    legal_note: str

    def values(self, facts: Facts, names: Sequence[str]) -> pl.LazyFrame:
        """Return the named indicators, one row per person with rows."""
        chosen = [one.filled() for one in self.indicators if one.name in names]
        return self.rows(facts).group_by("person").agg(chosen)


def counted(condition: pl.Expr) -> pl.Expr:
    """Return how many rows a condition holds for."""
    return condition.sum().cast(pl.Float64)


def summed(values: str, condition: pl.Expr) -> pl.Expr:
    """Return the sum of a column over the rows that a condition holds for."""
    return pl.when(condition).then(pl.col(values)).otherwise(0).sum()


def rows() -> pl.Expr:
    """Return how many rows there are."""
    return pl.len().cast(pl.Float64)


def workload(
    name: str, value: pl.Expr, definition: str, unit: str, *, center: float, scale: float, reason: str
) -> Indicator:
    """Return an indicator of how much somebody had to do: it only compares like with like.

    Args:
        center, scale: Public round figures for half a year; 0 stands for an ordinary half-year, so that these large
            numbers do not fill the clipped norm of a row.
    """
    return Indicator(
        name=name,
        value=value,
        definition=definition,
        unit=unit,
        transform=Scaled(kind="scaled", center=center, scale=scale, limit=3.0),
        direction=0,
        reason=reason,
    )
