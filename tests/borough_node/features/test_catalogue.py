"""The sample catalogue of the personnel contract is what the indicators say, and what a catalogue must be."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from borough_node.features.catalogue import HEADS, render
from borough_node.features.extract import INDICATORS, SUBJECTS
from borough_node.features.rules import RULES, rule_scores, start_weights
from borough_node.sources.contract.cutoffs import LABELS
from borough_node.sources.layout import load_catalogue
from protocol.documents.catalogue import FeatureCatalogue
from protocol.scorecard.transforms import apply

SAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "samples" / "personnel.catalogue.toml"


@pytest.fixture(scope="module")
def catalogue() -> FeatureCatalogue:
    return load_catalogue(SAMPLE)[1]


def test_the_sample_is_what_the_indicators_render():
    assert SAMPLE.read_text(encoding="utf-8") == render()


def test_there_are_sixty_to_a_hundred_features_each_with_one_entry(catalogue: FeatureCatalogue):
    names = [feature.name for feature in catalogue.features]
    assert 60 <= len(names) <= 100
    assert names == list(INDICATORS)
    assert len(names) == sum(len(subject.indicators) for subject in SUBJECTS)


def test_a_head_uses_about_ten_features_and_a_label_of_the_contract(catalogue: FeatureCatalogue):
    assert {head.category for head in catalogue.heads} == set(LABELS.values()) == set(RULES)
    for head in catalogue.heads:
        assert 7 <= len(head.features) <= 12
        assert LABELS[head.label] == head.category


def test_only_senior_grades_are_eligible_for_attendance(catalogue: FeatureCatalogue):
    assert {head.category: head.eligible for head in catalogue.heads if head.eligible} == {
        "false_attendance": "senior_grade"
    }


def test_no_feature_reads_sickness_age_or_a_protected_attribute():
    forbidden = re.compile(r"sickness|other_absence|\bsex\b|ethnicity|age_band|certified")
    assert not [one.name for one in INDICATORS.values() if forbidden.search(str(one.value))]
    # What the expression says is what is searched: a column and a value both stand in it.
    assert "premium_gain" in str(INDICATORS["swaps_gaining_premium"].value)
    assert "mutual_aid" in str(INDICATORS["mutual_aid_duties"].value)


def test_reasons_speak_to_the_person_and_workload_accuses_nobody(catalogue: FeatureCatalogue):
    for feature in catalogue.features:
        assert feature.reason.endswith(".")
        assert feature.legal_note
        if feature.direction == 0:
            assert "taken into account" in feature.reason


@pytest.mark.parametrize("category", RULES)
def test_rules_use_features_of_their_head_and_start_where_points_lie(catalogue: FeatureCatalogue, category: str):
    head = catalogue.head(category)
    weights = start_weights(category)
    assert set(weights) == {rule.feature for rule in RULES[category]} <= set(head.features)
    # As a head's start they pass the catalogue's own checks: features of the head, along their direction.
    fields = catalogue.model_dump()
    fields["heads"] = tuple(
        {**one.model_dump(), "start": weights} if one.category == category else one.model_dump()
        for one in catalogue.heads
    )
    assert FeatureCatalogue.model_validate(fields).head(category).start == weights
    for rule in RULES[category]:
        reached = apply(INDICATORS[rule.feature].transform, np.array([float(rule.at_least)]))[0]
        assert weights[rule.feature] * reached == pytest.approx(rule.points / 2, abs=1e-3)


def test_rule_points_count_thresholds_and_a_fraction_orders_ties():
    nothing = {one: np.zeros(3) for one in INDICATORS}
    features = nothing | {"duplicate_expenses": np.array([0.0, 2.0, 3.0])}
    scores = rule_scores("fraud", features)
    assert np.floor(scores).tolist() == [0, 0, 3]
    assert scores[1] > scores[0]
    everything = {one: np.full(1, 1e6) for one in INDICATORS}
    assert np.floor(rule_scores("fraud", everything))[0] == sum(rule.points for rule in RULES["fraud"])


def test_heads_of_the_sample_are_those_of_the_choices(catalogue: FeatureCatalogue):
    assert [(head.category, head.features) for head in catalogue.heads] == [
        (choice.category, choice.features) for choice in HEADS
    ]
