"""Rates by protected group: equal to fairlearn's without noise, suppressed where they rest on too few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    count,
    demographic_parity_ratio,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)

from protocol.documents.plan import TrainingPlan
from protocol.errors import StateError
from protocol.scorecard.fairness import fairness_figures, selection_ratio
from protocol.scorecard.run import Published, Run
from tests.world import CATALOGUE, EVERYTHING, World

BINS = EVERYTHING.fairness.bins
RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> TrainingPlan:
    made = World.create(tmp_path_factory.mktemp("fair") / "world")
    yield made.draft(EVERYTHING)
    made.close()


def people(count_: int, *, seed: int = 3):
    """Group, label and score bin of made-up people; groups differ in all of them."""
    random = np.random.default_rng(seed)
    sex, origin = random.integers(2, size=count_), random.integers(3, size=count_)
    label = (random.random(count_) < 0.2 + 0.1 * sex).astype(int)
    bins = np.clip((random.random(count_) + 0.3 * label + 0.2 * sex) * BINS, 0, BINS - 1).astype(int)
    return {"sex": sex, "origin": origin}, label, bins


def published(plan: TrainingPlan, cells: np.ndarray, *, sigma: float, min_cell: float = 0.0) -> Run:
    """A run whose fairness release holds these cells for the first head, and four times as many for the second."""
    plan = plan.model_copy(update={"fairness": plan.fairness.model_copy(update={"min_cell": min_cell})})
    spec = next(one for one in plan.releases if one.function == "fairness")
    edges = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0]])
    values = np.stack([cells, 4 * cells]).ravel()
    return Run.begin(plan, CATALOGUE).then(Published(plan, spec, {"edges": edges.ravel()}, values, sigma))


def cells_of(groups, label, bins) -> np.ndarray:
    """Counts, shape (groups of all attributes, 2, bins)."""
    parts = []
    for name, size in (("sex", 2), ("origin", 3)):
        part = np.zeros((size, 2, BINS))
        np.add.at(part, (groups[name], label, bins), 1.0)
        parts.append(part)
    return np.concatenate(parts)


def test_without_noise_every_rate_is_fairlearns(plan):
    groups, label, bins = people(4_000)
    flagged = (bins == BINS - 1).astype(int)
    found = fairness_figures(published(plan, cells_of(groups, label, bins), sigma=0.0))
    assert [(one.category, one.attribute) for one in found] == [
        (category, attribute) for category in ("first", "second") for attribute in ("sex", "origin")
    ]
    for figures in found:
        frame = MetricFrame(
            metrics={
                "selection_rate": selection_rate,
                "true_positive_rate": true_positive_rate,
                "false_positive_rate": false_positive_rate,
                "count": count,
            },
            y_true=label,
            y_pred=flagged,
            sensitive_features=groups[figures.attribute],
        )
        for code, group in enumerate(figures.groups):
            for name in RATES:
                interval = getattr(group, name)
                assert interval.value == pytest.approx(frame.by_group[name][code], abs=1e-12)
                assert 0 <= interval.low < interval.value < interval.high <= 1
            for place, observed in enumerate(group.observed):
                members = (groups[figures.attribute] == code) & (bins == place)
                assert observed.rate.value == pytest.approx(label[members].mean(), abs=1e-12)
        ratio = demographic_parity_ratio(label, flagged, sensitive_features=groups[figures.attribute])
        assert figures.ratio.value == pytest.approx(ratio, abs=1e-12)
        assert figures.ratio.low < ratio < figures.ratio.high
        assert figures.complete


def test_groups_and_bins_carry_the_names_and_edges_of_the_release(plan):
    found = fairness_figures(published(plan, cells_of(*people(500)), sigma=0.0))
    assert [group.group for group in found[1].groups] == ["a", "b", "c"]
    assert [(one.low, one.high) for one in found[2].groups[0].observed] == [
        (None, -2.0),
        (-2.0, 0.0),
        (0.0, 2.0),
        (2.0, None),
    ]


def test_noise_widens_every_interval(plan):
    cells = cells_of(*people(2_000))
    quiet, loud = (fairness_figures(published(plan, cells, sigma=sigma))[0] for sigma in (0.5, 10.0))
    for one, other in zip(quiet.groups, loud.groups, strict=True):
        for name in RATES:
            narrow, wide = getattr(one, name), getattr(other, name)
            assert wide.high - wide.low > narrow.high - narrow.low
    assert loud.ratio.high - loud.ratio.low > quiet.ratio.high - quiet.ratio.low


def counts(flagged: tuple[float, float], others: tuple[float, float]) -> np.ndarray:
    """One group's cells; pairs are (without the label, with it), the others all in the lowest bin."""
    part = np.zeros((2, BINS))
    part[:, -1], part[:, 0] = flagged, others
    return part


