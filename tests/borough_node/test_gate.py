"""The two doors of a borough: what each checks before anything leaves, and that both answer once."""

import os
from datetime import timedelta

import numpy as np
import pytest

from borough_node.ledger import Ledger
from borough_node.records import Records
from protocol.aggregation import masks, tags
from protocol.aggregation.masks import MaskPrivateKey
from protocol.documents.arrays import Array
from protocol.documents.flags import SealedFlag
from protocol.documents.plan import ReleaseRequest, Statement
from protocol.errors import (
    AlreadyAnswered,
    BehindLog,
    BudgetExceeded,
    ClockSkewed,
    DigestMismatch,
    Expired,
    ForkDetected,
    MalformedDocument,
    ModelMismatch,
    NotLogged,
    PlanClosed,
    PlanNotApproved,
    PlanOutsideValidity,
    ReleaseRefused,
    StorageError,
)
from protocol.ids import digest_of
from protocol.scorecard.columns import columns_of
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import verify_signed_by_role
from tests.world import CATALOGUE, SCORING, table

BOROUGH = "borough-1"


def changed(request, **fields):
    return ReleaseRequest.decode(request).model_copy(update=fields).encode()


def charges(ledger):
    return [entry.content for entry in ledger.entries() if entry.content["kind"] == "release"]


@pytest.fixture
def ledger(world):
    opened = world.ledger(BOROUGH)
    yield opened
    opened.close()


@pytest.fixture
def gate(world, ledger):
    return world.new_gate(BOROUGH, ledger=ledger)


def without_noise(gate):
    gate._noise = lambda length, sigma: np.zeros(length, dtype=np.int64)
    return gate


# --- door 1: what it answers ------------------------------------------------------------------------------------


def test_statement_is_signed_by_the_borough_and_speaks_of_the_vector(world, plan, gate, ledger):
    request, seed = world.begun(plan)
    answer = gate.release(request, seed)
    statement, signer = verify_signed_by_role(Envelope.decode(answer.statement), Statement, world.roster, "borough")
    assert signer.id == statement.borough == BOROUGH
    assert (statement.plan, statement.index) == (plan, 0)
    assert statement.request == ReleaseRequest.decode(request).digest()
    assert statement.vector == digest_of(answer.vector)
    assert (statement.ledger_length, statement.ledger_head) == ledger.head()


def test_unmasked_vector_is_the_clipped_sum_of_the_rows(world, plan, gate):
    """Only the noise is replaced: what then comes out is the second moment of this borough's rows."""
    request, seed = world.begun(plan)
    answer = without_noise(gate).release(request, seed)
    statement = Envelope.decode(answer.statement).document(Statement)
    record, spec = world.record(plan), world.record(plan).plan.releases[0]
    private = MaskPrivateKey(world.unmasker._store.private_key(record.plan.unmasker_key))
    key = private.agree(
        statement.public_key, request=statement.request, borough=BOROUGH, borough_key=statement.public_key
    )
    size = spec.length + tags.TAGS
    plain = masks.vector_from_bytes(answer.vector, length=size) - masks.keystream(key, size)
    sums = masks.from_ring(tags.without_tags(plain, seed)) / record.plan.scale
    _, cohort = Records(lambda _: table(BOROUGH, world.people)).cohort_for("second_moment", record.plan, CATALOGUE)
    norms = np.linalg.norm(cohort.rows, axis=1, keepdims=True)
    clipped = cohort.rows * np.minimum(1, record.plan.descent.row_norm / norms)
    upper = np.triu_indices(columns_of(record.plan, CATALOGUE).width)
    weight = np.where(upper[0] == upper[1], 1.0, np.sqrt(2)) / record.plan.descent.row_norm**2
    np.testing.assert_allclose(sums, (clipped.T @ clipped)[upper] * weight, atol=1e-6)


def test_noise_has_the_law_that_the_plan_states(world, plan, gate):
    asked = []

    def noise(length, sigma):
        asked.append((length, sigma))
        return np.zeros(length, dtype=np.int64)

    gate._noise = noise
    gate.release(*world.begun(plan))
    document = world.record(plan).plan
    spec, privacy = document.releases[0], document.privacy
    expected = spec.sigma * document.scale / np.sqrt(privacy.min_boroughs - privacy.colluding)
    assert asked == [(spec.length, pytest.approx(expected))]


