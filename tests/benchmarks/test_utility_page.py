"""The page on utility: verdicts follow from the rows, and a part that was not measured says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from benchmarks import utility_page
from benchmarks.fairness import RATES

TODAY = datetime(2031, 1, 2, tzinfo=UTC)


def row(method, epsilon, label, auc, *, rounds=3, seed=0):
    figures = {"auc": auc, "ap": 0.25, "p13": 0.5, "rounds": rounds, "seconds": 1.0}
    return {"method": method, "epsilon": epsilon, "label": label, "seed": seed, **figures}


def measured(*, ours=0.884, local=0.84, rounds=3):
    rows = [row("custodes", 1.0, "y_5plus", ours - 0.002, rounds=rounds)]
    rows += [row("custodes", 1.0, "y_5plus", ours + 0.002, rounds=rounds, seed=1)]
    return [*rows, row("local-dp-fedavg", 1.0, "y_5plus", local), row("ebm", None, "y_5plus", 0.9, rounds=None)]


def verdicts(rows):
    return [
        line.split(" | ")[-1].strip("| ")
        for line in utility_page.methods(rows).splitlines()
        if line.startswith("| AUC of")
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["met", "met"]),
        ({"ours": 0.876, "local": 0.8}, ["**missed**", "met"]),
        ({"local": 0.85}, ["met", "**missed**"]),
        ({"rounds": 4}, ["**missed**", "met"]),
    ],
)
def test_verdicts_follow_from_the_rows(given, expected):
    assert verdicts(measured(**given)) == expected


def test_the_margin_over_the_variant_with_our_priors_is_shown_and_is_no_goal():
    text = utility_page.methods([*measured(), row("local-dp-fedavg-prior", 1.0, "y_5plus", 0.881)])
    assert "which is handed our public priors | .003 | no goal |" in text


def test_means_and_spread_are_those_of_the_draws():
    text = utility_page.methods(measured())
    assert "| custodes | 1 | 3 | .884/.250/.500 | 1.0 |" in text
    assert "y_5plus at 1: .882 to .886." in text
    assert "| ebm | none | - | .900/.250/.500 | 1.0 |" in text


def test_groups_show_the_lowest_over_the_highest_and_each_group():
    rows = []
    for strength, rates in ((0.0, (0.01, 0.04)), (1.0, (0.02, 0.04))):
        for group, rate in zip(("F", "M"), rates, strict=True):
            which = {
                "mitigated": "sex",
                "strength": strength,
                "run": 0,
                "label": "y",
                "attribute": "sex",
                "group": group,
            }
            rows.append({**which, "auc": 0.8, "people": 1000, "positives": 50, **dict.fromkeys(RATES, rate)})
    text = utility_page.groups(rows)
    assert "| y | sex | sex | before | 0.25 | 0.25 | 0.25 | .800 |" in text
    assert "| y | sex | sex | 1 | 0.50 | 0.50 | 0.50 | .800 |" in text
    assert "| y | sex | f | 1,000 | .050 | .010 to .020 | .010 to .020 | .010 to .020 |" in text


@pytest.mark.parametrize(("lowest", "verdict"), [(0.86, "met"), (0.84, "**missed**")])
def test_the_synthetic_forces_goal_is_judged_by_its_lowest_draw(lowest, verdict):
    rows = [
        {"category": "fraud", "positives": 60, "run": number, "auc": area, "ap": 0.5}
        for number, area in enumerate((0.99, 0.98, lowest))
    ]
    assert utility_page.planted(rows).endswith(f"{verdict}.")


def test_what_was_not_measured_says_so():
    text = utility_page.page([], [], [], today=TODAY)
    assert text.count("Not measured for this page") == 3
    assert "Rendered on 2031-01-02" in text


def test_the_plot_shows_every_private_method_and_the_best_without_privacy(tmp_path):
    pytest.importorskip("altair")
    utility_page.draw([*measured(), row("adassp", 1.0, "y_5plus", 0.88), row("ebm", None, "y_3plus", 0.8)], tmp_path)
    drawn = (tmp_path / "utility-auc.svg").read_text()
    assert all(text in drawn for text in ("custodes", "adassp", "local-dp-fedavg", "ebm, not private", "y_5plus"))


def test_a_file_without_a_field_is_refused(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"method": "custodes"}]))
    with pytest.raises(SystemExit, match="no field epsilon"):
        utility_page.main(["--utility", str(tmp_path / "rows.json"), "--out", str(tmp_path / "page.md")])
