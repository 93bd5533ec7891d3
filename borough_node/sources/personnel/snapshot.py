"""The last tables that passed the check, kept as Parquet: what features are computed from while a source is bad.

Rules this module keeps: a snapshot is whole or not there (flushed to disk, then named by one atomic replacement);
only the newest stays; its folder is the node's own, and as sensitive as the sources.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import datetime
from pathlib import Path

import polars as pl

from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.settings import PersonnelSettings
from borough_node.sources.personnel.staging import Staged
from protocol.durable import write_durably
from protocol.errors import StorageError

CURRENT = "current.json"
"""Names the folder of the last good snapshot."""


def save(staged: Staged, directory: Path, *, now: datetime) -> None:
    """Keep the staged tables, which were checked, as the last good ones.

    Raises: StorageError if they cannot be written; the snapshot before stays.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = directory / f"snapshot-{_next_number(directory):06d}"
        folder.mkdir(mode=0o700)
        for name, frame in staged.frames.items():
            _write(name, frame, folder / f"{name}.parquet")
        told = {"snapshot": folder.name, "taken_at": now.isoformat(), "absent": list(staged.settings.absent)}
        write_durably(directory / CURRENT, json.dumps(told).encode())
        for old in directory.glob("snapshot-*"):
            if old != folder:
                shutil.rmtree(old)
    except OSError as error:
        raise StorageError(f"snapshot in {directory}: {type(error).__name__}: {error.strerror}") from None


def last_good(directory: Path, *, of: PersonnelSettings) -> PersonnelSettings | None:
    """Return settings that read the last good snapshot; None: there is none.

    Raises: StorageError if it is damaged.
    """
    try:
        told = json.loads((directory / CURRENT).read_text(encoding="utf-8"))
        folder = directory / str(told["snapshot"])
        there = {name: str(folder / f"{name}.parquet") for name in TABLES if (folder / f"{name}.parquet").exists()}
        absent = tuple(name for name in TABLES if name in told["absent"] or name not in there)
        return PersonnelSettings(
            borough=of.borough,
            time_zone=of.time_zone,
            tables={name: place for name, place in there.items() if name not in absent},
            absent=absent,
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        # A ValueError also if a table that must be there is gone.
        raise StorageError(f"snapshot in {directory}: {type(error).__name__}") from None


def _write(name: str, frame: pl.DataFrame, target: Path) -> None:
    frame.select(column.name for column in TABLES[name].columns).write_parquet(target)
    target.chmod(0o600)
    with target.open("rb") as written:
        os.fsync(written.fileno())


def _next_number(directory: Path) -> int:
    numbers = [
        int(found.group(1)) for path in directory.iterdir() if (found := re.fullmatch(r"snapshot-(\d+)", path.name))
    ]
    return max(numbers, default=0) + 1
