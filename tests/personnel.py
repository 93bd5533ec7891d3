"""A few people with a few rows in every table of the personnel contract, for tests: valid unless a test spoils them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from borough_node.sources.contract import TABLES
from borough_node.sources.contract.column import Column
from borough_node.sources.personnel.settings import PersonnelSettings

BOROUGH = "borough-01"
CUTOFF = 4052
"""1 January 2026: the window is July to December 2025."""
NOW = datetime(2026, 2, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """An instant from ISO text, UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class SmallForce:
    """Rows of every table, as dictionaries."""

    def __init__(self, people: int = 3) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        self.add("sites", site="yard", borough=BOROUGH, badge_readers=True, recorded_at=LONG_AGO)
        self.add("sites", site="annex", borough=BOROUGH, badge_readers=False, recorded_at=LONG_AGO)
        for number in range(1, people + 1):
            self.person(f"S{number}")
        # So that the duties cover the window: one ordinary shift at either end.
        for day in ("2025-07-01", "2025-12-30"):
            self.duty("S1", f"{day} 08:00")

    def add(self, table: str, **values: Any) -> dict[str, Any]:
        """Add a row; columns that are not given are empty, or their number if they are the key."""
        row = dict.fromkeys(column.name for column in TABLES[table].columns) | values
        for name in TABLES[table].key:
            if row[name] is None:
                row[name] = f"{table[:3]}-{len(self.rows[table]) + 1:04d}"
        self.rows[table].append(row)
        return row

    def person(self, staff_no: str, *, rank: str = "constable", role: str = "response") -> None:
        self.add("staff", staff_no=staff_no, service_start=date(2015, 6, 1), sex="f", recorded_at=LONG_AGO)
        self.add(
            "postings",
            staff_no=staff_no,
            kind="home",
            borough=BOROUGH,
            unit="team-a",
            role=role,
            rank=rank,
            shift_pattern="rotating",
            valid_from=date(2020, 1, 1),
            recorded_at=LONG_AGO,
        )

    def duty(self, staff_no: str, start: str, hours: float = 8, **values: Any) -> dict[str, Any]:
        begin = at(start)
        end = begin + timedelta(hours=hours)
        usual = {
            "duty_type": "shift",
            "site": "yard",
            "planned_start": begin,
            "planned_end": end,
            "booked_start": begin,
            "booked_end": end,
            "created_at": begin - timedelta(days=20),
            "created_by": "planner",
            "booked_at": end,
            "booked_by": "planner",
        }
        return self.add("duties", staff_no=staff_no, **(usual | values))

    def badge(self, staff_no: str, moment: str, **values: Any) -> None:
        usual = {"site": "yard", "reader": "door-1", "direction": "in"}
        self.add("access_events", staff_no=staff_no, at=at(moment), **(usual | values))

    def claim(self, staff_no: str, day: str, location: str = "office", **values: Any) -> None:
        usual = {"site": "yard", "policy_office_share": 0.8, "entered_at": at(day) + timedelta(days=1)}
        self.add(
            "attendance_claims",
            staff_no=staff_no,
            claim_date=date.fromisoformat(day),
            claimed_location=location,
            entered_by=staff_no,
            **(usual | values),
        )

    def expense(self, staff_no: str, day: str, pence: int, **values: Any) -> None:
        usual = {"category": "subsistence", "receipt": True, "submitted_at": at(day) + timedelta(days=3)}
        self.add(
            "expenses", staff_no=staff_no, incurred_on=date.fromisoformat(day), amount_pence=pence, **(usual | values)
        )

    def lookup(self, staff_no: str, moment: str, **values: Any) -> None:
        usual = {"system": "crime", "subject_vulnerable": False}
        self.add("lookups", staff_no=staff_no, at=at(moment), **(usual | values))

    def frame(self, table: str) -> pl.DataFrame:
        return pl.DataFrame(self.rows[table], schema=TABLES[table].schema)

    def write(self, folder: Path, *, suffix: str = ".parquet", absent: tuple[str, ...] = ()) -> PersonnelSettings:
        """Write every table and return the settings that read them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            write_frame(self.frame(name), folder / f"{name}{suffix}")
        return settings_for(folder, suffix=suffix, absent=absent)


def settings_for(folder: Path, *, suffix: str = ".parquet", absent: tuple[str, ...] = ()) -> PersonnelSettings:
    return PersonnelSettings(
        borough=BOROUGH,
        time_zone="Europe/London",
        tables={name: str(folder / f"{name}{suffix}") for name in TABLES if name not in absent},
        absent=absent,
    )


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    else:
        frame.write_parquet(path)


def random_force(rng: np.random.Generator, *, people: int = 6, rows: int = 25) -> dict[str, pl.DataFrame]:
    """Tables of random rows around the cutoff, of the right types and values, whether sensible together or not."""
    staff = [f"S{number}" for number in range(people)]
    frames = {}
    for name, table in TABLES.items():
        count = people if name in ("staff", "postings") else rows
        columns = {column.name: _random_values(rng, column, count, staff) for column in table.columns}
        if name in ("staff", "postings"):
            columns["staff_no"] = staff
        if name == "sites":
            columns["site"] = ["yard", "annex", *(f"site-{number}" for number in range(count - 2))]
        frames[name] = pl.DataFrame(columns, schema=table.schema)
    return frames


def _random_values(rng: np.random.Generator, column: Column, count: int, staff: list[str]) -> list[Any]:
    return [None if column.optional and rng.random() < 0.4 else random_value(rng, column, staff) for _ in range(count)]


def random_value(rng: np.random.Generator, column: Column, staff: list[str], *, since: datetime | None = None) -> Any:
    """A value that the contract allows; times from ``since``, or from ten months before the cutoff to two after it."""
    first = since or datetime(2025, 3, 1, tzinfo=UTC)
    moment = first + timedelta(minutes=int(rng.integers(0, (NOW + timedelta(days=30) - first).days * 1440)))
    if column.name == "borough":
        return BOROUGH
    if column.refers == "staff":
        return str(rng.choice(staff))
    if column.refers == "sites":
        return str(rng.choice(["yard", "annex"]))
    match column.kind:
        case "text":
            return str(rng.choice(column.allowed)) if column.allowed else f"{column.name}-{rng.integers(0, 12)}"
        case "whole":
            return int(rng.integers(int(column.low or 0), 600))
        case "number":
            return float(rng.random())
        case "flag":
            return bool(rng.random() < 0.5)
        case "date":
            return moment.date()
        case "time":
            return moment
