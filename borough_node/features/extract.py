"""From staged tables to one row per person at a cutoff: features, labels, protected attributes.

Rules this module keeps: features come from the views as of the cutoff alone; labels look at findings whenever made,
because that is what a label is, and say from which cutoff each was known, so that training can leave out later ones; a
feature that the catalogue names and nobody here computes refuses the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from borough_node.features import associations, attendance, conduct, expenses, lookups, roster, workload
from borough_node.features.events import create_facts
from borough_node.features.indicator import Indicator, Subject
from borough_node.sources.contract.cutoffs import LABELS, WINDOW_MONTHS, date_of, window_start
from borough_node.sources.file import literal
from borough_node.sources.personnel.asof import create_views
from borough_node.sources.personnel.staging import Staged
from borough_node.sources.table import PersonnelTable
from protocol.errors import ConfigurationError

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


def rows_as_of(
    staged: Staged, cutoff: int, *, features: Sequence[str], labels: Sequence[str], protected: Sequence[str]
) -> PersonnelTable:
    """Return one row for every member of the borough at a cutoff, in order of staff number.

    Args:
        staged: Checked; every table but sickness must be staged.
        features, labels, protected: What is wanted, in order.
    Raises: ConfigurationError naming a feature, a label or an attribute that events do not give.
    """
    known = [
        (features, INDICATORS, "feature"),
        (labels, LABELS, "label"),
        (protected, PROTECTED, "protected attribute"),
    ]
    for wanted, there, what in known:
        if strangers := [name for name in wanted if name not in there]:
            raise ConfigurationError(f"{what} {strangers[0]}: cannot be computed from the personnel contract")
    create_views(staged, cutoff)
    bounds = f"DATE '{date_of(cutoff)}' AS day, DATE '{window_start(cutoff)}' AS start"
    staged.run(f"CREATE OR REPLACE TEMP TABLE cutoff AS SELECT {bounds}")
    create_facts(staged, cutoff)
    joined = "members"
    for subject in SUBJECTS:
        if names := [one.name for one in subject.indicators if one.name in features]:
            joined += f" LEFT JOIN ({subject.query(names)}) AS {subject.name} USING (person)"
    chosen = [f"coalesce({name}, {INDICATORS[name].default!r}) AS {name}" for name in features]
    joined += "".join(f" LEFT JOIN ({_found(label, cutoff)}) USING (person)" for label in labels)
    chosen += [f"coalesce({label}, 0) AS {label}" for label in labels]
    chosen += [f"coalesce(CAST({name} AS VARCHAR), '') AS {name}" for name in protected]
    columns = staged.columns(f"SELECT staff_no, {', '.join(chosen)} FROM {joined} ORDER BY staff_no")
    known_from = {name: np.array(columns[name], dtype=np.int64) for name in labels}
    return PersonnelTable(
        person=np.asarray(columns["staff_no"], dtype=object),
        cutoff=np.full(len(columns["staff_no"]), cutoff, dtype=np.int64),
        silo=None,
        features={name: np.array(columns[name], dtype=np.float64) for name in features},
        labels={name: (known > 0).astype(np.float64) for name, known in known_from.items()},
        protected={name: np.asarray(columns[name], dtype=object) for name in protected},
        known_from=known_from,
    )


def covered_cutoffs(staged: Staged) -> tuple[int, ...]:
    """Return the cutoffs whose whole window the duties cover, a week at either end allowed."""
    first, last = staged.rows("SELECT CAST(min(planned_start) AS DATE), CAST(max(planned_start) AS DATE) FROM duties")[
        0
    ]
    if first is None:
        return ()
    span = range(2 * first.year, 2 * last.year + 3)
    return tuple(
        cutoff for cutoff in span if (first - window_start(cutoff)).days <= 7 and (date_of(cutoff) - last).days <= 7
    )


def _found(label: str, cutoff: int) -> str:
    """Return SQL of who was found, and the cutoff from which that was known, as `contract.cutoffs.known_from` has it."""
    return (
        f"SELECT person, min(2 * year(found_at) + CAST(month(found_at) > {WINDOW_MONTHS} AS BIGINT) + 1) AS {label}"
        f" FROM conduct_findings WHERE person IS NOT NULL AND category = {literal(LABELS[label])}"
        f" AND conduct_from < DATE '{date_of(cutoff)}' AND conduct_to >= DATE '{window_start(cutoff)}' GROUP BY person"
    )
