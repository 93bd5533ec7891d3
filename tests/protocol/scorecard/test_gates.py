"""A fairness gate blocks a policy: a small force whose officers of one sex are flagged far more often, end to end."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import tests.world
from coordinator.registry.drafting import draft_policy
from oversight.cli import custodian_app
from protocol.documents.flags import Waiver
from protocol.documents.plan import FairnessGate
from protocol.errors import BadSignature, ConfigurationError, FairnessGateMissed, PlanNotApproved, WaiverUnfounded
from protocol.scorecard.fairness import AttributeFairness, GroupFairness
from protocol.scorecard.gates import _judge, gate_verdicts
from protocol.scorecard.intervals import Interval
from tests.world import CHOICES, EVERYTHING, REASON, World

FAIR, UNFAIR = ("second", "sex"), ("first", "sex")


def skewed(borough, people):
    """The usual rows, where sex goes with what the first head looks at and not with what the second does."""
    made = tests.world.__dict__["plain_table"](borough, people)
    leaning = made.features["alpha"] + 0.5 * made.features["beta"]
    return dataclasses.replace(
        made, protected=made.protected | {"sex": np.where(leaning > 0.2, "m", "f").astype(object)}
    )


@pytest.fixture(scope="module")
def force(tmp_path_factory):
    """A finished plan, with next to no noise, whose gate the first category misses."""
    patch = pytest.MonkeyPatch()
    patch.setattr(tests.world, "plain_table", tests.world.table, raising=False)
    patch.setattr(tests.world, "table", skewed)
    made = World.create(tmp_path_factory.mktemp("gate") / "world", people=150, budget=1000.0)
    fairness = EVERYTHING.fairness.model_copy(
        update={"mitigations": (), "gates": (FairnessGate(attribute="sex", minimum=0.8, when_hidden="allow"),)}
    )
    shares = EVERYTHING.shares.model_copy(update={"group_moments": 0.0, "gradients": 0.5})
    plan = made.approve(
        EVERYTHING.model_copy(update={"epsilon": 30.0, "scale_bits": 28, "fairness": fairness, "shares": shares})
    )
    made.run(plan)
    yield made, plan
    made.close()
    patch.undo()


def drafted(force, **arguments):
    world, plan = force
    return draft_policy(CHOICES, record=world.record(plan), roster=world.roster, now=world.clock.now(), **arguments)


def waiver(category: str, attribute: str) -> Waiver:
    return Waiver(category=category, attribute=attribute, reason=REASON)


def test_a_policy_that_misses_the_gate_cannot_be_drafted_and_the_refusal_says_what_is_missed(force):
    with pytest.raises(FairnessGateMissed, match="first by sex: missed") as raised:
        drafted(force)
    assert "second" not in str(raised.value)
    for option in ("--waive", "--without"):
        assert option in raised.value.remedy()


def test_nobody_who_reads_the_log_accepts_a_policy_that_misses_the_gate(force):
    """The coordinator left the waiver out of what the quorum signs; even with three signatures it is no policy."""
    world, _ = force
    policy = drafted(force, waivers=(waiver(*UNFAIR),)).model_copy(update={"waivers": ()})
    with pytest.raises(FairnessGateMissed):
        world.log("policy", policy, *world.custodian_ids)
    assert policy.digest() not in world.appender.history.public.policies
    for name in ("borough-1", "auditor", "custodian-1"):
        reader = world.reader(name)
        reader.sync()
        with pytest.raises(FairnessGateMissed):
            reader.public.apply("policy", world.signed(policy, *world.custodian_ids), world.clock.now().date())


def test_a_coordinator_cannot_waive_without_the_quorum(force):
    world, _ = force
    policy = drafted(force, waivers=(waiver(*UNFAIR),))
    for signers in (("coordinator",), ("coordinator", "custodian-1")):
        with pytest.raises(PlanNotApproved):
            world.log("policy", policy, *signers)


def test_a_coordinator_cannot_change_the_reason_that_the_quorum_signed(force):
    world, _ = force
    signed = world.signed(drafted(force, waivers=(waiver(*UNFAIR),)), *world.custodian_ids)
    other = drafted(force, waivers=(waiver(*UNFAIR).model_copy(update={"reason": REASON + " of another kind"}),))
    forged = signed.model_copy(update={"payload": world.signed(other).payload})
    with pytest.raises(BadSignature):
        world.appender.append("policy", forged)


def test_a_category_that_misses_may_be_left_out(force):
    world, _ = force
    policy = drafted(force, without=("first",))
    assert [rule.category for rule in policy.rules] == ["second"]
    world.appender.history.public.check_new_policy(policy, world.clock.now().date())


@pytest.mark.parametrize("names", [("third",), ("first", "second")])
def test_leaving_out_a_stranger_or_everybody_is_refused(force, names):
    with pytest.raises(ConfigurationError):
        drafted(force, without=names)


@pytest.mark.parametrize("unneeded", [FAIR, ("first", "origin"), ("third", "sex")])
def test_a_waiver_that_no_gate_needs_is_refused(force, unneeded):
    world, _ = force
    policy = drafted(force, waivers=(waiver(*UNFAIR),))
    padded = policy.model_copy(update={"waivers": (*policy.waivers, waiver(*unneeded))})
    with pytest.raises(WaiverUnfounded, match=unneeded[0]):
        world.log("policy", padded, *world.custodian_ids)
    with pytest.raises(WaiverUnfounded):
        drafted(force, without=("first",), waivers=(waiver(*UNFAIR),))


def test_custodians_see_verdict_and_reason_before_they_sign_and_the_policy_then_holds(force):
    world, _ = force
    policy = drafted(force, waivers=(waiver(*UNFAIR),))
    world.proposals.propose("policy", world.signed(policy, "coordinator"))
    for number in (1, 2):
        (shown,) = world.custodian(number).proposals()
        outcomes = {(one.category, one.attribute): (one.outcome, shown.reason(one)) for one in shown.verdicts}
        assert outcomes[UNFAIR] == ("missed", REASON)
        assert outcomes[FAIR][0] != "missed"
        assert outcomes[FAIR][1] is None
        world.custodian(number).endorse(shown)
    assert policy.digest() in world.appender.history.public.policies
    assert world.gate("borough-1").flags(policy.digest())


def test_proposals_show_each_verdict_and_the_reason_that_would_be_signed(force, monkeypatch):
    world, _ = force
    policy = drafted(force, waivers=(waiver(*UNFAIR),))
    world.proposals.propose("policy", world.signed(policy, "coordinator"))
    monkeypatch.setattr("oversight.cli.CustodianSettings.load", lambda path: path)
    monkeypatch.setattr(
        "oversight.cli.open_custodian",
        lambda settings, clock: (SimpleNamespace(close=lambda: None), world.custodian(3)),
    )
    shown = CliRunner().invoke(custodian_app, ["proposals", "settings.toml"])
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    start = next(place for place, line in enumerate(lines) if policy.digest() in line)
    assert lines[start + 1].startswith("  fairness gate, first by sex: missed;")
    assert lines[start + 2] == f"    you would sign this reason: {REASON}"
    assert lines[start + 3].startswith("  fairness gate, second by sex: ")
    answer = json.loads(CliRunner().invoke(custodian_app, ["proposals", "settings.toml", "--json"]).stdout)
    gates = next(one["gates"] for one in answer if one["digest"] == policy.digest())
    assert (gates[0]["category"], gates[0]["outcome"], gates[0]["waiver"]) == ("first", "missed", REASON)


def test_a_custodian_desk_does_not_sign_what_misses_the_gate(force):
    world, _ = force
    policy = drafted(force, waivers=(waiver(*UNFAIR),)).model_copy(update={"waivers": ()})
    world.proposals.propose("policy", world.signed(policy, "coordinator"))
    shown = next(one for one in world.custodian(3).proposals() if one.digest == policy.digest())
    assert any(one.outcome == "missed" for one in shown.verdicts)
    with pytest.raises(FairnessGateMissed):
        world.custodian(3).endorse(shown)


def test_a_plan_without_fairness_has_no_gates(world, finished):
    assert gate_verdicts(world.record(finished).run) == ()
    with pytest.raises(WaiverUnfounded):
        draft_policy(
            CHOICES,
            record=world.record(finished),
            roster=world.roster,
            now=world.clock.now(),
            waivers=(waiver(*UNFAIR),),
        )


RATE = Interval(0.1, 0.05, 0.15)


@pytest.mark.parametrize(
    ("ratio", "shown", "outcome", "needs"),
    [
        (Interval(0.95, 0.85, 1.0), True, "passed", (False, False)),
        (Interval(0.95, 0.80, 1.0), True, "passed", (False, False)),
        (Interval(0.95, 0.85, 1.0), False, "hidden", (False, True)),
        (Interval(0.85, 0.79, 1.0), True, "hidden", (False, True)),
        (Interval(0.40, 0.10, 0.80), True, "hidden", (False, True)),
        (Interval(None, 0.0, 1.0), True, "hidden", (False, True)),
        (None, False, "hidden", (False, True)),
        (Interval(0.40, 0.10, 0.79), True, "missed", (True, True)),
        (Interval(None, 0.0, 0.5), False, "missed", (True, True)),
    ],
)
def test_verdict_follows_from_the_interval_and_from_what_is_suppressed(ratio, shown, outcome, needs):
    groups = (GroupFairness("a", RATE, None, None, ()), GroupFairness("b", RATE if shown else None, None, None, ()))
    figures = AttributeFairness("first", "sex", groups, ratio)
    for when_hidden, expected in zip(("allow", "refuse"), needs, strict=True):
        found = _judge(figures, FairnessGate(attribute="sex", minimum=0.8, when_hidden=when_hidden))
        assert (found.outcome, found.needs_waiver) == (outcome, expected)
