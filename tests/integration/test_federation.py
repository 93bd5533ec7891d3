"""A whole federation over gRPC on loopback: absent boroughs, lost streams, restarts in the middle of a plan."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest

from coordinator.registry.drafting import draft_policy
from oversight.audit.verify import verify_directory
from protocol.clock import SystemClock
from protocol.documents.plan import ReleaseRequest
from protocol.errors import ProtocolError, QuorumNotMet
from tests.integration.cases import BY, REASON, warrant_for
from tests.integration.local import Loopback, choices

PATIENCE_SECONDS = 60.0


def eventually(reached, what):
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def connected(running, *boroughs):
    eventually(lambda: set(boroughs) <= set(running.coordinator.federation.connected()), f"{boroughs} connect")


def charges(made, running):
    return {
        name: [entry.content["index"] for entry in node.ledger.entries() if entry.content["kind"] == "release"]
        for name, node in running.nodes.items()
    }


def assert_whole(made, running, plan, releases=6):
    record = running.coordinator.appender.history.public.plan(plan)
    assert [release.request.index for release in record.releases] == list(range(releases))
    report = verify_directory(made.layout.log, genesis=made.layout.genesis, on=SystemClock().now().date())
    assert [(one.plan, one.complete, one.closed) for one in report.plans] == [(plan, True, True)]
    return record


@pytest.fixture
def made(tmp_path):
    return Loopback.create(tmp_path)


def test_borough_that_never_answers_costs_its_deadline_and_no_more(made):
    """Five of six answer: every release waits for the deadline once, and is published without the sixth."""
    waits = []
    with made.federation(lambda plan, index, done, asked: waits.append((index, done, asked))) as running:
        for borough in made.boroughs[:5]:
            running.start_node(borough)
        connected(running, *made.boroughs[:5])
        plan = made.approve(running, choices(deadline_seconds=4.0))
        running.coordinator.run_plan(plan)
        record = assert_whole(made, running, plan)
        assert all(release.boroughs == made.boroughs[:5] for release in record.releases)
        assert charges(made, running) == {key: [0, 1, 2, 3, 4, 5] for key in made.boroughs[:5]}
    assert {asked for _, _, asked in waits} == {6}
    assert [max(done for index, done, _ in waits if index == wanted) for wanted in range(6)] == [5] * 6


def test_borough_stopped_without_answering_is_delivered_the_message_again(made):
    with made.federation() as running:
        for borough in made.boroughs:
            running.start_node(borough)
        connected(running, *made.boroughs)
        plan = made.approve(running, choices())
        victim, silent, delivered = made.boroughs[0], threading.Event(), []
        release = running.nodes[victim].gate.release

        def never(request, tag_seed):
            delivered.append(ReleaseRequest.decode(request).index)
            silent.set()
            running.nodes[victim]._agent._stopped.wait(PATIENCE_SECONDS)
            return release(request, tag_seed)

        running.nodes[victim].gate.release = never
        worker = threading.Thread(target=lambda: running.coordinator.run_plan(plan), daemon=True)
        worker.start()
        assert silent.wait(PATIENCE_SECONDS)
        running.nodes[victim]._agent._channel.close()
        running.nodes[victim].stop(grace_seconds=0.1)
        running.start_node(victim)
        worker.join(PATIENCE_SECONDS)
        assert not worker.is_alive()
        record = assert_whole(made, running, plan)
        assert delivered == [0]
        assert all(victim in release.boroughs for release in record.releases)
        assert charges(made, running) == {key: [0, 1, 2, 3, 4, 5] for key in made.boroughs}


def test_repeated_plan_and_index_return_the_stored_bytes(made):
    with made.federation() as running:
        for borough in made.boroughs:
            running.start_node(borough)
        connected(running, *made.boroughs)
        plan = made.approve(running, choices())
        stored = {}
        gate = running.nodes[made.boroughs[0]].gate
        original = gate.release

        def release(request, tag_seed):
            first, second = original(request, tag_seed), original(request, tag_seed)
            stored[ReleaseRequest.decode(request).index] = (first, second)
            return second

        gate.release = release
        running.coordinator.run_plan(plan)
        assert_whole(made, running, plan)
        assert sorted(stored) == [0, 1, 2, 3, 4, 5]
        assert all(first == second for first, second in stored.values())
        assert charges(made, running)[made.boroughs[0]] == [0, 1, 2, 3, 4, 5]


class Stopped(Exception):
    """The coordinator's process ends here."""


