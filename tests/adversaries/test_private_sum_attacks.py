"""A coordinator, a borough and an unmasker who cheat with private sums: over real gRPC where they speak to each other.

``shared_wire`` serves every test of the file, each with a plan of its own; ``wire`` is for tests that break something;
``world`` for rules of the log, which every reader applies to itself and no peer answers.
"""

import dataclasses
import shutil
from datetime import timedelta
from unittest.mock import patch

import numpy as np
import pytest

from borough_node.ledger import Ledger
from coordinator.rounds import Reply
from oversight.unmasker.service import UnmaskerService
from protocol.aggregation import masks, tags
from protocol.aggregation.exchange import (
    DuplicateSigner,
    InconsistentRequests,
    NotOfPlan,
    StatementReplayed,
    StatementsUnordered,
    reveal_sum,
)
from protocol.documents.arrays import Array
from protocol.documents.plan import Closure, Receipt, Release, ReleaseRequest, Statement
from protocol.errors import (
    AlreadyAnswered,
    BadSignature,
    BehindLog,
    BudgetExceeded,
    CohortTooSmall,
    IndexOutOfTurn,
    LedgerRewound,
    ModelMismatch,
    NotLogged,
    PlanClosed,
    PlanInvalid,
    PlanNotApproved,
    PlanOutsideValidity,
    ReleaseRefused,
    RosterChanged,
    SumInvalid,
    UnknownSigner,
)
from protocol.ids import digest_of
from protocol.rpc.v1 import unmasker_pb2
from protocol.signing.dsse import Envelope
from protocol.signing.keys import SigningKey
from tests.federation import masked_sum
from tests.wire import refused
from tests.world import CHOICES, World, one_by_one


def changed(request, **fields):
    return ReleaseRequest.decode(request).model_copy(update=fields).encode()


def answers(world, plan):
    """The next request of a plan, and every borough's honest reply to it."""
    request, seed = world.begun(plan)
    replies = world.ask(world.record(plan).plan, world.record(plan).next_index, request, seed)
    return request, [Envelope.decode(replies[name].statement) for name in sorted(replies)]


def reveal(vectors, mask_sum, **arguments):
    """The coordinator's last step over these vectors."""
    return reveal_sum(masked_sum(vectors.values()), mask_sum, **arguments)


def answered(wire):
    """The same of a fresh plan."""
    plan = wire.approve()
    return plan, *answers(wire, plan)


# --- inconsistent requests --------------------------------------------------------------------------------------


def test_two_boroughs_cannot_be_asked_different_things_for_one_index(shared_wire):
    """Pasquini, Francati, Ateniese 2022, Eluding Secure Aggregation in Federated Learning via Model Inconsistency
    (arXiv 2111.07380): another model to the others isolates the victim.

    The other request differs only in its tag commitment, which no rule fixes; even so the sum is refused.
    """
    plan = shared_wire.approve()
    request, seed = shared_wire.begun(plan)
    other_seed = tags.new_seed()
    other = changed(request, tag_commitment=tags.commit(other_seed))
    victim = shared_wire.answered(plan, ["borough-1"], request, seed, group="victim")
    rest = shared_wire.answered(plan, shared_wire.borough_ids[1:], other, other_seed, group="rest")
    texts = [reply.statement for _, reply in sorted((victim | rest).items())]
    assert len(texts) == 4
    for wanted in (request, other):
        with refused(InconsistentRequests):
            shared_wire.commit(wanted, texts)


def test_borough_refuses_a_model_that_does_not_follow_from_the_published_sums(shared_wire):
    """The same attack, one step earlier: the victim is sent weights that make the others' gradients vanish."""
    plan, refusals = shared_wire.approve(), []

    def ask(document, index, request, seed):
        if index == 1:
            crafted = dict(ReleaseRequest.decode(request).inputs)
            crafted["weights"] = Array.of(crafted["weights"].floats() + 100.0)
            refusals.append(shared_wire.refusal(plan, "borough-1", changed(request, inputs=crafted), seed))
        return shared_wire.ask(document, index, request, seed)

    shared_wire.run(plan, ask)
    assert refusals == [ModelMismatch.code]


def test_borough_signs_one_request_an_index(shared_wire):
    plan = shared_wire.approve()
    request, seed = shared_wire.begun(plan)
    shared_wire.send(plan, ["borough-1"], request, seed, group="first")
    again = changed(request, tag_commitment=tags.commit(seed[::-1]))
    assert shared_wire.refusal(plan, "borough-1", again, seed[::-1]) == AlreadyAnswered.code


