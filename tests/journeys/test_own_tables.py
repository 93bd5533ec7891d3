"""An operator with CSV exports alone follows docs/operations.md, section 13, to a passing check."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from borough_node.sources.contract import TABLES
from tests.borough_node.sources.personnel.test_checking import full_force
from tests.personnel import SmallForce


def custodes(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def export(force: SmallForce, folder: Path) -> None:
    """What the borough's systems write: their own names, codes and date format, local times without a zone."""
    for name in set(TABLES) - {"confidential_reports"}:
        times = [column.name for column in TABLES[name].columns if column.kind == "time"]
        days = [column.name for column in TABLES[name].columns if column.kind == "date"]
        frame = force.frame(name).with_columns(
            *(pl.col(name).dt.convert_time_zone("Europe/London").dt.strftime("%d/%m/%Y %H:%M") for name in times),
            *(pl.col(name).dt.strftime("%d/%m/%Y") for name in days),
        )
        if name == "staff":
            frame = frame.rename({"staff_no": "EMP_ID"}).drop("vetting_renewed_on")
        if name == "postings":
            frame = frame.with_columns(rank=pl.lit("PC"))
        frame.write_csv(folder / f"{name}.csv")


def test_from_init_to_a_passing_check(tmp_path: Path):
    folder = tmp_path / "borough-01"
    settings = folder / "personnel.toml"
    custodes("node", "init", str(folder), "--borough", "borough-01", "--dry-run")
    assert not folder.exists()
    custodes("node", "init", str(folder), "--borough", "borough-01")

    force = full_force()
    force.duty("S9", "2025-09-03T08:00")
    export(force, folder / "exports")
    # Nothing is set yet: every table says what it lacks.
    first = json.loads(custodes("node", "check", str(settings), "--json", code=3))
    assert not first["usable"]
    advice = {problem["table"]: problem["advice"] for problem in first["problems"] if problem["rule"] == "unreadable"}
    assert "EMP_ID" not in advice["staff"]
    assert "column staff_no: missing" in advice["staff"]
    assert "no such file" in advice["confidential_reports"]

    text = settings.read_text()
    for old, new in (
        ('confidential_reports = "exports/confidential_reports.csv"\n', ""),
        ("absent = []", 'absent = ["confidential_reports"]'),
        ("# date_format", "date_format"),
        ("# time_format", "time_format"),
        ("# staff_no", "staff_no"),
        ("# vetting_renewed_on", "vetting_renewed_on"),
        ("# PC", "PC"),
    ):
        assert old in text
        text = text.replace(old, new)
    settings.write_text(text)
    second = custodes("node", "check", str(settings), code=3)
    assert "error: duties.staff_no (1 rows): no such person in staff" in second
    assert "S9" not in second
    assert "Not usable: 1 errors." in second

    force.rows["duties"].pop()
    export(force, folder / "exports")
    last = custodes("node", "check", str(settings))
    assert "confidential_reports: absent" in last
    assert "duties: 2 rows, 2025-07 to 2025-12" in last
    assert "Usable. Cutoffs whose half-year is covered: 4052 (2026-01-01)." in last
