"""Observed rates against the model's probability and the recalibrated one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from protocol.scorecard.calibration import calibration, recalibration
from protocol.scorecard.evaluation import HeadEvaluation

EDGES = np.linspace(-6, 3, 31)
WIDTH = EDGES[1] - EDGES[0]
MIDDLES = np.concatenate([EDGES - WIDTH / 2, [EDGES[-1] + WIDTH / 2]])


def head(
    *, intercept: float, slope: float, people: float = 20_000, noise: float = 0.0, seed: int = 0
) -> HeadEvaluation:
    """People whose rate is ``sigmoid(intercept + slope * score)``."""
    counts = people * np.diff(stats.norm.cdf(np.concatenate([[-np.inf], EDGES, [np.inf]]), -2.5, 1.2))
    rate = expit(intercept + slope * MIDDLES)
    cells = np.random.default_rng(seed).normal(scale=noise, size=(2, counts.size))
    return HeadEvaluation("made-up", EDGES, counts * (1 - rate) + cells[0], counts * rate + cells[1], noise)


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (2.0, 1.0), (1.0, 0.5), (-1.0, 1.5)])
def test_without_noise_the_fit_is_what_made_the_labels(intercept, slope):
    found = recalibration(head(intercept=intercept, slope=slope))
    assert (found.intercept, found.slope) == pytest.approx((intercept, slope), abs=0.02)


def test_with_the_noise_of_a_plan_the_fit_is_close_on_average():
    """200 draws; the median of a fit with an sd of about 0.1 is off by more than 0.05 once in many thousand runs."""
    found = [recalibration(head(intercept=1.0, slope=1.0, noise=25.0, seed=seed)) for seed in range(200)]
    fits = np.array([(one.intercept, one.slope) for one in found if one is not None])
    assert len(fits) >= 195
    np.testing.assert_allclose(np.median(fits, axis=0), [1.0, 1.0], atol=0.1)


def test_positives_that_are_mostly_noise_leave_nothing_to_fit():
    found = [recalibration(head(intercept=-6.0, slope=1.0, noise=25.0, seed=seed)) for seed in range(30)]
    assert sum(one is None for one in found) >= 27


def test_low_priors_show_as_a_model_below_the_observed_rate_and_the_recalibration_mends_it():
    bins = calibration(head(intercept=2.0, slope=1.0, noise=10.0))
    full = [one for one in bins if one.people > 1_000]
    assert len(full) >= 5
    for one in full:
        assert one.predicted < one.observed.low
        assert one.observed.low < one.recalibrated < one.observed.high


def test_bins_tile_the_scores_and_hold_everybody():
    made = head(intercept=1.0, slope=1.0, noise=25.0)
    bins = calibration(made)
    assert [one.high for one in bins[:-1]] == [one.low for one in bins[1:]]
    assert (bins[0].low, bins[-1].high) == pytest.approx((EDGES[0] - WIDTH, EDGES[-1] + WIDTH))
    assert sum(one.people for one in bins) == pytest.approx(float(made.negatives.sum() + made.positives.sum()))
    assert 1 < len(bins) < MIDDLES.size