# --- differencing -----------------------------------------------------------------------------------------------


def test_sum_over_all_and_then_over_all_but_one_is_refused_by_the_unmasker(shared_wire):
    """Denning, Denning, Schwartz 1979, The Tracker: two sums differ by one borough's vector and that borough's noise only."""
    _, request, texts = answered(shared_wire)
    shared_wire.commit(request, texts)
    for victim in range(4):
        with refused(AlreadyAnswered):
            shared_wire.commit(request, texts[:victim] + texts[victim + 1 :])


def test_second_set_is_refused_after_the_first_was_published(shared_wire):
    plan = shared_wire.approve()
    shared_wire.run_honestly(plan)
    for index, (receipt, _) in shared_wire.record(plan).receipts.items():
        with refused(AlreadyAnswered):
            shared_wire.commit(shared_wire.runs.get(plan, index).request, [t.encode() for t in receipt.statements[:3]])


def test_round_keeps_the_set_that_it_fixed(world, plan):
    _request, texts = answers(world, plan)
    statements = {text.document(Statement).borough: text.encode().decode() for text in texts}
    world.runs.fix(plan, 0, statements=statements, masked_sum=b"sum")
    world.runs.fix(plan, 0, statements=dict(list(statements.items())[:3]), masked_sum=b"")
    assert len(world.runs.get(plan, 0).statements) == 4


def test_too_small_a_set_is_refused(shared_wire):
    _, request, texts = answered(shared_wire)
    for few in (texts[:2], texts[:1], []):
        with refused(CohortTooSmall):
            shared_wire.commit(request, few)


def test_set_in_another_order_is_refused(shared_wire):
    """One set has one receipt: in another order it would be other statements."""
    _, request, texts = answered(shared_wire)
    with refused(StatementsUnordered):
        shared_wire.commit(request, texts[::-1])


def test_log_refuses_a_second_receipt_for_an_index(world, plan):
    """The unmasker colludes in differencing: every reader of the log sees it, none accepts it."""
    request, texts = answers(world, plan)
    receipt = world.unmasker.commit(request, texts).document(Receipt)
    world.log("receipt", receipt, "unmasker")
    smaller = receipt.model_copy(update={"statements": receipt.statements[:3]})
    with pytest.raises(AlreadyAnswered):
        world.log("receipt", smaller, "unmasker")


# --- Sybils -----------------------------------------------------------------------------------------------------


def test_borough_outside_the_roster_does_not_count(shared_wire):
    """Douceur 2002, The Sybil Attack: made-up boroughs whose noise the coordinator knows."""
    _, request, texts = answered(shared_wire)
    shared_wire.keys["stranger"] = SigningKey.generate()
    sybil = shared_wire.resigned(texts[3], signer="stranger", borough="borough-9")
    with refused(UnknownSigner):
        shared_wire.commit(request, [*texts[:3], sybil])


@pytest.mark.parametrize("signer", ["coordinator", "unmasker", "custodian-1", "witness-1"])
def test_party_of_another_role_does_not_count(shared_wire, signer):
    _, request, texts = answered(shared_wire)
    with refused(UnknownSigner):
        shared_wire.commit(request, [*texts[:3], shared_wire.resigned(texts[3], signer=signer)])


def test_borough_outside_the_plan_does_not_count(shared_wire):
    plan = shared_wire.draft(boroughs=shared_wire.borough_ids[:3])
    shared_wire.log("plan", plan, *shared_wire.custodian_ids[:2])
    request, texts = answers(shared_wire, plan.digest())
    outsider = shared_wire.resigned(
        texts[2], signer="borough-4", borough="borough-4", public_key="77" * 32, vector="8" * 64
    )
    with refused(NotOfPlan):
        shared_wire.commit(request, [*texts, outsider])


def test_one_borough_does_not_count_twice(shared_wire):
    _, request, texts = answered(shared_wire)
    twin = shared_wire.resigned(texts[0], public_key="77" * 32, vector="8" * 64)
    for double in (texts[0], twin):
        with refused(DuplicateSigner):
            shared_wire.commit(request, [texts[0], double, *texts[1:]])


