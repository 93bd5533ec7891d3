"""A coordinator, a borough and an unmasker who cheat with private sums."""

import dataclasses
import shutil
from datetime import timedelta

import numpy as np
import pytest

from borough_node.ledger import Ledger
from coordinator.rounds import Reply
from protocol.aggregation import masks, tags
from protocol.aggregation.exchange import DuplicateSigner, InconsistentRequests, NotOfPlan, StatementReplayed
from protocol.documents.arrays import Array
from protocol.documents.plan import Receipt, ReleaseRequest, Statement
from protocol.errors import (
    AlreadyAnswered,
    BehindLog,
    BudgetExceeded,
    CohortTooSmall,
    Expired,
    ModelMismatch,
    NotLogged,
    PlanInvalid,
    PlanNotApproved,
    ReleaseRefused,
    SumInvalid,
    UnknownSigner,
)
from protocol.ids import digest_of
from protocol.signing.dsse import Envelope
from protocol.signing.keys import SigningKey
from tests.world import CHOICES, World


def changed(request, **fields):
    return ReleaseRequest.decode(request).model_copy(update=fields).encode()


def answers(world, plan):
    """The next request of a plan, and every borough's honest reply to it."""
    request, seed = world.begun(plan)
    replies = world.ask(world.record(plan).plan, len(world.record(plan).releases), request, seed)
    return request, [Envelope.decode(replies[name].statement) for name in sorted(replies)]


def resigned(world, envelope, signer=None, **fields):
    statement = envelope.document(Statement)
    return world.signed(statement.model_copy(update=fields), signer or statement.borough)


# --- inconsistent requests --------------------------------------------------------------------------------------


def test_two_boroughs_cannot_be_asked_different_things_for_one_index(world, plan):
    """Pasquini, Francati, Ateniese 2022, Eluding Secure Aggregation: another model to the others isolates the victim.

    The other request differs only in its tag commitment, which no rule fixes; even so the sum is refused.
    """
    request, seed = world.begun(plan)
    other_seed = tags.new_seed()
    other = changed(request, tag_commitment=tags.commit(other_seed))
    victim = world.gate("borough-1").release(request, seed)
    rest = [world.gate(name).release(other, other_seed) for name in world.borough_ids[1:]]
    texts = [Envelope.decode(answer.statement) for answer in (victim, *rest)]
    for wanted in (request, other):
        with pytest.raises(InconsistentRequests):
            world.unmasker.commit(wanted, texts)


def test_borough_refuses_a_model_that_does_not_follow_from_the_published_sums(world, plan):
    """The same attack, one step earlier: the victim is sent weights that make the others' gradients vanish."""
    replies = []

    def ask(document, index, request, seed):
        if index == 1:
            crafted = dict(ReleaseRequest.decode(request).inputs)
            crafted["weights"] = Array.of(crafted["weights"].floats() + 100.0)
            with pytest.raises(ModelMismatch):
                world.gate("borough-1").release(changed(request, inputs=crafted), seed)
            replies.append(index)
        return world.ask(document, index, request, seed)

    world.run(plan, ask)
    assert replies == [1]


def test_borough_signs_one_request_an_index(world, plan):
    request, seed = world.begun(plan)
    world.gate("borough-1").release(request, seed)
    with pytest.raises(AlreadyAnswered):
        world.gate("borough-1").release(changed(request, tag_commitment=tags.commit(seed[::-1])), seed[::-1])


# --- differencing -----------------------------------------------------------------------------------------------


def test_sum_over_all_and_then_over_all_but_one_is_refused_by_the_unmasker(world, plan):
    """Differencing: two sums whose difference is one borough's vector, with that borough's noise only."""
    request, texts = answers(world, plan)
    world.unmasker.commit(request, texts)
    for victim in range(4):
        with pytest.raises(AlreadyAnswered):
            world.unmasker.commit(request, texts[:victim] + texts[victim + 1 :])


