"""What the fairness release says: rates by protected group at the policy's threshold, and how far apart they are.

Suppression looks at noised counts only. It keeps a report from printing figures that rest on next to nobody; what
protects a person is the noise, and the noised cells themselves stand in the public log. Of the figures of one group
``selection rate``, ``true-positive rate``, ``false-positive rate`` and ``observed rate of the flagged``, any three give
the fourth, so a suppressed one takes another with it: see ``_group``. Counts of groups are not shown, so that no group
can be had as the difference between everybody and the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from statistics import NormalDist

from protocol.scorecard.columns import Float64Array
from protocol.scorecard.intervals import Z95, Interval, quotient, share
from protocol.scorecard.run import Run


@dataclass(frozen=True, slots=True)
class ObservedRate:
    """The share with the label among a group's people of one score bin."""

    low: float | None
    """Scores from here; None: from the lowest."""
    high: float | None
    """Below this; None: to the highest. The bin without an upper end is that of the flagged."""
    rate: Interval | None
    """None: suppressed."""


@dataclass(frozen=True, slots=True)
class GroupFairness:
    """One group's figures at the threshold; None: suppressed, because they rest on too few."""

    group: str
    selection_rate: Interval | None
    """Share of the group's people above the threshold."""
    true_positive_rate: Interval | None
    """The same among those with the label."""
    false_positive_rate: Interval | None
    """The same among those without."""
    observed: tuple[ObservedRate, ...]
    """Calibration, from the lowest scores to the flagged."""


@dataclass(frozen=True, slots=True)
class AttributeFairness:
    """All groups of an attribute under one head."""

    category: str
    attribute: str
    groups: tuple[GroupFairness, ...]
    ratio: Interval | None
    """Lowest over highest selection rate of the groups that are shown; None: fewer than two are."""

    @property
    def complete(self) -> bool:
        """Whether the ratio takes in every group."""
        return all(group.selection_rate is not None for group in self.groups)


def fairness_figures(run: Run) -> tuple[AttributeFairness, ...]:
    """Return the figures of the fairness release, each category's attributes in plan order; nothing if the plan has none.

    Raises: StateError while the release is missing.
    """
    plan, columns = run.plan, run.columns
    if plan.fairness is None:
        return ()
    release = run.only("fairness")
    cells = release.values.reshape(columns.shape("fairness"))
    edges = release.inputs["edges"].reshape(len(columns.heads), -1)
    found, variance = [], release.sigma**2
    for category, ends, head in zip(plan.categories, edges.tolist(), cells, strict=True):
        first = 0
        for attribute in columns.measured:
            part = head[first : first + len(attribute.groups)]
            first += len(attribute.groups)
            found.append(
                AttributeFairness(
                    category=category,
                    attribute=attribute.name,
                    groups=tuple(
                        _group(name, counts, ends, variance, plan.fairness.min_cell)
                        for name, counts in zip(attribute.groups, part, strict=True)
                    ),
                    ratio=selection_ratio(part, variance=variance, min_cell=plan.fairness.min_cell),
                )
            )
    return tuple(found)


def _group(name: str, cells: Float64Array, edges: list[float], variance: float, least: float) -> GroupFairness:
    """Return a group's figures. A figure needs ``least`` people below it; beyond that

    the true-positive rate needs as many flagged people, or the observed rate of the flagged would follow from it;
    the observed rate of the flagged needs both other rates shown, or the one that is not would follow from it.
    """
    negatives, positives = cells
    bins = positives.size
    with_label, without = float(positives.sum()), float(negatives.sum())
    hits, alarms = float(positives[-1]), float(negatives[-1])

    def rate(part: float, rest: float, *, shown: bool, part_cells: int, rest_cells: int) -> Interval | None:
        if not shown or part + rest < least:
            return None
        return share(part, rest, part_noise=variance * part_cells, rest_noise=variance * rest_cells)

    true_positive = rate(hits, with_label - hits, shown=hits + alarms >= least, part_cells=1, rest_cells=bins - 1)
    false_positive = rate(alarms, without - alarms, shown=True, part_cells=1, rest_cells=bins - 1)
    both = true_positive is not None and false_positive is not None
    ends = [None, *edges, None]
    return GroupFairness(
        group=name,
        selection_rate=_selection_rate(cells, variance=variance, min_cell=least, z=Z95),
        true_positive_rate=true_positive,
        false_positive_rate=false_positive,
        observed=tuple(
            ObservedRate(
                low=ends[place],
                high=ends[place + 1],
                rate=rate(
                    float(positives[place]),
                    float(negatives[place]),
                    shown=both or place < bins - 1,
                    part_cells=1,
                    rest_cells=1,
                ),
            )
            for place in range(bins)
        ),
    )


def _selection_rate(cells: Float64Array, *, variance: float, min_cell: float, z: float) -> Interval | None:
    """Return the share of a group's people, cells of shape (2, bins), who lie in the last bin; None: suppressed."""
    # Correctly rounded in any order, as a gate is judged by it on every machine.
    flagged, rest = math.fsum(cells[:, -1].tolist()), math.fsum(cells[:, :-1].ravel().tolist())
    if flagged + rest < min_cell:
        return None
    return share(flagged, rest, part_noise=2 * variance, rest_noise=variance * (cells.size - 2), z=z)


def selection_ratio(cells: Float64Array, *, variance: float, min_cell: float) -> Interval | None:
    """Return the lowest selection rate over the highest, with an interval for the groups that are shown.

    The true ratio is the smallest over all pairs of groups. So the lowest lower end over the pairs holds for it, and the
    lowest upper end does if each is drawn for as many pairs as there are: without that, the more groups there are, the
    further apart noise alone would seem to have put two of them.

    Args:
        cells: Noised counts, shape (groups, 2, bins), the last bin the flagged.
    """

    def ends(z: float) -> tuple[list[Interval], list[Interval]]:
        found = [_selection_rate(group, variance=variance, min_cell=min_cell, z=z) for group in cells]
        rates = [rate for rate in found if rate is not None]
        return rates, [quotient(one, other) for one, other in permutations(rates, 2)]

    rates, pairs = ends(Z95)
    if not pairs:
        return None
    # Rounded, so that every reader of the log judges by the same one.
    _, wider = ends(round(NormalDist().inv_cdf(1 - 0.025 / (len(pairs) / 2)), 9))
    values = [rate.value for rate in rates if rate.value is not None]
    known = len(values) == len(rates) and max(values) > 0
    return Interval(
        min(values) / max(values) if known else None,
        min(pair.low for pair in pairs),
        min(pair.high for pair in wider),
    ).within(0.0, 1.0)
