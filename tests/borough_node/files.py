"""A made-up borough's files as an operator has them: table, catalogue, settings and the copy of the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.world import CATALOGUE, World, table

SETTINGS = """
id = "{borough}"
state = "."
roster = "roster.json"
genesis = "{genesis}"
signing_key = "file:absent"
tls_ca = "absent"
tls_certificate = "absent"
tls_key = "absent"
coordinator = "absent:1"
table = "table.parquet"
catalogue = "catalogue.toml"
reply_slot_seconds = 1.0
"""


def write_files(world: World, borough: str, *, more: str = "") -> Path:
    """Write a borough's table, catalogue and settings beside its ledger; return the settings' path."""
    folder = world.root / borough
    folder.mkdir(exist_ok=True)
    raw = table(borough, world.people)
    columns = {"person": raw.person, "cutoff": raw.cutoff, **raw.features, **raw.labels, **raw.protected}
    pq.write_table(
        pa.table({name: pa.array(values.tolist()) for name, values in columns.items()}), folder / "table.parquet"
    )
    fields = CATALOGUE.model_dump(mode="json", exclude_none=True)
    (folder / "catalogue.toml").write_text(
        f'table = {{ person = "person", cutoff = "cutoff" }}\ncatalogue = {inline(fields)}\n'
    )
    path = folder / "settings.toml"
    path.write_text(SETTINGS.format(borough=borough, genesis=world.roster.digest()) + more)
    return path


def inline(value: Any) -> str:
    """Return a JSON value as TOML on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {inline(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)
