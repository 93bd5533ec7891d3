"""The training benchmark: its catalogue and rows fit each other, and its profile names who spent the time."""

from __future__ import annotations

import json
import os
import time

import pyarrow.parquet as pq

from benchmarks.training import CUTOFFS, FEATURES, HEADS, by_subsystem, catalogue_text, main, profiling, rows, subsystem
from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import read_table, split_table
from protocol.aggregation import noise


def test_rows_are_read_as_the_catalogue_wants_them(tmp_path):
    (tmp_path / "c.toml").write_text(catalogue_text())
    layout, catalogue = load_catalogue(tmp_path / "c.toml")
    assert len(catalogue.features) == FEATURES
    assert (
        [len(head.features) for head in catalogue.heads]
        == [len(places) for places in HEADS.values()]
        == [60, 60, 10, 10]
    )
    pq.write_table(rows(40, 4), tmp_path / "rows.parquet")
    tables = split_table(tmp_path / "rows.parquet", layout, tmp_path / "tables")
    read = [read_table(path, layout=layout, catalogue=catalogue, with_silo=False) for path in tables.values()]
    assert [table.rows for table in read] == [10 * len(CUTOFFS)] * 4


def test_rows_are_the_same_in_every_run():
    assert rows(20, 2).equals(rows(20, 2))


def test_time_is_booked_to_who_called():
    with profiling() as profiles:
        began = time.thread_time()
        while time.thread_time() - began < 0.2:
            noise.discrete_gaussian(5_000, sigma=2.0**12, entropy=os.urandom)
    found = by_subsystem(profiles)
    assert found["protocol.aggregation"] == max(found.values())
    assert subsystem(noise.__file__) == "protocol.aggregation"


def test_small_federation_trains_and_every_release_has_its_time(capsys):
    assert main(["--people", "1600", "--boroughs", "2", "--slot", "0.01", "--processes", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [one["function"] for one in figures["releases"]] == [
        "second_moment",
        "gradient",
        "gradient",
        "evaluation",
        "fairness",
        "drift",
    ]
    assert abs(sum(one["seconds"] for one in figures["releases"]) - figures["seconds"]) < 0.1
