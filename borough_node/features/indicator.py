"""What one feature of events is: its query and, beside it, its entry in the catalogue.

Rules these modules keep: an indicator is one SQL aggregate over the rows of its subject, which come from views as of
a cutoff (`borough_node.sources.personnel.asof`) and from nothing else; a person without rows has the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.documents.catalogue import Bounded, Count, Scaled, Sensitivity

COUNT = Count(kind="count", cap=4.0)
"""Up to 53 counted, then flat."""

LARGE = Count(kind="count", cap=8.0)
"""For work done: up to 2,979 counted, then flat."""

SHARE = Scaled(kind="scaled", center=0.0, scale=0.2, limit=5.0)
"""For shares: one unit is a fifth."""

FLAG = Bounded(kind="bounded", low=0.0, high=1.0)
"""For 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One feature."""

    name: str
    sql: str
    """Aggregate over the subject's rows of one person."""
    definition: str
    unit: str
    transform: Count | Scaled | Bounded = COUNT
    direction: int = 1
    """1: more can only raise concern; -1: only lower it; 0: taken into account."""
    reason: str
    default: float = 0.0
    """Value of a person without rows, or without this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The features that are computed from one kind of events."""

    name: str
    rows: str
    """SQL query with one row per event and the column ``person``."""
    indicators: tuple[Indicator, ...]
    sensitivity: Sensitivity
    legal_note: str

    def query(self, names: Sequence[str]) -> str:
        """Return SQL of the named indicators, one row per person with rows."""
        chosen = ", ".join(f"CAST({one.sql} AS DOUBLE) AS {one.name}" for one in self.indicators if one.name in names)
        return f"SELECT person, {chosen} FROM ({self.rows}) GROUP BY person"


def counted(condition: str) -> str:
    """Return SQL of how many rows a condition holds for."""
    return f"count(*) FILTER ({condition})"


def workload(name: str, sql: str, definition: str, unit: str, *, center: float, scale: float, reason: str) -> Indicator:
    """Return an indicator of how much somebody had to do: it only compares like with like.

    Args:
        center, scale: Public round figures for half a year; 0 stands for an ordinary half-year, so that these large
            numbers do not fill the clipped norm of a row.
    """
    return Indicator(
        name=name,
        sql=sql,
        definition=definition,
        unit=unit,
        transform=Scaled(kind="scaled", center=center, scale=scale, limit=3.0),
        direction=0,
        reason=reason,
    )
