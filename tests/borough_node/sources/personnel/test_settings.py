"""personnel.toml: every key known, every table named or declared absent, paths relative to the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.settings import PersonnelSettings, is_personnel
from borough_node.sources.personnel.skeleton import SETTINGS, skeleton, write_skeleton
from protocol.errors import ConfigurationError

LINES = 'borough = "borough-01"\ntime_zone = "Europe/London"\n{more}\n[tables]\n' + "".join(
    f'{name} = "{name}.csv"\n' for name in TABLES
)


def load(tmp_path: Path, *, more: str = "", after: str = "", drop: str = "") -> PersonnelSettings:
    path = tmp_path / "personnel.toml"
    path.write_text(LINES.format(more=more).replace(f'{drop} = "{drop}.csv"\n', "") + after)
    return PersonnelSettings.load(path)


def test_paths_are_relative_to_the_file(tmp_path: Path):
    assert load(tmp_path).tables["staff"] == str(tmp_path / "staff.csv")


@pytest.mark.parametrize(
    ("more", "after", "drop", "named"),
    [
        ("", "", "lookups", "lookups"),
        ('absent = ["lookups"]', "", "", "lookups"),
        ('absent = ["duties"]', "", "duties", "duties"),
        ('absent = ["holidays"]', "", "", "holidays"),
        ("", '[mapping.staff]\nshoe_size = "X"\n', "", "shoe_size"),
        ("", '[mapping.staff]\nservice_start = ""\n', "", "service_start"),
        ("", '[values.postings.rank]\nPC = "bobby"\n', "", "bobby"),
        ('naive_times = "guess"', "", "", "naive_times"),
        ("colour = 1", "", "", "colour"),
    ],
)
def test_a_wrong_key_is_refused_by_name(tmp_path: Path, more: str, after: str, drop: str, named: str):
    with pytest.raises(ConfigurationError, match=named):
        load(tmp_path, more=more, after=after, drop=drop)


def test_an_unknown_time_zone_is_refused(tmp_path: Path):
    path = tmp_path / "personnel.toml"
    path.write_text(LINES.format(more="").replace("Europe/London", "Europe/Camelot"))
    with pytest.raises(ConfigurationError, match="time_zone"):
        PersonnelSettings.load(path)


def test_a_relation_needs_a_database(tmp_path: Path):
    path = tmp_path / "personnel.toml"
    path.write_text(LINES.format(more="").replace('"staff.csv"', '"postgresql:hr.staff"'))
    with pytest.raises(ConfigurationError, match="database"):
        PersonnelSettings.load(path)


def test_the_skeleton_loads_and_names_every_table(tmp_path: Path):
    write_skeleton(tmp_path, skeleton("borough-07"))
    settings = PersonnelSettings.load(tmp_path / SETTINGS)
    assert settings.borough == "borough-07"
    assert set(settings.tables) == set(TABLES)
    assert (tmp_path / "templates" / "staff.csv").read_text().startswith("staff_no,service_start,")
    assert (tmp_path / "exports").is_dir()
    assert is_personnel(tmp_path / SETTINGS)


def test_the_skeleton_replaces_nothing(tmp_path: Path):
    (tmp_path / SETTINGS).write_text("mine")
    with pytest.raises(ConfigurationError, match="there already"):
        write_skeleton(tmp_path, skeleton("borough-07"))
    assert (tmp_path / SETTINGS).read_text() == "mine"


def test_a_nodes_settings_are_not_these(tmp_path: Path):
    node = tmp_path / "settings.toml"
    node.write_text('id = "borough-01"\n')
    assert not is_personnel(node)
    assert not is_personnel(tmp_path / "absent.toml")