def test_second_set_is_refused_after_the_first_was_published(world, finished):
    request = ReleaseRequest.decode(world.runs.get(finished, 0).request)
    texts = [Envelope.decode(text.encode()) for text in world.record(finished).receipts[0][0].statements]
    with pytest.raises(AlreadyAnswered):
        world.unmasker.commit(request.encode(), texts[:3])


def test_round_keeps_the_set_that_it_fixed(world, plan):
    _request, texts = answers(world, plan)
    statements = {text.document(Statement).borough: text.encode().decode() for text in texts}
    world.runs.fix(plan, 0, statements=statements, vectors=dict.fromkeys(statements, b"v"))
    world.runs.fix(plan, 0, statements=dict(list(statements.items())[:3]), vectors={})
    assert len(world.runs.get(plan, 0).statements) == 4


def test_too_small_a_set_is_refused(world, plan):
    request, texts = answers(world, plan)
    with pytest.raises(CohortTooSmall):
        world.unmasker.commit(request, texts[:2])


def test_log_refuses_a_second_receipt_for_an_index(world, plan):
    """The unmasker colludes in differencing: every reader of the log sees it, none accepts it."""
    request, texts = answers(world, plan)
    receipt = world.unmasker.commit(request, texts).document(Receipt)
    world.log("receipt", receipt, "unmasker")
    smaller = receipt.model_copy(update={"statements": receipt.statements[:3]})
    with pytest.raises(AlreadyAnswered):
        world.log("receipt", smaller, "unmasker")


# --- Sybils -----------------------------------------------------------------------------------------------------


def test_borough_outside_the_roster_does_not_count(world, plan):
    """Douceur 2002, The Sybil Attack: made-up boroughs whose noise the coordinator knows."""
    request, texts = answers(world, plan)
    stranger = SigningKey.generate()
    world.keys["stranger"] = stranger
    sybil = resigned(world, texts[3], signer="stranger", borough="borough-9")
    with pytest.raises(UnknownSigner):
        world.unmasker.commit(request, [*texts[:3], sybil])


def test_borough_outside_the_plan_does_not_count(world):
    plan = world.draft(boroughs=world.borough_ids[:3])
    world.log("plan", plan, *world.custodian_ids[:2])
    request, texts = answers(world, plan.digest())
    outsider = resigned(world, texts[2], signer="borough-4", borough="borough-4", public_key="77" * 32, vector="8" * 64)
    with pytest.raises(NotOfPlan):
        world.unmasker.commit(request, [*texts, outsider])


def test_one_borough_does_not_count_twice(world, plan):
    request, texts = answers(world, plan)
    with pytest.raises(DuplicateSigner):
        world.unmasker.commit(request, [texts[0], texts[0], *texts[1:]])
    twin = resigned(world, texts[0], public_key="77" * 32, vector="8" * 64)
    with pytest.raises(DuplicateSigner):
        world.unmasker.commit(request, [texts[0], twin, *texts[1:]])


def test_one_mask_key_does_not_count_for_two_boroughs(world, plan):
    request, texts = answers(world, plan)
    copied = resigned(world, texts[1], public_key=texts[0].document(Statement).public_key)
    with pytest.raises(DuplicateSigner):
        world.unmasker.commit(request, [texts[0], copied, *texts[2:]])


def test_borough_cannot_speak_for_another(world, plan):
    request, texts = answers(world, plan)
    forged = resigned(world, texts[1], signer="borough-1")
    with pytest.raises(NotOfPlan):
        world.unmasker.commit(request, [texts[0], forged, *texts[2:]])


# --- replay -----------------------------------------------------------------------------------------------------


def test_statement_of_another_plan_is_refused(world, plan):
    _, texts = answers(world, plan)
    other = world.approve()
    request, own = answers(world, other)
    with pytest.raises(StatementReplayed):
        world.unmasker.commit(request, [texts[0], *own[1:]])


