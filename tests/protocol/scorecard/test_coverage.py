"""Every figure's 95 % interval holds the truth about as often as it says: true populations, sampling, the plan's noise.

Each check draws cohorts from a known population, adds Gaussian noise of the stated sd to every count and asks how often
the interval holds the population's own figure. Fixed seeds, so a check always decides the same way. Were they not fixed,
a figure that is covered 95 % of the time would fail ``LEAST`` of ``DRAWS`` draws once in 3,000; there are about fifty
checks. A figure may be covered more often: no interval is allowed to be too narrow, and ``widest`` keeps it from saying
nothing. Noise is that of the sample plans at epsilon 1: about 26 people a cell in the evaluation of 15,800 with three
heads, 22 in that of 46,000 with four, 57 in a fairness release, 150 in a drift release of forty features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from scipy import stats

from protocol.scorecard.calibration import calibration
from protocol.scorecard.capacity import people_above, threshold_for
from protocol.scorecard.curves import area_under_curve, average_precision, curve
from protocol.scorecard.drift import stability_index
from protocol.scorecard.evaluation import HeadEvaluation
from protocol.scorecard.fairness import _group, selection_ratio
from protocol.scorecard.intervals import Interval, share

DRAWS, LEAST = 500, 0.917
"""The 3.4 sd point of 500 draws of a 95 % interval."""


@dataclass(frozen=True)
class Population:
    """People whose standardised scores are normal, those with the label ``shift`` higher."""

    people: int
    rate: float
    shift: float
    sigma: float
    capacity: int

    EDGES = np.linspace(-2, 7, 31)

    @cached_property
    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of each bin among those without and with the label."""
        ends = np.concatenate([[-np.inf], self.EDGES, [np.inf]])
        return np.diff(stats.norm.cdf(ends)), np.diff(stats.norm.cdf(ends, self.shift))

    def above(self, score) -> tuple[np.ndarray, np.ndarray]:
        """Share of all people above a score without and with the label."""
        return (1 - self.rate) * stats.norm.sf(score), self.rate * stats.norm.sf(score, self.shift)

    def draws(self, seed: int, count: int) -> Iterator[HeadEvaluation]:
        """Yield noised histograms of fresh cohorts."""
        random = np.random.default_rng(seed)
        for _ in range(count):
            positives = random.binomial(self.people, self.rate)
            cells = [
                random.multinomial(number, share_) + random.normal(scale=self.sigma, size=share_.size)
                for number, share_ in zip((self.people - positives, positives), self.shares, strict=True)
            ]
            yield HeadEvaluation("made-up", self.EDGES, *cells, self.sigma)


COMMON = Population(15_800, 0.10, 1.3, 26.0, 205)
WEAK = Population(15_800, 0.05, 0.6, 26.0, 205)
STRONG = Population(46_000, 0.013, 3.0, 22.0, 598)
RARE = Population(46_000, 0.0013, 3.0, 22.0, 60)
QUIET = Population(2_000, 0.10, 1.0, 1e-6, 100)
NAMES = {"common": COMMON, "weak": WEAK, "strong": STRONG, "rare": RARE, "quiet": QUIET}
everywhere = pytest.mark.parametrize("population", NAMES.values(), ids=NAMES)


def covers(found: Interval, truth: float) -> bool:
    """Whether an interval holds the truth, to rounding."""
    return found.low - 1e-12 <= truth <= found.high + 1e-12


def check(held: list[bool], widths: list[float], *, widest: float) -> None:
    """Hold a figure against its claim."""
    assert np.mean(held) >= LEAST, f"covered {np.mean(held):.3f}"
    assert np.median(widths) <= widest, f"median width {np.median(widths):.4g}"


def figure(
    population: Population,
    read: Callable[[HeadEvaluation], Interval],
    truth: float,
    *,
    widest: float,
    count: int = DRAWS,
) -> None:
    """Check one figure of the evaluation."""
    found = [read(head) for head in population.draws(11, count)]
    check([covers(one, truth) for one in found], [one.high - one.low for one in found], widest=widest)


