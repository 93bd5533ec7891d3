"""Outcomes feed back: a plan, its flags and a control sample, reviews, and the next plan that counts and learns from them."""

import numpy as np
import pytest

from protocol.documents.plan import Shares
from protocol.errors import PlanInvalid
from protocol.scorecard.outcomes import outcome_figures
from protocol.sealing.pseudonym import pseudonym
from tests.reviewing import open_flag, refer, review_everybody, truth
from tests.world import CHOICES, SCORING, World, table

COUNTING = CHOICES.model_copy(
    update={
        "shares": Shares(
            second_moment=0.1, gradients=0.3, group_moments=0.0, evaluation=0.2, fairness=0.0, drift=0.0, outcomes=0.4
        )
    }
)
RATE = 0.4


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """A force whose first policy's flags are all raised, half of them opened, and everybody on the lists reviewed."""
    world = World.create(tmp_path_factory.mktemp("outcomes") / "world", people=100)
    plan = world.approve()
    world.run(plan)
    policy = world.approve_policy(plan, lambda one: one.model_copy(update={"control_rate": RATE}))
    headers = world.raise_flags(policy)
    opened = headers[: max(1, len(headers) // 2)]
    for header in opened:
        refer(world, header.borough, open_flag(world, header))
    for borough in world.borough_ids:
        review_everybody(world, borough)
    yield world, plan, policy, headers, opened
    world.close()


def known_as(world, plan, borough, person):
    ledger = world.ledger(borough)
    key = ledger.pseudonym_key(plan)
    ledger.close()
    return pseudonym(key, borough=borough, plan_digest=plan, person=person)


def counted(world, plan, opened):
    """The cells as somebody counts them who sees all boroughs' lists and knows whose flag was opened."""
    flagged = {(header.category, header.pseudonym) for header in opened}
    cells = np.zeros((2, 4))
    for borough in world.borough_ids:
        reviews = world.reviews(borough)
        for one in reviews.finished():
            is_control = (one.category, known_as(world, plan, borough, one.person)) not in flagged
            found = truth(world, borough, one.category, one.person)
            cells[("first", "second").index(one.category), 2 * is_control + (not found)] += 1
        reviews.close()
    return cells


def test_released_outcomes_are_the_true_counts_within_the_noise(reviewed):
    world, plan, policy, _, opened = reviewed
    second = world.approve(COUNTING, outcomes_of=policy)
    world.run(second)
    release = world.record(second).run.only("outcomes")
    cells, expected = release.values.reshape(2, 4), counted(world, plan, opened)
    # Eight Gaussians, each within 5.5 sd: a false alarm once in three million runs.
    assert np.abs(cells - expected).max() < 5.5 * release.sigma
    assert release.sigma < 8
    # The counts could tell: both kinds were reviewed, and the controls by far the most.
    assert expected[:, :2].sum() == len(opened)
    assert expected[0, 2:].sum() > 0.2 * RATE * 400


def test_controls_are_about_the_policys_share_of_the_eligible(reviewed):
    """Coins at 0.4 for some 600 people: within 6 sd, which is 72; a false alarm once in 500 million."""
    world, plan, _, headers, opened = reviewed
    eligible = sum(100 + 50 for _ in world.borough_ids) - len(headers)
    found = counted(world, plan, opened)[:, 2:].sum()
    assert abs(found - RATE * eligible) < 6 * np.sqrt(eligible * RATE * (1 - RATE))


def test_flag_that_was_not_opened_is_on_no_list(reviewed):
    world, plan, _, headers, opened = reviewed
    shut = {(header.category, header.pseudonym) for header in headers} - {(h.category, h.pseudonym) for h in opened}
    for borough in world.borough_ids:
        reviews = world.reviews(borough)
        on_list = {(one.category, known_as(world, plan, borough, one.person)) for one in reviews.finished()}
        reviews.close()
        assert not on_list & shut


def test_plan_that_counts_outcomes_needs_a_share_for_them(reviewed):
    world, _, policy, _, _ = reviewed
    with pytest.raises(PlanInvalid, match=r"shares\.outcomes"):
        world.draft(CHOICES, outcomes_of=policy)


def test_person_without_a_finished_review_puts_nothing_into_the_sum(tmp_path):
    """Flags and controls, and nobody has reviewed anybody: what is released is noise about zero."""
    world = World.create(tmp_path / "world")
    plan = world.approve()
    world.run(plan)
    policy = world.approve_policy(plan, lambda one: one.model_copy(update={"control_rate": 0.9}))
    world.raise_flags(policy)
    second = world.approve(COUNTING, outcomes_of=policy)
    world.run(second)
    release = world.record(second).run.only("outcomes")
    # Some 300 controls were drawn; a sum that counted them would lie far outside.
    assert np.abs(release.values).max() < 5.5 * release.sigma < 45
    world.close()


def test_next_plan_trains_on_what_the_reviews_found(tmp_path):
    """Every review finds the opposite of what the tables say, and the next plan's labels are the reviewers'."""
    world = World.create(tmp_path / "world")
    plan = world.approve()
    world.run(plan)
    policy = world.approve_policy(plan, lambda one: one.model_copy(update={"control_rate": 0.5}))
    world.raise_flags(policy)
    for borough in world.borough_ids:
        review_everybody(world, borough, is_wrong=True)
    second = world.approve(training=SCORING)
    world.run(second)
    record, changed = world.record(second), 0
    for borough in world.borough_ids:
        _, cohort = world.gate(borough)._records.cohort_for("gradient", record.plan, record.catalogue)
        raw = table(borough, world.people)
        at = raw.cutoff == SCORING
        reviews = world.reviews(borough)
        found = {(one.person, one.category): one.outcome.is_substantiated for one in reviews.finished()}
        reviews.close()
        for head, category in enumerate(record.plan.categories):
            said = raw.labels[f"y_{category}"][at]
            for person, label, was in zip(cohort.persons, cohort.labels[:, head], said, strict=True):
                expected = found.get((person, category), bool(was))
                assert label == expected
                changed += label != was
    # Some 360 coins at a half.
    assert changed > 90
    assert record.complete
    world.close()


def test_outcomes_are_labels_at_the_cutoff_of_their_policy_only(tmp_path):
    world = World.create(tmp_path / "world")
    plan = world.approve()
    world.run(plan)
    policy = world.approve_policy(plan, lambda one: one.model_copy(update={"control_rate": 0.9}))
    world.raise_flags(policy)
    record = world.record(plan)
    before = [
        world.gate(b)._records.cohort_for("gradient", record.plan, record.catalogue)[1] for b in world.borough_ids
    ]
    for borough in world.borough_ids:
        review_everybody(world, borough, is_wrong=True)
    after = [world.gate(b)._records.cohort_for("gradient", record.plan, record.catalogue)[1] for b in world.borough_ids]
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.labels, other.labels)
    world.close()


def test_figures_of_the_release_are_those_of_the_reviews(reviewed):
    """The missed rate of the first category against the planted truth among everybody without a flag."""
    world, _, policy, headers, _ = reviewed
    third = world.approve(COUNTING, outcomes_of=policy)
    world.run(third)
    figures = {one.category: one for one in outcome_figures(world.record(third).run)}
    flagged = sum(header.category == "first" for header in headers)
    raw = [table(borough, world.people) for borough in world.borough_ids]
    positives = sum(int(one.labels["y_first"][one.cutoff == SCORING].sum()) for one in raw)
    first, without_a_flag = figures["first"].missed_rate, 4 * world.people - flagged
    assert first.value is not None
    # At most all flags were right, at least none was; three times the 95 % interval is nearly six sd on either side.
    lowest, highest = (positives - flagged) / without_a_flag, positives / without_a_flag
    assert first.value - 3 * (first.value - first.low) <= highest
    assert lowest <= first.value + 3 * (first.high - first.value)
    assert first.high - first.low < 0.5
