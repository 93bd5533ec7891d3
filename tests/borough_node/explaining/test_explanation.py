"""An explanation is exact: its parts add up to the score, and its bands and reasons are those that a flag would carry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from borough_node.explaining.explanation import explain
from borough_node.records import Records
from borough_node.scoring.candidates import candidates
from protocol.scorecard.transforms import apply
from tests.world import CATALOGUE, SCORING, World, table

BOROUGH = "borough-1"


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A policy, its finished plan, and one borough's rows, with their raw values."""
    made = World.create(tmp_path_factory.mktemp("explaining") / "world")
    plan = made.approve()
    made.run(plan)
    policy = made.appender.history.public.policy(made.approve_policy(plan))
    records = Records(lambda _: table(BOROUGH, made.people))
    record = made.record(plan)
    _, cohort = records.cohort(record.plan, CATALOGUE, first_cutoff=SCORING, last_cutoff=SCORING)
    yield policy, record, records, cohort
    made.close()


values = st.fixed_dictionaries(
    {name: st.floats(-9, 9) for name in ("alpha", "beta", "gamma")} | {"senior": st.sampled_from([0.0, 1.0])}
)


@settings(max_examples=60, deadline=None)
@given(raw=values, category=st.sampled_from(["first", "second"]))
def test_contributions_and_the_mean_score_add_up_to_the_score(scored, raw, category):
    policy, record, _, _ = scored
    names = record.run.columns.names
    row = np.array([1.0, *(float(apply(CATALOGUE.feature(n).transform, np.array([raw[n]]))[0]) for n in names[1:])])
    found = explain(policy, record, category, row, raw)
    assert found.mean_score + sum(one.contribution for one in found.contributions) == pytest.approx(
        found.score, abs=1e-12
    )
    place = record.plan.categories.index(category)
    weights = record.run.columns.split(record.run.only("evaluation").inputs["weights"])[place]
    assert found.score == pytest.approx(float(row[list(record.run.columns.heads[place])] @ weights), abs=1e-12)
    assert {one.feature: one.value for one in found.contributions} == {
        one: raw[one] for one in CATALOGUE.head(category).features
    }


def test_bands_and_reasons_are_those_that_a_flag_would_carry(scored):
    policy, record, records, cohort = scored
    columns = record.run.columns
    weights = columns.split(record.run.only("evaluation").inputs["weights"])
    medians = [float(np.median(cohort.rows[:, list(h)] @ w)) for h, w in zip(columns.heads, weights, strict=True)]
    generous = policy.model_copy(
        update={
            "rules": tuple(
                rule.model_copy(update={"cap_per_borough": 1000, "threshold": median})
                for rule, median in zip(policy.rules, medians, strict=True)
            )
        }
    )
    flags = list(candidates(generous, record, CATALOGUE, columns, cohort))
    assert len({flag.category for flag in flags}) == 2
    for flag in flags:
        (place,) = np.nonzero(cohort.persons == flag.person)[0]
        raw = records.values(CATALOGUE, person=flag.person, cutoff=SCORING)
        found = explain(generous, record, flag.category, cohort.rows[place], raw)
        assert found.is_eligible
        assert found.score >= found.threshold
        assert (found.score_band, found.stability_band) == (flag.score_band, flag.stability_band)
        assert tuple(reason.feature for reason in found.reasons) == flag.reasons
        assert [reason.text for reason in found.reasons] == [CATALOGUE.feature(name).reason for name in flag.reasons]
        assert found.counterfactual.alone or found.counterfactual.together


def test_who_is_not_eligible_is_told_so(scored):
    policy, record, records, cohort = scored
    person = str(cohort.persons[0])
    raw = records.values(CATALOGUE, person=person, cutoff=SCORING)
    assert raw["senior"] == 0.0
    assert explain(policy, record, "second", cohort.rows[0], raw).is_eligible is False
    assert explain(policy, record, "first", cohort.rows[0], raw).is_eligible is True
