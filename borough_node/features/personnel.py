"""A borough's rows from its own tables: checked, computed at every covered cutoff, or from the last good snapshot.

Rules this module keeps: sources that fail the check are refused whole and change nothing; which tables were used is
said, without a value, to the operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from borough_node.features.extract import covered_cutoffs, rows_at_all
from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.checking import check
from borough_node.sources.personnel.settings import PersonnelSettings
from borough_node.sources.personnel.snapshot import last_good, save
from borough_node.sources.personnel.staging import Staged, staged
from borough_node.sources.table import PersonnelTable
from protocol.clock import Clock
from protocol.documents.catalogue import FeatureCatalogue
from protocol.errors import TableInvalid

FEATURE_TABLES = tuple(name for name in TABLES if name != "sickness")
"""What features read; sickness is not even opened."""


@dataclass(frozen=True, slots=True)
class PersonnelReader:
    """Reads a borough's tables with a catalogue; keeps them if they are good, else uses the last that were."""

    settings_file: Path
    snapshots: Path
    """Folder of the node's state."""
    clock: Clock
    report: Callable[[str, str], None]

    def __call__(self, catalogue: FeatureCatalogue) -> PersonnelTable:
        """Return the rows at every covered cutoff.

        Raises: ConfigurationError; TableInvalid if the sources are refused and there is no snapshot.
        """
        settings = PersonnelSettings.load(self.settings_file)
        try:
            with staged(settings, names=FEATURE_TABLES) as tables:
                check(tables, now=self.clock.now()).require_usable()
                save(tables, self.snapshots, now=self.clock.now())
                return table_of(tables, catalogue)
        except TableInvalid as error:
            kept = last_good(self.snapshots, of=settings)
            if kept is None:
                raise
            self.report("personnel.refused", f"{error.detail}; the last good snapshot is used")
            with staged(kept, names=FEATURE_TABLES) as tables:
                return table_of(tables, catalogue)


def table_of(tables: Staged, catalogue: FeatureCatalogue) -> PersonnelTable:
    """Return the rows of a catalogue at every covered cutoff.

    Raises: TableInvalid if no half-year is covered; ConfigurationError if the catalogue asks for what events do not give.
    """
    cutoffs = covered_cutoffs(tables)
    if not cutoffs:
        raise TableInvalid("table duties: covers no whole half-year, January to June or July to December; export more")
    features = [feature.name for feature in catalogue.features]
    labels = list(dict.fromkeys(head.label for head in catalogue.heads))
    protected = catalogue.protected_names()
    parts = rows_at_all(tables, cutoffs, features=features, labels=labels, protected=protected)
    return PersonnelTable(
        person=np.concatenate([part.person for part in parts]),
        cutoff=np.concatenate([part.cutoff for part in parts]),
        silo=None,
        features={name: np.concatenate([part.features[name] for part in parts]) for name in features},
        labels={name: np.concatenate([part.labels[name] for part in parts]) for name in labels},
        protected={name: np.concatenate([part.protected[name] for part in parts]) for name in protected},
        known_from={name: np.concatenate([part.known_from[name] for part in parts]) for name in labels},
    )
