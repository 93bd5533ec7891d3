"""Candidates: whom the policy lets a borough flag, and what a small borough withholds about them."""

import numpy as np
import pytest

from borough_node.records import Records
from borough_node.scoring import candidates as scoring
from borough_node.scoring.candidates import candidates
from protocol.scorecard.model import contributions
from protocol.scorecard.stability import HeadStability
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
    # The policy's own threshold is noised: above it there may be nobody of this borough.
    middle = float(np.median(list(scores_of((policy, record, columns, cohort), "first").values())))
    yield policy.model_copy(update={"rules": with_rules(policy, threshold=middle)}), record, columns, cohort
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


@pytest.fixture
def bands(run, monkeypatch):
    """Return the stability bands of the first category under changed rules, where scores around the median are in doubt."""
    scores = np.array(list(scores_of(run, "first").values()))
    width = len(run[2].heads[0])
    covariance = np.zeros((width, width))
    covariance[0, 0] = (scores.std() / 2) ** 2
    known = HeadStability(
        threshold=float(np.median(scores)),
        covariance=covariance,
        tangent=np.zeros(width),
        offsets=np.zeros(1),
        excess=np.inf,
    )
    monkeypatch.setattr(scoring, "stability", lambda run, category: known)

    def bands(**changes):
        rules = with_rules(run[0], **({"threshold": -1e9, "cap_per_borough": 1000} | changes))
        return {one.person: one.stability_band for one in found(run, rules=rules) if one.category == "first"}

    return bands


def test_stability_is_shown_only_where_its_predictions_are_reliable(bands):
    assert set(bands(stability_error=0.06).values()) == {"withheld"}
    assert set(bands(stability_error=0.05).values()) == {"high", "medium", "low"}


@pytest.mark.parametrize(("demanded", "kept"), [("high", {"high"}), ("medium", {"high", "medium"})])
def test_flags_below_a_demanded_band_are_not_raised_and_take_nobodys_place(bands, demanded, kept):
    expected = {person: name for person, name in bands(stability_error=0.01).items() if name in kept}
    assert bands(stability_error=0.01, minimum_band=demanded) == expected
    capped = bands(stability_error=0.01, minimum_band=demanded, cap_per_borough=3)
    assert list(capped) == list(expected)[:3]


def test_score_band_grows_with_the_distance_to_the_threshold(run):
    _, record, _, _ = run
    scores = scores_of(run, "first")
    spread = float(record.run.only("evaluation").inputs["spread"][0])
    rules = with_rules(run[0], threshold=float(np.median(list(scores.values()))), cap_per_borough=1000)
    for one in found(run, rules=rules):
        if one.category == "first":
            distance = (scores[one.person] - rules[0].threshold) / spread
            assert one.score_band == ("high" if distance >= 1 else "medium" if distance >= 0.5 else "low")
