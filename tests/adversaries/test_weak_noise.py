"""Too little noise, or people who weigh too much, over every party's own code: what the audit finds out and what not.

Noise is the system's, so nothing is seeded but canaries and coins. At confidence 0.999999 an honest federation fails
less than once in a million runs, and halved noise passes less than once in a billion: both are computed below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from borough_node.app import system_noise
from borough_node.gate import Gate, Noise
from borough_node.records import Records
from borough_node.settings import NodeSettings
from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import PersonnelTable
from coordinator.registry.drafting import PlanChoices, draft_plan
from deploy.privacy_audit.canaries import BOROUGHS, EVALUATION, TRAINING, Canaries, catalogue_text
from deploy.privacy_audit.federation import PLAN, finding, scaled_noise, stated_mu
from oversight.audit.privacy import PrivacyAuditBlind, PrivacyAuditFailed, PrivacyFinding
from oversight.audit.verify import read_mirror
from protocol.aggregation.encoding import Int64Array
from protocol.history.public import PlanRecord
from protocol.ids import PartyId, random_id
from tests.world import PURPOSE, World

CONFIDENCE = 0.999999
CANARIES = Canaries.toss(1000, seed=1)
HELD_OUT = 1000 - int(CANARIES.included.sum())


def silent(length: int, sigma: float) -> Int64Array:
    return np.zeros(length, dtype=np.int64)


def run(
    world: World,
    *,
    noise: Callable[[PartyId], Noise] = lambda borough: system_noise,
    table: Callable[[PartyId], PersonnelTable] = CANARIES.table,
) -> PlanRecord:
    """Run the audit's plan and return what an auditor reads from the log's files."""
    written = world.root / "canaries.catalogue.toml"
    written.write_text(catalogue_text())
    _, catalogue = load_catalogue(written)
    world.log("catalogue", catalogue, "coordinator")
    for borough in BOROUGHS:
        world._gates[borough] = Gate(
            borough=borough,
            signing_key=world.keys[borough],
            ledger=world.ledger(borough),
            records=Records(lambda _, borough=borough: table(borough)),
            reviews=world.reviews(borough),
            reader=world.reader(borough),
            clock=world.clock,
            noise=noise(borough),
        )
    plan_id = random_id()
    plan = draft_plan(
        PlanChoices.load(PLAN).model_copy(update={"purpose": PURPOSE}),
        plan_id=plan_id,
        roster=world.roster,
        catalogue=catalogue,
        establishment=CANARIES.establishment(),
        train_from=TRAINING,
        train_until=TRAINING,
        evaluation_cutoff=EVALUATION,
        unmasker_key=world.unmasker.new_plan_key(plan_id),
        now=world.clock.now(),
    )
    world.log("plan", plan, *world.custodian_ids[:2])
    world.run(plan.digest())
    return read_mirror(world.root / "log", genesis=world.roster.digest()).history.public.plan(plan.digest())


def audit(record: PlanRecord, canaries: Canaries = CANARIES) -> PrivacyFinding:
    return finding([record], canaries, confidence=CONFIDENCE)


def test_honest_federation_holds(world):
    record = run(world)
    found = audit(record)
    # What audit.plan.toml says of itself.
    assert stated_mu(record) == pytest.approx((0.983, 1.135), abs=5e-4)
    assert (found.inside, found.outside) == (1000 - HELD_OUT, HELD_OUT)
    assert found.mu_stated == stated_mu(record)[0] > found.mu_expected > 0.9 * found.mu_stated
    assert found.chance_of_failing(found.mu_expected) < 1e-6
    assert found.chance_of_failing(2 * found.mu_expected) > 1 - 1e-9
    assert 0 < found.mu_lower < found.mu_stated
    found.verify()


def test_halved_noise_is_found_out(world):
    found = audit(run(world, noise=lambda borough: scaled_noise(0.5)))
    assert found.mu_lower > found.mu_stated
    with pytest.raises(PrivacyAuditFailed):
        found.verify()


def test_boroughs_that_add_no_noise_are_found_out_when_what_is_left_is_half(world):
    # Three of four are silent: half of the sd is left, that of the fourth.
    found = audit(run(world, noise=lambda borough: system_noise if borough == BOROUGHS[0] else silent))
    with pytest.raises(PrivacyAuditFailed):
        found.verify()


def test_no_noise_at_all_is_found_out(world):
    found = audit(run(world, noise=lambda borough: silent))
    assert found.mu_lower > 5
    with pytest.raises(PrivacyAuditFailed):
        found.verify()


@pytest.mark.parametrize(
    ("share", "once", "twenty_times"),
    [(1.0, 0.0034, 0.0), (0.9, 0.11, 0.62), (np.sqrt(0.75), 0.27, 0.998), (0.8, 0.74, 1.0), (np.sqrt(0.5), 0.998, 1.0)],
)
def test_what_one_release_hardly_shows_twenty_do(share, once, twenty_times):
    # The table of docs/operations.md. sqrt(0.75): one borough of four adds none; it is the row to be honest about.
    def failing(runs: int) -> float:
        found = PrivacyFinding(0.0, 0.0, 0.0, 0.98283, 0.911, 0.95, 500 * runs, 500 * runs)
        return found.chance_of_failing(found.mu_expected / share)

    assert failing(1) == pytest.approx(once, abs=0.005)
    assert failing(20) == pytest.approx(twenty_times, abs=0.005)


def test_people_who_count_in_two_boroughs_are_found_out(world):
    def doubled(borough: PartyId) -> PersonnelTable:
        """Return the borough's own rows and its neighbour's: no borough can see that they stand elsewhere too."""
        neighbour = BOROUGHS[BOROUGHS.index(borough) - 1]
        own, others = CANARIES.table(borough), CANARIES.table(neighbour)
        return replace(
            own,
            person=np.concatenate([own.person, others.person]),
            cutoff=np.concatenate([own.cutoff, others.cutoff]),
            features={name: np.concatenate([own.features[name], others.features[name]]) for name in own.features},
            labels={name: np.concatenate([own.labels[name], others.labels[name]]) for name in own.labels},
        )

    found = audit(run(world, table=doubled))
    with pytest.raises(PrivacyAuditFailed):
        found.verify()


def test_audit_with_other_coins_than_were_tossed_proves_nothing(world):
    record = run(world)
    found = audit(record, replace(CANARIES, included=~CANARIES.included))
    assert found.holds
    assert found.is_blind
    with pytest.raises(PrivacyAuditBlind):
        found.verify()


def test_node_has_no_setting_that_weakens_its_noise():
    assert not [name for name in NodeSettings.model_fields if "noise" in name or "sigma" in name]
