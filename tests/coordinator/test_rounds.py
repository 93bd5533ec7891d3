"""One plan, release by release: every step is taken once, whatever dies between two of them."""

import dataclasses
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from borough_node.ledger import Ledger
from coordinator.rounds import Reply, UnmaskerClient
from protocol.aggregation import masks
from protocol.documents.plan import Statement
from protocol.errors import AlreadyAnswered, CohortTooSmall, Expired, PeerUnreachable, PlanClosed, SumInvalid
from protocol.ids import digest_of
from protocol.signing.dsse import Envelope
from tests.world import CHOICES, one_by_one


class Killed(Exception):
    """The coordinator's process ends here."""


def charges(world, plan):
    found = {}
    for borough in world.borough_ids:
        entries = [entry.content for entry in world.gate(borough)._ledger.entries()]
        found[borough] = [content["index"] for content in entries if content["kind"] == "release"]
    return found


def test_plan_runs_to_its_end_and_is_closed(world, plan):
    world.run(plan)
    record = world.record(plan)
    assert record.complete
    assert record.closed
    assert [release.request.index for release in record.releases] == [0, 1, 2, 3]
    assert charges(world, plan) == {key: [0, 1, 2, 3] for key in world.borough_ids}


def test_finished_plan_that_is_run_again_asks_nobody(world, finished):
    size = world.appender.history.tree.size

    def ask(*_):
        raise AssertionError("a borough was asked after the plan's end")

    world.run(finished, ask)
    assert world.appender.history.tree.size == size


def test_too_few_answers_publish_nothing_and_may_be_asked_for_again(world, plan):
    def two_answer(document, index, request, seed):
        return dict(list(world.ask(document, index, request, seed).items())[:2])

    with pytest.raises(CohortTooSmall, match="2 of 3"):
        world.run(plan, two_answer)
    assert world.record(plan).receipts == {}
    world.run(plan)
    assert charges(world, plan) == {key: [0, 1, 2, 3] for key in world.borough_ids}


def test_absent_borough_costs_nothing_but_its_answer(world, plan):
    def without_one(document, index, request, seed):
        return {name: reply for name, reply in world.ask(document, index, request, seed).items() if name != "borough-2"}

    world.run(plan, without_one)
    assert all(release.boroughs == ("borough-1", "borough-3", "borough-4") for release in world.record(plan).releases)


def test_request_is_made_once_and_resent_unchanged(world, plan):
    first = world.begun(plan)
    assert world.begun(plan) == first


def test_late_answer_does_not_enter_a_set_that_is_fixed(world, plan):
    late = []

    def commit(request, statements):
        late.append(len(statements))
        raise PeerUnreachable("the unmasker is away")

    def three(document, index, request, seed):
        return {name: reply for name, reply in world.ask(document, index, request, seed).items() if name != "borough-4"}

    broken = dataclasses.replace(world.unmasker_client(), commit=commit)
    with pytest.raises(PeerUnreachable):
        world.runner(broken).run(plan, one_by_one(three), forget=lambda index: None)
    world.run(plan)
    assert late == [3]
    assert world.record(plan).releases[0].boroughs == ("borough-1", "borough-2", "borough-3")
    assert len(world.record(plan).releases[1].boroughs) == 4


# --- kills at every seam ----------------------------------------------------------------------------------------


def killed_once(call, *, after):
    """Return ``call`` that ends the process the first time, after or before its work."""
    state = []

    def wrapped(*arguments):
        if not state:
            state.append(1)
            if after:
                call(*arguments)
            raise Killed
        return call(*arguments)

    return wrapped


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("seam", ["ask", "commit", "reveal", "close", "append", "publish", "forget"])
def test_coordinator_that_dies_goes_on_where_it_stood(world, plan, seam, after):
    client, ask, forget = world.unmasker_client(), world.ask, lambda index: None
    runner = world.runner(client)
    if seam in ("commit", "reveal", "close"):
        client = dataclasses.replace(client, **{seam: killed_once(getattr(client, seam), after=after)})
        runner = world.runner(client)
    elif seam == "ask":
        ask = killed_once(world.ask, after=after)
    elif seam == "forget":
        forget = killed_once(forget, after=after)
    elif seam == "publish":
        runner._publish = killed_once(runner._publish, after=after)
    else:
        original = world.appender.append
        once = killed_once(original, after=after)
        world.appender.append = once
    with pytest.raises(Killed):
        runner.run(plan, one_by_one(ask), forget=forget)
    world.run(plan)
    record = world.record(plan)
    assert record.complete
    assert record.closed
    assert charges(world, plan) == {key: [0, 1, 2, 3] for key in world.borough_ids}
    kinds = [skeleton.kind for skeleton in world.appender.history.skeletons]
    assert (kinds.count("receipt"), kinds.count("release"), kinds.count("closure")) == (4, 4, 1)
    assert [world.runs.masked_sum(plan, index) for index in range(4)] == [None] * 4