def test_statement_of_another_index_is_refused(world, plan):
    def ask(document, index, request, seed):
        if index == 1:
            old = Envelope.decode(world.gate("borough-1")._ledger.answer(plan, 0).statement)
            replies = world.ask(document, index, request, seed)
            texts = [Envelope.decode(replies[name].statement) for name in sorted(replies)]
            with pytest.raises(StatementReplayed):
                world.unmasker.commit(request, [old, *texts[1:]])
        return world.ask(document, index, request, seed)

    world.run(plan, ask)
    assert world.record(plan).complete


def test_index_out_of_turn_is_refused_by_unmasker_and_borough(world, plan):
    request, seed = world.begun(plan)
    ahead = changed(request, index=1)
    with pytest.raises(ReleaseRefused):
        world.gate("borough-1").release(ahead, seed)
    with pytest.raises(ReleaseRefused):
        world.unmasker.commit(ahead, [])


# --- plans that nobody approved ---------------------------------------------------------------------------------


@pytest.mark.parametrize("signers", [(), ("custodian-1",), ("coordinator", "issuer", "custodian-1")])
def test_plan_without_its_quorum_is_never_logged(world, signers):
    plan = world.draft()
    with pytest.raises(PlanNotApproved):
        world.log("plan", plan, *signers)


def test_one_custodian_key_under_two_ids_is_one_custodian(world):
    """CVE-2020-6174: TUF clients counted key ids, so one key under two ids met a threshold of two."""
    plan = world.draft()
    once = world.signed(plan, "custodian-1")
    renamed = once.signatures[0].model_copy(update={"keyid": digest_of(b"another name")})
    twice = once.model_copy(update={"signatures": (*once.signatures, renamed)})
    with pytest.raises(PlanNotApproved):
        world.appender.append("plan", twice)


def test_unapproved_plan_moves_neither_borough_nor_unmasker(world, plan):
    request, seed = world.begun(plan)
    unapproved = changed(request, plan=world.draft().digest())
    with pytest.raises(PlanNotApproved):
        world.gate("borough-1").release(unapproved, seed)
    with pytest.raises(PlanNotApproved):
        world.unmasker.commit(unapproved, [])


def test_plan_over_the_budget_is_refused_by_the_log_and_by_the_custodians(tmp_path):
    world = World.create(tmp_path / "poor", budget=0.7)
    plan = world.draft()
    with pytest.raises(BudgetExceeded):
        world.log("plan", plan, *world.custodian_ids)
    world.proposals.propose("plan", world.signed(plan, "coordinator"))
    shown = world.custodian(1).proposals()
    with pytest.raises(BudgetExceeded):
        world.custodian(1).endorse(shown[0])
    world.close()


def test_plans_that_fit_one_by_one_do_not_fit_together(tmp_path):
    world = World.create(tmp_path / "tight", budget=1.0)
    world.approve()
    with pytest.raises(BudgetExceeded):
        world.approve()
    world.close()


def test_budget_returns_after_365_days(tmp_path):
    world = World.create(tmp_path / "tight", budget=1.0)
    world.approve()
    world.clock.advance(timedelta(days=364))
    with pytest.raises(BudgetExceeded):
        world.approve()
    world.clock.advance(timedelta(days=1))
    world.approve()
    assert len(world.appender.history.public.plans) == 2
    world.close()


@pytest.mark.parametrize("factor", [0.5, 0.999])
def test_plan_with_less_noise_than_its_epsilon_needs_is_refused(world, factor):
    plan = world.draft()
    releases = (plan.releases[0].model_copy(update={"sigma": plan.releases[0].sigma * factor}), *plan.releases[1:])
    with pytest.raises(PlanInvalid):
        world.log("plan", plan.model_copy(update={"releases": releases}), *world.custodian_ids)


def test_unmasker_ends_with_the_plans_validity(world, plan):
    request, texts = answers(world, plan)
    world.clock.advance(timedelta(days=CHOICES.validity_days))
    with pytest.raises(Expired):
        world.unmasker.commit(request, texts)


# --- rollback ---------------------------------------------------------------------------------------------------


