"""What detection counts: flags within capacity, open cases, look-alikes apart from everybody else."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from benchmarks.detection import CATALOGUE, PLAN, rules, with_rule_starts
from benchmarks.events import read_force
from benchmarks.simulated import SimulatedForce
from borough_node.features.rules import start_weights
from borough_node.sources.layout import load_catalogue
from coordinator.registry.drafting import PlanChoices
from deploy.force.events.generate import generate_events
from deploy.force.truth import figures, highest

PERSONS = np.array(["a", "b", "c", "d", "e", "f", "g"])
TRUTH = pl.DataFrame(
    {
        "staff_no": ["a", "b", "c", "d", "a"],
        "category": ["fraud", "fraud", "fraud", "fraud", "roster_manipulation"],
        "role": ["serious", "lesser", "serious", "lookalike", "lookalike"],
        "open_at_evaluation": [True, True, False, False, False],
    }
)
EVERYBODY = np.ones(7, dtype=bool)


@pytest.fixture(scope="module")
def catalogue():
    return load_catalogue(CATALOGUE)[1]


def test_flags_go_to_the_highest_scores_of_the_eligible():
    scores = np.array([5.0, 9.0, 1.0, 7.0, 3.0, 7.0, 0.0])
    eligible = np.array([True, False, True, True, True, True, True])
    assert PERSONS[highest(scores, eligible, 2)].tolist() == ["d", "f"]
    assert highest(scores, eligible, 100).tolist() == eligible.tolist()


def test_figures_count_open_cases_and_keep_lookalikes_apart():
    flagged = np.isin(PERSONS, ["a", "c", "d", "e"])
    found = figures("fraud", PERSONS, EVERYBODY, flagged, TRUTH)
    assert found["recall_serious"] == 1.0  # of a
    assert found["recall"] == 0.5  # of a and b
    assert found["precision"] == 0.25  # c's case was over
    assert found["lookalike_rate"] == 1.0  # of d
    assert found["base_rate"] == pytest.approx(1 / 3)  # of e, f and g


def test_a_share_of_nobody_is_not_a_number():
    found = figures("fraud", PERSONS, EVERYBODY, np.zeros(7, dtype=bool), TRUTH)
    assert math.isnan(found["precision"])
    assert found["recall"] == 0.0


def test_starts_are_the_rules_of_features_that_the_head_names(catalogue):
    for head in with_rule_starts(catalogue).heads:
        assert head.start
        assert set(head.start) <= set(head.features)
        assert head.start.items() <= start_weights(head.category).items()


def test_a_generated_force_passes_the_check_and_its_rules_order_everybody(tmp_path, catalogue):
    generate_events(tmp_path / "force", people=400, months=12, boroughs=2, seed=4)
    done, later = [], 0
    force = read_force(tmp_path / "force", catalogue, tell=done.append)
    assert done == ["borough-01", "borough-02"] == list(force.tables)
    assert (force.train_until, force.evaluation_cutoff) == (4051, 4052)
    for table in force.tables.values():
        assert set(table.cutoff.tolist()) == {4051, 4052}
    simulated = SimulatedForce(catalogue, force.tables)
    plan = simulated.plan(PlanChoices.load(PLAN), train_until=4051, evaluation_cutoff=4052)
    head = plan.categories.index("roster_manipulation")
    for name, table in force.tables.items():
        findings = pl.read_parquet(tmp_path / "force" / "boroughs" / name / "conduct_findings.parquet")
        about = findings.filter(
            pl.col("category") == "roster_manipulation", pl.col("conduct_from") < pl.date(2025, 7, 1)
        )
        about = about.filter(pl.col("conduct_to") >= pl.date(2025, 1, 1))
        known = about.filter(pl.col("found_at") < pl.datetime(2026, 1, 1, time_zone="UTC"))
        # What every method is trained on is what a node trains on: the findings known at the second cutoff.
        cohort = simulated.cohort(name, "gradient", plan)
        labelled = set(cohort.persons[cohort.labels[:, head] == 1.0])
        assert labelled == set(known["staff_no"]) & set(table.person[table.cutoff == 4051]) != set()
        later += len(about) - len(known)
    assert later > 0
    present = [table.person[table.cutoff == 4052] for table in force.tables.values()]
    persons = np.concatenate(present[::-1]).astype(str)
    scores = rules(force, catalogue, persons)
    assert scores.shape == (len(persons), len(catalogue.heads))
    assert (scores.max(axis=0) > 0).all()
    # The order of the people asked for is the order of the answer.
    again = rules(force, catalogue, persons[::-1])
    assert np.array_equal(again[::-1], scores)