def test_same_request_again_returns_the_same_bytes_and_draws_no_noise(world, plan, gate, ledger):
    request, seed = world.begun(plan)
    first = gate.release(request, seed)

    def noise(length, sigma):
        raise AssertionError("noise was drawn twice for one release")

    gate._noise = noise
    assert gate.release(request, seed) == first
    assert len(charges(ledger)) == 1


def test_gate_that_starts_again_returns_the_same_bytes(world, plan, gate, ledger):
    request, seed = world.begun(plan)
    first = gate.release(request, seed)
    assert world.new_gate(BOROUGH, ledger=ledger).release(request, seed) == first


def test_charge_is_durable_before_noise_is_drawn(world, plan, gate, ledger):
    seen = []

    def noise(length, sigma):
        seen.append(len(charges(ledger)))
        return np.zeros(length, dtype=np.int64)

    gate._noise = noise
    gate.release(*world.begun(plan))
    assert seen == [1]


def test_kill_between_charge_and_answer_costs_one_charge(world, plan, gate, ledger):
    request, seed = world.begun(plan)

    class Killed(Exception):
        """The process ends here."""

    def noise(length, sigma):
        raise Killed

    gate._noise = noise
    with pytest.raises(Killed):
        gate.release(request, seed)
    assert ledger.answer(plan, 0) is None
    answer = world.new_gate(BOROUGH, ledger=ledger).release(request, seed)
    assert answer == ledger.answer(plan, 0)
    assert len(charges(ledger)) == 1


def test_answers_to_two_releases_are_under_different_masks(world, finished):
    gate = world.gate(BOROUGH)
    statements = [
        Envelope.decode(gate._ledger.answer(finished, index).statement).document(Statement) for index in range(4)
    ]
    assert len({statement.public_key for statement in statements}) == 4


# --- door 1: what it refuses ------------------------------------------------------------------------------------


def refused(gate, ledger, error, request, seed):
    before = ledger.head()
    with pytest.raises(error) as raised:
        gate.release(request, seed)
    assert ledger.head() == before
    return raised.value


def test_plan_that_the_log_does_not_show_is_refused(world, plan, gate, ledger):
    request, seed = world.begun(plan)
    refused(gate, ledger, PlanNotApproved, changed(request, plan="0" * 64), seed)


def test_malformed_request_is_refused(world, plan, gate, ledger):
    _, seed = world.begun(plan)
    refused(gate, ledger, MalformedDocument, b"{}", seed)


def test_seed_that_is_not_the_committed_one_is_refused(world, plan, gate, ledger):
    request, _ = world.begun(plan)
    refused(gate, ledger, DigestMismatch, request, tags.new_seed())


@pytest.mark.parametrize(
    "fields",
    [{"index": 1}, {"index": 99}, {"roster": "0" * 64}, {"function": "gradient"}, {"length": 14}],
    ids=lambda fields: next(iter(fields)),
)
def test_request_that_is_not_the_next_of_the_plan_is_refused(world, plan, gate, ledger, fields):
    request, seed = world.begun(plan)
    refused(gate, ledger, ReleaseRefused, changed(request, **fields), seed)


def test_inputs_that_do_not_follow_from_the_published_sums_are_refused(world, plan, gate, ledger):
    request, seed = world.begun(plan)
    refused(gate, ledger, ModelMismatch, changed(request, inputs={"weights": Array.of(np.zeros(3))}), seed)


def test_another_request_for_an_answered_index_is_refused(world, plan, gate, ledger):
    request, seed = world.begun(plan)
    gate.release(request, seed)
    other = tags.new_seed()
    refused(gate, ledger, AlreadyAnswered, changed(request, tag_commitment=tags.commit(other)), other)


def test_another_request_for_a_charged_index_is_refused(world, plan, gate, ledger):
    """The node died after charging: the index is bound to the request that was charged, answered or not."""
    request, _seed = world.begun(plan)
    document = ReleaseRequest.decode(request)
    ledger.charge(plan=plan, index=0, request=document.digest(), purpose="p", rho=0.1, at="2031-03-04T12:00:00Z")
    other = tags.new_seed()
    refused(gate, ledger, StorageError, changed(request, tag_commitment=tags.commit(other)), other)


