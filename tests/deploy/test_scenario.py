"""What the demo runs on: months that are over, and settings that a node and its check can read."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from borough_node.features.personnel import PersonnelReader
from deploy.demo.scenario import Scenario, from_events
from protocol.clock import FixedClock
from protocol.errors import ConfigurationError

TODAY = date(2026, 7, 1)


def scenario(directory: Path, *, months: int = 12, today: date = TODAY) -> Scenario:
    return from_events(
        directory,
        people=200,
        months=months,
        boroughs=2,
        seed=7,
        epsilon=None,
        told=lambda done, total: None,
        today=today,
    )


@pytest.mark.parametrize("months", [6, 13])
def test_months_without_two_half_years_are_refused(tmp_path: Path, months: int):
    with pytest.raises(ConfigurationError, match=f"--months: {months}; features look at half-years"):
        scenario(tmp_path, months=months)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("months", "today"), [(12, date(2026, 6, 30)), (18, date(2026, 7, 1))])
def test_a_force_whose_findings_are_still_to_come_is_refused_before_it_is_written(
    tmp_path: Path, months: int, today: date
):
    with pytest.raises(ConfigurationError, match="--months: findings would go until"):
        scenario(tmp_path, months=months, today=today)
    assert not list(tmp_path.iterdir())


def test_a_node_reads_what_was_written_and_the_establishment_is_who_was_there(tmp_path: Path):
    made = scenario(tmp_path)
    assert (made.train_from, made.train_until, made.evaluation_cutoff) == (4051, 4051, 4052)
    assert set(made.records) == set(made.establishment) == {"borough-01", "borough-02"}
    said: list[str] = []
    now = datetime.combine(TODAY, time(), UTC)
    for borough, settings in made.records.items():
        reader = PersonnelReader(settings, tmp_path / borough, FixedClock(now), lambda event, _: said.append(event))
        table = reader(made.catalogue)
        assert set(table.cutoff.tolist()) == {4051, 4052}
        assert (table.cutoff == 4051).sum() == made.establishment[borough]
    assert said == []