@pytest.mark.parametrize("seam", ["commit", "reveal"])
def test_coordinator_started_anew_resumes_its_plan_where_it_stood(made, seam):
    with made.federation() as running:
        for borough in made.boroughs:
            running.start_node(borough)
        connected(running, *made.boroughs)
        plan = made.approve(running, choices())
        first = running.coordinator
        client = first._runner._unmasker
        calls = []

        def stop_at_the_second(*arguments):
            calls.append(arguments)
            if len(calls) == 2:
                raise Stopped
            return getattr(client, seam)(*arguments)

        first._runner._unmasker = dataclasses.replace(client, **{seam: stop_at_the_second})
        with pytest.raises(Stopped):
            first.run_plan(plan)
        requests = [first._runner._runs.get(plan, index).request for index in (0, 1)]
        first.stop(grace_seconds=0.5)
        running.start_coordinator()
        assert running.coordinator is not first
        assert running.coordinator.unfinished_plans() == (plan,)
        running.coordinator.run_plan(plan)
        record = assert_whole(made, running, plan)
        assert [release.request.encode() for release in record.releases[:2]] == requests
        assert charges(made, running) == {key: [0, 1, 2, 3, 4, 5] for key in made.boroughs}


def test_unmasker_restarted_between_commit_and_reveal_reveals_what_it_committed_to(made):
    with made.federation() as running:
        for borough in made.boroughs:
            running.start_node(borough)
        connected(running, *made.boroughs)
        plan = made.approve(running, choices())
        runner = running.coordinator._runner
        client, restarts = runner._unmasker, []

        def reveal(digest, index):
            if index == 1:
                restarts.append(index)
                running.unmasker.stop(grace_seconds=0.5)
                running.start_unmasker()
            return client.reveal(digest, index)

        runner._unmasker = dataclasses.replace(client, reveal=reveal)
        running.coordinator.run_plan(plan)
        assert_whole(made, running, plan)
        assert restarts == [1]


def test_one_absent_witness_does_not_stop_the_log_and_two_do(made):
    with made.federation() as running:
        coordinator = running.coordinator
        stops = running._stops[:3]
        stops[0]()
        made.approve(running, choices())
        before = coordinator.appender.latest()
        assert before.checkpoint.size == coordinator.appender.history.tree.size
        stops[1]()
        with pytest.raises(ProtocolError):
            made.approve(running, choices())
        assert coordinator.appender.latest() == before


def test_new_stream_of_a_borough_ends_its_earlier_one(made):
    with made.federation() as running:
        node = running.start_node(made.boroughs[0])
        connected(running, made.boroughs[0])
        running.start_node(made.boroughs[0])
        eventually(lambda: any("CANCELLED" in detail for _, _, detail in made.reports), "the first stream ends")
        connected(running, made.boroughs[0])
        node.stop(grace_seconds=0.1)


def test_flags_reach_the_log_and_a_name_needs_the_whole_path(made):
    with made.federation() as running:
        for borough in made.boroughs:
            running.start_node(borough)
        connected(running, *made.boroughs)
        # Little noise and room for many flags: at six hundred people the sample's epsilon may flag nobody.
        easy = {"epsilon": 8.0, "capacity_share": {"any": 0.05}}
        coordinator, wanted = running.coordinator, choices().model_copy(update=easy)
        plan = made.approve(running, wanted)
        coordinator.run_plan(plan)
        record = coordinator.appender.history.public.plan(plan)
        policy = draft_policy(wanted, record=record, roster=coordinator.roster(), now=made.clock.now())
        digest = coordinator.propose("policy", policy)
        desks = {number: running.custodian(number) for number in (1, 2, 3)}
        for number in (1, 2):
            for proposal in desks[number].proposals():
                desks[number].endorse(proposal)
        assert coordinator.wait_for_quorum(digest, timeout_seconds=30)
        assert coordinator.collect_flags(digest)[0] == made.boroughs
        issuer, investigator = running.issuer(), running.investigator()
        headers = issuer.flags(by=BY, reason=REASON)
        collected = {desk.collect_shares() for desk in desks.values()}
        assert collected == {len(headers)}
        assert headers
        running.team().triage(headers[0].flag_id, by=BY, decision="pursue", reasons=REASON)
        warrant = warrant_for(headers[0], investigator, made.clock.now())
        issuer.issue(warrant)
        desks[1].decide(warrant.digest(), headers[0].flag_id, decision="approve", reasons=REASON)
        with pytest.raises(QuorumNotMet):
            investigator.open(warrant.digest(), headers[0].flag_id)
        desks[2].decide(warrant.digest(), headers[0].flag_id, decision="approve", reasons=REASON)
        opened = investigator.open(warrant.digest(), headers[0].flag_id)
        assert opened.header == headers[0]
        assert opened.identity.startswith("P-")
        with pytest.raises(ProtocolError):
            investigator.open("0" * 64, headers[0].flag_id)
    report = verify_directory(made.layout.log, genesis=made.layout.genesis, on=SystemClock().now().date())
    assert report.openings == 1
    assert report.leaves_by_kind["flag"] == len(headers)