@pytest.mark.parametrize("days", [30, 400])
def test_plan_outside_its_validity_is_refused(world, plan, gate, ledger, days):
    request, seed = world.begun(plan)
    world.clock.advance(timedelta(days=days))
    refused(gate, ledger, PlanOutsideValidity, request, seed)


def test_clock_that_is_set_back_does_not_prolong_a_plan(world, plan, gate, ledger):
    """An operator who sets the machine's clock back by a day, so that what has expired seems valid."""
    request, seed = world.begun(plan)
    world.clock.advance(timedelta(days=-1))
    refused(gate, ledger, ClockSkewed, request, seed)
    world.clock.advance(timedelta(days=1))
    assert gate.release(request, seed).vector


@pytest.mark.parametrize(("minutes", "accepted"), [(4, True), (6, False)])
def test_clock_may_be_five_minutes_behind_the_witnesses(world, plan, gate, minutes, accepted):
    request, seed = world.begun(plan)
    world.clock.advance(timedelta(hours=1))
    world.approve()  # cosigned an hour later
    world.clock.advance(timedelta(minutes=-minutes))
    if accepted:
        assert gate.release(request, seed).vector
    else:
        with pytest.raises(ClockSkewed):
            gate.release(request, seed)


def test_closed_plan_is_refused(world, finished, gate, ledger):
    request = ReleaseRequest(
        roster=world.roster.digest(),
        plan=finished,
        index=4,
        function="evaluation",
        length=1,
        inputs={},
        tag_commitment=tags.commit("0" * 64),
    )
    refused(gate, ledger, Expired, request.encode(), "0" * 64)


def test_borough_outside_the_plan_refuses(world, plan):
    """The coordinator asks a borough that the plan does not name."""
    document = world.draft(boroughs=world.borough_ids[1:])
    world.log("plan", document, *world.custodian_ids[:2])
    request, seed = world.begun(document.digest())
    ledger = world.ledger(BOROUGH)
    error = refused(world.new_gate(BOROUGH, ledger=ledger), ledger, ReleaseRefused, request, seed)
    assert "not part of the plan" in error.detail
    ledger.close()


