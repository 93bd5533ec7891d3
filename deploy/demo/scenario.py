"""What the demo runs on: the events of a synthetic force, or a real table split into its silos."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from borough_node.sources.contract.cutoffs import WINDOW_MONTHS, cutoff_on_or_before
from borough_node.sources.layout import load_catalogue
from borough_node.sources.personnel.skeleton import SETTINGS
from borough_node.sources.table import party_id, read_table, split_table
from coordinator.registry.drafting import PlanChoices
from deploy.force.events.generate import Told, generate_events
from deploy.force.events.period import Period, date_of_day
from deploy.force.truth import read_truth
from protocol.documents.catalogue import FeatureCatalogue
from protocol.errors import ConfigurationError
from protocol.ids import PartyId

SAMPLES = Path(__file__).parent.parent / "samples"


@dataclass(frozen=True)
class Scenario:
    """Records by borough, and the choices of one plan over them."""

    title: str
    records: dict[PartyId, Path]
    """Each borough's table, or the TOML file that names its tables of the personnel contract."""
    catalogue: FeatureCatalogue
    catalogue_path: Path
    choices: PlanChoices
    establishment: dict[PartyId, int]
    """Stands for published figures: people on duty at the last training cutoff."""
    train_from: int
    train_until: int
    evaluation_cutoff: int
    force: dict[str, Any] | None = None
    """What the generator says of the force; None for a real table."""
    truth: pl.DataFrame | None = None
    """Who was planted as what; None for a real table."""


def from_events(
    directory: Path,
    *,
    people: int,
    months: int,
    boroughs: int,
    seed: int,
    epsilon: float | None,
    told: Told,
    today: date,
) -> Scenario:
    """Return the synthetic force of a seed, written as events, one folder a borough.

    Args:
        told: Is told how many boroughs of how many are written.
    Raises: ConfigurationError for sizes that make no force, or months without two half-years that are over.
    """
    if months < 2 * WINDOW_MONTHS or months % WINDOW_MONTHS:
        raise ConfigurationError(f"option --months: {months}; features look at half-years, so 12, 18 or 24")
    if (until := date_of_day(Period.of(months).extract_day)) > today:
        raise ConfigurationError(
            f"option --months: findings would go until {until}, which is to come; use fewer months"
        )
    force = generate_events(directory / "force", people=people, months=months, boroughs=boroughs, seed=seed, told=told)
    catalogue_path = SAMPLES / "personnel.catalogue.toml"
    evaluation_cutoff = cutoff_on_or_before(date.fromisoformat(force["evaluation_cutoff"]))
    return Scenario(
        title=f"a synthetic force of {people:,} people in {boroughs} boroughs, {months} months of events (seed {seed})",
        records={name: directory / "force" / "boroughs" / name / SETTINGS for name in force["establishment"]},
        catalogue=load_catalogue(catalogue_path)[1],
        catalogue_path=catalogue_path,
        choices=_choices(SAMPLES / "synthetic.plan.toml", epsilon),
        establishment={name: max(1, count) for name, count in force["establishment"].items()},
        train_from=cutoff_on_or_before(date.fromisoformat(force["first_day"])) + 1,
        train_until=evaluation_cutoff - 1,
        evaluation_cutoff=evaluation_cutoff,
        force=force,
        truth=read_truth(directory / "force"),
    )


def from_table(
    directory: Path, *, table: Path, catalogue: Path, train_until: int, evaluation_cutoff: int, epsilon: float | None
) -> Scenario:
    """Return a real table's scenario. Raises: TableInvalid, ConfigurationError."""
    layout, features = load_catalogue(catalogue)
    if layout.silo is None:
        raise ConfigurationError(f"{catalogue}: field table.silo: name the column that holds the borough")
    # Read once as a whole: the checks of every borough's table, before anything is created.
    whole = read_table(table, layout=layout, catalogue=features, with_silo=True)
    cutoffs = set(whole.cutoff.tolist())
    for name, wanted in (("train-until", train_until), ("test", evaluation_cutoff)):
        if wanted not in cutoffs:
            raise ConfigurationError(f"option --{name}: the table has no rows at cutoff {wanted}")
    assert whole.silo is not None  # noqa: S101 - read with its silo column, for the type checker
    on_duty = Counter(party_id(silo) for silo in whole.silo[whole.cutoff == train_until].tolist())
    paths = split_table(table, layout, directory / "tables")
    tables = {party_id(silo): path for silo, path in paths.items()}
    if idle := sorted(set(tables) - set(on_duty)):
        raise ConfigurationError(f"borough {idle[0]} has no rows at cutoff {train_until}: leave it out of the table")
    return Scenario(
        title=f"the table {table.name}",
        records=tables,
        catalogue=features,
        catalogue_path=catalogue,
        choices=_choices(SAMPLES / "table.plan.toml", epsilon),
        establishment={borough: on_duty[borough] for borough in sorted(tables)},
        train_from=min(cutoffs),
        train_until=train_until,
        evaluation_cutoff=evaluation_cutoff,
    )


def _choices(path: Path, epsilon: float | None) -> PlanChoices:
    choices = PlanChoices.load(path)
    return choices if epsilon is None else choices.model_copy(update={"epsilon": epsilon})
