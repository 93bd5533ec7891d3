"""From the event-level synthetic force to what benchmarks measure on: the boroughs' features, and the planted truth.

What runs is what a node runs: staging, the whole check, features as of each cutoff. The truth is read from beside the
boroughs' folders, for measuring only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from borough_node.features.personnel import FEATURE_TABLES, table_of
from borough_node.sources.contract import TABLES
from borough_node.sources.contract.cutoffs import cutoff_on_or_before
from borough_node.sources.personnel.checking import check
from borough_node.sources.personnel.settings import PersonnelSettings
from borough_node.sources.personnel.staging import staged
from borough_node.sources.table import PersonnelTable
from deploy.force.events.sources import TIME_ZONE
from deploy.force.truth import read_truth
from protocol.documents.catalogue import FeatureCatalogue


@dataclass(frozen=True, slots=True, eq=False)
class EventForce:
    """What a folder of ``custodes force generate`` holds, once features are computed."""

    tables: dict[str, PersonnelTable]
    truth: pl.DataFrame
    train_until: int
    evaluation_cutoff: int


def settings_of(folder: Path) -> PersonnelSettings:
    """Return the sources of one borough's folder."""
    tables = {name: str(folder / f"{name}.parquet") for name in TABLES}
    return PersonnelSettings(borough=folder.name, time_zone=TIME_ZONE, tables=tables)


def read_force(force: Path, catalogue: FeatureCatalogue, *, tell: Callable[[str], None]) -> EventForce:
    """Return the features of all boroughs; ``tell`` hears the name of each that is done.

    Raises: TableInvalid if a borough's tables do not pass the check.
    """
    summary = json.loads((force / "force.json").read_text(encoding="utf-8"))
    trained, evaluated = (
        datetime.fromisoformat(summary[name]).date() for name in ("training_cutoff", "evaluation_cutoff")
    )
    tables = {}
    for folder in sorted((force / "boroughs").iterdir()):
        with staged(settings_of(folder), names=FEATURE_TABLES) as there:
            check(there, now=datetime.now(UTC)).require_usable()
            tables[folder.name] = table_of(there, catalogue)
        tell(folder.name)
    return EventForce(tables, read_truth(force), cutoff_on_or_before(trained), cutoff_on_or_before(evaluated))
