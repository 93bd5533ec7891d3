"""A program that lets a borough's gate kill itself at its n-th write, for every n, and prints what was left each time.

A program of its own, because it forks: it holds no thread and no open database when it does. Everything is prepared
before; each fork opens the ledger, acts, and sends what leaves the borough through a pipe.

    python -m tests.integration.ledger_kills FOLDER [careless]

One JSON object a line, for each kill. ``careless`` replaces the ledger by one that returns answers without storing them,
and kills only where an answer has just left: what judges the output must notice.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import torch

from borough_node.app import system_noise
from borough_node.gate import Gate
from borough_node.ledger import Answer, Ledger, StoredFlag
from borough_node.ledger.reviews import Reviews
from borough_node.records import Records
from coordinator.rounds import Reply
from protocol.documents.flags import FlagPolicy
from protocol.ids import Digest, digest_of
from protocol.log.leaf import Leaf
from protocol.log.note import SignedCheckpoint
from protocol.rpc.log_reader import LogReader
from protocol.rpc.v1 import log_pb2, log_pb2_grpc
from tests.loopback import Loopback
from tests.world import World, table

VICTIM = "borough-4"
RELEASES = 2
Send = Callable[[list[Any]], None]


class StagedLog(log_pb2_grpc.LogServicer):
    """The log as it was at one moment."""

    def __init__(self, leaves: list[Leaf], checkpoint: SignedCheckpoint) -> None:
        self._leaves, self._checkpoint = leaves, checkpoint

    def Read(self, request: log_pb2.ReadRequest, context: object) -> Any:  # noqa: N802 - the name in the .proto
        for leaf in self._leaves[request.start :]:
            yield log_pb2.ReadResponse(leaf=log_pb2.LogLeaf(skeleton=leaf.skeleton_bytes, body_hash=leaf.body_hash))
        yield log_pb2.ReadResponse(checkpoint=self._checkpoint.encode())


@dataclass
class Stage:
    """The log at one moment, already read, and what the victim is asked then: a release, or a policy's flags."""

    reader: LogReader
    request: tuple[bytes, Digest] | None
    policy: Digest | None


def one_flag_a_category(policy: FlagPolicy) -> FlagPolicy:
    """Return the policy with few flags: each is a write, and they are all alike."""
    return policy.model_copy(
        update={"rules": tuple(rule.model_copy(update={"cap_per_borough": 1}) for rule in policy.rules)}
    )


class Victim:
    """A borough that answers too late to be in any sum: so the log says nothing of it, whatever it did."""

    def __init__(self, root: Path) -> None:
        torch.set_num_threads(1)
        self._world = world = World.create(root / "world")
        plan = world.approve()
        others = world.borough_ids[:3]
        moments: list[tuple[tuple[bytes, Digest] | None, Digest | None, SignedCheckpoint, list[Leaf]]] = []

        def remember(request: tuple[bytes, Digest] | None, policy: Digest | None) -> None:
            checkpoint = world.appender.latest()
            assert checkpoint is not None
            moments.append((request, policy, checkpoint, world.appender.history.leaves[: checkpoint.checkpoint.size]))

        def ask(_: object, index: int, request: bytes, tag_seed: Digest) -> dict[str, Reply]:
            if index < RELEASES:
                remember((request, tag_seed), None)
            answers = {name: world.gate(name).release(request, tag_seed) for name in others}
            return {name: Reply(answer.statement, answer.vector or b"") for name, answer in answers.items()}

        world.run(plan, ask)
        remember(None, world.approve_policy(plan, one_flag_a_category))
        self._stages = [
            Stage(self._read(checkpoint, leaves), request, policy) for request, policy, checkpoint, leaves in moments
        ]
        self._records = Records(lambda catalogue: table(VICTIM, world.people))
        record = self._stages[0].reader.public.plan(plan)
        self._records.cohort_for("evaluation", record.plan, record.catalogue)
        for name in others:
            world.gate(name)._ledger.close()
        world.unmasker._store.close()
        world.close()

    def _read(self, checkpoint: SignedCheckpoint, leaves: list[Leaf]) -> LogReader:
        reader = LogReader(
            lambda: Loopback(StagedLog(leaves, checkpoint)),  # type: ignore[arg-type, return-value]
            genesis=self._world.roster.digest(),
            remembered=None,
            remember=lambda signed: None,
            keep_evidence=lambda evidence: None,
            learn=lambda rosters: None,
            clock=self._world.clock,
        )
        reader.sync()
        reader._remembered = None
        return reader

    def act(self, path: Path, first: int, send: Send) -> None:
        """Start a node from a ledger at a stage and go on to the last: every answer is asked for twice."""
        ledger, reviews = Ledger(path), Reviews(path.with_name("reviews.sqlite"))
        for number in range(first, len(self._stages)):
            send(["stage", number])
            stage = self._stages[number]
            stage.reader._remember = lambda signed: ledger.store_checkpoint(signed.encode())
            gate = Gate(
                borough=VICTIM,
                signing_key=self._world.keys[VICTIM],
                ledger=ledger,
                records=self._records,
                reviews=reviews,
                reader=stage.reader,
                clock=self._world.clock,
                noise=system_noise,
            )
            gate.check_state()
            for _ in range(2):
                if stage.request is not None:
                    answer = gate.release(*stage.request)
                    assert answer.vector is not None
                    send(["answer", number, answer.statement.hex(), answer.vector.hex()])
                if stage.policy is not None:
                    send(["flags", flags_digest(gate.flags(stage.policy))])
        ledger.close()

    def left(self, path: Path) -> dict[str, Any]:
        """Open the ledger as the next start would, and say what it holds."""
        ledger = Ledger(path)
        rows = [entry.content for entry in ledger.entries()]
        (plan,) = self._stages[0].reader.public.plans
        policy, checkpoint = self._stages[-1].policy, ledger.checkpoint()
        answers = {index: ledger.answer(plan, index) for index in range(RELEASES)}
        flags = None if policy is None else ledger.flags(policy)
        with ledger.transaction() as connection:
            secrets = connection.exec_driver_sql("SELECT value FROM secrets").scalars().all()
        ledger.close()
        return {
            "kinds": [row["kind"] for row in rows],
            "charged": [row["index"] for row in rows if row["kind"] == "release"],
            "answers": {
                str(index): [answer.statement.hex(), None if answer.vector is None else answer.vector.hex()]
                for index, answer in answers.items()
                if answer is not None
            },
            "flags": None if flags is None else flags_digest(flags),
            "secrets": [digest_of(secret) for secret in secrets],
            "checkpoint": None if checkpoint is None else SignedCheckpoint.decode(checkpoint).checkpoint.size,
        }


