"""Flower's contract, kept by our Grid: Flower's own FedAvg runs over it unmodified."""

import threading
import time

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.run import Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.grid import GrpcGrid, node_id
from coordinator.store.database import Database
from coordinator.store.mail import Mailbox, Reply
from protocol.errors import MessageTooLarge
from protocol.rpc import channel

BOROUGHS = ("borough-1", "borough-2")
RUN = 5


@pytest.fixture
def mailbox(tmp_path):
    database = Database(tmp_path / "c.sqlite")
    yield Mailbox(database)
    database.close()


def new_grid(mailbox, on_progress=lambda done, asked: None, *, run=RUN, boroughs=BOROUGHS):
    grid = GrpcGrid(mailbox, boroughs, on_progress=on_progress)
    grid.set_run(Run.create_empty(run))
    return grid


@pytest.fixture
def grid(mailbox):
    return new_grid(mailbox)


def messages(grid, group="group-1", value=1):
    content = {"request": ConfigRecord({"value": value})}
    return [grid.create_message(RecordDict(dict(content)), "query.q", node, group) for node in grid.get_node_ids()]


def reply_bytes(letter, content=None, error=None):
    message = message_from_proto(ProtoMessage.FromString(letter.message))
    reply = Message(error, reply_to=message) if error else Message(content or RecordDict(), reply_to=message)
    return message_to_proto(reply).SerializeToString()


def answer(mailbox, borough, **kinds):
    for letter in mailbox.pending(borough, now=time.time()):
        mailbox.store_reply(Reply(letter.message_id, borough, reply_bytes(letter, **kinds)))


class Boroughs:
    """Boroughs that answer whatever the mailbox holds for them, each with its own ClientApp, in threads."""

    def __init__(self, mailbox, apps):
        self._mailbox, self._apps, self._stopped = mailbox, apps, threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=item) for item in apps.items()]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join(20)

    def _serve(self, borough, app):
        context = Context(run_id=RUN, node_id=0, node_config={}, state=RecordDict(), run_config={})
        while not self._stopped.is_set():
            heard = self._mailbox.posted(borough).rings
            for letter in self._mailbox.pending(borough, now=time.time()):
                message = message_from_proto(ProtoMessage.FromString(letter.message))
                reply = message_to_proto(app(message, context)).SerializeToString()
                self._mailbox.store_reply(Reply(letter.message_id, borough, reply))
            self._mailbox.posted(borough).wait(heard, 0.02)


def averaging_app(value, examples, seen, runs):
    """A borough that moves every weight to its own value."""
    app = ClientApp()

    @app.train()
    def train(message, context):
        seen.append([array.numpy().copy() for array in message.content["arrays"].values()])
        runs.append(message.metadata.run_id)
        arrays = ArrayRecord([np.full((2, 3), value), np.full(4, -value)])
        metrics = MetricRecord({"num-examples": examples, "loss": value})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message, context):
        metrics = MetricRecord({"num-examples": examples, "accuracy": value})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def test_flowers_own_fedavg_runs_unmodified(mailbox):
    from flwr.serverapp.strategy import FedAvg

    grid, seen, runs = new_grid(mailbox), [], []
    apps = {"borough-1": averaging_app(1.0, 10, seen, runs), "borough-2": averaging_app(4.0, 20, seen, runs)}
    strategy = FedAvg(min_available_nodes=2, min_train_nodes=2, min_evaluate_nodes=2)
    start = ArrayRecord([np.zeros((2, 3)), np.zeros(4)])
    with Boroughs(mailbox, apps):
        result = strategy.start(grid=grid, initial_arrays=start, num_rounds=2, timeout=60)
    average = (10 * 1.0 + 20 * 4.0) / 30
    weights = [array.numpy() for array in result.arrays.values()]
    np.testing.assert_allclose(weights[0], np.full((2, 3), average))
    np.testing.assert_allclose(weights[1], np.full(4, -average))
    assert [result.train_metrics_clientapp[n]["loss"] for n in (1, 2)] == [pytest.approx(average)] * 2
    assert [result.evaluate_metrics_clientapp[n]["accuracy"] for n in (1, 2)] == [pytest.approx(average)] * 2
    assert sorted(float(arrays[0][0, 0]) for arrays in seen) == [0.0, 0.0, average, average]
    assert runs == [RUN] * 4