@pytest.mark.parametrize("field", ["public_key", "vector"])
def test_one_mask_key_does_not_count_for_two_boroughs(shared_wire, field):
    """A colluding borough that repeats the victim's key or vector stands for nobody."""
    _, request, texts = answered(shared_wire)
    copied = shared_wire.resigned(texts[1], **{field: getattr(texts[0].document(Statement), field)})
    with refused(DuplicateSigner):
        shared_wire.commit(request, [texts[0], copied, *texts[2:]])


def test_borough_cannot_speak_for_another(shared_wire):
    _, request, texts = answered(shared_wire)
    with refused(NotOfPlan):
        shared_wire.commit(request, [texts[0], shared_wire.resigned(texts[1], signer="borough-1"), *texts[2:]])


def test_statement_that_was_changed_after_it_was_signed_is_refused(shared_wire):
    _, request, texts = answered(shared_wire)
    other = shared_wire.resigned(texts[1], vector="8" * 64)
    forged = other.model_copy(update={"signatures": texts[1].signatures})
    with refused(BadSignature):
        shared_wire.commit(request, [texts[0], forged, *texts[2:]])


# --- replay -----------------------------------------------------------------------------------------------------


def test_statement_of_another_plan_is_refused(shared_wire):
    _, _, texts = answered(shared_wire)
    _, request, own = answered(shared_wire)
    for place in range(4):
        with refused(StatementReplayed):
            shared_wire.commit(request, [*own[:place], texts[place], *own[place + 1 :]])


def test_statement_of_another_index_is_refused(shared_wire):
    plan, tried = shared_wire.approve(), []

    def ask(document, index, request, seed):
        replies = shared_wire.ask(document, index, request, seed)
        if index:
            texts = [replies[name].statement for name in sorted(replies)]
            for receipt, _ in shared_wire.record(plan).receipts.values():
                with refused(StatementReplayed):
                    shared_wire.commit(request, [receipt.statements[0].encode(), *texts[1:]])
                tried.append((index, receipt.index))
        return replies

    shared_wire.run(plan, ask)
    assert tried == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    assert shared_wire.record(plan).complete


def test_index_out_of_turn_is_refused_by_unmasker_and_borough(shared_wire):
    plan = shared_wire.approve()
    request, seed = shared_wire.begun(plan)
    for index in (1, 3, 4, 2**31):
        ahead = changed(request, index=index)
        assert shared_wire.refusal(plan, "borough-1", ahead, seed) == IndexOutOfTurn.code
        with refused(IndexOutOfTurn):
            shared_wire.commit(ahead, [])


@pytest.mark.parametrize("fields", [{"length": 16}, {"function": "gradient"}, {"roster": "0" * 64}])
def test_request_that_is_not_the_plans_is_refused_by_unmasker_and_borough(shared_wire, fields):
    plan = shared_wire.approve()
    request, seed = shared_wire.begun(plan)
    other = changed(request, **fields)
    assert shared_wire.refusal(plan, "borough-1", other, seed) == ReleaseRefused.code
    with refused(ReleaseRefused):
        shared_wire.commit(other, [])


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


def test_unapproved_plan_moves_neither_borough_nor_unmasker(shared_wire):
    plan = shared_wire.approve()
    request, seed = shared_wire.begun(plan)
    draft = shared_wire.draft().digest()
    unapproved = changed(request, plan=draft)
    assert shared_wire.refusal(plan, "borough-1", unapproved, seed) == PlanNotApproved.code
    for call in (
        lambda: shared_wire.commit(unapproved, []),
        lambda: shared_wire.reveal(draft, 0),
        lambda: shared_wire.close_plan(draft),
    ):
        with refused(PlanNotApproved):
            call()


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


def test_unmasker_ends_with_the_plans_validity(wire):
    _, request, texts = answered(wire)
    wire.clock.advance(timedelta(days=CHOICES.validity_days))
    with refused(PlanOutsideValidity):
        wire.commit(request, texts)


@pytest.mark.parametrize("days", [-1, CHOICES.validity_days])
def test_plan_outside_its_validity_moves_neither_borough_nor_unmasker(wire, days):
    plan = wire.approve()
    request, seed = wire.begun(plan)
    # Only the two clocks move: what the log shows is still the plan's first day.
    for name in ("unmasker", "borough-1"):
        wire.clock_of(name).ahead = timedelta(days=days) if days > 0 else timedelta(minutes=-1)
    assert wire.refusal(plan, "borough-1", request, seed) == PlanOutsideValidity.code
    with refused(PlanOutsideValidity):
        wire.commit(request, [])


