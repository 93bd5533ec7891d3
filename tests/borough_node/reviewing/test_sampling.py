"""The control sample: everybody eligible without a flag has the policy's chance, and nobody else any."""

import math
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from borough_node.records import Records
from borough_node.reviewing.sampling import control_sample
from tests.world import CATALOGUE, SCORING, World, table

TODAY = date(2031, 3, 4)
SEED = 20310304


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    made = World.create(tmp_path_factory.mktemp("sampling") / "world")
    plan = made.approve()
    made.run(plan)
    policy = made.appender.history.public.policy(made.approve_policy(plan))
    record = made.record(plan)
    _, cohort = Records(lambda _: table("borough-1", 400)).cohort(
        record.plan, CATALOGUE, first_cutoff=SCORING, last_cutoff=SCORING
    )
    yield policy, record, cohort
    made.close()


def drawn(scored, rate, *, flagged=(), entropy=None, days=60):
    policy, record, cohort = scored
    changed = policy.model_copy(update={"control_rate": rate, "retention_days": days})
    source = entropy or np.random.default_rng(SEED).bytes
    return control_sample(changed, record, cohort, flagged=set(flagged), today=TODAY, entropy=source)


def eligible(scored, category):
    _, record, cohort = scored
    column = record.run.columns.eligible[record.plan.categories.index(category)]
    everybody = cohort.persons if column is None else cohort.persons[cohort.rows[:, column] >= 1]
    return set(map(str, everybody.tolist()))


def test_nobody_is_drawn_at_rate_zero(scored):
    assert drawn(scored, 0.0) == []


def test_nearly_everybody_eligible_is_drawn_at_a_rate_next_to_one(scored):
    found = drawn(scored, math.nextafter(1.0, 0.0))
    for category in ("first", "second"):
        assert {one.person for one in found if one.category == category} == eligible(scored, category)
    assert len(eligible(scored, "second")) == 200


def test_share_of_the_drawn_is_the_rate(scored):
    """Over 100 samples of 600 coins: within 4.9 sd of it; a false alarm once in a million, and the seed is fixed."""
    source = np.random.default_rng(SEED).bytes
    coins = 100 * (len(eligible(scored, "first")) + len(eligible(scored, "second")))
    count = sum(len(drawn(scored, 0.1, entropy=source)) for _ in range(100))
    assert abs(count - 0.1 * coins) < 4.9 * math.sqrt(coins * 0.1 * 0.9)


def test_flagged_are_never_controls_in_their_category(scored):
    flagged = {("first", person) for person in list(eligible(scored, "first"))[:50]}
    found = {(one.category, one.person) for one in drawn(scored, math.nextafter(1.0, 0.0), flagged=flagged)}
    assert not found & flagged
    # In another category a flag means nothing.
    shared = {person for _, person in flagged} & eligible(scored, "second")
    assert shared
    assert all(("second", person) in found for person in shared)


def test_whether_somebody_is_drawn_depends_on_nobody_elses_row(scored):
    """The same coins, one person fewer at the end: everybody else is drawn as before."""
    policy, record, cohort = scored
    fewer = replace(
        cohort,
        rows=cohort.rows[:-1],
        labels=cohort.labels[:-1],
        persons=cohort.persons[:-1],
        groups=cohort.groups[:-1],
    )
    gone = str(cohort.persons[-1])

    def first(people):
        rules = tuple(rule for rule in policy.rules if rule.category == "first")
        changed = policy.model_copy(update={"control_rate": 0.3, "rules": rules})
        source = np.random.default_rng(SEED).bytes
        return control_sample(changed, record, people, flagged=set(), today=TODAY, entropy=source)

    assert [one for one in first(cohort) if one.person != gone] == first(fewer)


def test_people_come_on_the_list_on_days_spread_over_the_retention(scored):
    days = Counter(one.listed_on for one in drawn(scored, math.nextafter(1.0, 0.0), days=10))
    assert set(days) == {(TODAY + timedelta(days=n)).isoformat() for n in range(10)}
    # 600 people on ten days: 60 a day, sd 7.3; within 5 sd on every day.
    assert all(abs(count - 60) < 37 for count in days.values())
