"""What the demo runs on: the synthetic force, or a real table split into its silos."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from borough_node.sources.layout import TableLayout, load_catalogue
from borough_node.sources.table import party_id, read_table, split_table
from coordinator.registry.drafting import PlanChoices
from deploy.force.generate import generate
from deploy.force.population import CUTOFFS
from protocol.documents.catalogue import FeatureCatalogue
from protocol.errors import ConfigurationError
from protocol.ids import PartyId

SAMPLES = Path(__file__).parent.parent / "samples"


@dataclass(frozen=True)
class Scenario:
    """Tables by borough, and the choices of one plan over them."""

    title: str
    tables: dict[PartyId, Path]
    layout: TableLayout
    catalogue: FeatureCatalogue
    catalogue_path: Path
    choices: PlanChoices
    establishment: dict[PartyId, int]
    """Stands for published figures: people on duty at the last training cutoff."""
    train_from: int
    train_until: int
    evaluation_cutoff: int
    planted: dict[tuple[str, str], str]
    """(person, category) to offender, lesser or lookalike at the evaluation cutoff; empty for a real table."""


def synthetic(directory: Path, *, people: int, boroughs: int, seed: int, epsilon: float | None) -> Scenario:
    """Return the synthetic force of a seed, written as one table a borough."""
    force = generate(people=people, boroughs=boroughs, seed=seed)
    source = directory / "force.parquet"
    pq.write_table(force.table, source)
    planted = {
        (row["person"], row["category"]): row["kind"] for row in force.truth.to_pylist() if row["cutoff"] == CUTOFFS[-1]
    }
    return _scenario(
        f"a synthetic force of {people:,} people in {boroughs} boroughs (seed {seed})",
        directory,
        source,
        SAMPLES / "synthetic.catalogue.toml",
        choices=_choices(SAMPLES / "synthetic.plan.toml", epsilon),
        train_until=CUTOFFS[0],
        evaluation_cutoff=CUTOFFS[-1],
        planted=planted,
    )


def from_table(
    directory: Path, *, table: Path, catalogue: Path, train_until: int, evaluation_cutoff: int, epsilon: float | None
) -> Scenario:
    """Return a real table's scenario. Raises: TableInvalid, ConfigurationError."""
    return _scenario(
        f"the table {table.name}",
        directory,
        table,
        catalogue,
        choices=_choices(SAMPLES / "table.plan.toml", epsilon),
        train_until=train_until,
        evaluation_cutoff=evaluation_cutoff,
        planted={},
    )


def _choices(path: Path, epsilon: float | None) -> PlanChoices:
    choices = PlanChoices.load(path)
    return choices if epsilon is None else choices.model_copy(update={"epsilon": epsilon})


def _scenario(
    title: str,
    directory: Path,
    source: Path,
    catalogue_path: Path,
    *,
    choices: PlanChoices,
    train_until: int,
    evaluation_cutoff: int,
    planted: dict[tuple[str, str], str],
) -> Scenario:
    layout, catalogue = load_catalogue(catalogue_path)
    if layout.silo is None:
        raise ConfigurationError(f"{catalogue_path}: field table.silo: name the column that holds the borough")
    # Read once as a whole: the checks of every borough's table, before anything is created.
    whole = read_table(source, layout=layout, catalogue=catalogue, with_silo=True)
    cutoffs = set(whole.cutoff.tolist())
    for name, wanted in (("train-until", train_until), ("test", evaluation_cutoff)):
        if wanted not in cutoffs:
            raise ConfigurationError(f"option --{name}: the table has no rows at cutoff {wanted}")
    assert whole.silo is not None  # noqa: S101 - read with its silo column, for the type checker
    on_duty = Counter(party_id(silo) for silo in whole.silo[whole.cutoff == train_until].tolist())
    paths = split_table(source, layout, directory / "tables")
    tables = {party_id(silo): path for silo, path in paths.items()}
    if idle := sorted(set(tables) - set(on_duty)):
        raise ConfigurationError(f"borough {idle[0]} has no rows at cutoff {train_until}: leave it out of the table")
    return Scenario(
        title=title,
        tables=tables,
        layout=layout,
        catalogue=catalogue,
        catalogue_path=catalogue_path,
        choices=choices,
        establishment={borough: on_duty[borough] for borough in sorted(tables)},
        train_from=min(cutoffs),
        train_until=train_until,
        evaluation_cutoff=evaluation_cutoff,
        planted=planted,
    )
