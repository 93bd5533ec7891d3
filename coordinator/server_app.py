"""The coordinator's Flower ServerApp: drives a Grid through a plan and through a policy's flags."""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.grid import GrpcGrid  # first: sets Flower's environment

# isort: split
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import ServerApp
from flwr.supercore.run import Run

from coordinator.rounds import PlanRunner, Reply
from protocol.documents.flags import FlagPolicy
from protocol.documents.plan import TrainingPlan
from protocol.ids import Digest, PartyId

RELEASE = "train.release"
FLAGS = "query.flags"
FLAGS_DEADLINE_SECONDS = 120.0


def _run_id(digest: Digest) -> int:
    return int(digest[:15], 16)


def _group(index: int) -> str:
    return f"release-{index}"


def _execute(app: ServerApp, grid: GrpcGrid, digest: Digest) -> None:
    grid.set_run(Run.create_empty(_run_id(digest)))
    app(grid, Context(run_id=grid.run.run_id, node_id=0, node_config={}, state=RecordDict(), run_config={}))


def _answer(reply: Message, vector: memoryview | None) -> Reply | None:
    """Return a borough's answer, or None for an error or a reply of another shape."""
    record = reply.content.get("answer") if reply.has_content() else None
    if not isinstance(record, ConfigRecord):
        return None
    statement = record.get("statement")
    if not isinstance(statement, bytes) or vector is None:
        return None
    return Reply(statement, vector)


def run_plan(plan: Digest, grid: GrpcGrid, runner: PlanRunner) -> None:
    """Run a plan to its end as a Flower ServerApp. Raises: as ``PlanRunner.run``."""
    app = ServerApp()

    @app.main()
    def main(grid: GrpcGrid, context: Context) -> None:
        def ask(
            document: TrainingPlan, index: int, request: bytes, tag_seed: Digest
        ) -> Iterator[tuple[PartyId, Reply]]:
            messages = [
                grid.create_message(
                    RecordDict({"request": ConfigRecord({"request": request, "tag_seed": tag_seed})}),
                    RELEASE,
                    node,
                    _group(index),
                )
                for node in grid.get_node_ids()
            ]
            for reply, vector in grid.receive_each(messages, timeout=document.deadline_seconds):
                answer = _answer(reply, vector)
                if answer is not None:
                    yield grid.borough_of(reply.metadata.src_node_id), answer

        runner.run(plan, ask, forget=lambda index: grid.forget(_group(index), RELEASE))

    _execute(app, grid, plan)


def collect_flags(policy: FlagPolicy, grid: GrpcGrid) -> tuple[PartyId, ...]:
    """Ask every borough to raise its flags under a policy; return those that confirmed."""
    app = ServerApp()
    confirmed: list[PartyId] = []

    @app.main()
    def main(grid: GrpcGrid, context: Context) -> None:
        content = {"request": ConfigRecord({"policy": policy.digest()})}
        messages = [
            grid.create_message(RecordDict(dict(content)), FLAGS, node, "flags") for node in grid.get_node_ids()
        ]
        for reply in grid.send_and_receive(messages, timeout=FLAGS_DEADLINE_SECONDS):
            if reply.has_content():
                confirmed.append(grid.borough_of(reply.metadata.src_node_id))

    _execute(app, grid, policy.digest())
    return tuple(sorted(confirmed))