@pytest.mark.parametrize(
    ("name", "widest"), [("common", 0.15), ("weak", 0.32), ("strong", 0.30), ("rare", 1.0), ("quiet", 0.09)]
)
def test_area_under_the_curve(name, widest):
    below, above = NAMES[name].shares
    figure(NAMES[name], area_under_curve, float(above @ (np.cumsum(below) - below / 2)), widest=widest)


@pytest.mark.parametrize(
    ("name", "widest"), [("common", 0.45), ("weak", 0.35), ("strong", 0.80), ("rare", 1.0), ("quiet", 0.15)]
)
def test_average_precision(name, widest):
    population = NAMES[name]
    hits = np.cumsum(population.rate * population.shares[1][::-1])
    alarms = np.cumsum((1 - population.rate) * population.shares[0][::-1])
    truth = float(population.shares[1][::-1] @ (hits / (hits + alarms)))
    figure(population, average_precision, truth, widest=widest)


@everywhere
def test_points_of_both_curves(population):
    """All points of a curve on average, and each for itself with the leave that thirty tries at once need."""
    alarms, hits = population.above(population.EDGES)
    truths = {
        "false_positive_rate": alarms / (1 - population.rate),
        "recall": hits / population.rate,
        "precision": hits / (hits + alarms),
    }
    found = [curve(head) for head in population.draws(12, DRAWS)]
    for name, truth in truths.items():
        held = np.array(
            [[covers(getattr(one, name), value) for one, value in zip(points, truth, strict=True)] for points in found]
        )
        assert held.mean() >= 0.94
        assert held.mean(axis=0).min() >= 0.90


@pytest.mark.parametrize("name", ["common", "weak", "strong", "quiet"])
def test_calibration_bins(name):
    population = NAMES[name]
    held, groups = [], []
    for head in population.draws(13, 200):
        bins = calibration(head)
        groups.append(len(bins))
        for one in bins:
            ends = np.array([one.low, one.high])
            ends = np.where(ends < population.EDGES[0], -np.inf, np.where(ends > population.EDGES[-1], np.inf, ends))
            alarms, hits = (float(above[0] - above[1]) for above in population.above(ends))
            held.append(covers(one.observed, hits / (hits + alarms)))
    assert np.mean(held) >= 0.94
    assert np.mean(groups) >= 8


@everywhere
def test_people_above_the_threshold(population):
    """At the threshold that the same noised histogram gave: the choice of the threshold does not spoil the interval."""
    held, widths = [], []
    for head in population.draws(15, 300):
        threshold = threshold_for(head, capacity=population.capacity)
        found = people_above(head, threshold)
        held.append(covers(found, population.people * float(sum(population.above(threshold)))))
        widths.append(found.high - found.low)
    assert np.mean(held) >= 0.907
    assert np.median(widths) <= 60 + 25 * population.sigma


# --- fairness ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """People of one group: how many, with the label, and flagged among those with and without it."""

    people: int
    rate: float
    true_positive: float
    false_positive: float

    @property
    def selection(self) -> float:
        return self.rate * self.true_positive + (1 - self.rate) * self.false_positive

    def cells(self, random: np.random.Generator, sigma: float) -> np.ndarray:
        positives = random.binomial(self.people, self.rate)
        found = np.array(
            [
                random.multinomial(number, [(1 - flagged) / 3] * 3 + [flagged])
                for number, flagged in ((self.people - positives, self.false_positive), (positives, self.true_positive))
            ],
            float,
        )
        return found + random.normal(scale=sigma, size=found.shape)


LARGE, SMALL, OTHER = Group(32_000, 0.05, 0.3, 0.01), Group(14_000, 0.05, 0.25, 0.008), Group(6_000, 0.1, 0.4, 0.03)


