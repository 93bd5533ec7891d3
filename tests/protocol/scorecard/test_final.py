"""The model's weights: the last iterate with directions kept and group differences narrowed, from noised sums alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from protocol.documents.plan import Mitigation
from protocol.scorecard.constraints import constrained
from protocol.scorecard.descent import replay
from protocol.scorecard.final import estimated_gaps, final_weights, group_gaps
from tests.world import CATALOGUE, EVERYTHING, World

NOISE = 2.0


def test_gaps_are_differences_of_mean_rows_from_the_largest_group():
    sums = np.array([[100.0, 50.0, -20.0], [400.0, 100.0, 40.0], [50.0, 50.0, 0.0]])
    gaps, variances = group_gaps(sums, NOISE)
    np.testing.assert_allclose(gaps, [[0.0, 0.25, -0.3], [0.0, 0.75, -0.1]])
    np.testing.assert_allclose(variances, [(2 / 100) ** 2 + (2 / 400) ** 2, (2 / 50) ** 2 + (2 / 400) ** 2])


def test_a_group_that_is_mostly_noise_moves_no_weights():
    sums = np.array([[400.0, 100.0], [10 * NOISE, 1e6], [-3.0, 1e6], [10 * NOISE + 1, 42.0]])
    assert group_gaps(sums, NOISE)[0] == pytest.approx(np.array([[0.0, 42.0 / 21 - 0.25]]))


def test_one_known_group_leaves_nothing_to_compare():
    assert group_gaps(np.array([[400.0, 100.0], [3.0, 1.0]]), NOISE)[0].shape == (0, 2)


WEIGHTS = np.array([-3.0, 1.0, 2.0])


def test_a_gap_without_noise_is_its_own_estimate():
    gaps, whitener = np.array([[0.0, 0.3, -0.4]]), np.diag([1.0, 2.0, 0.5])
    np.testing.assert_allclose(estimated_gaps(gaps, np.zeros(1), WEIGHTS, whitener), gaps, atol=1e-15)
    np.testing.assert_array_equal(estimated_gaps(gaps, np.ones(1), np.array([-3.0, 0, 0]), whitener), gaps)


def test_an_estimate_keeps_what_the_gap_says_about_the_scores_and_shrinks_the_rest():
    gaps, whitener = np.array([[0.0, 0.3, -0.4]]), np.diag([1.0, 2.0, 0.5])
    found = estimated_gaps(gaps, np.array([0.02]), WEIGHTS, whitener)
    np.testing.assert_allclose(found @ WEIGHTS, gaps @ WEIGHTS)
    inverse = (whitener @ whitener)[1:, 1:]
    lengths = [float(gap[1:] @ inverse @ gap[1:]) for gap in (gaps[0], found[0])]
    assert lengths[0] > lengths[1] > 0.25 * lengths[0]


def test_a_gap_that_is_mostly_noise_is_left_as_it_is():
    gaps, whitener = np.array([[0.0, 0.3, -0.4], [0.0, 0.3, -0.4]]), np.diag([1.0, 2.0, 0.5])
    found = estimated_gaps(gaps, np.array([1e-3, 1e3]), WEIGHTS, whitener)
    assert found[0].any()
    assert not found[1].any()
    np.testing.assert_array_equal(constrained(WEIGHTS, whitener, np.zeros(3), found[1:], [1.0]), WEIGHTS)


def test_closing_an_estimated_gap_closes_the_true_one():
    """Closing the noised gap instead leaves a part of it, which is why it is estimated.

    This table, over 150 draws: .03 and .29 left. Eight others: -.02 to .03, but .18 where it is often left out as noise, and
    .15 to .33. The seed is fixed.
    """
    rng, width, noise = np.random.default_rng(11), 30, 35.0
    sizes, free = np.array([4000.0, 1000.0]), np.zeros(1 + width)
    scales = rng.gamma(0.5, 1.0, size=width) + 0.01
    true = np.concatenate([[0.0], 0.15 * np.sqrt(scales) * rng.normal(size=width)])
    weights, whitener = rng.normal(size=1 + width), np.diag([1.0, *(scales + 0.1) ** -0.5])
    mean = np.eye(1, 1 + width)[0]
    left, left_noised = [], []
    for _ in range(150):
        sums = sizes[:, None] * np.stack([mean, mean + true]) + noise * rng.normal(size=(2, 1 + width))
        noised, variances = group_gaps(sums, noise)
        estimated = estimated_gaps(noised, variances, weights, whitener)
        left.append(true @ constrained(weights, whitener, free, estimated, [1.0]))
        left_noised.append(true @ constrained(weights, whitener, free, noised, [1.0]))
    assert abs(np.mean(left) / (true @ weights)) < 0.1
    assert np.mean(left_noised) / (true @ weights) > 0.2


def quiet(world: World) -> None:
    """Let no borough add noise."""
    for borough in world.borough_ids:
        world.gate(borough)._noise = lambda length, sigma: np.zeros(length, dtype=np.int64)


def mean_scores(world: World, run, weights) -> list[np.ndarray]:
    """Each head's mean score of the shortened rows of groups a, b and c of origin, by some weights."""
    columns = run.columns
    cohorts = [
        world.gate(name)._records.cohort_for("gradient", run.plan, run.catalogue)[1] for name in world.borough_ids
    ]
    rows = np.concatenate([cohort.rows for cohort in cohorts])
    groups = np.concatenate([cohort.groups for cohort in cohorts])[:, 1]
    norm = run.plan.descent.row_norm
    rows = rows * np.minimum(1, norm / np.linalg.norm(rows, axis=1))[:, None]
    parts = [rows[groups == group] for group in range(3)]
    return [
        np.array([np.sum(part[:, list(head)] @ own) / part[:, 0].sum() for part in parts])
        for head, own in zip(columns.heads, weights, strict=True)
    ]


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_mitigation_leaves_of_the_gaps_between_groups_what_its_strength_says(tmp_path, strength):
    """Without noise, and none stated for the groups, so that no gap counts as noise, only rounding is between said and done."""
    world = World.create(tmp_path / "world", people=150, budget=1000.0)
    quiet(world)
    mitigated = EVERYTHING.fairness.model_copy(
        update={"mitigations": (Mitigation(attribute="origin", strength=strength),)}
    )
    choices = EVERYTHING.model_copy(update={"epsilon": 30.0, "scale_bits": 28, "fairness": mitigated})
    plan = world.approve(choices)
    world.run(plan)
    run = world.record(plan).run
    largest = int(np.argmax(run.only("group_moments").values.reshape(3, -1)[:, 0]))
    before = mean_scores(world, run, replay(run).weights)
    certain = tuple(replace(one, sigma=1e-9) if one.spec.function == "group_moments" else one for one in run.releases)
    after = mean_scores(world, run, final_weights(replace(run, releases=certain)))
    for earlier, later in zip(before, after, strict=True):
        gaps, left = earlier - earlier[largest], later - later[largest]
        assert np.abs(gaps).max() > 0.02, "the groups differ, or the test shows nothing"
        assert (np.abs(left) <= (1 - strength) * np.abs(gaps) + 1e-4).all()
    world.close()


def test_a_promised_direction_holds_whatever_the_records_say(world):
    features = tuple(feature.model_copy(update={"direction": -1}) for feature in CATALOGUE.features)
    promised = CATALOGUE.model_copy(update={"version": 2, "features": features})
    world.log("catalogue", promised, "coordinator")
    plan = world.approve(EVERYTHING, catalogue=promised)
    world.run(plan)
    run = world.record(plan).run
    free = np.concatenate([weights[1:] for weights in replay(run).weights])
    kept = np.concatenate([weights[1:] for weights in final_weights(run)])
    assert (free > 0).any(), "some weight must point the wrong way, or the test shows nothing"
    assert (kept <= 0).all()
    sent = run.only("evaluation").inputs["weights"]
    np.testing.assert_allclose(np.concatenate(final_weights(run)), sent, atol=1e-9)
