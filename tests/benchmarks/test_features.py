"""The benchmark's pandas pipeline gives the product's features, and a difference is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.features import NOW, Rows, measure, ours, require_equal, theirs
from benchmarks.features_pandas import problems, read
from borough_node.features.extract import INDICATORS
from deploy.force.events.generate import generate_events


@pytest.fixture(scope="module")
def force(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "force"
    generate_events(folder, people=200, months=12, boroughs=2, seed=4, processes=1)
    return folder


@pytest.fixture(scope="module")
def both(force: Path) -> tuple[Rows, Rows]:
    folder = force / "boroughs" / "borough-01"
    mine = ours(folder)
    assert mine.check_s > 0
    assert mine.peak_mb > 0
    return mine.rows, theirs(folder, tuple(mine.rows)).rows


def test_pandas_gives_the_same_features_and_most_of_them_vary(both: tuple[Rows, Rows]):
    mine, other = both
    assert list(mine) == [4051, 4052]
    assert require_equal(mine, other) == sum(len(frame) for frame in mine.values())
    varying = [name for name in INDICATORS if mine[4052][name].nunique() > 1]
    assert len(varying) > len(INDICATORS) // 2


@pytest.mark.parametrize("name", ["overtime_hours", "lookups", "y_roster_manipulation"])
def test_one_different_value_is_seen(both: tuple[Rows, Rows], name: str):
    mine, other = both
    frame = other[4052].copy()
    frame.iloc[3, frame.columns.get_loc(name)] = 1e6
    with pytest.raises(AssertionError, match=name):
        require_equal(mine, other | {4052: frame})


def test_the_generators_tables_pass_the_check_of_both(force: Path):
    for folder in (force / "boroughs").iterdir():
        ours(folder)
        frames = read(folder)
        # Duties that overlap are a warning; there is nothing else to find.
        frames["duties"] = frames["duties"][~frames["duties"]["duty_type"].isin(("rest_day_worked", "court"))]
        assert problems(frames, NOW) < 0.01 * len(frames["duties"])


def test_the_figures_of_a_run_are_those_that_are_promised(force: Path):
    figures = measure(force)
    assert figures["rows"] >= 350
    seconds = [figures[name] for name in ("check_s", "features_s", "pandas_s", "cpu_s", "pandas_cpu_s")]
    assert all(np.isfinite(value) and value > 0 for value in seconds)
    assert figures["ratio"] > 0
    assert figures["peak_mb"] > 50