@pytest.mark.parametrize(
    ("flagged", "others", "shown"),
    [
        ((100, 100), (500, 100), {"selection_rate", "true_positive_rate", "false_positive_rate", "flagged"}),
        # Few with the label: the rate of the flagged goes too, or the other three would give the hidden one.
        ((100, 10), (500, 10), {"selection_rate", "false_positive_rate"}),
        # Few without it.
        ((10, 100), (10, 500), {"selection_rate", "true_positive_rate"}),
        # Few flagged: the true-positive rate goes too.
        ((10, 10), (500, 100), {"selection_rate", "false_positive_rate"}),
        # Few altogether.
        ((5, 5), (20, 10), set()),
        ((-40, -30), (60, 55), set()),
    ],
)
def test_a_figure_on_few_people_is_suppressed_and_cannot_be_had_from_the_others(plan, flagged, others, shown):
    cells = np.concatenate([counts(flagged, others)[None], np.full((4, 2, BINS), 100.0)])
    group = fairness_figures(published(plan, cells, sigma=1.0, min_cell=50.0))[0].groups[0]
    found = {name for name in RATES if getattr(group, name) is not None}
    found |= {"flagged"} if group.observed[-1].rate is not None else set()
    assert found == shown
    assert len(found) != 3, "three of the four give the fourth"


def test_suppression_looks_at_the_noised_count_alone(plan):
    """A group of nobody that noise lifts over the minimum is shown, one of many that noise sinks is not."""
    cells = np.full((5, 2, BINS), 100.0)
    cells[0], cells[1] = 6.3, 6.2
    figures = fairness_figures(published(plan, cells, sigma=10.0, min_cell=50.0))[0]
    assert [group.selection_rate is None for group in figures.groups] == [False, True]
    assert figures.ratio is None
    assert not figures.complete


def test_ratio_of_the_groups_that_are_shown_says_that_one_is_missing(plan):
    cells = np.full((5, 2, BINS), 100.0)
    cells[4] = 1.0
    figures = fairness_figures(published(plan, cells, sigma=1.0, min_cell=50.0))[1]
    assert figures.ratio.value == pytest.approx(1.0)
    assert not figures.complete


def test_more_groups_leave_more_room_for_chance():
    """Ratios of equal groups: the upper end grows with the number of pairs, or noise alone would seem to divide them."""
    part = np.stack([counts((30, 10), (300, 60))] * 5)
    part[1, 0, -1] = 5.0
    ends = [selection_ratio(part[:size], variance=4.0, min_cell=0.0).high for size in (2, 3, 4, 5)]
    assert ends == sorted(ends)
    assert ends[0] < ends[-1]


def test_nobody_flagged_in_any_group_leaves_no_ratio():
    part = np.stack([counts((0, 0), (300, 60))] * 2)
    found = selection_ratio(part, variance=4.0, min_cell=0.0)
    assert (found.value, found.low, found.high) == (None, 0.0, 1.0)


def test_figures_wait_for_the_release_and_a_plan_without_it_has_none(plan):
    with pytest.raises(StateError):
        fairness_figures(Run.begin(plan, CATALOGUE))
    without = plan.model_copy(update={"fairness": None})
    assert fairness_figures(replace(Run.begin(plan, CATALOGUE), plan=without)) == ()
