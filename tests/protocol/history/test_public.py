"""The rules that every reader of the log applies to its public documents: the good path, and each refusal."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from protocol.aggregation.exchange import InconsistentRequests, StatementReplayed
from protocol.aggregation.planning import plan_rho
from protocol.documents.arrays import Array
from protocol.documents.flags import CategoryRule
from protocol.documents.roster import Budget
from protocol.errors import (
    AlreadyAnswered,
    BadSignature,
    BudgetExceeded,
    CohortTooSmall,
    DigestMismatch,
    Expired,
    IndexOutOfTurn,
    MalformedDocument,
    ModelMismatch,
    PlanClosed,
    PlanInvalid,
    PlanNotApproved,
    ProtocolError,
    QuorumNotMet,
    ReleaseRefused,
    RosterChanged,
    ShapeMismatch,
    SparesSpent,
    StateError,
    SumInvalid,
    UnknownSigner,
)
from protocol.history import public
from protocol.history.mirror import History
from protocol.ids import digest_of
from protocol.scorecard.capacity import thresholds
from tests.federation import BUDGET_RHO, PRIVACY, PURPOSE, Federation, number, party, plan_key


def begun(**arguments) -> Federation:
    force = Federation(**arguments)
    force.begin()
    return force


def planned(**arguments) -> tuple[Federation, object]:
    force = begun(**arguments)
    plan = force.plan()
    force.log("plan", plan)
    return force, plan


def finished() -> tuple[Federation, object]:
    force = begun()
    return force, force.run(force.plan())


def refused(force: Federation, error: type[ProtocolError], kind: str, document, *signers: str, match: str = "") -> None:
    """Assert that logging raises this error and adds nothing."""
    before = (force.history.tree.root(), len(force.history.skeletons), len(force.history.public.plans))
    with pytest.raises(error, match=match or None):
        force.log(kind, document, *signers)
    assert (force.history.tree.root(), len(force.history.skeletons), len(force.history.public.plans)) == before


# --- the good path ----------------------------------------------------------------------------------------------


def test_a_whole_run_is_accepted_and_every_reader_ends_with_the_same_model_and_root():
    force, record = finished()
    policy = force.policy(record)
    force.log("policy", policy)
    assert record.complete
    assert record.closed
    reader = History(genesis=force.history.public.genesis)
    for logged in force.logged:
        reader.apply(logged.leaf)
    again = reader.public.plan(record.plan.digest())
    assert reader.tree.root() == force.history.tree.root()
    assert again.model().digest() == record.model().digest() == policy.model
    assert reader.public.policy(policy.digest()) == policy
    assert reader.public.spent(PURPOSE, on=force.clock.now().date()) == plan_rho(record.plan)


def test_a_run_without_one_borough_is_accepted():
    force = begun()
    record = force.run(force.plan(), answering=force.boroughs[1:])
    assert record.releases[0].boroughs == force.boroughs[1:]


def test_nothing_is_believed_of_a_log_that_does_not_begin_with_a_roster():
    force = Federation()
    with pytest.raises(UnknownSigner, match="does not begin with a roster"):
        force.log("catalogue", force.catalogue)


# --- roster -----------------------------------------------------------------------------------------------------


def test_the_first_roster_is_the_configured_one():
    force = Federation()
    other = force.first_roster(epoch=2)
    refused(force, DigestMismatch, "roster", other, match="configuration")
    refused(force, QuorumNotMet, "roster", force.roster, "custodian-1")


def test_a_roster_follows_when_the_quorum_before_it_signed():
    force = begun()
    successor = force.next_roster(budgets=(Budget(purpose=PURPOSE, rho=1.0),))
    refused(force, QuorumNotMet, "roster", successor, "custodian-1", "coordinator", "unmasker")
    force.log("roster", successor)
    assert force.history.public.roster == successor


def test_a_roster_cannot_vote_itself_in_with_its_own_custodians():
    force = begun()
    names = ("custodian-7", "custodian-8", "custodian-9")
    parties = tuple(one for one in force.parties() if one.role != "custodian")
    parties += tuple(party(name, "custodian") for name in names)
    refused(force, QuorumNotMet, "roster", force.next_roster(parties=parties), *names)


@pytest.mark.parametrize("changes", [{"version": 3}, {"previous": digest_of(b"another roster")}])
def test_a_roster_that_skips_or_replaces_a_version_is_refused(changes):
    force = begun()
    refused(force, DigestMismatch, "roster", force.next_roster(**changes), match="does not follow")


def test_a_roster_is_not_logged_again():
    force = begun()
    refused(force, DigestMismatch, "roster", force.roster)


# --- catalogue and plan -----------------------------------------------------------------------------------------


def test_only_the_coordinator_logs_catalogues():
    force = begun()
    refused(force, UnknownSigner, "catalogue", force.catalogue, "custodian-1", "custodian-2")


def test_a_plan_without_its_quorum_is_not_approved():
    force = begun()
    plan = force.plan()
    for signers in (("custodian-1",), ("coordinator",), ("borough-1", "borough-2", "issuer"), ("stranger",)):
        refused(force, PlanNotApproved, "plan", plan, *signers)


def test_a_forged_custodians_signature_is_an_error_of_its_own():
    force = begun()
    plan = force.plan()
    real, other = force.sign(plan, "custodian-1"), force.sign(force.plan(2), "custodian-2")
    forged = real.model_copy(update={"signatures": (*real.signatures, *other.signatures)})
    with pytest.raises(BadSignature):
        force.log_envelope("plan", forged)


def test_an_approved_plan_is_not_approved_again():
    force, plan = planned()
    refused(force, AlreadyAnswered, "plan", plan)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"roster": digest_of(b"another roster")}, DigestMismatch, "field roster"),
        ({"catalogue": digest_of(b"another catalogue")}, PlanNotApproved, "field catalogue"),
        ({"train_from": 2021}, PlanInvalid, "rows_per_person"),
        ({"purpose": "another_purpose"}, BudgetExceeded, "another_purpose"),
    ],
)
def test_a_plan_that_does_not_fit_the_log_is_refused(changes, error, match):
    force = begun()
    refused(force, error, "plan", force.plan(**changes), match=match)


def test_a_plan_over_a_party_that_is_no_borough_is_refused():
    force = begun()
    plan = force.plan()
    renamed = plan.boroughs[0].model_copy(update={"borough": "auditor"})
    refused(
        force, UnknownSigner, "plan", force.plan(boroughs=(renamed, *plan.boroughs[1:])), match="no borough auditor"
    )


@pytest.mark.parametrize("days", [-1, 91])
def test_a_plan_is_approved_within_its_validity(days):
    force = begun()
    plan = force.plan(valid_from=force.clock.now(), valid_until=force.clock.now() + timedelta(days=90))
    if days < 0:
        plan = force.plan(valid_from=force.clock.now() + timedelta(days=1))
    else:
        force.clock.advance(timedelta(days=days))
    refused(force, Expired, "plan", plan)


@pytest.mark.parametrize("field", ["plan_id", "unmasker_key"])
def test_a_plan_that_shares_another_plans_id_or_key_is_refused(field):
    """Closing one of them would destroy the key of the other."""
    force, first = planned()
    force.clock.advance(timedelta(days=400))
    refused(force, AlreadyAnswered, "plan", force.plan(2, **{field: getattr(first, field)}), match=field)


@pytest.mark.parametrize(("days", "accepted"), [(0, False), (1, False), (364, False), (365, True), (366, True)])
def test_a_second_plan_fits_the_budget_only_after_the_rolling_365_days(days, accepted):
    force, _ = planned()
    force.clock.advance(timedelta(days=days))
    second = force.plan(2)
    assert plan_rho(second) < BUDGET_RHO < 2 * plan_rho(second)
    if accepted:
        force.log("plan", second)
        assert force.history.public.spent(PURPOSE, on=force.clock.now().date()) == plan_rho(second)
    else:
        refused(force, BudgetExceeded, "plan", second, match=PURPOSE)


def test_the_window_rolls_and_does_not_restart_with_the_year():
    force = begun(budget_rho=2.5 * 0.0281)
    for days, fits in ((0, True), (200, True), (300, False), (364, False), (366, True), (400, False), (566, True)):
        force.clock.advance(timedelta(days=days) - (force.clock.now() - force.roster.valid_from))
        plan = force.plan(days + 10)
        if fits:
            force.log("plan", plan)
        else:
            refused(force, BudgetExceeded, "plan", plan)


def test_a_larger_budget_needs_a_new_roster_and_then_counts():
    force, _ = planned()
    force.log("roster", force.next_roster(budgets=(Budget(purpose=PURPOSE, rho=2 * BUDGET_RHO),)))
    force.log("plan", force.plan(2))
    refused(force, BudgetExceeded, "plan", force.plan(3))


# --- receipts ---------------------------------------------------------------------------------------------------


def test_a_receipt_for_a_plan_that_was_never_approved_is_refused():
    force, plan = planned()
    exchange = force.exchange(plan)
    other = force.plan(2)
    refused(force, PlanNotApproved, "receipt", exchange.receipt.model_copy(update={"plan": other.digest()}))


def test_a_receipt_is_the_unmaskers_word():
    force, plan = planned()
    for signer in ("coordinator", "borough-1", "custodian-1"):
        refused(force, UnknownSigner, "receipt", force.exchange(plan).receipt, signer)


def test_an_index_has_one_receipt():
    force, plan = planned()
    force.log("receipt", force.exchange(plan).receipt)
    refused(force, AlreadyAnswered, "receipt", force.exchange(plan).receipt)
    refused(force, AlreadyAnswered, "receipt", force.exchange(plan, answering=force.boroughs[:5]).receipt)


@pytest.mark.parametrize("index", [1, 3, 4])
def test_a_receipt_for_an_index_that_is_not_next_is_refused(index):
    force, plan = planned()
    refused(force, IndexOutOfTurn, "receipt", force.exchange(plan, receipt_changes={"index": index}).receipt)


def test_no_receipt_follows_the_closure():
    force, plan = planned()
    exchange = force.exchange(plan)
    force.log("closure", force.closure(plan))
    refused(force, PlanClosed, "receipt", exchange.receipt)


def test_a_plan_ends_when_the_roster_changes():
    """Otherwise boroughs would be asked under one roster and their sum checked under another."""
    force, plan = planned()
    asked = force.exchange(plan)
    force.log("roster", force.next_roster())
    refused(force, RosterChanged, "receipt", asked.receipt, match="approved under roster 1, now it is 2")
    force.log("closure", force.closure(plan))


def test_a_plan_is_not_unmasked_outside_its_validity():
    force, plan = planned()
    exchange = force.exchange(plan)
    force.clock.advance(timedelta(days=90))
    force.log("receipt", exchange.receipt)
    later, plan = planned()
    exchange = later.exchange(plan)
    later.clock.advance(timedelta(days=91))
    refused(later, Expired, "receipt", exchange.receipt)


def test_a_receipt_repeats_every_check_of_the_statements():
    force, plan = planned()
    request, seed = force.ask(plan)
    answers = [force.answer(name, plan, request, seed) for name in force.boroughs]
    few = force.receipt(plan, request, answers[:4])
    refused(force, CohortTooSmall, "receipt", few)
    other = force.answer("borough-1", plan, request, seed, request=digest_of(b"another request"))
    refused(force, InconsistentRequests, "receipt", force.receipt(plan, request, [other, *answers[1:]]))
    stray = force.answer("borough-1", plan, request, seed, plan=digest_of(b"another plan"))
    refused(force, StatementReplayed, "receipt", force.receipt(plan, request, [stray, *answers[1:]]))
    stranger = force.answer("borough-1", plan, request, seed, signer="stranger")
    refused(force, UnknownSigner, "receipt", force.receipt(plan, request, [stranger, *answers[1:]]))
    refused(force, MalformedDocument, "receipt", force.receipt(plan, request, answers, statements=("not an envelope",)))
    wrong = force.receipt(plan, request, answers, request=digest_of(b"another request"))
    refused(force, InconsistentRequests, "receipt", wrong)


# --- burnt indices ----------------------------------------------------------------------------------------------


def spared(spares: int) -> tuple[Federation, object]:
    force = begun()
    plan = force.plan(privacy=PRIVACY.model_copy(update={"spares": spares}))
    force.log("plan", plan)
    return force, plan


def test_a_spare_repeats_a_burnt_release_under_the_next_index():
    force, plan = spared(1)
    force.release_next(plan)
    burnt = force.exchange(plan)
    force.log("receipt", burnt.receipt)
    force.log("burn", force.burn(plan, burnt.receipt))
    record = force.history.public.plan(plan.digest())
    assert (record.next_index, record.burnt, len(record.releases)) == (2, [1], 1)
    while not record.complete:
        force.release_next(plan)
    assert [release.request.index for release in record.releases] == [0, 2, 3, 4]
    assert [one.spec.function for one in record.run.releases] == [spec.function for spec in plan.releases]
    assert record.model().digest()
    assert force.history.public.spent(PURPOSE, on=force.clock.now().date()) == plan_rho(plan)


def test_a_burnt_index_is_never_released_and_not_burnt_twice():
    force, plan = spared(1)
    burnt = force.exchange(plan)
    force.log("receipt", burnt.receipt)
    burn = force.burn(plan, burnt.receipt)
    force.log("burn", burn)
    refused(force, IndexOutOfTurn, "release", burnt.release)
    refused(force, IndexOutOfTurn, "burn", burn)


def test_no_index_follows_when_more_are_burnt_than_the_plan_has_spares():
    force, plan = spared(1)
    for _ in range(2):
        burnt = force.exchange(plan)
        force.log("receipt", burnt.receipt)
        force.log("burn", force.burn(plan, burnt.receipt))
    more = force.exchange(plan)
    refused(force, SparesSpent, "receipt", more.receipt, match="2 indices are burnt, the plan has 1 spares")
    force.log("closure", force.closure(plan))
    refused(force, PlanClosed, "burn", force.burn(plan, more.receipt))


def test_an_index_is_burnt_only_with_its_receipt_and_by_the_coordinator():
    """Without a receipt nothing was unmasked: there is nothing to burn, and a spare would be a free repetition."""
    force, plan = spared(1)
    exchange = force.exchange(plan)
    refused(force, DigestMismatch, "burn", force.burn(plan, exchange.receipt), match="nothing of it was unmasked")
    force.log("receipt", exchange.receipt)
    other = digest_of(b"another receipt")
    refused(force, DigestMismatch, "burn", force.burn(plan, exchange.receipt, receipt=other))
    refused(force, IndexOutOfTurn, "burn", force.burn(plan, exchange.receipt, index=1))
    refused(force, UnknownSigner, "burn", force.burn(plan, exchange.receipt), "unmasker")
    force.log("release", exchange.release)
    refused(force, IndexOutOfTurn, "burn", force.burn(plan, exchange.receipt))


# --- releases ---------------------------------------------------------------------------------------------------


def release_refused(error: type[ProtocolError], match: str = "", *signers: str, **changes) -> None:
    force, plan = planned()
    exchange = force.exchange(plan, **changes)
    force.log("receipt", exchange.receipt)
    refused(force, error, "release", exchange.release, *signers, match=match)


def test_a_release_without_a_receipt_is_refused():
    force, plan = planned()
    refused(force, PlanNotApproved, "release", force.exchange(plan).release, match="no receipt")


def test_a_release_that_does_not_follow_its_receipt_is_refused():
    release_refused(DigestMismatch, "not what its receipt speaks of", receipt=digest_of(b"another receipt"))
    force, plan = planned()
    force.log("receipt", force.exchange(plan).receipt)
    changed = force.exchange(plan, request_changes={"tag_commitment": digest_of(b"another seed")})
    refused(force, DigestMismatch, "release", changed.release, match="not what its receipt speaks of")


def test_a_release_that_names_other_boroughs_than_its_receipt_is_refused():
    names = Federation().boroughs
    release_refused(DigestMismatch, "other boroughs", boroughs=names[:5])
    release_refused(DigestMismatch, "other boroughs", boroughs=(*names[1:], names[0]))
    release_refused(DigestMismatch, "other boroughs", boroughs=())


def test_a_release_is_the_coordinators():
    release_refused(UnknownSigner, "", "unmasker")


def test_a_release_with_another_tag_seed_is_refused():
    release_refused(DigestMismatch, "tag seed", tag_seed=digest_of(b"another seed"))


def test_sums_of_another_length_or_beyond_the_range_are_refused():
    release_refused(ShapeMismatch, "sums instead of 10", sums=Array.of(np.zeros(9, dtype=np.int64)))
    release_refused(ShapeMismatch, "sums instead of 10", sums=Array.of(np.zeros((1, 10), dtype=np.int64)))
    release_refused(SumInvalid, "1 of 10", sums=Array.of(np.array([2**50] + [0] * 9)))
    release_refused(MalformedDocument, "int64", sums=Array.of(np.zeros(10)))


def test_a_release_is_not_published_twice_nor_out_of_turn():
    force, plan = planned()
    exchange = force.release_next(plan)
    refused(force, ReleaseRefused, "release", exchange.release, match="field index")


def test_inputs_that_were_checked_are_not_made_again_and_others_are(monkeypatch):
    made = []
    real = public.check_inputs
    monkeypatch.setattr(public, "check_inputs", lambda request, run: made.append(request.index) or real(request, run))
    force, plan = planned()
    force.release_next(plan)
    record = force.history.public.plan(plan.digest())
    made.clear()
    request, _ = force.ask(plan)
    for _ in range(2):
        record.check_request(request)
    assert made == [1]
    bent = request.inputs["weights"].floats()
    bent[0] += 0.1
    other = request.model_copy(update={"inputs": dict(request.inputs) | {"weights": Array.of(bent)}})
    with pytest.raises(ModelMismatch):
        record.check_request(other)
    with pytest.raises(ModelMismatch):
        record.check_request(other)
    force.release_next(plan)
    with pytest.raises(ReleaseRefused, match="field index"):
        record.check_request(request)


@pytest.mark.parametrize("name", ["weights", "whitening", "clips"])
def test_a_request_whose_inputs_do_not_follow_is_refused_although_everybody_signed_it(name):
    # The coordinator and all boroughs and the unmasker together cannot log a gradient at weights of their choice.
    force, plan = planned()
    force.release_next(plan)
    request, _ = force.ask(plan)
    values = request.inputs[name].floats()
    values[0] += 0.1
    exchange = force.exchange(plan, request_changes={"inputs": dict(request.inputs) | {name: Array.of(values)}})
    force.log("receipt", exchange.receipt)
    refused(force, ModelMismatch, "release", exchange.release, match="does not follow")


# --- closure ----------------------------------------------------------------------------------------------------


def test_a_closure_names_the_plans_key_and_is_the_unmaskers():
    force, plan = planned()
    refused(force, UnknownSigner, "closure", force.closure(plan), "coordinator")
    wrong = force.closure(plan, unmasker_key=plan_key(number(2)).public)
    refused(force, DigestMismatch, "closure", wrong, match="another key")
    refused(force, PlanNotApproved, "closure", force.closure(force.plan(2)))
    assert not force.history.public.plan(plan.digest()).closed
    force.log("closure", force.closure(plan))
    assert force.history.public.plan(plan.digest()).closed
    refused(force, AlreadyAnswered, "closure", force.closure(plan))


# --- policies ---------------------------------------------------------------------------------------------------


def test_a_policy_without_its_quorum_is_not_approved():
    force, record = finished()
    refused(force, PlanNotApproved, "policy", force.policy(record), "custodian-1")
    refused(force, PlanNotApproved, "policy", force.policy(record), "coordinator", "unmasker", "issuer")


def test_a_policy_for_a_model_that_does_not_follow_from_the_sums_is_refused():
    force, record = finished()
    refused(
        force, ModelMismatch, "policy", force.policy(record, model=digest_of(b"hand-made weights")), match="field model"
    )
    bent = record.model().model_copy(update={"scorecards": record.model().scorecards[::-1]})
    refused(force, ModelMismatch, "policy", force.policy(record, model=bent.digest()), match="field model")


@pytest.mark.parametrize("shift", [1e-3, -1e-3, -10.0])
@pytest.mark.parametrize("place", [0, 1])
def test_a_threshold_that_does_not_follow_from_the_evaluation_is_refused(shift, place):
    force, record = finished()
    rules = list(force.policy(record).rules)
    rules[place] = rules[place].model_copy(update={"threshold": rules[place].threshold + shift})
    refused(force, ModelMismatch, "policy", force.policy(record, rules=tuple(rules)), match="does not follow")


@pytest.mark.parametrize("place", [0, 1])
def test_a_stability_error_that_simulation_does_not_find_is_refused(place):
    force, record = finished()
    rules = list(force.policy(record).rules)
    claimed = 0.0 if rules[place].stability_error > 0.02 else 0.04
    rules[place] = rules[place].model_copy(update={"stability_error": claimed})
    refused(force, ModelMismatch, "policy", force.policy(record, rules=tuple(rules)), match="stability error")


def test_a_policy_for_a_category_outside_the_plan_is_refused():
    force, record = finished()
    rule = CategoryRule(category="fraud", threshold=0.0, cap_per_borough=1, stability_error=0.02, minimum_band=None)
    refused(force, ModelMismatch, "policy", force.policy(record, rules=(rule,)), match="fraud")


def test_a_policy_may_leave_a_category_out():
    force, record = finished()
    force.log("policy", force.policy(record, rules=force.policy(record).rules[:1]))
    assert len(force.history.public.policies) == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"roster": digest_of(b"another roster")}, DigestMismatch),
        ({"plan": digest_of(b"another plan")}, PlanNotApproved),
        ({"scoring_cutoff": 2000}, PlanInvalid),
    ],
)
def test_a_policy_of_another_roster_plan_or_earlier_cutoff_is_refused(changes, error):
    force, record = finished()
    refused(force, error, "policy", force.policy(record, **changes))


def test_an_approved_policy_is_not_approved_again():
    force, record = finished()
    force.log("policy", force.policy(record))
    refused(force, AlreadyAnswered, "policy", force.policy(record))


@pytest.mark.parametrize("days", [-2, 61])
def test_a_policy_outside_its_validity_is_refused(days):
    force, record = finished()
    start = force.clock.now() + timedelta(days=1)
    policy = force.policy(record, valid_from=start, valid_until=start + timedelta(days=59))
    if days > 0:
        force.clock.advance(timedelta(days=days))
    refused(force, Expired, "policy", policy)


def test_no_policy_precedes_the_last_release():
    force, plan = planned()
    for _ in range(3):
        force.release_next(plan)
    rules = (
        CategoryRule(category="attendance", threshold=0.0, cap_per_borough=1, stability_error=0.02, minimum_band=None),
    )
    policy_of = {"rules": rules, "model": "0" * 64}
    with pytest.raises(StateError):
        force.history.public.check_new_policy(_policy(force, plan, **policy_of), force.clock.now().date())
    refused(force, StateError, "policy", _policy(force, plan, **policy_of), match="3 of 4")


def _policy(force: Federation, plan, **fields):
    from protocol.documents.flags import FlagPolicy

    common = {
        "policy_id": number(1000),
        "roster": force.roster.digest(),
        "plan": plan.digest(),
        "scoring_cutoff": plan.evaluation_cutoff,
        "min_population": 20,
        "max_reasons": 2,
        "retention_days": 180,
        "control_rate": 0.0,
        "waivers": (),
        "valid_from": force.clock.now(),
        "valid_until": force.clock.now() + timedelta(days=60),
    }
    return FlagPolicy(**(common | fields))


def test_expected_thresholds_are_one_a_category():
    _, record = finished()
    assert set(thresholds(record.run)) == set(record.plan.categories)


def test_what_the_log_does_not_show_is_not_approved():
    force, _ = planned()
    for lookup in (force.history.public.plan, force.history.public.policy):
        with pytest.raises(PlanNotApproved):
            lookup(digest_of(b"unknown"))
