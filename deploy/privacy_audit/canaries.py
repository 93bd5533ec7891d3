"""Canaries: made-up people who stand in the boroughs' tables or not by the toss of a coin.

Rules this module keeps: a canary resembles nobody, it is a number and a row of random signs; every feature lies on a
bound of the catalogue, so that every row is longer than the clip and its contribution as large as one may be; what a
canary contributes is computed by the boroughs' own code, because the attacker of differential privacy knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from borough_node.records import Records
from borough_node.sources.table import PersonnelTable
from borough_node.training.vectors import FUNCTIONS
from oversight.audit.privacy import BoolArray, Float64Array
from protocol.aggregation.encoding import quantised_sum
from protocol.aggregation.planning import rows_per_person
from protocol.documents.plan import ReleaseSpec
from protocol.history.public import PlanRecord
from protocol.ids import PartyId

BOROUGHS: tuple[PartyId, ...] = ("borough-1", "borough-2", "borough-3", "borough-4")
FEATURES = tuple(f"sign_{number:02d}" for number in range(1, 63))
"""With the intercept 63 columns: 2,016 entries of the second moment, twice as many as 1,000 canaries need."""

TRAINING, EVALUATION = 2000, 2001


@dataclass(frozen=True, slots=True, eq=False)
class Canaries:
    """All canaries of an audit, in and out."""

    signs: Float64Array
    """Shape (canaries, features): -1 or 1, the catalogue's bounds."""
    labels: Float64Array
    included: BoolArray
    """The coins."""

    @classmethod
    def toss(cls, count: int, *, seed: int | None) -> Canaries:
        """Return new canaries with fair, independent coins.

        Args:
            seed: Repeats canaries and coins; never the noise. None: from the operating system's entropy.
        """
        rng = np.random.default_rng(seed)
        return cls(
            signs=rng.choice([-1.0, 1.0], size=(count, len(FEATURES))),
            labels=rng.integers(2, size=count).astype(np.float64),
            included=rng.integers(2, size=count).astype(np.bool_),
        )

    @property
    def count(self) -> int:
        """All of them, in and out."""
        return self.included.size

    def establishment(self) -> dict[PartyId, int]:
        """Return how many canaries each borough might have: the plan's published number of people."""
        return {borough: int((self._boroughs() == place).sum()) for place, borough in enumerate(BOROUGHS)}

    def table(self, borough: PartyId) -> PersonnelTable:
        """Return a borough's table: the canaries dealt to it whose coin said in."""
        return self._rows(self.included & (self._boroughs() == BOROUGHS.index(borough)))

    def write_tables(self, directory: Path) -> dict[PartyId, Path]:
        """Write each borough's table and return the files."""
        directory.mkdir(parents=True)
        files = {borough: directory / f"{borough}.parquet" for borough in BOROUGHS}
        for borough, path in files.items():
            table = self.table(borough)
            columns = {"person": table.person, "cutoff": table.cutoff, **table.features, **table.labels}
            pq.write_table(pa.table({name: pa.array(list(values)) for name, values in columns.items()}), path)
        return files

    def contributions(self, record: PlanRecord, spec: ReleaseSpec) -> Float64Array:
        """Return what each canary adds to a second moment when it is in, shape (canaries, length), ring units.

        The boroughs' own code computes it, from the table's values to the rounding.
        """
        plan = record.plan
        everybody = Records(lambda _: self._rows(np.ones(self.count, dtype=np.bool_)))
        columns, cohort = everybody.cohort_for(spec.function, plan, record.catalogue)
        rows = np.concatenate(list(FUNCTIONS[spec.function](plan, columns, {}, cohort)))
        people = rows_per_person(spec, plan.privacy)
        return np.array(
            [
                quantised_sum([row[None]], length=spec.length, l2=spec.l2, scale=plan.scale, rows_per_person=people)
                for row in rows
            ],
            dtype=np.float64,
        )

    def _boroughs(self) -> npt.NDArray[np.int64]:
        return np.arange(self.count) % len(BOROUGHS)

    def _rows(self, chosen: BoolArray) -> PersonnelTable:
        """Return two rows of each chosen canary, alike: one to train on, one for the evaluation."""
        number = int(chosen.sum())
        names = np.array([f"CANARY-{place:04d}" for place in np.flatnonzero(chosen)] * 2, dtype=object)
        signs = np.tile(self.signs[chosen], (2, 1))
        return PersonnelTable(
            person=names,
            cutoff=np.repeat(np.array([TRAINING, EVALUATION]), number),
            silo=None,
            features={name: signs[:, place].copy() for place, name in enumerate(FEATURES)},
            labels={"y_canary": np.tile(self.labels[chosen], 2)},
            protected={},
        )


def catalogue_text() -> str:
    """Return the catalogue of canaries, as a node reads it."""
    heads = ", ".join(f'"{name}"' for name in FEATURES)
    features = "\n".join(
        f"""
[[catalogue.features]]
name = "{name}"
definition = "A random sign."
unit = "none"
transform = {{ kind = "bounded", low = -1.0, high = 1.0 }}
direction = 0
reason = "A random sign."
legal_note = "Of a canary: no person's."
"""
        for name in FEATURES
    )
    return f"""
[table]
person = "person"
cutoff = "cutoff"

[catalogue]
catalogue_id = "canaries"
version = 1
protected = []

[[catalogue.heads]]
category = "canary"
title = "Canaries of a noise audit"
label = "y_canary"
prior = 0.5
features = [{heads}]
{features}"""
