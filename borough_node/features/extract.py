"""From staged tables to one row per person at a cutoff: features, labels, protected attributes.

Rules this module keeps: features come from what was known at the cutoff alone; labels look at findings whenever made,
because that is what a label is, and say from which cutoff each was known, so that training can leave out later ones; a
feature that the catalogue names and nobody here computes refuses the catalogue.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import col

from borough_node.features import associations, attendance, conduct, expenses, lookups, roster, workload
from borough_node.features.events import facts_of
from borough_node.features.indicator import Indicator, Subject
from borough_node.sources.contract.cutoffs import LABELS, WINDOW_MONTHS, date_of, window_start
from borough_node.sources.personnel.asof import as_of
from borough_node.sources.personnel.staging import Staged
from borough_node.sources.table import PersonnelTable
from protocol.errors import ConfigurationError
from protocol.scorecard.columns import Float64Array

SUBJECTS: tuple[Subject, ...] = (
    *roster.SUBJECTS,
    *attendance.SUBJECTS,
    *expenses.SUBJECTS,
    *lookups.SUBJECTS,
    *associations.SUBJECTS,
    *conduct.SUBJECTS,
    *workload.SUBJECTS,
)
"""Every subject; one file each, or a few."""

INDICATORS: dict[str, Indicator] = {one.name: one for subject in SUBJECTS for one in subject.indicators}
"""Every feature of events by name."""

PROTECTED = ("sex", "ethnicity_group", "age_band")
"""Columns of staff that fairness releases may read and no feature is made from."""


AT_A_TIME = 2
"""Cutoffs that are computed at a time. More would hold more of a borough's facts in memory than is saved in time."""


def rows_as_of(
    staged: Staged, cutoff: int, *, features: Sequence[str], labels: Sequence[str], protected: Sequence[str]
) -> PersonnelTable:
    """Return one row for every member of the borough at a cutoff, in order of staff number.

    Args:
        staged: Checked; every table but sickness must be staged.
        features, labels, protected: What is wanted, in order.
    Raises: ConfigurationError naming a feature, a label or an attribute that events do not give.
    """
    known: list[tuple[Sequence[str], Container[str], str]] = [
        (features, INDICATORS, "feature"),
        (labels, LABELS, "label"),
        (protected, PROTECTED, "protected attribute"),
    ]
    for wanted, there, what in known:
        if strangers := [name for name in wanted if name not in there]:
            raise ConfigurationError(f"{what} {strangers[0]}: cannot be computed from the personnel contract")
    facts = facts_of(as_of(staged, cutoff))
    members = facts.members
    place, numbers = members["person"].to_numpy(), staged.frames["staff"].height
    asked = [(subject, [one.name for one in subject.indicators if one.name in features]) for subject in SUBJECTS]
    counted = pl.collect_all([subject.values(facts, names) for subject, names in asked if names])
    found: dict[str, Float64Array] = {}
    for counts in counted:
        person = counts["person"].to_numpy()
        for name in counts.columns[1:]:
            values = np.full(numbers, INDICATORS[name].default)
            values[person] = counts[name].to_numpy()
            found[name] = values[place]
    about = _found(staged, cutoff)
    known_from = {label: _known_from(about, label, numbers)[place] for label in labels}
    return PersonnelTable(
        person=members["staff_no"].to_numpy().astype(object),
        cutoff=np.full(members.height, cutoff, dtype=np.int64),
        silo=None,
        features={name: found[name] for name in features},
        labels={label: (first > 0).astype(np.float64) for label, first in known_from.items()},
        protected={name: members[name].fill_null("").to_numpy().astype(object) for name in protected},
        known_from=known_from,
    )


def rows_at_all(
    staged: Staged, cutoffs: Sequence[int], *, features: Sequence[str], labels: Sequence[str], protected: Sequence[str]
) -> list[PersonnelTable]:
    """Return `rows_as_of` each cutoff, two at a time: most of the work is done outside the interpreter's lock.

    Raises: ConfigurationError, as `rows_as_of`.
    """

    def rows(cutoff: int) -> PersonnelTable:
        return rows_as_of(staged, cutoff, features=features, labels=labels, protected=protected)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(rows, cutoffs))


def covered_cutoffs(staged: Staged) -> tuple[int, ...]:
    """Return the cutoffs whose whole window the duties cover, a week at either end allowed."""
    starts = staged.frames["duties"]["planned_start"]
    first, last = (moment.date() if isinstance(moment, datetime) else None for moment in (starts.min(), starts.max()))
    if first is None or last is None:
        return ()
    span = range(2 * first.year, 2 * last.year + 3)
    return tuple(
        cutoff for cutoff in span if (first - window_start(cutoff)).days <= 7 and (date_of(cutoff) - last).days <= 7
    )


def _found(staged: Staged, cutoff: int) -> pl.DataFrame:
    """Return who was found, whenever that was, for conduct within the window, and the cutoff from which it was known."""
    # As `contract.cutoffs.known_from` has it.
    half_years = 2 * col("found_at").dt.year() + (col("found_at").dt.month() > WINDOW_MONTHS)
    return (
        staged.frames["conduct_findings"]
        .lazy()
        .filter(
            col("person").is_not_null(),
            col("conduct_from") < date_of(cutoff),
            col("conduct_to") >= window_start(cutoff),
        )
        .group_by("category", "person")
        .agg(first=half_years.min().cast(pl.Int64) + 1)
        .collect()
    )


def _known_from(about: pl.DataFrame, label: str, numbers: int) -> NDArray[np.int64]:
    """Return, by number of the person, the first cutoff at which the label was known to be 1; 0: it is 0."""
    found = about.filter(col("category") == LABELS[label])
    first = np.zeros(numbers, dtype=np.int64)
    first[found["person"].to_numpy()] = found["first"].to_numpy()
    return first