def test_borough_restored_from_a_backup_uses_another_mask_and_gives_no_second_answer_away(world, plan, tmp_path):
    """With the old mask and fresh noise, two answers would differ by noise alone and average it out."""
    world.gate("borough-1")._reader.sync()
    shutil.copytree(world.root / "borough-1", tmp_path / "backup")
    request, seed = world.begun(plan)
    first = world.gate("borough-1").release(request, seed)
    restored = Ledger(tmp_path / "backup" / "ledger.sqlite")
    second = world.new_gate("borough-1", ledger=restored).release(request, seed)
    restored.close()
    one, two = (Envelope.decode(answer.statement).document(Statement) for answer in (first, second))
    assert one.public_key != two.public_key
    difference = masks.vector_from_bytes(first.vector, length=len(first.vector) // 8) - masks.vector_from_bytes(
        second.vector, length=len(second.vector) // 8
    )
    # Under one mask the difference would be that of two noises, far below 2**50; masked it fills the ring.
    assert np.abs(masks.from_ring(difference)).max() > 2**55


def test_borough_restored_from_a_backup_refuses_to_start_behind_the_log(world, plan, tmp_path):
    world.gate("borough-1").check_state()
    shutil.copytree(world.root / "borough-1", tmp_path / "backup")
    world.run(plan)
    restored = Ledger(tmp_path / "backup" / "ledger.sqlite")
    with pytest.raises(BehindLog):
        world.new_gate("borough-1", ledger=restored).check_state()
    restored.close()


def test_unmasker_rolled_back_refuses_before_its_first_answer(world, plan, tmp_path):
    """Rolled back, it would sign a second receipt for an index that it has unmasked already."""
    backup = tmp_path / "unmasker.sqlite"
    world.unmasker.check_state()
    shutil.copy(world.root / "unmasker" / "unmasker.sqlite", backup)
    world.run(plan)
    request = world.runs.get(plan, 0).request
    rolled_back = world.new_unmasker(backup)
    for call in (
        rolled_back.check_state,
        lambda: rolled_back.commit(request, []),
        lambda: rolled_back.reveal(plan, 0),
        lambda: rolled_back.close_plan(plan),
    ):
        with pytest.raises(BehindLog):
            call()


def test_unmasker_rolled_back_before_the_close_refuses_with_its_old_key(world, plan, tmp_path):
    backup = tmp_path / "unmasker.sqlite"
    real = world.unmasker_client()

    def close(digest):
        shutil.copy(world.root / "unmasker" / "unmasker.sqlite", backup)
        return real.close(digest)

    world.runner(dataclasses.replace(real, close=close)).run(plan, world.ask, forget=lambda index: None)
    with pytest.raises(BehindLog, match="closed"):
        world.new_unmasker(backup).check_state()


# --- wrong sums -------------------------------------------------------------------------------------------------


def test_mask_sum_is_not_revealed_before_its_receipt_is_in_the_witnessed_log(world, plan):
    request, texts = answers(world, plan)
    envelope = world.unmasker.commit(request, texts)
    with pytest.raises(NotLogged):
        world.unmasker.reveal(plan, 0)
    world.appender.append("receipt", envelope)  # appended, and no witness has seen it
    with pytest.raises(NotLogged):
        world.unmasker.reveal(plan, 0)
    world.publisher.publish()
    assert digest_of(world.unmasker.reveal(plan, 0)) == envelope.document(Receipt).mask_sum


def test_unmasker_that_reveals_another_sum_than_it_committed_to_is_detected(world, plan):
    lying = dataclasses.replace(world.unmasker_client(), reveal=lambda digest, index: bytes(8 * 18))
    with pytest.raises(SumInvalid, match="not the one in the unmasker's receipt"):
        world.runner(lying).run(plan, world.ask, forget=lambda index: None)