def test_plan_that_is_closed_moves_neither_borough_nor_unmasker(shared_wire):
    plan, request, texts = answered(shared_wire)
    shared_wire.log("closure", shared_wire.close_plan(plan).document(Closure), "unmasker")
    with refused(PlanClosed):
        shared_wire.commit(request, texts)
    fresh = changed(request, index=1)
    assert shared_wire.refusal(plan, "borough-1", fresh, shared_wire.runs.get(plan, 0).tag_seed) == PlanClosed.code


def test_plan_of_an_earlier_roster_moves_neither_borough_nor_unmasker(wire):
    """Otherwise boroughs could be counted under one roster and asked under another."""
    plan, request, texts = answered(wire)
    after = wire.roster.model_copy(update={"version": 2, "previous": wire.roster.digest()})
    wire.log("roster", after, *wire.custodian_ids[:2])
    with refused(RosterChanged):
        wire.commit(request, texts)
    wire.leave("borough-1")
    fresh = wire.new_gate("borough-1", ledger=Ledger(wire.root / "another.sqlite"))
    wire._gates["borough-1"] = fresh
    assert wire.refusal(plan, "borough-1", request, wire.runs.get(plan, 0).tag_seed) == RosterChanged.code


# --- rollback ---------------------------------------------------------------------------------------------------