def test_two_plans_run_at_once_in_two_threads_and_each_keeps_its_own_run(mailbox):
    """Flower reads the run of a new message from the process; here two runs are in it, and start in step."""
    from flwr.serverapp.strategy import FedAvg

    start, results, runs = threading.Barrier(2), {}, {1: [], 2: []}

    def train(run, borough):
        grid = new_grid(mailbox, run=run, boroughs=[borough])
        strategy = FedAvg(min_available_nodes=1, min_train_nodes=1, min_evaluate_nodes=1)
        start.wait(20)
        first = ArrayRecord([np.zeros((2, 3)), np.zeros(4)])
        results[run] = strategy.start(grid=grid, initial_arrays=first, num_rounds=3, timeout=60)

    apps = {f"borough-{run}": averaging_app(float(run), 10, [], runs[run]) for run in (1, 2)}
    with Boroughs(mailbox, apps):
        threads = [threading.Thread(target=train, args=(run, f"borough-{run}")) for run in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert runs == {1: [1] * 3, 2: [2] * 3}
    assert [float(results[run].arrays["0"].numpy()[0, 0]) for run in (1, 2)] == [1.0, 2.0]


def test_message_is_of_the_run_of_the_grid_that_pushes_it_whoever_set_a_run_last(mailbox):
    one, two = (new_grid(mailbox, run=run) for run in (1, 2))
    message = Message(RecordDict(), dst_node_id=node_id("borough-1"), message_type="query.q")
    (answered,) = one.push_messages([message])
    (letter,) = mailbox.pending("borough-1", now=time.time())
    assert message_from_proto(ProtoMessage.FromString(letter.message)).metadata.run_id == 1
    answer(mailbox, "borough-1")
    assert [reply.metadata.run_id for reply in one.pull_messages([answered])] == [1]
    assert [grid.run.run_id for grid in (one, two)] == [1, 2]


def test_node_ids_are_stable_distinct_and_never_the_servers():
    ids = [node_id(f"borough-{n}") for n in range(1000)]
    assert len(set(ids)) == 1000
    assert all(1 < one < 2**63 for one in ids)
    assert node_id("borough-1") == node_id("borough-1")


def test_message_gets_the_same_id_from_a_grid_that_starts_again(mailbox):
    first = list(new_grid(mailbox).push_messages(messages(new_grid(mailbox))))
    second = list(new_grid(mailbox).push_messages(messages(new_grid(mailbox))))
    assert first == second
    assert len(set(first)) == 2


def test_reply_that_arrived_before_a_restart_is_found_after_it(mailbox, grid):
    ids = list(grid.push_messages(messages(grid)))
    answer(mailbox, "borough-1", content=RecordDict({"answer": ConfigRecord({"value": 7})}))
    again = new_grid(mailbox)
    list(again.push_messages(messages(again)))
    found = list(again.pull_messages(ids))
    assert [again.borough_of(one.metadata.src_node_id) for one in found] == ["borough-1"]
    assert found[0].content["answer"]["value"] == 7


def test_messages_of_two_groups_have_different_ids(grid):
    one, two = (list(grid.push_messages(messages(grid, group=group))) for group in ("release-1", "release-2"))
    assert not set(one) & set(two)


def test_message_is_not_mutated_by_what_is_done_to_its_content_later(mailbox, grid):
    sent = messages(grid)
    list(grid.push_messages(sent))
    sent[0].content["request"]["value"] = 99
    letter = mailbox.pending("borough-1", now=time.time())[0]
    assert message_from_proto(ProtoMessage.FromString(letter.message)).content["request"]["value"] == 1


def test_borough_that_never_answers_ends_the_wait_at_the_deadline(mailbox):
    """A deadline that has passed: the grid looks once and does not wait."""
    progress = []
    grid = new_grid(mailbox, on_progress=lambda done, asked: progress.append((done, asked)))
    replies = list(grid.send_and_receive(messages(grid), timeout=0.0))
    assert replies == []
    assert progress == [(0, 2)]


def test_all_replies_end_the_wait_before_the_deadline(mailbox, grid):
    list(grid.push_messages(messages(grid)))
    for borough in BOROUGHS:
        answer(mailbox, borough)
    replies = list(grid.send_and_receive(messages(grid), timeout=None))
    assert {grid.borough_of(one.metadata.src_node_id) for one in replies} == set(BOROUGHS)


def test_error_is_a_reply_and_is_asked_for_again_on_the_next_push(mailbox, grid):
    ids = list(grid.push_messages(messages(grid)))
    answer(mailbox, "borough-1", error=Error(1, "release.unavailable"))
    assert [one.has_error() for one in grid.pull_messages(ids)] == [True]
    list(grid.push_messages(messages(grid)))
    assert list(grid.pull_messages(ids)) == []
    assert len(mailbox.pending("borough-1", now=time.time())) == 1


def test_reply_counts_for_what_was_asked_of_whom_whatever_it_claims(mailbox, grid):
    """A borough writes another's node id, another message and another run into its reply."""
    ids = list(grid.push_messages(messages(grid)))
    letter = mailbox.pending("borough-1", now=time.time())[0]
    proto = ProtoMessage.FromString(reply_bytes(letter))
    proto.metadata.src_node_id = node_id("borough-2")
    proto.metadata.reply_to_message_id = ids[1]
    proto.metadata.run_id = RUN + 1
    mailbox.store_reply(Reply(letter.message_id, "borough-1", proto.SerializeToString()))
    (found,) = grid.pull_messages(ids)
    assert grid.borough_of(found.metadata.src_node_id) == "borough-1"
    assert (found.metadata.reply_to_message_id, found.metadata.run_id) == (letter.message_id, RUN)


def crafted(change):
    """A reply whose protobuf a borough has changed by hand."""

    def of(letter):
        proto = ProtoMessage.FromString(reply_bytes(letter, RecordDict({"answer": ConfigRecord({"value": 1})})))
        change(proto)
        return proto.SerializeToString()

    return of


NO_MESSAGE = [
    pytest.param(lambda letter: b"", id="nothing"),
    pytest.param(lambda letter: b"\xff\xff", id="no protobuf"),
    pytest.param(lambda letter: b"garbage", id="text"),
    pytest.param(lambda letter: bytes(200), id="zeros"),
    pytest.param(crafted(lambda proto: proto.ClearField("metadata")), id="no metadata"),
    pytest.param(crafted(lambda proto: proto.ClearField("content")), id="neither content nor error"),
    pytest.param(crafted(lambda proto: setattr(proto.metadata, "message_type", "x")), id="no type"),
    pytest.param(crafted(lambda proto: proto.content.items.add(key="more")), id="a record of no kind"),
    pytest.param(
        crafted(lambda proto: proto.content.items[0].config_record.items.add(key="more")), id="a value of no kind"
    ),
    pytest.param(
        crafted(lambda proto: proto.content.items.add().CopyFrom(proto.content.items[0])), id="a record twice"
    ),
]


@pytest.mark.parametrize("craft", NO_MESSAGE)
def test_borough_that_answers_no_message_stops_nobody_and_is_asked_again(mailbox, grid, craft):
    ids = list(grid.push_messages(messages(grid)))
    letter = mailbox.pending("borough-1", now=time.time())[0]
    mailbox.store_reply(Reply(letter.message_id, "borough-1", craft(letter)))
    answer(mailbox, "borough-2")
    found = list(grid.send_and_receive(messages(grid), timeout=0.0))
    assert [grid.borough_of(one.metadata.src_node_id) for one in found] == ["borough-2"]
    assert [one.message_id for one in mailbox.pending("borough-1", now=time.time())] == [letter.message_id]
    assert set(ids) == {letter.message_id, found[0].metadata.reply_to_message_id}


def test_borough_that_repeats_records_writes_nothing_into_our_log(mailbox, grid, capfd):
    """Flower would warn of each with its name, which the borough chose."""
    ids = list(grid.push_messages(messages(grid)))
    letter = mailbox.pending("borough-1", now=time.time())[0]
    craft = crafted(lambda proto: proto.content.items.add(key="answer").metric_record.SetInParent())
    mailbox.store_reply(Reply(letter.message_id, "borough-1", craft(letter)))
    capfd.readouterr()
    assert list(grid.pull_messages(ids)) == []
    assert "".join(capfd.readouterr()) == ""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 2), st.binary(max_size=6)), max_size=8))
