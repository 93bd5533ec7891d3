"""The model card says what the log says: every figure is recomputed by somebody else's function and compared."""

import json
import math
import re
from pathlib import Path

import pytest

import oversight.reports.card as cards
from oversight.audit.verify import read_mirror
from oversight.reports.card import ModelCard
from oversight.reports.model_card import model_card, write_card
from oversight.reports.words import TITLES
from protocol.aggregation.accounting import right_guesses
from protocol.aggregation.planning import plan_rho
from protocol.documents.base import Value
from protocol.errors import MalformedDocument, PlanNotApproved, StateError
from protocol.scorecard.calibration import calibration, recalibration
from protocol.scorecard.capacity import people_above, thresholds
from protocol.scorecard.curves import area_under_curve, average_precision, curve
from protocol.scorecard.evaluation import evaluate
from protocol.scorecard.table import scorecard_tables
from tests.federation import PRIVACY, Federation, catalogue, feature
from tests.world import CATALOGUE, SCORING, TRAINING


@pytest.fixture
def card(measured):
    return measured[1]


@pytest.fixture
def record(measured):
    world, card = measured
    return world.record(card.plan)


def test_card_names_its_model_plan_and_catalogue(card, record):
    assert (card.model, card.plan) == (record.model().digest(), record.plan.digest())
    assert (card.data.catalogue, card.data.catalogue_digest) == ("made-up", CATALOGUE.digest())
    assert (card.data.train_from, card.data.train_until, card.data.evaluation_cutoff) == (TRAINING, TRAINING, SCORING)


def test_people_are_those_of_the_published_establishment(card, record):
    assert {one.borough: one.people for one in card.data.boroughs} == {
        one.borough: one.people for one in record.plan.boroughs
    }
    assert card.data.people == sum(one.people for one in card.data.boroughs)


def test_features_are_those_that_a_head_uses_with_their_texts(card):
    assert [one.name for one in card.data.features] == ["alpha", "beta", "gamma", "senior"]
    alpha = card.data.features[0]
    assert (alpha.definition, alpha.legal_note, alpha.categories) == ("Made-up value alpha.", "Synthetic.", ("first",))


def test_every_adversary_of_the_plan_has_its_figures_and_its_words(card, record):
    assert [(one.adversary, one.epsilon, one.delta, one.mu) for one in card.guarantee.statements] == [
        (one.adversary, one.epsilon, one.delta, one.mu) for one in record.plan.statements
    ]
    for one in card.guarantee.statements:
        assert one.right_guesses == right_guesses(mu=one.mu)
        assert one.right_guesses == pytest.approx(0.5 * (1 + math.erf(one.mu / math.sqrt(8))), rel=1e-12)
    assert "coordinator alone" in card.guarantee.statements[1].meaning
    assert "two servers" in card.guarantee.statements[2].meaning


def test_budget_is_divided_as_the_plan_says(card, record):
    assert {one.function: one.share for one in card.guarantee.shares} == {
        "second_moment": 0.1, "gradient": 0.4, "group_moments": 0.1, "evaluation": 0.2, "fairness": 0.1, "drift": 0.1
    }  # fmt: skip
    assert {one.function for one in card.guarantee.shares} == {spec.function for spec in record.plan.releases}
    assert card.guarantee.budget.this_plan == plan_rho(record.plan)
    assert card.guarantee.budget.spent == pytest.approx(plan_rho(record.plan))


def test_every_kind_of_release_has_a_title_in_the_order_of_the_shares(record):
    names = ["gradients" if function == "gradient" else function for function in TITLES]
    assert names == list(type(record.plan.privacy.shares).model_fields)


def test_releases_are_those_of_the_log(card, record):
    assert [(one.index, one.function, one.sigma) for one in card.guarantee.releases] == [
        (release.request.index, release.request.function, numbers.sigma)
        for release, numbers in zip(record.releases, record.run.releases, strict=True)
    ]
    assert {one.boroughs for one in card.guarantee.releases} == {4}


def test_accuracy_is_that_of_the_evaluation(card, record):
    cutoffs = thresholds(record.run)
    for shown, head in zip(card.heads, evaluate(record.run), strict=True):
        area = area_under_curve(head)
        assert (shown.auc.value, shown.auc.low, shown.auc.high) == (area.value, area.low, area.high)
        assert (shown.threshold, shown.noise_people) == (cutoffs[shown.category], head.sigma)
        precision, above = average_precision(head), people_above(head, shown.threshold)
        assert (shown.average_precision.value, shown.average_precision.low) == (precision.value, precision.low)
        assert (shown.people_above.value, shown.people_above.high) == (above.value, above.high)


def test_curves_and_calibration_are_those_of_the_evaluation(card, record):
    for shown, head in zip(card.heads, evaluate(record.run), strict=True):
        assert [(one.score, one.recall.value, one.precision.low) for one in shown.curve] == [
            (one.score, one.recall.value, one.precision.low) for one in curve(head)
        ]
        assert [(one.low, one.people, one.observed.value, one.predicted) for one in shown.calibration] == [
            (one.low, one.people, one.observed.value, one.predicted) for one in calibration(head)
        ]
        fitted = recalibration(head)
        assert (shown.recalibration is None) == (fitted is None)
        if fitted is not None:
            assert (shown.recalibration.slope, shown.recalibration.intercept) == (fitted.slope, fitted.intercept)


def test_scorecards_are_those_of_the_model(card, record):
    for shown, table in zip(card.heads, scorecard_tables(record.model(), record.catalogue), strict=True):
        assert [(row.feature, row.weight, row.mean_value, row.reason) for row in shown.weights] == [
            (row.feature, row.weight, row.mean_value, row.reason) for row in table.rows
        ]


