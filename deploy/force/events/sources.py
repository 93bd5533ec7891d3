"""The settings of a generated borough: what its node and ``custodes node check`` read."""

from __future__ import annotations

from pathlib import Path

from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.skeleton import SETTINGS

TIME_ZONE = "Europe/London"
"""Of the whole force; see `deploy.force.events.period`."""


def write_settings(directory: Path) -> None:
    """Write ``personnel.toml`` beside the tables of the borough that ``directory`` is named after."""
    lines = [f'borough = "{directory.name}"', f'time_zone = "{TIME_ZONE}"', "", "[tables]"]
    lines += [f'{name} = "{name}.parquet"' for name in TABLES]
    (directory / SETTINGS).write_text("\n".join(lines) + "\n", encoding="utf-8")
