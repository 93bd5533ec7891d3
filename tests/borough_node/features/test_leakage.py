"""Nothing that was entered, amended or dated on or after a cutoff changes a feature at that cutoff."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from borough_node.features.extract import INDICATORS, PROTECTED, rows_as_of
from borough_node.features.personnel import FEATURE_TABLES
from borough_node.sources.contract import TABLES, Table
from borough_node.sources.contract.cutoffs import date_of, window_start
from borough_node.sources.personnel.asof import as_of
from borough_node.sources.personnel.staging import staged
from borough_node.sources.table import PersonnelTable
from tests.personnel import CUTOFF, random_force, random_value, settings_for

MOMENT = datetime.combine(date_of(CUTOFF), datetime.min.time(), UTC)


def is_late(value: object) -> bool:
    if isinstance(value, datetime):
        return value >= MOMENT
    return isinstance(value, date) and value >= MOMENT.date()


def change_what_came_later(
    rng: np.random.Generator, frame: pl.DataFrame, table: Table, staff: list[str]
) -> pl.DataFrame:
    """Change, drop or double every row dated on or after the cutoff, and every value known only from then."""
    changed = []
    for row in frame.to_dicts():
        if is_late(row[table.recorded]) or is_late(row[table.dated]):
            if rng.random() < 0.3:
                continue
            new = {column.name: random_value(rng, column, staff) for column in table.columns}
            # It stays late in the way in which it was late; everything else about it may be anything.
            late = [name for name in (table.recorded, table.dated) if is_late(row[name])]
            changed.append(new | {name: random_value(rng, table.column(name), staff, since=MOMENT) for name in late})
            continue
        for column in table.columns:
            if any(is_late(row[known]) for known in column.known_from):
                late = is_late(row[column.name]) and column.kind in ("date", "time")
                row[column.name] = random_value(rng, column, staff, since=MOMENT if late else None)
        for known in {name for column in table.columns for name in column.known_from}:
            if is_late(row[known]):
                row[known] = random_value(rng, table.column(known), staff, since=MOMENT)
        changed.append(row)
    return pl.DataFrame(changed, schema=table.schema)


def features_of(frames: dict[str, pl.DataFrame], folder: Path) -> PersonnelTable:
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    with staged(settings_for(folder), names=FEATURE_TABLES) as tables:
        return rows_as_of(tables, CUTOFF, features=list(INDICATORS), labels=(), protected=PROTECTED)


def assert_same(ours: PersonnelTable, theirs: PersonnelTable) -> None:
    assert ours.person.tolist() == theirs.person.tolist()
    for name, values in ours.features.items():
        assert np.array_equal(values, theirs.features[name]), name


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_is_dated_or_amended_after_the_cutoff_changes_no_feature(tmp_path: Path, seed: int):
    rng = np.random.default_rng(seed)
    frames = random_force(rng)
    staff = frames["staff"]["staff_no"].to_list()
    later = {name: change_what_came_later(rng, frame, TABLES[name], staff) for name, frame in frames.items()}
    assert any(not frames[name].equals(later[name]) for name in frames)
    assert_same(features_of(frames, tmp_path), features_of(later, tmp_path))


def test_what_came_before_the_cutoff_does_change_features(tmp_path: Path):
    # Otherwise the property above would hold for features that are always zero.
    def values(seed: int) -> dict[str, list[float]]:
        rng = np.random.default_rng(seed)
        frames = random_force(rng, people=30, rows=1500)
        # Random outages last so long that they excuse everything.
        frames["outages"] = frames["outages"].clear()
        early = pl.lit(datetime(2015, 1, 1, tzinfo=UTC))
        frames["staff"] = frames["staff"].with_columns(
            recorded_at=early, service_start=pl.lit(date(2016, 1, 1)), service_end=pl.lit(None, pl.Date)
        )
        frames["postings"] = frames["postings"].with_columns(
            recorded_at=early,
            kind=pl.lit("home"),
            valid_from=pl.lit(date(2020, 1, 1)) + pl.duration(days=seed),
            valid_to=pl.lit(None, pl.Date),
        )
        frames["duties"] = frames["duties"].with_columns(
            planned_end=pl.col("planned_start") + pl.duration(hours=9),
            booked_start=pl.col("planned_start"),
            booked_end=pl.col("planned_start") + pl.duration(hours=11),
            booked_at=pl.col("planned_start") + pl.duration(hours=12),
            created_at=pl.col("planned_start") - pl.duration(days=9),
        )
        return {name: column.tolist() for name, column in features_of(frames, tmp_path).features.items()}

    first, second = values(1), values(2)
    # Random rows hardly ever show the rarest patterns, such as a declared associate who is searched for.
    same = {name for name in first if first[name] == second[name]}
    assert len(same) <= len(INDICATORS) // 4, same


def test_a_finding_made_within_the_window_is_no_feature(tmp_path: Path):
    rng = np.random.default_rng(5)
    frames = random_force(rng)
    without = frames | {
        "conduct_findings": frames["conduct_findings"].filter(
            pl.col("found_at") < datetime.combine(window_start(CUTOFF), datetime.min.time(), UTC)
        )
    }
    assert without["conduct_findings"].height < frames["conduct_findings"].height
    assert_same(features_of(frames, tmp_path), features_of(without, tmp_path))


def test_who_a_person_is_in_protected_terms_changes_no_feature(tmp_path: Path):
    frames = random_force(np.random.default_rng(2))
    others = frames | {"staff": frames["staff"].with_columns(pl.col(name).reverse() for name in PROTECTED)}
    assert not others["staff"].equals(frames["staff"])
    assert_same(features_of(frames, tmp_path), features_of(others, tmp_path))


def test_sickness_is_not_opened_for_features(tmp_path: Path):
    frames = random_force(np.random.default_rng(1))
    features_of(frames, tmp_path)
    (tmp_path / "sickness.parquet").unlink()
    with staged(settings_for(tmp_path), names=FEATURE_TABLES) as tables:
        assert not tables.unreadable
        assert "sickness" not in tables.frames


def test_neither_sickness_nor_findings_about_the_window_are_known_at_a_cutoff(tmp_path: Path):
    for name, frame in random_force(np.random.default_rng(1)).items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    with staged(settings_for(tmp_path)) as tables:
        known = as_of(tables, CUTOFF)
        assert set(TABLES) - set(known.tables) == {"sickness", "conduct_findings"}
        found_at = known.findings_before.collect()["found_at"]
    assert found_at.len() > 0
    assert found_at.max() < datetime.combine(window_start(CUTOFF), datetime.min.time(), UTC)
