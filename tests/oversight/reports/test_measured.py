"""Parts of the card that a plan may have: each says what the statistics say, and nothing where nothing was measured."""

from dataclasses import replace

import numpy as np
import pytest

from oversight.reports.measured import drift_card, fairness_card, outcomes_card, stability_card
from protocol.documents.plan import ReleaseSpec
from protocol.scorecard.drift import drift
from protocol.scorecard.fairness import fairness_figures
from protocol.scorecard.gates import gate_verdicts
from protocol.scorecard.outcomes import outcome_figures
from protocol.scorecard.reliability import reliability
from protocol.scorecard.run import Published
from tests.world import EVERYTHING


@pytest.fixture
def record(measured):
    world, card = measured
    return world.record(card.plan)


def triple(figure):
    return None if figure is None else (figure.value, figure.low, figure.high)


def test_rates_by_group_are_those_of_the_fairness_release(record):
    shown = fairness_card(record)
    assert [(one.category, one.attribute, one.title) for one in shown.attributes] == [
        ("first", "sex", "Sex"), ("first", "origin", "Origin"), ("second", "sex", "Sex"), ("second", "origin", "Origin")
    ]  # fmt: skip
    for card, figures in zip(shown.attributes, fairness_figures(record.run), strict=True):
        assert triple(card.ratio) == triple(figures.ratio)
        for group, counted in zip(card.groups, figures.groups, strict=True):
            assert group.group == counted.group
            for name in ("selection_rate", "true_positive_rate", "false_positive_rate"):
                assert triple(getattr(group, name)) == triple(getattr(counted, name))
            assert [(one.low, one.high, triple(one.rate)) for one in group.observed] == [
                (one.low, one.high, triple(one.rate)) for one in counted.observed
            ]


def test_gates_are_judged_as_the_policy_is(record):
    shown = fairness_card(record)
    verdicts = {(one.category, one.attribute): one for one in gate_verdicts(record.run)}
    for card in shown.attributes:
        verdict = verdicts.get((card.category, card.attribute))
        assert (card.gate is None) == (verdict is None) == (card.attribute == "origin")
        if verdict is not None:
            assert (card.gate.outcome, card.gate.needs_waiver) == (verdict.outcome, verdict.needs_waiver)
            assert (card.gate.minimum, card.gate.when_hidden) == (0.8, "refuse")
    outcomes = [one.outcome for one in verdicts.values()]
    assert (shown.passed, shown.missed, shown.hidden) == tuple(map(outcomes.count, ("passed", "missed", "hidden")))


def test_mitigation_is_told(record):
    (mitigation,) = fairness_card(record).mitigations
    assert (mitigation.attribute, mitigation.title, mitigation.strength) == ("origin", "Origin", 1.0)


def test_stability_is_what_reruns_showed(record):
    shown = stability_card(record)
    for card, found in zip(shown.heads, reliability(record.run), strict=True):
        assert (card.category, card.error, card.shown) == (found.category, found.error, found.shown)
        assert [(row.band, row.seen, row.people) for row in card.rows] == [
            (row.band, row.seen, row.people) for row in found.rows
        ]


def test_first_plan_has_no_drift_and_says_so(measured, record):
    world, _ = measured
    shown = drift_card(world.appender.history.public, record)
    assert (shown.against, shown.features) == (None, ())


def test_drift_is_held_against_the_plan_before(world):
    plans = [world.approve(EVERYTHING) for _ in range(2)]
    for plan in plans:
        world.run(plan)
    earlier, later = (world.record(plan) for plan in plans)
    shown = drift_card(world.appender.history.public, later)
    assert shown.against == earlier.plan.digest()
    for card, figure in zip(shown.features, drift(later.run, earlier.run).features, strict=True):
        assert card.feature == figure.feature
        assert card.definition == f"Made-up value {figure.feature}."
        assert (card.index.value, card.index.low) == (figure.index.value, figure.index.low)
        assert card.index.high is None or card.index.high == figure.index.high


def test_plan_that_measured_none_of_it_has_none_of_it(finished_template):
    world, plan = finished_template
    record = world.record(plan)
    assert fairness_card(record) is None
    assert drift_card(world.appender.history.public, record) is None
    assert outcomes_card(record) is None


def test_outcomes_are_those_of_the_release(record):
    spec = ReleaseSpec(index=9, function="outcomes", length=8, l2=2**0.5, sigma=1.0)
    plan = record.plan.model_copy(update={"outcomes_of": "0" * 64})
    counted = Published(plan, spec, {}, np.array([60.0, 40, 5, 495, 10, 30, 0, 200]), 3.0)
    run = replace(record.run, plan=plan).then(counted)
    shown = outcomes_card(replace(record, run=run))
    assert shown.policy == "0" * 64
    for card, figure in zip(shown.heads, outcome_figures(run), strict=True):
        assert (triple(card.precision), triple(card.missed_rate)) == (
            triple(figure.precision),
            triple(figure.missed_rate),
        )
        assert (card.flags_reviewed, card.controls_reviewed) == (figure.flags_reviewed, figure.controls_reviewed)
