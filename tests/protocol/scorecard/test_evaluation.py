"""Accuracy and thresholds from noised histograms.

Seeds are fixed, so these tests always decide the same way; each states how often it would be wrong, were they not.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from protocol.scorecard.capacity import threshold_for
from protocol.scorecard.curves import area_under_curve
from protocol.scorecard.evaluation import HeadEvaluation, bin_edges, evaluate
from tests.federation import FLAGS_FORCE_CAN_REVIEW, HISTOGRAM, Federation

EDGES = np.linspace(-3, 5, 31)


def histogram(negatives, positives, *, sigma: float) -> HeadEvaluation:
    return HeadEvaluation("attendance", EDGES, np.asarray(negatives, float), np.asarray(positives, float), sigma)


def cells(random: np.random.Generator, people: int, shift: float) -> np.ndarray:
    return np.bincount(np.searchsorted(EDGES, random.normal(shift, 1, people), side="right"), minlength=EDGES.size + 1)


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("positives", [15, 400])
def test_without_noise_the_area_is_that_of_the_binned_scores(shift, positives):
    random = np.random.default_rng(7)
    negative, positive = cells(random, 3_000, 0.0), cells(random, positives, shift)
    places = np.arange(EDGES.size + 1)
    scores = np.concatenate([np.repeat(places, negative), np.repeat(places, positive)])
    labels = np.repeat([0, 1], [3_000, positives])
    found = area_under_curve(histogram(negative, positive, sigma=1e-12))
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize("sigma", [1e-9, 5.0])
def test_the_interval_covers_the_true_area(sigma):
    # 600 reruns of a nominal 95 %: fewer than 92 % would be a 3.4 sd event (4e-4). Too wide an interval fails as well.
    random = np.random.default_rng(11)
    edges = np.concatenate([[-np.inf], EDGES, [np.inf]])
    below, above = (np.diff(stats.norm.cdf(edges, shift)) for shift in (0.0, 1.0))
    truth = float(above @ (np.cumsum(below) - below / 2))
    covered, widths = [], []
    for _ in range(600):
        negative, positive = random.multinomial(2_000, below), random.multinomial(200, above)
        noise = random.normal(scale=sigma, size=(2, below.size))
        found = area_under_curve(histogram(negative + noise[0], positive + noise[1], sigma=sigma))
        covered.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
    assert 0.92 <= np.mean(covered) <= 0.999
    assert np.mean(widths) < 0.35


def test_noise_widens_the_interval():
    random = np.random.default_rng(2)
    negative, positive = cells(random, 2_000, 0.0), cells(random, 200, 1.0)
    widths = [
        (interval := area_under_curve(histogram(negative, positive, sigma=sigma))).high - interval.low
        for sigma in (0.1, 3.0, 8.0)
    ]
    assert widths == sorted(widths)
    assert widths[0] < widths[2] / 1.3


@pytest.mark.parametrize(
    ("negatives", "positives", "sigma"),
    [(100.0, 1.0, 5.0), (100.0, 0.0, 0.0), (100.0, -1.0, 0.1), (0.0, 10.0, 0.01), (-1.0, 10.0, 0.01)],
)
def test_no_estimate_is_given_where_noise_hides_the_positives(negatives, positives, sigma):
    size = EDGES.size + 1
    found = area_under_curve(histogram(np.full(size, negatives), np.full(size, positives), sigma=sigma))
    assert (found.value, found.low, found.high) == (None, 0.0, 1.0)


def people_above(head: HeadEvaluation, threshold: float) -> float:
    """How many lie above, if every bin is filled evenly; the outer bins are as wide as the others."""
    width = head.edges[1] - head.edges[0]
    corners = np.concatenate([[head.edges[0] - width], head.edges, [head.edges[-1] + width]])
    counts = head.negatives + head.positives
    above = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]])
    return float(np.interp(threshold, corners, above))


@pytest.mark.parametrize("capacity", [1, 5, 20, 100, 700, 1_500])
def test_without_noise_the_threshold_leaves_exactly_the_capacity(capacity):
    # A smooth histogram falls from its mode, so that making it do so changes nothing.
    below = 3_000 * np.diff(stats.norm.cdf(np.concatenate([[-np.inf], EDGES, [np.inf]])))
    head = histogram(below, 0.05 * below, sigma=0.0)
    assert people_above(head, threshold_for(head, capacity=capacity)) == pytest.approx(capacity, rel=1e-9)


def test_a_higher_capacity_never_raises_the_threshold():
    random = np.random.default_rng(4)
    head = histogram(
        cells(random, 2_000, 0.0) + random.normal(scale=8, size=32), random.normal(scale=8, size=32), sigma=8
    )
    thresholds = [threshold_for(head, capacity=capacity) for capacity in range(1, 1_500, 7)]
    assert (np.diff(thresholds) <= 1e-12).all()


def test_more_capacity_than_people_gives_the_lowest_edge_and_no_people_too():
    head = histogram(np.full(32, 10.0), np.zeros(32), sigma=0.0)
    lowest = EDGES[0] - (EDGES[1] - EDGES[0])
    assert threshold_for(head, capacity=10_000) == lowest
    assert threshold_for(histogram(np.zeros(32), np.zeros(32), sigma=0.0), capacity=1) == lowest


def test_on_generated_people_about_the_capacity_is_flagged():
    # Without noise the error is the shape within one bin: the people of the threshold's bin and of the two beside it.
    force = Federation(noise=0.0)
    force.begin()
    record = force.run(force.plan())
    heads = evaluate(record.run)
    weights = np.split(record.run.only("evaluation").inputs["weights"], [4])
    rows = [force.rows(name, record.plan, record.plan.releases[-1]).matrix for name in force.boroughs]
    matrix, names = np.concatenate(rows), force.columns(record.plan).names
    for head, where, values in zip(heads, force.columns(record.plan).heads, weights, strict=True):
        rule = force.catalogue.head(head.category).eligible
        eligible = np.ones(len(matrix), bool) if rule is None else matrix[:, names.index(rule)] >= 1
        scores = matrix[eligible][:, list(where)] @ values
        counts = head.negatives + head.positives
        np.testing.assert_allclose(counts.sum(), len(scores), atol=0.01)
        found = np.bincount(np.searchsorted(head.edges, scores, side="right"), minlength=HISTOGRAM.bins)
        np.testing.assert_allclose(counts, found, atol=0.01)
        threshold = threshold_for(head, capacity=FLAGS_FORCE_CAN_REVIEW)
        place = int(np.searchsorted(head.edges, threshold, side="right"))
        flagged = int((scores > threshold).sum())
        assert abs(flagged - FLAGS_FORCE_CAN_REVIEW) <= found[max(0, place - 1) : place + 2].sum()


def test_edges_are_equal_steps_of_the_standardised_score():
    force = Federation()
    edges = bin_edges(force.plan(), 2.0, 0.5)
    assert edges.size == HISTOGRAM.bins - 1
    assert (edges[0], edges[-1]) == (2.0 + 0.5 * HISTOGRAM.low, 2.0 + 0.5 * HISTOGRAM.high)
    np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