def test_kill_between_publication_and_deletion_leaves_no_vector_behind(world, plan):
    def die(index):
        raise Killed

    with pytest.raises(Killed):
        world.runner().run(plan, one_by_one(world.ask), forget=die)
    assert world.runs.masked_sum(plan, 0)
    forgotten = []
    world.runner().run(plan, one_by_one(world.ask), forget=forgotten.append)
    assert 0 in forgotten
    assert not world.runs.masked_sum(plan, 0)


# --- boroughs that send nonsense --------------------------------------------------------------------------------


def with_reply(world, borough, change):
    def ask(document, index, request, seed):
        replies = world.ask(document, index, request, seed)
        return replies | {borough: change(replies)}

    return ask


@pytest.mark.parametrize(
    "change",
    [
        lambda replies: Reply(b"garbage", replies["borough-1"].vector),
        lambda replies: Reply(replies["borough-1"].statement, b"short"),
        lambda replies: Reply(replies["borough-1"].statement, bytes(len(replies["borough-1"].vector))),
        lambda replies: replies["borough-2"],
        lambda replies: Reply(replies["borough-1"].statement, replies["borough-2"].vector),
    ],
    ids=["no statement", "short vector", "zero vector", "another's reply", "another's vector"],
)
def test_borough_that_sends_nonsense_is_left_out_by_name_and_does_not_stop_the_others(world, plan, change):
    world.run(plan, with_reply(world, "borough-1", change))
    assert all("borough-1" not in release.boroughs for release in world.record(plan).releases)
    assert len([detail for _, detail in world.reports if "borough borough-1" in detail]) == 4


def test_borough_that_signs_a_vector_it_did_not_mask_burns_the_index(world, plan):
    """A lying borough: its statement is honest about bytes that are noise, so the tags of the sum do not match."""

    def lie(replies):
        honest = replies["borough-1"]
        vector = bytes(len(honest.vector))
        statement = Envelope.decode(honest.statement).document(Statement)
        lying = statement.model_copy(update={"vector": digest_of(vector)})
        return Reply(world.signed(lying, "borough-1").encode(), vector)

    with pytest.raises(SumInvalid):
        world.run(plan, with_reply(world, "borough-1", lie))
    assert world.record(plan).releases == []
    assert world.runs.get(plan, 0).burnt == "sum.invalid"
    assert not world.runs.masked_sum(plan, 0)
    assert world.record(plan).closed
    assert world.unmasker._store.private_key(world.record(plan).plan.unmasker_key) is None


def test_expired_plan_is_closed_and_its_key_destroyed(world, plan):
    world.clock.advance(world.record(plan).plan.valid_until - world.clock.now())
    with pytest.raises(Expired):
        world.run(plan)
    assert world.record(plan).closed
    assert world.unmasker._store.private_key(world.record(plan).plan.unmasker_key) is None


def test_burnt_index_is_never_used_again(world, plan):
    broken = dataclasses.replace(world.unmasker_client(), reveal=lambda digest, index: bytes(144))
    with pytest.raises(SumInvalid):
        world.runner(broken).run(plan, one_by_one(world.ask), forget=lambda index: None)
    with pytest.raises(PlanClosed):
        world.run(plan)
    assert world.record(plan).burnt == [0]
    assert world.record(plan).releases == []


SPARED = CHOICES.model_copy(update={"spares": 1})


def failing_once(world, index):
    """An unmasker whose disk flips one bit of one mask sum on its way out."""
    real, failed = world.unmasker_client(), []

    def reveal(digest, asked):
        content = bytearray(real.reveal(digest, asked))
        if asked == index and not failed:
            failed.append(asked)
            content[0] ^= 1
        return bytes(content)

    return dataclasses.replace(real, reveal=reveal)


@pytest.mark.parametrize("index", [0, 2, 3])
def test_spare_takes_the_place_of_a_burnt_index_and_the_plan_ends_well(world, index):
    plan = world.approve(SPARED)
    forgotten = []
    world.runner(failing_once(world, index)).run(plan, one_by_one(world.ask), forget=forgotten.append)
    record = world.record(plan)
    assert record.complete
    assert record.closed
    assert record.burnt == [index]
    assert [release.request.index for release in record.releases] == [n for n in range(5) if n != index]
    assert charges(world, plan) == {key: [0, 1, 2, 3, 4] for key in world.borough_ids}
    assert {0, 1, 2, 3, 4} <= set(forgotten)
    assert [world.runs.masked_sum(plan, n) for n in range(5)] == [None] * 5
    assert [code for code, _ in world.reports] == ["sum.invalid"]


def test_plan_is_closed_when_its_spares_are_spent(world):
    plan = world.approve(SPARED)
    broken = dataclasses.replace(world.unmasker_client(), reveal=lambda digest, index: bytes(144))
    with pytest.raises(SumInvalid, match="index 1 is burnt"):
        world.runner(broken).run(plan, one_by_one(world.ask), forget=lambda index: None)
    assert world.record(plan).burnt == [0, 1]
    assert world.record(plan).closed
    assert charges(world, plan) == {key: [0, 1] for key in world.borough_ids}


