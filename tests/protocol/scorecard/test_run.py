"""A plan may start from public weights and use an earlier plan's second moment again; readers check both."""

from __future__ import annotations

import numpy as np
import pytest

from protocol.documents.plan import Shares
from protocol.errors import PlanInvalid, PlanNotApproved, StateError
from protocol.ids import digest_of
from protocol.scorecard.descent import start, whitening
from protocol.scorecard.run import Run
from tests.world import CATALOGUE, CHOICES, EVERYTHING

REUSING = CHOICES.model_copy(
    update={
        "epsilon": 3.0,
        "shares": Shares(
            second_moment=0.0, gradients=0.6, evaluation=0.4, group_moments=0.0, fairness=0.0, drift=0.0, outcomes=0.0
        ),
    }
)
CHEAPER = CHOICES.model_copy(update={"epsilon": 3.0})


def earlier(world, choices=CHEAPER):
    """Run a plan and return its digest and the digest of its release of the second moment."""
    plan = world.approve(choices)
    world.run(plan)
    return plan, world.record(plan).releases[0].digest()


def test_a_plan_that_uses_an_earlier_second_moment_whitens_by_it_and_does_not_pay_for_it(world):
    plan, moment = earlier(world)
    again = world.approve(REUSING, second_moment_of=moment)
    world.run(again)
    first, second = world.record(plan).run, world.record(again).run
    assert [release.spec.function for release in second.releases] == ["gradient", "gradient", "evaluation"]
    assert second.moment == first.moment
    expected, clips = whitening(first)
    np.testing.assert_array_equal(second.releases[0].inputs["whitening"], expected)
    np.testing.assert_array_equal(second.releases[0].inputs["clips"], clips)
    assert world.record(again).model().scorecard("first").weights[0].mean == pytest.approx(
        world.record(plan).model().scorecard("first").weights[0].mean
    )


def test_an_earlier_release_that_is_no_second_moment_of_the_same_columns_is_refused(world):
    plan, moment = earlier(world)
    gradient = world.record(plan).releases[1].digest()
    public, day = world.appender.history.public, world.clock.now().date()
    for named, message in ((gradient, "is of gradient"), (digest_of(b"nothing"), "shows no release")):
        with pytest.raises(PlanInvalid, match=message):
            public.check_new_plan(world.draft(REUSING, second_moment_of=named), day)
    other = CATALOGUE.model_copy(update={"version": 2})
    world.log("catalogue", other, "coordinator")
    with pytest.raises(PlanInvalid, match="other columns"):
        public.check_new_plan(world.draft(REUSING, second_moment_of=moment, catalogue=other), day)
    public.check_new_plan(world.draft(REUSING, second_moment_of=moment), day)


def test_outcomes_are_counted_of_a_policy_that_the_log_shows(world):
    shares = CHEAPER.shares.model_copy(update={"evaluation": 0.2, "outcomes": 0.1})
    draft = world.draft(CHEAPER.model_copy(update={"shares": shares}), outcomes_of=digest_of(b"no policy"))
    with pytest.raises(PlanNotApproved, match="outcomes_of"):
        world.appender.history.public.check_new_plan(draft, world.clock.now().date())


def test_training_starts_from_the_catalogues_public_weights(world):
    heads = tuple(
        head.model_copy(update={"start": {"beta": 0.75} if head.category == "first" else {}})
        for head in CATALOGUE.heads
    )
    catalogue = CATALOGUE.model_copy(update={"version": 2, "heads": heads})
    run = Run.begin(world.draft(catalogue=catalogue), catalogue)
    first, second = start(run).weights
    assert first.tolist() == [pytest.approx(np.log(0.1 / 0.9)), 0.0, 0.75]
    assert second[1:].tolist() == [0.0, 0.0]
    world.log("catalogue", catalogue, "coordinator")
    plan = world.approve(catalogue=catalogue)
    world.run(plan)
    asked = world.record(plan).run.releases[1].inputs["weights"]
    np.testing.assert_array_equal(asked, np.concatenate([first, second]))


def test_a_run_says_which_release_it_still_lacks(world):
    run = Run.begin(world.draft(EVERYTHING), CATALOGUE)
    assert not run.complete
    with pytest.raises(StateError, match="release of second_moment is not published"):
        _ = run.moment
    with pytest.raises(StateError, match="release of fairness is not published"):
        run.only("fairness")
