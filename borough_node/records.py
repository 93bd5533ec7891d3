"""A borough's rows as a plan wants them: the design matrix, labels and persons at given cutoffs.

Rules this module keeps: what is trained on was known at the evaluation cutoff. A finding made, or a review ended, on or
after it labels no earlier row: conduct that goes on through both windows may be found only then, and whoever trained on
that would know whom the evaluation looks for. A table that does not say when its labels were known is taken at its word.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from borough_node.features.cohort import Cohort, group_codes
from borough_node.features.matrix import design_matrix
from borough_node.features.personnel import PersonnelReader
from borough_node.ledger.reviews import Review, Reviews
from borough_node.settings import NodeSettings
from borough_node.sources.contract.cutoffs import known_from
from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import PersonnelTable, read_table, rows_at
from protocol.aggregation.planning import PER_PERSON
from protocol.clock import Clock
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import ReleaseFunction, TrainingPlan
from protocol.errors import ConfigurationError, TableInvalid
from protocol.ids import Digest
from protocol.scorecard.columns import Columns, Float64Array, columns_of

TableReader = Callable[[FeatureCatalogue], PersonnelTable]
"""Reads and checks the borough's table with a catalogue, whole or not at all."""


def table_reader(table: Path, *, layout_of: Path) -> TableReader:
    """Return the reader of a borough's table: the column names of a local file, the catalogue of the plan."""
    layout, _ = load_catalogue(layout_of)

    def read(catalogue: FeatureCatalogue) -> PersonnelTable:
        return read_table(table, layout=layout, catalogue=catalogue, with_silo=False)

    return read


def reader_of(settings: NodeSettings, *, clock: Clock, report: Callable[[str, str], None]) -> TableReader:
    """Return the reader of the borough's rows: its own tables of the personnel contract, or its one table."""
    if settings.personnel is not None:
        return PersonnelReader(settings.personnel, settings.state / "personnel", clock, report)
    if settings.table is None:
        raise ConfigurationError("table, personnel: give the path of one of the two")
    return table_reader(settings.table, layout_of=settings.catalogue)


class Records:
    """The borough's rows, read once for each catalogue, with the outcomes of human review in the place of their labels."""

    def __init__(self, read: TableReader, reviews: Reviews | None = None) -> None:
        self._read = read
        self._reviews = reviews
        self._tables: dict[Digest, PersonnelTable] = {}
        self._last: tuple[object, tuple[Columns, Cohort]] | None = None
        """A plan's releases read the same rows several times in turn: the latest are kept, with what they were made of."""

    def cohort(
        self, plan: TrainingPlan, catalogue: FeatureCatalogue, *, first_cutoff: int, last_cutoff: int
    ) -> tuple[Columns, Cohort]:
        """Return the columns of the plan and the borough's rows between two cutoffs, both included.

        Raises: TableInvalid if the table does not fit the catalogue, a row among them has no label, or a person has more
        rows than the plan allows.
        """
        finished = () if self._reviews is None else self._reviews.finished()
        made_of = (plan.digest(), catalogue.digest(), first_cutoff, last_cutoff, finished)
        if self._last is None or self._last[0] != made_of:
            self._last = made_of, self._made(plan, catalogue, first_cutoff, last_cutoff, finished)
        return self._last[1]

    def _made(
        self,
        plan: TrainingPlan,
        catalogue: FeatureCatalogue,
        first_cutoff: int,
        last_cutoff: int,
        finished: tuple[Review, ...],
    ) -> tuple[Columns, Cohort]:
        table = rows_at(self.table(catalogue), first_cutoff=first_cutoff, last_cutoff=last_cutoff)
        columns = columns_of(plan, catalogue)
        position = {feature.name: place for place, feature in enumerate(catalogue.features, start=1)}
        matrix = design_matrix(table, catalogue)[:, [0, *(position[name] for name in columns.names[1:])]]
        names = [catalogue.head(category).label for category in plan.categories]
        labels = np.column_stack([_known_labels(table, name, at=plan.evaluation_cutoff) for name in names])
        if table.person.size and np.unique(table.person, return_counts=True)[1].max() > plan.privacy.rows_per_person:
            raise TableInvalid("a person has more rows than the plan's rows_per_person")
        _label_reviewed(labels, table, plan, finished)
        for name, missing in zip(names, np.isnan(labels).sum(axis=0).tolist(), strict=True):
            if missing:
                raise TableInvalid(
                    f"column {name}: {missing} rows of cutoffs {first_cutoff} to {last_cutoff} have no label, and the plan"
                    " reads them; fill in 0 or 1, leave those rows out, or have a plan made for earlier cutoffs"
                )
        groups = group_codes(table, catalogue)
        return columns, Cohort(np.ascontiguousarray(matrix), labels, table.person, groups)

    def cohort_for(
        self, function: ReleaseFunction, plan: TrainingPlan, catalogue: FeatureCatalogue
    ) -> tuple[Columns, Cohort]:
        """Return the rows that a release reads."""
        first, last = plan.evaluation_cutoff, plan.evaluation_cutoff
        if function in PER_PERSON:
            first, last = plan.train_from, plan.train_until
        return self.cohort(plan, catalogue, first_cutoff=first, last_cutoff=last)

    def values(self, catalogue: FeatureCatalogue, *, person: str, cutoff: int) -> dict[str, float]:
        """Return the raw features of one person, who has a row at the cutoff."""
        table = self.table(catalogue)
        (row,) = np.nonzero((table.person == person) & (table.cutoff == cutoff))[0].tolist()
        return {name: float(column[row]) for name, column in table.features.items()}

    def table(self, catalogue: FeatureCatalogue) -> PersonnelTable:
        """Return the borough's whole table, read at the first call. Raises: TableInvalid, ConfigurationError."""
        digest = catalogue.digest()
        if digest not in self._tables:
            self._tables[digest] = self._read(catalogue)
        return self._tables[digest]


def _known_labels(table: PersonnelTable, name: str, *, at: int) -> Float64Array:
    """Return a label column without the 1 of rows before a cutoff that was not known by then."""
    if name not in table.known_from:
        return table.labels[name]
    return np.where((table.cutoff < at) & (table.known_from[name] > at), 0.0, table.labels[name])


def _label_reviewed(
    labels: Float64Array, table: PersonnelTable, plan: TrainingPlan, finished: tuple[Review, ...]
) -> None:
    """Write what reviewers found over the table's labels, at the cutoff at which each person was scored."""
    row = {key: place for place, key in enumerate(zip(table.person.tolist(), table.cutoff.tolist(), strict=True))}
    head = {category: place for place, category in enumerate(plan.categories)}
    for review in finished:
        key = (review.person, review.cutoff)
        if key not in row or review.category not in head or review.outcome is None:
            continue
        # Only a table that dates its labels has cutoffs that are dates.
        known = known_from(date.fromisoformat(review.outcome.recorded_at[:10])) if table.known_from else 0
        if review.cutoff >= plan.evaluation_cutoff or known <= plan.evaluation_cutoff:
            labels[row[key], head[review.category]] = float(review.outcome.is_substantiated)