def test_policies_of_the_plan_are_on_the_card_and_flags_are_counted(flagged):
    shown = model_card(flagged.world.appender.history, flagged.plan)
    (policy,) = shown.policies
    assert policy.digest == flagged.policy
    assert {rule.category: rule.threshold for rule in policy.rules} == {
        head.category: head.threshold for head in shown.heads
    }
    assert shown.flags_raised == len(flagged.headers) > 0


def test_card_of_a_plan_without_policy_counts_no_flag(bare):
    assert (bare.policies, bare.flags_raised) == ((), 0)


def test_proof_names_every_entry_of_the_plan_and_what_it_names(card, measured):
    world, _ = measured
    history = world.appender.history
    kinds = [entry.kind for entry in card.proof.entries]
    steps = len(card.guarantee.releases)
    assert kinds == ["roster", "catalogue", "plan", *["receipt", "release"] * steps, "closure", "policy"]
    for entry in card.proof.entries:
        assert entry.entry == history.leaves[entry.index].entry().hex()
        assert entry.day == history.skeletons[entry.index].day
    by_kind = {entry.kind: entry for entry in card.proof.entries}
    assert (by_kind["plan"].document, by_kind["catalogue"].document) == (card.plan, card.data.catalogue_digest)
    assert set(by_kind["plan"].signers) == {"custodian-1", "custodian-2"}
    assert by_kind["receipt"].signers == ("unmasker",)
    assert (card.proof.size, card.proof.root) == (history.tree.size, history.tree.root().hex())


def test_entries_of_another_plan_are_not_proof_of_this_one(world, finished):
    other = world.approve()
    world.run(other)
    shown = model_card(world.appender.history, finished)
    positions = {entry.index for entry in shown.proof.entries}
    foreign = [index for index, one in enumerate(world.appender.history.skeletons) if one.kind == "plan"]
    assert positions & set(foreign) == {foreign[0]}
    assert len([entry for entry in shown.proof.entries if entry.kind == "release"]) == len(shown.guarantee.releases)


def test_card_of_the_static_files_is_the_card_of_the_log(measured):
    world, card = measured
    mirror = read_mirror(world.root / "log", genesis=world.roster.digest())
    assert model_card(mirror.history, card.plan).encode() == card.encode()


def test_json_reads_back_as_the_same_card(card):
    assert ModelCard.decode(card.encode()) == card
    assert json.loads(card.encode())["format"] == "custodes/model-card/v1"


@pytest.mark.parametrize("change", [{"format": "custodes/model-card/v2"}, {"surprise": 1}, {"heads": None}])
def test_json_that_is_no_card_of_this_version_is_refused(card, change):
    with pytest.raises(MalformedDocument, match=next(iter(change))):
        ModelCard.decode(json.dumps(json.loads(card.encode()) | change))


def test_what_was_not_measured_is_said(card, bare):
    assert [text.split(":")[0] for text in bare.not_measured] == [
        "Differences between protected groups",
        "Drift",
        "Outcomes",
    ]
    assert [text.split(":")[0] for text in card.not_measured] == ["Outcomes"]


def test_unfinished_and_unknown_plans_have_no_card(world, plan):
    with pytest.raises(StateError):
        model_card(world.appender.history, plan)
    with pytest.raises(PlanNotApproved):
        model_card(world.appender.history, "0" * 64)


def test_burnt_index_is_told_and_stands_among_the_proof():
    force = Federation(budget_rho=1.0)
    force.begin()
    plan = force.plan(privacy=PRIVACY.model_copy(update={"spares": 1}))
    force.log("plan", plan)
    failed = force.exchange(plan)
    force.log("receipt", failed.receipt)
    force.log("burn", force.burn(plan, failed.receipt))
    for _ in plan.releases:
        force.release_next(plan)
    shown = model_card(force.history, plan.digest())
    assert (shown.guarantee.spares, shown.guarantee.burnt) == (1, 1)
    assert [one.index for one in shown.guarantee.releases] == [1, 2, 3, 4]
    assert [entry.kind for entry in shown.proof.entries].count("burn") == 1
    assert [line for line in shown.limits if "repeated" in line]


def test_written_files_are_the_card(card, tmp_path):
    text, page = write_card(card, tmp_path / "new" / "folder")
    assert ModelCard.decode(text.read_text()) == card
    assert page.read_text().startswith("<!DOCTYPE html>")


HOSTILE = """"'><script>alert(1)</script></table><svg onload=alert(2)>&amp;{{ 7 * 7 }}"""


def test_hostile_catalogue_of_the_log_reaches_the_card_as_it_is():
    force = Federation()
    made = catalogue()
    force.catalogue = catalogue(
        features=tuple(
            feature(one.name, one.transform, definition=HOSTILE, reason=HOSTILE, unit=HOSTILE, legal_note=HOSTILE)
            for one in made.features
        )
    )
    force.begin()
    record = force.run(force.plan())
    shown = model_card(force.history, record.plan.digest())
    assert {one.definition for one in shown.data.features} == {HOSTILE}
    assert {row.reason for head in shown.heads for row in head.weights} == {HOSTILE}


def test_every_field_of_the_card_is_documented_and_nothing_else():
    text = (Path(__file__).parents[3] / "docs" / "spec" / "model-card.md").read_text()
    documented = {}
    for part in re.split(r"(?m)^### ", text)[1:]:
        name, _, rows = part.partition("\n")
        documented[name.strip("`")] = re.findall(r"(?m)^\| `(\w+)` \|", rows)
    assert documented == {
        one.__name__: list(one.model_fields)
        for one in vars(cards).values()
        if isinstance(one, type) and issubclass(one, Value) and one.__module__ == cards.__name__
    }