def test_reply_that_is_damaged_anywhere_is_a_message_or_none_and_never_an_error(mailbox, edits):
    grid = new_grid(mailbox)
    content = RecordDict({"answer": ConfigRecord({"statement": b"s", "list": [1, 2]})})
    whole = message_to_proto(Message(content, reply_to=messages(grid)[0])).SerializeToString()
    damaged = bytearray(whole)
    for position, kind, new in edits:
        at = position % (len(damaged) + 1)
        damaged[at : at + (0, 3, len(new))[kind]] = new
    parsed = grid._parsed(Reply("m1", "borough-1", bytes(damaged)))
    assert (parsed[0].has_content() or parsed[0].has_error()) if parsed else bytes(damaged) != whole


def test_message_that_the_wire_cannot_carry_is_refused_and_none_is_stored(mailbox, grid, monkeypatch):
    monkeypatch.setattr("coordinator.grid.MAX_ANSWER_BYTES", channel.MAX_FRAMING_BYTES + 500)
    large = {"request": ConfigRecord({"value": bytes(500)})}
    first, second = messages(grid)
    second.content.update(large)
    with pytest.raises(MessageTooLarge):
        grid.push_messages([first, second])
    assert all(mailbox.pending(borough, now=time.time()) == [] for borough in BOROUGHS)


def test_forgotten_group_leaves_no_message_and_no_reply(mailbox, grid):
    ids = list(grid.push_messages(messages(grid)))
    answer(mailbox, "borough-1")
    grid.forget("group-1", "query.q")
    assert mailbox.replies(ids) == []
    assert all(mailbox.pending(borough, now=time.time()) == [] for borough in BOROUGHS)