def test_spent_budget_is_refused_by_the_node_itself(world, plan, gate, ledger):
    """The log's rule would have allowed the plan; the node's own ledger shows other spending."""
    request, seed = world.begun(plan)
    at = (world.clock.now() - timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ledger.charge(plan="f" * 64, index=0, request="f" * 64, purpose="misconduct_detection", rho=49.99, at=at)
    refused(gate, ledger, BudgetExceeded, request, seed)


# --- start ------------------------------------------------------------------------------------------------------


def test_node_with_its_own_ledger_starts(world, finished):
    world.gate(BOROUGH).check_state()
    assert world.gate(BOROUGH)._reader.public.plan(finished).closed


def test_node_with_an_empty_ledger_refuses_to_start_behind_the_log(world, finished, tmp_path):
    from borough_node.ledger import Ledger

    empty = Ledger(tmp_path / "restored.sqlite")
    with pytest.raises(BehindLog):
        world.new_gate(BOROUGH, ledger=empty).check_state()
    empty.close()


def test_node_that_keeps_evidence_of_a_fork_does_not_start(world, gate, ledger):
    ledger.store_evidence(b"earlier", b"later")
    with pytest.raises(ForkDetected):
        gate.check_state()


def test_vectors_die_with_the_plan(world, finished):
    gate = world.gate(BOROUGH)
    assert gate._ledger.answer(finished, 0).vector is not None
    gate.check_state()
    assert [gate._ledger.answer(finished, index).vector for index in range(4)] == [None] * 4


# --- door 2 -----------------------------------------------------------------------------------------------------


def test_policy_that_the_log_does_not_show_raises_nothing(world, finished, gate):
    with pytest.raises(PlanNotApproved):
        gate.flags("0" * 64)


def test_policy_outside_its_validity_raises_nothing(world, finished, gate):
    policy = world.approve_policy(finished)
    world.clock.advance(timedelta(days=30))
    with pytest.raises(Expired):
        gate.flags(policy)


def test_flags_of_a_policy_are_made_once(world, finished, gate, ledger):
    policy = world.approve_policy(finished)
    first = gate.flags(policy)
    assert first
    assert gate.flags(policy) == world.new_gate(BOROUGH, ledger=ledger).flags(policy) == first
    assert [e.content["count"] for e in ledger.entries() if e.content["kind"] == "flags"] == [len(first)]


def test_flags_stay_within_the_cap_of_their_category(world, finished, gate):
    policy = world.approve_policy(
        finished,
        lambda drafted: drafted.model_copy(
            update={"rules": tuple(rule.model_copy(update={"cap_per_borough": 1}) for rule in drafted.rules)}
        ),
    )
    categories = [Envelope.decode(f.envelope).document(SealedFlag).header.category for f in gate.flags(policy)]
    assert len(categories) == len(set(categories))


def test_flag_names_nobody_outside_its_envelope(world, finished, gate):
    policy = world.approve_policy(finished)
    for flag in gate.flags(policy):
        document = Envelope.decode(flag.envelope).payload_bytes()
        assert b"P-borough" not in document + flag.ciphertext + b"".join(flag.sealed_shares)


def test_flag_that_the_log_holds_elsewhere_is_not_confirmed(world, finished, gate):
    policy = world.approve_policy(finished)
    flags = gate.flags(policy)
    with pytest.raises(NotLogged):
        gate.confirm_flags(policy, tuple(range(len(flags))))


def test_flag_that_the_register_did_not_place_is_not_confirmed(world, finished, gate):
    policy = world.approve_policy(finished)
    flags = gate.flags(policy)
    with pytest.raises(BehindLog, match=f"{len(flags)} flags were raised, the register placed {len(flags) - 1}"):
        gate.confirm_flags(policy, tuple(range(len(flags) - 1)))


def test_pseudonym_key_differs_between_plans_and_survives_a_restart(world, finished, gate, ledger):
    first = {
        Envelope.decode(f.envelope).document(SealedFlag).header.pseudonym
        for f in gate.flags(world.approve_policy(finished))
    }
    again = world.approve_policy(finished)
    second = {
        Envelope.decode(f.envelope).document(SealedFlag).header.pseudonym
        for f in world.new_gate(BOROUGH, ledger=ledger).flags(again)
    }
    other_plan = world.approve()
    world.run(other_plan)
    third = {
        Envelope.decode(f.envelope).document(SealedFlag).header.pseudonym
        for f in gate.flags(world.approve_policy(other_plan))
    }
    assert first == second
    assert third
    assert not first & third


def test_scoring_reads_the_policys_cutoff(world, finished, gate):
    policy = world.approve_policy(finished)
    read = []
    original = gate._records.cohort

    def cohort(plan, catalogue, *, first_cutoff, last_cutoff):
        read.append((first_cutoff, last_cutoff))
        return original(plan, catalogue, first_cutoff=first_cutoff, last_cutoff=last_cutoff)

    gate._records.cohort = cohort
    gate.flags(policy)
    assert read == [(SCORING, SCORING)]


def test_pseudonym_key_has_256_bits_of_the_system(world, finished, gate, ledger, monkeypatch):
    drawn = []
    real = os.urandom
    monkeypatch.setattr("borough_node.ledger.store.os.urandom", lambda size: drawn.append(size) or real(size))
    gate.flags(world.approve_policy(finished))
    assert drawn == [32]


def test_answer_of_a_closed_plan_is_not_repeated(world, finished):
    """Its vector was deleted; asked again, the node says so and makes no other."""
    gate = world.gate(BOROUGH)
    stored = world.runs.get(finished, 0)
    gate.check_state()
    with pytest.raises(PlanClosed, match="closed plan"):
        gate.release(stored.request, stored.tag_seed)


def test_node_on_a_ledger_that_is_shorter_than_the_log_anchors_answers_nothing(world, finished, tmp_path):
    """Restored while it ran, so that the check at the start did not see it."""
    other = world.approve()
    request, seed = world.begun(other)
    restored = Ledger(tmp_path / "old" / "ledger.sqlite")
    with pytest.raises(BehindLog, match="anchors 4 rows"):
        world.new_gate(BOROUGH, ledger=restored).release(request, seed)
    assert restored.answer(other, 0) is None
    restored.close()


def test_node_whose_ledger_lacks_a_logged_flag_does_not_start(flagged):
    world = flagged.world
    borough = flagged.headers[0].borough
    ledger = world.ledger(borough)
    gate = world.new_gate(borough, ledger=ledger)
    gate._ledger.flag_envelopes = lambda: ()
    with pytest.raises(BehindLog, match="flag"):
        gate.check_state()
    ledger.close()