def vector(reply):
    return masks.vector_from_bytes(reply.vector, length=len(reply.vector) // 8)


def rolled_back(wire, borough, ledger):
    """A borough's node starts again from another ledger, and nobody has it compare that with the log."""
    wire.leave(borough)
    wire._gates[borough] = wire.new_gate(borough, ledger=ledger)


def test_borough_restored_from_a_backup_uses_another_mask_and_gives_no_second_answer_away(wire, tmp_path):
    """Ristenpart, Yilek 2010, When Good Randomness Goes Bad: what a restored machine draws again. With the old mask and
    fresh noise, two answers would differ by noise alone and average it out.
    """
    plan = wire.approve()
    wire.gate("borough-1")._reader.sync()
    shutil.copytree(wire.root / "borough-1", tmp_path / "backup")
    request, seed = wire.begun(plan)
    first = wire.answered(plan, ["borough-1"], request, seed, group="first")["borough-1"]
    restored = Ledger(tmp_path / "backup" / "ledger.sqlite")
    rolled_back(wire, "borough-1", restored)
    second = wire.answered(plan, ["borough-1"], request, seed, group="second")["borough-1"]
    one, two = (Envelope.decode(answer.statement).document(Statement) for answer in (first, second))
    assert one.public_key != two.public_key
    # Under one mask the difference would be that of two noises, far below 2**50; masked it fills the ring.
    assert np.abs(masks.from_ring(vector(first) - vector(second))).max() > 2**55
    wire.leave("borough-1")
    restored.close()


def test_borough_restored_from_a_backup_refuses_to_start_behind_the_log(wire, tmp_path):
    plan = wire.approve()
    wire.gate("borough-1").check_state()
    shutil.copytree(wire.root / "borough-1", tmp_path / "backup")
    wire.run(plan)
    restored = Ledger(tmp_path / "backup" / "ledger.sqlite")
    with pytest.raises(BehindLog):
        wire.new_gate("borough-1", ledger=restored).check_state()
    restored.close()


def test_borough_that_answers_from_a_restored_ledger_is_refused_by_the_unmasker(wire, tmp_path):
    """Its operator skips the check at start: the ledger's length, which statements anchor, gives it away."""
    plan, seen = wire.approve(), []
    wire.gate("borough-1").check_state()
    shutil.copytree(wire.root / "borough-1", tmp_path / "backup")
    restored = Ledger(tmp_path / "backup" / "ledger.sqlite")

    def ask(document, index, request, seed):
        if index == 1:
            rolled_back(wire, "borough-1", restored)
        replies = wire.ask(document, index, request, seed)
        if index == 1:
            with refused(LedgerRewound):
                wire.commit(request, [replies[name].statement for name in sorted(replies)])
            seen.append(sorted(replies))
        return replies

    wire.run(plan, ask)
    assert seen == [list(wire.borough_ids)]
    # The coordinator leaves it out by name, and the plan goes on without it.
    assert wire.record(plan).releases[1].boroughs == wire.borough_ids[1:]
    assert any(code == LedgerRewound.code and "borough-1" in detail for code, detail in wire.reports)
    wire.leave("borough-1")
    restored.close()


def test_unmasker_rolled_back_refuses_before_its_first_answer(wire, tmp_path):
    """Rolled back, it would sign a second receipt for an index that it has unmasked already."""
    plan, backup = wire.approve(), tmp_path / "unmasker.sqlite"
    wire.unmasker.check_state()
    shutil.copy(wire.root / "unmasker" / "unmasker.sqlite", backup)
    wire.run(plan)
    request = wire.runs.get(plan, 0).request
    wire.restart_unmasker(backup)
    with pytest.raises(BehindLog):
        wire.unmasker.check_state()
    for call in (
        lambda: wire.commit(request, []),
        lambda: wire.reveal(plan, 0),
        lambda: wire.close_plan(plan),
    ):
        with refused(BehindLog):
            call()


def test_unmasker_rolled_back_before_the_close_refuses_with_its_old_key(wire, tmp_path):
    plan, backup = wire.approve(), tmp_path / "unmasker.sqlite"
    real = wire.unmasker_client()

    def close(digest):
        shutil.copy(wire.root / "unmasker" / "unmasker.sqlite", backup)
        return real.close(digest)

    wire.runner(dataclasses.replace(real, close=close)).run(plan, one_by_one(wire.ask), forget=lambda index: None)
    wire.restart_unmasker(backup)
    with pytest.raises(BehindLog, match="closed"):
        wire.unmasker.check_state()
    with refused(BehindLog):
        wire.reveal(plan, 0)


def test_unmasker_rolled_back_before_the_log_shows_its_receipt_still_reveals_one_sum(wire, tmp_path):
    """The one rollback that it cannot notice: two receipts for one index exist, and the log takes the first it gets."""
    plan, request, texts = answered(wire)
    backup = tmp_path / "unmasker.sqlite"
    wire.unmasker.check_state()
    shutil.copy(wire.root / "unmasker" / "unmasker.sqlite", backup)
    over_all = wire.commit(request, texts)
    wire.restart_unmasker(backup)
    over_three = wire.commit(request, texts[:3])
    wire.log("receipt", over_three.document(Receipt), "unmasker")
    with pytest.raises(AlreadyAnswered):
        wire.log("receipt", over_all.document(Receipt), "unmasker")
    assert digest_of(wire.reveal(plan, 0)) == over_three.document(Receipt).mask_sum
    wire.restart_unmasker(wire.root / "unmasker" / "unmasker.sqlite")
    with refused(BehindLog):
        wire.reveal(plan, 0)


# --- wrong sums -------------------------------------------------------------------------------------------------


class LyingUnmasker(UnmaskerService):
    """Serves with the unmasker's keys, and changes what it says."""

    def __init__(self, wire):
        super().__init__(wire.unmasker)
        self._wire = wire
        self.committed = self.revealed = lambda mask_sum: mask_sum

    def Commit(self, request, context):  # noqa: N802
        receipt = Envelope.decode(super().Commit(request, context).envelope).document(Receipt)
        stored = self._wire.unmasker._store.receipt(receipt.plan, receipt.index).mask_sum
        told = receipt.model_copy(update={"mask_sum": digest_of(self.committed(stored))})
        return unmasker_pb2.SignedReceipt(envelope=self._wire.signed(told, "unmasker").encode())

    def Reveal(self, request, context):  # noqa: N802
        stored = self._wire.unmasker._store.receipt(request.plan, request.index).mask_sum
        return unmasker_pb2.MaskSum(mask_sum=self.revealed(stored))


def impostor(wire, kind):
    """Have another servicer serve with the unmasker's keys."""
    servicer = kind(wire)
    wire.restart_unmasker(wire.root / "unmasker" / "unmasker.sqlite", servicer=servicer)
    return servicer


def test_mask_sum_is_not_revealed_before_its_receipt_is_in_the_witnessed_log(shared_wire):
    plan, request, texts = answered(shared_wire)
    with refused(NotLogged):
        shared_wire.reveal(plan, 0)
    envelope = shared_wire.commit(request, texts)
    with refused(NotLogged):
        shared_wire.reveal(plan, 0)
    shared_wire.appender.append("receipt", envelope)  # appended, and no witness has seen it
    with refused(NotLogged):
        shared_wire.reveal(plan, 0)
    shared_wire.publisher.publish()
    assert digest_of(shared_wire.reveal(plan, 0)) == envelope.document(Receipt).mask_sum


def test_mask_sum_is_not_revealed_for_a_receipt_that_was_not_made_here(shared_wire):
    """Somebody has the unmasker's signing key and logs a receipt of his own: what is stored does not go with it."""
    plan, request, texts = answered(shared_wire)
    receipt = shared_wire.commit(request, texts).document(Receipt)
    shared_wire.log("receipt", receipt.model_copy(update={"statements": receipt.statements[:3]}), "unmasker")
    with refused(NotLogged):
        shared_wire.reveal(plan, 0)


def test_unmasker_that_reveals_another_sum_than_it_committed_to_is_detected(wire):
    liar = impostor(wire, LyingUnmasker)
    for told in (bytes(8 * 18), b"", bytes(8 * 17), bytes(8 * 19)):
        plan = wire.approve()
        liar.revealed = lambda _, told=told: told
        with pytest.raises(SumInvalid, match="not the one in the unmasker's receipt"):
            wire.run(plan)
        assert wire.record(plan).burnt == [0]


def test_unmasker_that_commits_to_a_wrong_sum_is_detected_by_the_tags(wire):
    """Small errors stay in range; the tags, whose seed the unmasker does not know, find them."""
    liar = impostor(wire, LyingUnmasker)
    for error in (1, 2**20, 2**39, 2**63):

        def wrong(mask_sum, error=error):
            total = masks.vector_from_bytes(mask_sum, length=18).copy()
            total[:1] += np.uint64(error)
            return masks.vector_bytes(total)

        plan = wire.approve()
        liar.committed = liar.revealed = wrong
        with pytest.raises(SumInvalid, match="tag"):
            wire.run(plan)
        assert (wire.record(plan).releases, wire.record(plan).burnt) == ([], [0])


def test_receipt_that_somebody_else_signs_is_refused_by_the_coordinator(wire):
    plan = wire.approve()

    class Other(LyingUnmasker):
        def Commit(self, request, context):  # noqa: N802
            receipt = Envelope.decode(UnmaskerService.Commit(self, request, context).envelope).document(Receipt)
            return unmasker_pb2.SignedReceipt(envelope=wire.signed(receipt, "custodian-1").encode())

    impostor(wire, Other)
    with pytest.raises(UnknownSigner):
        wire.run(plan)
    assert wire.record(plan).receipts == {}


def run_with_changed(wire, plan, change):
    """The coordinator's own run, but between the boroughs' door and its disk somebody changes vectors."""
    runner = wire.runner()

    def added_unchecked(content, total, *, digest):
        total += masks.vector_from_bytes(content, length=total.size)

    def ask(document, index, request, seed):
        replies = wire.ask(document, index, request, seed)
        vectors = change({name: reply.vector for name, reply in replies.items()})
        return {name: Reply(reply.statement, vectors[name]) for name, reply in replies.items()}

    with patch.object(masks, "add_vector", added_unchecked), pytest.raises(SumInvalid):
        runner.run(plan, one_by_one(ask), forget=lambda index: None)
    assert (wire.record(plan).releases, wire.record(plan).burnt) == ([], [0])


def test_coordinator_that_swaps_one_boroughs_vector_gets_a_sum_that_fails_its_tags(shared_wire):
    """It kept the signed statement and changed the bytes: what it would publish is not the boroughs' sum."""
    flipped = {}

    def flip(vectors):
        flipped["borough-1"] = bytes([vectors["borough-1"][0] ^ 1]) + vectors["borough-1"][1:]
        return vectors | flipped

    run_with_changed(shared_wire, shared_wire.approve(), flip)
    assert flipped


def test_vector_of_another_plan_does_not_stand_in(shared_wire):
    """The same borough's vector, as it answered the same function for another plan, in the place of this one."""
    other = shared_wire.approve()
    _, replies = shared_wire.answers(other)
    swapped = {"borough-2": replies["borough-2"].vector}
    run_with_changed(shared_wire, shared_wire.approve(), lambda vectors: vectors | swapped)


def test_two_boroughs_vectors_swapped_give_the_same_sum_and_nothing_else(shared_wire):
    """The one swap that the sum does not notice, because a sum has no order."""
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    shared_wire.log(
        "receipt", shared_wire.commit(request, [r.statement for r in replies.values()]).document(Receipt), "unmasker"
    )
    mask_sum = shared_wire.reveal(plan, 0)
    record = shared_wire.record(plan)
    arguments = {
        "spec": record.plan.releases[0],
        "plan": record.plan,
        "tag_seed": shared_wire.runs.get(plan, 0).tag_seed,
    }
    vectors = {name: reply.vector for name, reply in replies.items()}
    swapped = vectors | {"borough-1": vectors["borough-2"], "borough-2": vectors["borough-1"]}
    assert (reveal(vectors, mask_sum, **arguments) == reveal(swapped, mask_sum, **arguments)).all()


def test_sum_over_another_set_than_the_receipts_is_noise(shared_wire):
    """A wrong U: vectors of three, masks of four. What is left is a mask; so it is for one vector taken twice."""
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    texts = [reply.statement for reply in replies.values()]
    shared_wire.log("receipt", shared_wire.commit(request, texts).document(Receipt), "unmasker")
    mask_sum, seed = shared_wire.reveal(plan, 0), shared_wire.runs.get(plan, 0).tag_seed
    record = shared_wire.record(plan)
    vectors = {name: reply.vector for name, reply in replies.items()}
    reveal(vectors, mask_sum, spec=record.plan.releases[0], plan=record.plan, tag_seed=seed)
    three = {name: vectors[name] for name in list(vectors)[:3]}
    for wrong in (three, vectors | {"borough-5": vectors["borough-1"]}, vectors | {"borough-4": vectors["borough-1"]}):
        with pytest.raises(SumInvalid):
            reveal(wrong, mask_sum, spec=record.plan.releases[0], plan=record.plan, tag_seed=seed)
        total = sum(masks.vector_from_bytes(content, length=18) for content in wrong.values())
        assert np.abs(masks.from_ring(total - masks.vector_from_bytes(mask_sum, length=18))).max() > 2**55


def test_every_flipped_bit_of_every_vector_is_found(shared_wire):
    """All 64 bits of every entry and tag of one borough's vector, as it travelled."""
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    texts = [reply.statement for reply in replies.values()]
    shared_wire.log("receipt", shared_wire.commit(request, texts).document(Receipt), "unmasker")
    mask_sum, seed = shared_wire.reveal(plan, 0), shared_wire.runs.get(plan, 0).tag_seed
    record = shared_wire.record(plan)
    vectors = {name: reply.vector for name, reply in replies.items()}
    unnoticed = []
    for bit in range(8 * len(vectors["borough-3"])):
        content = bytearray(vectors["borough-3"])
        content[bit // 8] ^= 1 << bit % 8
        try:
            reveal(
                vectors | {"borough-3": bytes(content)},
                mask_sum,
                spec=record.plan.releases[0],
                plan=record.plan,
                tag_seed=seed,
            )
            unnoticed.append(bit)
        except SumInvalid:
            pass
    assert unnoticed == []


def test_coordinator_that_makes_a_sum_up_is_believed(shared_wire):
    """What remains (docs/threat-model.md, section 6): tags hold against the unmasker, not against the coordinator, who has
    their seed. Nobody else sees a vector, so a sum in range that the coordinator invents is published, and training
    follows it.
    """
    plan = shared_wire.approve()
    request, replies = shared_wire.answers(plan)
    receipt = shared_wire.commit(request, [reply.statement for reply in replies.values()]).document(Receipt)
    shared_wire.log("receipt", receipt, "unmasker")
    made_up = Release(
        request=ReleaseRequest.decode(request),
        tag_seed=shared_wire.runs.get(plan, 0).tag_seed,
        receipt=receipt.digest(),
        boroughs=tuple(replies),
        sums=Array.of(np.arange(15, dtype=np.int64) << 30),
    )
    shared_wire.log("release", made_up, "coordinator")
    reader = shared_wire.reader("auditor")
    reader.sync()
    assert reader.public.plan(plan).releases == [made_up]


def test_released_vector_alone_looks_uniform(shared_wire):
    """What the coordinator holds before unmasking: every byte value as often as any other, chi-square at 1e-6."""
    _, replies = shared_wire.answers(shared_wire.approve())
    content = b"".join(reply.vector for reply in replies.values())
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