def flags_digest(flags: tuple[StoredFlag, ...]) -> Digest:
    """Return the digest of what leaves with a policy's flags."""
    return digest_of(b"".join(flag.envelope + flag.ciphertext + b"".join(flag.sealed_shares) for flag in flags))


class WritePoints:
    """Counts what is about to be written, and was; kills its own process at one of them."""

    def __init__(self, kill_at: int | None, send: Send) -> None:
        self._kill_at, self._send, self._passed = kill_at, send, 0

    def reach(self, label: str) -> None:
        """Pass a point, or die at it."""
        self._send(["point", label])
        if self._passed == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._passed += 1

    def install(self) -> None:
        """Put a point before and after every statement that can write, and every commit of something written."""

        def executing(when: str) -> Callable[..., None]:
            def reach(connection: object, cursor: object, statement: str, *_: object) -> None:
                is_pragma = statement.startswith("PRAGMA")
                if not statement.startswith("SELECT") and (not is_pragma or "=" in statement or "wal" in statement):
                    self.reach(f"{when} {' '.join(statement.split()[:4])}")

            return reach

        sa.event.listen(sa.Engine, "before_cursor_execute", executing("before"))
        sa.event.listen(sa.Engine, "after_cursor_execute", executing("after"))
        dialect: Any = sa.engine.default.DefaultDialect
        commit = dialect.do_commit

        def do_commit(self_: Any, connection: Any) -> None:
            has_written = connection.driver_connection.in_transaction
            if has_written:
                self.reach("before COMMIT")
            commit(self_, connection)
            if has_written:
                self.reach("after COMMIT")

        dialect.do_commit = do_commit


def forget_to_store(ledger: Ledger, plan: Digest, index: int, answer: Answer) -> Answer:
    """Return an answer that was not stored."""
    return answer


def forked(
    victim: Victim, path: Path, first: int, kill_at: int | None, *, careless: bool
) -> tuple[int, list[list[Any]]]:
    """Run the victim in a fork; return the signal that ended it, 0 for none, and what it sent."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)

            def send(message: list[Any]) -> None:
                os.write(writing, json.dumps(message).encode() + b"\n")

            points = WritePoints(kill_at, send)
            points.install()
            if careless:
                Ledger.store_answer = forget_to_store  # type: ignore[method-assign]

            def leave(message: list[Any]) -> None:
                points.reach(f"before sending {message[0]}")
                send(message)
                points.reach(f"after sending {message[0]}")

            victim.act(path, first, leave)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        messages = [json.loads(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"the run failed after {messages[-1:]}")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, messages


def labels(messages: list[list[Any]]) -> list[str]:
    """Return the points that were reached."""
    return [message[1] for message in messages if message[0] == "point"]


def observed(victim: Victim, root: Path, kill_at: int, *, careless: bool) -> dict[str, Any]:
    """Kill a node that starts from nothing at one point; look; start it again where it stood; look again."""
    path = root / "state" / "ledger.sqlite"
    shutil.rmtree(path.parent, ignore_errors=True)
    ended_by, sent = forked(victim, path, 0, kill_at, careless=careless)
    left = victim.left(path)
    stage = max((message[1] for message in sent if message[0] == "stage"), default=0)
    _, sent_later = forked(victim, path, stage, None, careless=careless)
    end = victim.left(path)
    vectors = {bytes.fromhex(message[3]) for message in (*sent, *sent_later) if message[0] == "answer"}
    on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    return {
        "killed": labels(sent)[-1],
        "signal": ended_by,
        "sent": [message for message in sent if message[0] != "point"],
        "left": left,
        "sent_later": [message for message in sent_later if message[0] != "point"],
        "end": end,
        "vectors_on_disk": sum(vector in on_disk for vector in vectors),
    }


def main(root: Path, *, careless: bool) -> None:
    """Let one run end by itself to learn its points, then kill one at each."""
    victim = Victim(root)
    # What was made so far stays where it is: a fork then copies fewer pages.
    gc.collect()
    gc.freeze()
    _, whole = forked(victim, root / "whole" / "ledger.sqlite", 0, None, careless=careless)
    for kill_at, label in enumerate(labels(whole)):
        if not careless or label == "after sending answer":
            sys.stdout.write(json.dumps(observed(victim, root, kill_at, careless=careless)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), careless="careless" in sys.argv[2:])