@pytest.mark.parametrize("group", [LARGE, SMALL, OTHER], ids=["large", "small", "other"])
@pytest.mark.parametrize("sigma", [1e-6, 20.0, 57.0])
def test_rates_of_a_group(group, sigma):
    random = np.random.default_rng(21)
    truths = {
        "selection_rate": group.selection,
        "true_positive_rate": group.true_positive,
        "false_positive_rate": group.false_positive,
    }
    held: dict[str, list[bool]] = {name: [] for name in truths} | {"flagged": []}
    for _ in range(DRAWS):
        found = _group("made-up", group.cells(random, sigma), [0.0, 1.0, 2.0], sigma**2, 0.0)
        for name, truth in truths.items():
            held[name].append(covers(getattr(found, name), truth))
        held["flagged"].append(covers(found.observed[-1].rate, group.rate * group.true_positive / group.selection))
    assert {name: np.mean(one) >= LEAST for name, one in held.items()} == dict.fromkeys(held, True)


@pytest.mark.parametrize(
    "groups",
    [(LARGE, LARGE), (LARGE, SMALL), (LARGE, OTHER), (LARGE, SMALL, OTHER), (OTHER,) * 5],
    ids=["equal", "near", "far", "three", "five equal"],
)
@pytest.mark.parametrize("sigma", [1e-6, 20.0, 57.0])
def test_ratio_of_selection_rates(groups, sigma):
    random = np.random.default_rng(22)
    rates = [group.selection for group in groups]
    held, widths = [], []
    for _ in range(DRAWS):
        cells = np.stack([group.cells(random, sigma) for group in groups])
        found = selection_ratio(cells, variance=sigma**2, min_cell=0.0)
        held.append(covers(found, min(rates) / max(rates)))
        widths.append(found.high - found.low)
    check(held, widths, widest=0.35 if sigma < 1 else 1.0)


# --- outcomes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reviewed", "rate"), [(600, 0.5), (60, 0.5), (460, 0.01), (460, 0.002), (2_000, 0.9)])
@pytest.mark.parametrize("sigma", [1e-6, 10.0, 30.0])
def test_precision_and_missed_rate(reviewed, rate, sigma):
    random = np.random.default_rng(23)
    found = []
    for _ in range(DRAWS):
        right = random.binomial(reviewed, rate)
        part, rest = np.array([right, reviewed - right]) + random.normal(scale=sigma, size=2)
        found.append(share(part, rest, part_noise=sigma**2, rest_noise=sigma**2))
    check([covers(one, rate) for one in found], [one.high - one.low for one in found], widest=1.0)


# --- drift ------------------------------------------------------------------------------------------------------

FLAT = np.full(10, 0.1)
BELL = np.array([2, 5, 9, 14, 20, 20, 14, 9, 5, 2]) / 100
SPARSE = np.array([0.62, 0.3, 0, 0, 0, 0, 0, 0, 0, 0.08])
MOVED = {
    "flat still": (FLAT, FLAT),
    "bell still": (BELL, BELL),
    "bell a little": (BELL, 0.9 * BELL + 0.1 * np.roll(BELL, 1)),
    "bell some": (BELL, 0.6 * BELL + 0.4 * np.roll(BELL, 1)),
    "bell far": (BELL, 0.2 * BELL + 0.8 * FLAT),
    "sparse still": (SPARSE, SPARSE),
    "sparse moved": (SPARSE, np.array([0.55, 0.33, 0, 0, 0, 0, 0, 0, 0, 0.12])),
}


@pytest.mark.parametrize("case", MOVED)
@pytest.mark.parametrize("sigma", [1e-6, 40.0, 150.0])
def test_population_stability_index(case, sigma):
    """The truth is the index over the groups of bins that the noise left apart."""
    random = np.random.default_rng(24)
    before, after = MOVED[case]
    held, widths = [], []
    for _ in range(DRAWS):
        old, new = (
            random.multinomial(46_000, shares) + random.normal(scale=sigma, size=10) for shares in (before, after)
        )
        ends, found = stability_index(new, old, new_sigma=sigma, old_sigma=sigma)
        starts = [0, *ends[:-1]]
        p, q = np.add.reduceat(after, starts), np.add.reduceat(before, starts)
        held.append(covers(found, float(((p - q) * np.log(p / q)).sum())))
        widths.append(found.high - found.low)
    check(held, widths, widest=0.25)