@pytest.mark.parametrize("error", [1, 2**20, 2**39, 2**63])
def test_unmasker_that_commits_to_a_wrong_sum_is_detected_by_the_tags(world, plan, error):
    """Small errors stay in range; the tags, whose seed the unmasker does not know, find them."""
    real, wrong = world.unmasker_client(), {}

    def commit(request, statements):
        receipt = Envelope.decode(real.commit(request, statements)).document(Receipt)
        total = masks.vector_from_bytes(world.unmasker._store.receipt(plan, 0).mask_sum, length=18).copy()
        total[0] += np.uint64(error)
        wrong[0] = masks.vector_bytes(total)
        return world.signed(receipt.model_copy(update={"mask_sum": digest_of(wrong[0])}), "unmasker").encode()

    lying = dataclasses.replace(real, commit=commit, reveal=lambda digest, index: wrong[index])
    with pytest.raises(SumInvalid):
        world.runner(lying).run(plan, world.ask, forget=lambda index: None)
    assert world.record(plan).releases == []


def test_coordinator_that_swaps_one_boroughs_vector_gets_a_sum_that_fails_its_tags(world, plan):
    """It kept the signed statement and changed the bytes: what it would publish is not the boroughs' sum."""
    runner = world.runner()
    runner._check_reply = lambda *_: None

    def ask(document, index, request, seed):
        replies = world.ask(document, index, request, seed)
        vector = bytearray(replies["borough-1"].vector)
        vector[0] ^= 1
        return replies | {"borough-1": Reply(replies["borough-1"].statement, bytes(vector))}

    with pytest.raises(SumInvalid):
        runner.run(plan, ask, forget=lambda index: None)


def test_released_vector_alone_looks_uniform(world, plan):
    """What the coordinator holds before unmasking: every byte value as often as any other, chi-square at 1e-6."""
    request, seed = world.begun(plan)
    content = b"".join(world.gate(name).release(request, seed).vector for name in world.borough_ids)
    counts = np.bincount(np.frombuffer(content, dtype=np.uint8), minlength=256)
    statistic = float(((counts - len(content) / 256) ** 2 / (len(content) / 256)).sum())
    assert statistic < 255 + 6 * np.sqrt(2 * 255)


def test_policy_with_a_model_that_does_not_follow_from_the_sums_is_refused(world, finished):
    """Weights that single one person out would be read back as a flag."""
    with pytest.raises(ModelMismatch):
        world.approve_policy(finished, lambda policy: policy.model_copy(update={"model": "0" * 64}))
    with pytest.raises(ModelMismatch):
        world.approve_policy(
            finished,
            lambda policy: policy.model_copy(
                update={"rules": (policy.rules[0].model_copy(update={"threshold": -1e6}), *policy.rules[1:])}
            ),
        )


def test_custodian_refuses_a_policy_whose_model_does_not_follow_from_the_sums(world, finished):
    from coordinator.registry.drafting import draft_policy

    policy = draft_policy(CHOICES, record=world.record(finished), roster=world.roster, now=world.clock.now())
    crafted = policy.model_copy(update={"model": "0" * 64})
    world.proposals.propose("policy", world.signed(crafted, "coordinator"))
    shown = world.custodian(1).proposals()
    with pytest.raises(ModelMismatch):
        world.custodian(1).endorse(shown[0])


def test_log_refuses_a_release_whose_inputs_do_not_follow(world, plan):
    """A coordinator that logs another request than the boroughs answered is caught by every reader."""
    original = world.appender.append

    def append(kind, envelope, **rest):
        if kind == "release":
            from protocol.documents.plan import Release

            release = envelope.document(Release)
            forged = release.request.model_copy(update={"tag_commitment": tags.commit(release.tag_seed[::-1])})
            forged = release.model_copy(update={"request": forged, "tag_seed": release.tag_seed[::-1]})
            return original(kind, world.signed(forged, "coordinator"), **rest)
        return original(kind, envelope, **rest)

    world.appender.append = append
    with pytest.raises(Exception, match="receipt") as raised:
        world.run(plan)
    assert raised.value.code == "digest.mismatch"
