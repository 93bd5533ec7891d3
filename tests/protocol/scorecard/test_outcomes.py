"""Precision and missed rate from the outcomes release."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from protocol.documents.plan import ReleaseSpec
from protocol.errors import StateError
from protocol.scorecard.outcomes import outcome_figures
from protocol.scorecard.run import Published, Run
from tests.world import CATALOGUE, CHOICES, World

SPEC = ReleaseSpec(index=4, function="outcomes", length=8, l2=2**0.5, sigma=1.0)


@pytest.fixture(scope="module")
def counting(tmp_path_factory) -> Run:
    """A run whose plan counts the outcomes of some policy, before that release."""
    made = World.create(tmp_path_factory.mktemp("outcomes") / "world")
    plan = made.draft(CHOICES).model_copy(update={"outcomes_of": "0" * 64})
    yield Run.begin(plan, CATALOGUE)
    made.close()


def with_cells(run: Run, cells, *, sigma: float):
    return outcome_figures(run.then(Published(run.plan, SPEC, {}, np.array(cells, float), sigma)))


def test_precision_and_missed_rate_are_shares_of_what_was_reviewed(counting):
    first, second = with_cells(counting, [60, 40, 5, 495, 10, 30, 0, 200], sigma=0.0)
    assert [first.category, second.category] == ["first", "second"]
    assert (first.precision.value, first.missed_rate.value) == (0.6, 0.01)
    assert (first.flags_reviewed, first.controls_reviewed) == (100, 500)
    assert (second.precision.value, second.missed_rate.value) == (0.25, 0.0)
    assert second.missed_rate.low == 0.0 < second.missed_rate.high < 0.03


def test_noise_widens_and_at_last_hides_the_figures(counting):
    widths = []
    for sigma in (0.0, 3.0, 10.0):
        found = with_cells(counting, [60, 40, 5, 495, 60, 40, 5, 495], sigma=sigma)[0]
        widths.append((found.precision.high - found.precision.low, found.missed_rate.high - found.missed_rate.low))
    assert widths == sorted(widths)
    hidden = with_cells(counting, [60, 40, 5, 495, 60, 40, 5, 495], sigma=100.0)[0]
    assert hidden.precision.value is None
    assert hidden.precision.high == 1.0


def test_figures_wait_for_the_release_and_a_plan_without_it_has_none(counting):
    with pytest.raises(StateError):
        outcome_figures(counting)
    assert outcome_figures(replace(counting, plan=counting.plan.model_copy(update={"outcomes_of": None}))) == ()
