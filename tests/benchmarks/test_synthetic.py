"""Accuracy on a small synthetic force: every category, every run, and the summary of them."""

from __future__ import annotations

import json

import pytest

from benchmarks import synthetic
from deploy.force.generate import OFFENCES


def test_it_prints_one_object_a_category_and_run(capsys):
    words = ["--people", "3000", "--boroughs", "4", "--seed", "5", "--runs", "2", "--epsilon", "8", "--json"]
    assert synthetic.main(words) == 0
    rows = json.loads(capsys.readouterr().out)
    categories = [offence.category for offence in OFFENCES]
    assert [(row["run"], row["category"]) for row in rows] == [(n, name) for n in (0, 1) for name in categories]
    roster = [row for row in rows if row["category"] == "roster_manipulation"]
    # Two standard deviations on four features: chance would be .5.
    assert all(row["auc"] > 0.75 for row in roster)
    assert roster[0]["auc"] != roster[1]["auc"]


def test_the_summary_holds_mean_lowest_and_highest():
    rows = [
        {"category": "one", "positives": 4, "run": number, "auc": area, "ap": 0.5}
        for number, area in enumerate((0.9, 0.8, 1.0))
    ]
    assert synthetic.summary(rows) == [
        {
            "category": "one",
            "positives": 4,
            "runs": 3,
            "auc_mean": pytest.approx(0.9),
            "auc_low": 0.8,
            "auc_high": 1.0,
            "ap_mean": 0.5,
        }
    ]
