"""Candidates: whom the policy lets a borough flag, and what a small borough withholds about them."""

import numpy as np
import pytest

from borough_node.records import Records
from borough_node.scoring.candidates import candidates
from protocol.scorecard.model import contributions
from tests.world import CATALOGUE, SCORING, World, table


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished plan, its policy, and one borough's cohort."""
    made = World.create(tmp_path_factory.mktemp("candidates") / "world")
    plan = made.approve()
    made.run(plan)
    record = made.record(plan)
    policy = made.appender.history.public.policy(made.approve_policy(plan))
    columns, cohort = Records(lambda _: table("borough-1", made.people)).cohort(
        record.plan, CATALOGUE, first_cutoff=SCORING, last_cutoff=SCORING
    )
    yield policy, record, columns, cohort
    made.close()


def found(run, **changes):
    policy, record, columns, cohort = run
    return list(candidates(policy.model_copy(update=changes), record, CATALOGUE, columns, cohort))


def with_rules(policy, **changes):
    return tuple(rule.model_copy(update=changes) for rule in policy.rules)


def scores_of(run, category):
    _, record, columns, cohort = run
    features = {name: cohort.rows[:, place] for place, name in enumerate(columns.names)}
    return dict(zip(cohort.persons, contributions(record.model().scorecard(category), features)[0], strict=True))


def test_everybody_at_or_above_the_threshold_is_found_highest_first(run):
    rules = with_rules(run[0], cap_per_borough=1000)
    own = [one.person for one in found(run, rules=rules) if one.category == "first"]
    scores = scores_of(run, "first")
    expected = sorted((p for p in scores if scores[p] >= rules[0].threshold), key=lambda p: -scores[p])
    assert own == expected
    assert own


def test_cap_keeps_the_highest_scores(run):
    everybody = [
        one.person for one in found(run, rules=with_rules(run[0], cap_per_borough=1000)) if one.category == "first"
    ]
    capped = [one.person for one in found(run, rules=with_rules(run[0], cap_per_borough=2)) if one.category == "first"]
    assert capped == everybody[:2]
    assert found(run, rules=with_rules(run[0], cap_per_borough=0)) == []


def test_only_eligible_people_are_found(run):
    _, _, columns, cohort = run
    senior = dict(zip(cohort.persons, cohort.rows[:, columns.names.index("senior")], strict=True))
    low = with_rules(run[0], threshold=-1e9, cap_per_borough=1000)
    own = [one.person for one in found(run, rules=low) if one.category == "second"]
    assert own
    assert set(own) == {person for person, value in senior.items() if value >= 1}


def test_small_borough_withholds_bands_and_reasons(run):
    small = found(run, min_population=10_000)
    assert small
    for one in small:
        assert (one.score_band, one.stability_band, one.reasons) == ("withheld", "withheld", ())


def test_population_is_counted_among_the_eligible_of_the_category(run):
    """30 of 60 people are eligible in the second category: it withholds, the first does not."""
    rules = with_rules(run[0], threshold=-1e9)
    bands = {(one.category, one.score_band == "withheld") for one in found(run, rules=rules, min_population=40)}
    assert bands == {("first", False), ("second", True)}


def test_reasons_are_the_heads_own_features_and_no_more_than_the_policy_allows(run):
    for most in (0, 1, 2):
        for one in found(run, max_reasons=most):
            assert len(one.reasons) <= most
            assert set(one.reasons) <= set(CATALOGUE.head(one.category).features)


def test_score_band_grows_with_the_distance_to_the_threshold(run):
    _, record, _, _ = run
    scores = scores_of(run, "first")
    spread = float(record.run.only("evaluation").inputs["spread"][0])
    rules = with_rules(run[0], threshold=float(np.median(list(scores.values()))), cap_per_borough=1000)
    for one in found(run, rules=rules):
        if one.category == "first":
            distance = (scores[one.person] - rules[0].threshold) / spread
            assert one.score_band == ("high" if distance >= 1 else "medium" if distance >= 0.5 else "low")
