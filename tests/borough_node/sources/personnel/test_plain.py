"""A Parquet table read as it stands has the rows that the database's casts make of the same table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.plain import read_plain
from borough_node.sources.personnel.settings import PersonnelSettings
from borough_node.sources.personnel.staging import staged
from protocol.errors import TableInvalid
from tests.borough_node.sources.personnel.test_checking import full_force
from tests.personnel import random_force, settings_for, write_frame


def staged_frames(settings: PersonnelSettings) -> dict[str, pl.DataFrame]:
    with staged(settings) as tables:
        assert tables.unreadable == []
        return {name: frame.select(*TABLES[name].schema, "^person$") for name, frame in tables.frames.items()}


def test_every_table_reads_the_same_plain_and_cast(tmp_path: Path):
    frames = random_force(np.random.default_rng(6))
    # An empty text and a missing one are the same; a person whom staff does not know has no number.
    frames["lookups"] = frames["lookups"].with_columns(case_ref=pl.lit(""))
    frames["expenses"] = frames["expenses"].with_columns(
        staff_no=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("nobody")).otherwise("staff_no")
    )
    for suffix in (".parquet", ".csv"):
        for name, frame in frames.items():
            write_frame(frame, tmp_path / f"{name}{suffix}")
    plain = staged_frames(settings_for(tmp_path))
    cast = staged_frames(settings_for(tmp_path, suffix=".csv"))
    assert list(plain) == list(cast) == list(TABLES)
    for name, frame in plain.items():
        assert read_plain(tmp_path / f"{name}.parquet", TABLES[name], settings_for(tmp_path)) is not None
        assert_frame_equal(frame, cast[name], check_row_order=False)
    assert plain["lookups"]["case_ref"].null_count() == plain["lookups"].height
    assert plain["expenses"]["person"].null_count() == 3
    assert plain["duties"]["person"].null_count() == 0


@pytest.mark.parametrize(
    ("table", "narrow", "plain"),
    [
        ("duties", pl.col("overtime_minutes").cast(pl.Int16), True),
        ("duties", pl.col("planned_start").dt.cast_time_unit("ns"), True),
        ("duties", pl.col("planned_start").dt.convert_time_zone("Europe/London"), True),
        ("attendance_claims", pl.col("policy_office_share").cast(pl.Decimal(6, 3)), False),
        ("duties", pl.col("duty_type").cast(pl.Categorical), False),
        ("duties", pl.col("planned_start").dt.to_string("%Y-%m-%dT%H:%M:%SZ"), False),
    ],
)
def test_other_types_give_the_same_values(tmp_path: Path, table: str, narrow: pl.Expr, plain: bool):
    settings = full_force().write(tmp_path)
    expected = staged_frames(settings)[table]
    path = tmp_path / f"{table}.parquet"
    pl.read_parquet(path).with_columns(narrow).write_parquet(path)
    assert (read_plain(path, TABLES[table], settings) is not None) == plain
    assert_frame_equal(staged_frames(settings)[table], expected, check_row_order=False)


def test_a_number_that_is_none_fails_plain_as_it_does_cast(tmp_path: Path):
    settings = full_force().write(tmp_path)
    path = tmp_path / "attendance_claims.parquet"
    pl.read_parquet(path).with_columns(policy_office_share=pl.lit(float("nan"))).write_parquet(path)
    with staged(settings) as tables:
        assert tables.frames["attendance_claims"]["policy_office_share__failed"].to_list() == [True]


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_a_file_cut_short_is_refused_and_nothing_of_it_is_told(tmp_path: Path, kept: float):
    settings = full_force().write(tmp_path)
    path = tmp_path / "duties.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(TableInvalid, match="unreadable or truncated") as refused:
        read_plain(path, TABLES["duties"], settings)
    assert "planner" not in refused.value.detail


def test_damage_ends_as_a_refusal_even_where_the_reader_panics(tmp_path: Path):
    settings = full_force().write(tmp_path)
    whole, rng = (tmp_path / "duties.parquet").read_bytes(), np.random.default_rng(3)
    path, refused = tmp_path / "duties.parquet", 0
    for _ in range(60):
        damaged = np.frombuffer(whole, dtype=np.uint8).copy()
        damaged[rng.integers(damaged.size, size=6)] = rng.integers(256, size=6)
        path.write_bytes(damaged.tobytes())
        try:
            read_plain(path, TABLES["duties"], settings)
        except TableInvalid:
            refused += 1
    # A byte within a value can pass for another value: that is for the check and for whoever exports.
    assert refused > 30
