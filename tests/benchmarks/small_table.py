"""A small made-up table in the format of a real one: one row per (person, cutoff), silos, two labels, a stray column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CUTOFFS = (2030, 2031, 2032, 2033)
CATALOGUE = """
[table]
person = "officer"
silo = "silo"
cutoff = "cutoff"

[catalogue]
catalogue_id = "made-up"
version = 1

[[catalogue.protected]]
name = "sex"
title = "Sex"
groups = ["f", "m"]

[[catalogue.heads]]
category = "many_complaints"
title = "Many complaints"
label = "y_many"
prior = 0.1
features = ["complaints", "tenure", "senior"]

[[catalogue.heads]]
category = "sustained_complaint"
title = "A sustained complaint"
label = "y_sust"
prior = 0.1
features = ["complaints", "other"]

[[catalogue.heads]]
category = "absent"
title = "Of which the table has no label"
label = "y_absent"
prior = 0.1
features = ["absent_feature", "complaints"]
"""
TRANSFORMS = {
    "complaints": '{ kind = "count", cap = 3.0 }',
    "tenure": '{ kind = "scaled", center = 14.0, scale = 8.0, limit = 3.0 }',
    "senior": '{ kind = "bounded", low = 0.0, high = 1.0 }',
    "other": '{ kind = "count", cap = 3.0 }',
    "absent_feature": '{ kind = "count", cap = 3.0 }',
}


def write_catalogue(path: Path) -> Path:
    """Write the table's catalogue."""
    parts = [
        f'\n[[catalogue.features]]\nname = "{name}"\ndefinition = "Made up."\nunit = "none"\ntransform = {transform}\n'
        'direction = 0\nreason = "It was taken into account."\nlegal_note = "Synthetic."\n'
        for name, transform in TRANSFORMS.items()
    ]
    path.write_text(CATALOGUE + "".join(parts))
    return path


def made_up_table(*, people: int = 600, silos: int = 6, seed: int = 7) -> pa.Table:
    """Return a table in which complaints predict both labels and one sex has fewer; a third move silo between cutoffs."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[np.ndarray]] = {}
    home, is_f = rng.integers(silos, size=people), rng.random(people) < 0.3
    bent = rng.normal(size=people) - 0.7 * is_f
    for cutoff in CUTOFFS:
        complaints = rng.poisson(np.exp(0.8 * bent))
        risk = np.log1p(complaints) + 0.5 * rng.normal(size=people)
        moved = np.where(rng.random(people) < 0.33, rng.integers(silos, size=people), home)
        new = {
            "officer": np.array([f"person-{n}" for n in range(people)]),
            "cutoff": np.full(people, cutoff),
            "silo": np.array([f"District {n}" for n in moved]),
            "sex": np.where(is_f, "f", "m"),
            "complaints": complaints,
            "tenure": rng.uniform(0, 30, size=people),
            "senior": rng.integers(2, size=people),
            "other": rng.poisson(1.0, size=people),
            "y_many": (risk > 1.6).astype(int),
            "y_sust": (risk + 0.5 * rng.normal(size=people) > 2.0).astype(int),
            "stray": np.array(["text"] * people),
        }
        for name, values in new.items():
            columns.setdefault(name, []).append(values)
    return pa.table({name: np.concatenate(parts) for name, parts in columns.items()})


def write_table(path: Path, *, without: tuple[str, ...] = (), people: int = 600, seed: int = 7) -> Path:
    """Write the table, without some columns."""
    pq.write_table(made_up_table(people=people, seed=seed).drop_columns(list(without)), path)
    return path
