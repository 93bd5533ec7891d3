"""Drafts: everything that follows from a person's choices is computed, and what is computed holds."""

import math

import pytest

from coordinator.registry import drafting
from coordinator.registry.drafting import PlanChoices, draft_policy
from protocol.aggregation.planning import check_plan
from protocol.errors import ConfigurationError
from protocol.scorecard.capacity import thresholds
from protocol.scorecard.reliability import HeadReliability, ReliabilityRow, reliability
from tests.integration.local import SAMPLES
from tests.world import CATALOGUE, CHOICES


def test_drafted_plan_is_what_its_own_numbers_imply(world):
    plan = world.draft()
    check_plan(plan, CATALOGUE)
    assert plan.people == 4 * world.people
    assert plan.privacy.min_boroughs == 3
    assert [spec.function for spec in plan.releases] == ["second_moment", "gradient", "gradient", "evaluation"]


def test_epsilon_of_the_choices_is_that_of_the_whole_plan_against_colluding_boroughs(world):
    plan = world.draft()
    (worst,) = [one for one in plan.statements if one.adversary == "released sums and 1 borough"]
    assert worst.epsilon == pytest.approx(CHOICES.epsilon, rel=1e-6)


def test_smaller_epsilon_means_more_noise_in_every_release(world):
    loud = world.draft(CHOICES.model_copy(update={"epsilon": 3.0}))
    for one, other in zip(world.draft().releases, loud.releases, strict=True):
        assert other.sigma > one.sigma


def test_minimum_of_boroughs_exceeds_the_colluding_ones(world):
    plan = world.draft(CHOICES.model_copy(update={"min_boroughs_share": 0.01, "colluding": 2}))
    assert plan.privacy.min_boroughs == 3


@pytest.mark.parametrize(("shares", "expected"), [({"any": 0.1}, (24, 24)), ({"first": 0.5, "any": 0.001}, (120, 1))])
def test_capacity_is_a_share_of_the_people_and_at_least_one(world, shares, expected):
    plan = world.draft(CHOICES.model_copy(update={"capacity_share": shares}))
    assert tuple(capacity.flags for capacity in plan.capacities) == expected


def test_category_without_a_capacity_is_named(world):
    with pytest.raises(ConfigurationError, match="second"):
        world.draft(CHOICES.model_copy(update={"capacity_share": {"first": 0.1}}))


def test_drafted_policy_names_the_model_and_thresholds_of_the_published_sums(world, finished):
    record = world.record(finished)
    policy = draft_policy(CHOICES, record=record, roster=world.roster, now=world.clock.now())
    world.appender.history.public.check_new_policy(policy, world.clock.now().date())
    assert policy.model == record.model().digest()
    assert {rule.category: rule.threshold for rule in policy.rules} == thresholds(record.run)
    assert {rule.cap_per_borough for rule in policy.rules} == {math.ceil(2.0 * 24 / 4)}


def test_drafted_policy_carries_the_simulated_error_of_each_categorys_stability(world, finished):
    record = world.record(finished)
    policy = draft_policy(CHOICES, record=record, roster=world.roster, now=world.clock.now())
    found = {head.category: head.error for head in reliability(record.run)}
    assert {rule.category: rule.stability_error for rule in policy.rules} == found
    assert {rule.minimum_band for rule in policy.rules} == {None}


def test_a_band_demanded_of_a_category_is_drafted_where_stability_is_shown_and_refused_elsewhere(
    world, finished, monkeypatch
):
    record = world.record(finished)

    def known(first: float, second: float):
        rows = [(ReliabilityRow("high", 0.9, 0.9 - off, 5.0),) for off in (first, second)]
        heads = (HeadReliability("first", rows[0]), HeadReliability("second", rows[1]))
        monkeypatch.setattr(drafting, "reliability", lambda run: heads)

    def drafted(minimum_band):
        choices = CHOICES.model_copy(update={"minimum_band": minimum_band})
        return draft_policy(choices, record=record, roster=world.roster, now=world.clock.now())

    known(0.01, 0.2)
    assert [rule.minimum_band for rule in drafted({"first": "high"}).rules] == ["high", None]
    with pytest.raises(ConfigurationError, match="minimum_band: second"):
        drafted({"first": "high", "any": "medium"})
    known(0.01, 0.01)
    assert [rule.minimum_band for rule in drafted({"first": "high", "any": "medium"}).rules] == ["high", "medium"]


@pytest.mark.parametrize("name", ["synthetic.plan.toml", "table.plan.toml"])
def test_sample_choices_load(name):
    assert PlanChoices.load(SAMPLES / name).epsilon == 1.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: text.replace("epsilon = 1.0", ""), "epsilon"),
        (lambda text: text.replace("epsilon = 1.0", "epsilon = -1.0"), "epsilon"),
        (lambda text: text.replace("evaluation = 0.12", "evaluation = 0.30"), "shares"),
        (lambda text: "unknown = 1\n" + text, "unknown"),
        (lambda text: "not toml", "line 1"),
    ],
)
def test_wrong_choices_are_refused_by_field(tmp_path, change, named):
    path = tmp_path / "plan.toml"
    path.write_text(change((SAMPLES / "synthetic.plan.toml").read_text()))
    with pytest.raises(ConfigurationError, match=named):
        PlanChoices.load(path)