@pytest.mark.parametrize("seam", ["burn in the database", "burn in the log", "publish"])
def test_killed_while_an_index_is_burnt_goes_on_with_the_spare(world, seam):
    plan = world.approve(SPARED)
    runner = world.runner(failing_once(world, 1))
    append, publish = world.appender.append, runner._publish

    def killed(*_, **__):
        raise Killed

    def dying_append(kind, envelope, **rest):
        if kind != "burn":
            return append(kind, envelope, **rest)
        if seam == "burn in the database":
            raise Killed
        position = append(kind, envelope, **rest)
        if seam == "burn in the log":
            raise Killed
        runner._publish = killed
        return position

    world.appender.append = dying_append
    with pytest.raises(Killed):
        runner.run(plan, one_by_one(world.ask), forget=lambda index: None)
    world.appender.append, runner._publish = append, publish
    world.run(plan)
    record = world.record(plan)
    assert (record.complete, record.closed, record.burnt) == (True, True, [1])
    assert charges(world, plan) == {key: [0, 1, 2, 3, 4] for key in world.borough_ids}


def test_two_plans_run_at_the_same_time(world):
    """Their releases interleave in one log; every borough answers both, one ledger each."""
    plans = [world.approve(), world.approve(SPARED)]
    started = threading.Barrier(2)
    for borough in world.borough_ids:
        world.gate(borough)  # one node a borough, whoever asks it first

    def ask(document, index, request, seed):
        if index == 0:
            started.wait(30)
        return world.ask(document, index, request, seed)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(world.run, plan, ask) for plan in plans]:
            done.result(60)
    for plan in plans:
        assert world.record(plan).complete
        assert world.record(plan).closed
        assert world.unmasker._store.private_key(world.record(plan).plan.unmasker_key) is None
    assert all(sorted(indices) == sorted([0, 1, 2, 3] * 2) for indices in charges(world, plans[0]).values())
    kinds = [skeleton.kind for skeleton in world.appender.history.skeletons]
    assert (kinds.count("receipt"), kinds.count("release"), kinds.count("closure")) == (8, 8, 2)


def test_borough_on_a_restored_ledger_is_left_out_by_name(world, plan, tmp_path):
    """Its node was made to start behind the log; the ledger that its statements anchor gives it away."""
    world.gate("borough-1")._reader.sync()
    shutil.copytree(world.root / "borough-1", tmp_path / "backup")
    restored = Ledger(tmp_path / "backup" / "ledger.sqlite")
    old = world.new_gate("borough-1", ledger=restored)

    def ask(document, index, request, seed):
        replies = world.ask(document, index, request, seed)
        if index > 0:
            answer = old.release(request, seed)
            replies["borough-1"] = Reply(answer.statement, answer.vector)
        return replies

    world.run(plan, ask)
    restored.close()
    assert ["borough-1" in release.boroughs for release in world.record(plan).releases] == [True, False, False, False]
    assert [code for code, _ in world.reports] == ["ledger.rewound"] * 3


def test_unmasker_that_answers_for_other_statements_is_refused_by_itself(world, plan):
    request, seed = world.begun(plan)
    replies = world.ask(world.record(plan).plan, 0, request, seed)
    texts = [Envelope.decode(replies[name].statement) for name in sorted(replies)]
    world.unmasker.commit(request, texts)
    with pytest.raises(AlreadyAnswered):
        world.unmasker.commit(request, texts[:3])


def test_published_sum_is_the_sum_of_the_boroughs_plus_noise(world, plan):
    """Noise off: the published second moment is that of all rows."""
    for borough in world.borough_ids:
        world.gate(borough)._noise = lambda length, sigma: np.zeros(length, dtype=np.int64)
    world.run(plan)
    values = world.record(plan).run.moment.values
    document = world.record(plan).plan
    assert values[0] * document.descent.row_norm**2 == pytest.approx(len(world.borough_ids) * world.people, rel=1e-3)


def test_mask_sum_of_another_length_burns_the_index(world, plan):
    """The receipt commits to it, so nobody but the unmasker can have made it."""
    real = world.unmasker_client()
    shorter = masks.vector_bytes(np.zeros(2, dtype=np.uint64))

    def commit(request, statements):
        from protocol.documents.plan import Receipt

        receipt = Envelope.decode(real.commit(request, statements)).document(Receipt)
        return world.signed(receipt.model_copy(update={"mask_sum": digest_of(shorter)}), "unmasker").encode()

    lying = UnmaskerClient(commit=commit, reveal=lambda digest, index: shorter, close=real.close)
    with pytest.raises(SumInvalid, match="16 bytes"):
        world.runner(lying).run(plan, one_by_one(world.ask), forget=lambda index: None)
    assert world.runs.get(plan, 0).burnt == "shape.mismatch"
    assert world.record(plan).closed
