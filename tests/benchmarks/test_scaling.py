"""The scaling benchmark: one row a size, the smallest size's cost is the measure of the others."""

from __future__ import annotations

import json

from benchmarks.scaling import main


def test_every_size_is_held_against_the_smallest(capsys):
    assert main(["--clients", "3,5", "--dimension", "20", "--repeats", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["clients"] for row in rows] == [3, 5]
    assert rows[0]["relative"] == 1
    assert all(row["cpu_per_borough_s"] > 0 for row in rows)
