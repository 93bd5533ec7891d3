"""A program that lets the coordinator kill itself at its n-th write while a borough raises flags, for every n.

    python -m tests.integration.log_kills FOLDER

One JSON object a line, for each kill: where it was, what the database and the published files hold, and what the next
start does with the same flags. A program of its own, because it forks; see ``ledger_kills``.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from borough_node.ledger.store import StoredFlag
from coordinator.log.appender import Appender
from coordinator.log.publisher import Publisher
from coordinator.store.cases import CaseStore
from coordinator.store.database import Database, flags, leaves
from coordinator.warrants.register import Register
from oversight.audit.verify import read_mirror
from oversight.witness.witness import WitnessService
from protocol.documents.flags import SealedFlag
from protocol.ids import PartyId
from protocol.log.note import SignedCheckpoint
from protocol.signing.dsse import Envelope
from tests.integration.ledger_kills import WritePoints, labels, one_flag_a_category
from tests.loopback import Loopback
from tests.world import World


def _several_flags(world: World) -> tuple[PartyId, tuple[StoredFlag, ...]]:
    """Return a borough and its flags, at least two: one shows nothing about all or none. Noise decides how many there are."""
    for _ in range(5):
        plan = world.approve()
        world.run(plan)
        policy = world.approve_policy(plan, one_flag_a_category)
        for borough in world.borough_ids:
            flags = world.gate(borough).flags(policy)
            if len(flags) > 1:
                return borough, flags
    raise AssertionError("no borough has two flags in five plans")


class Victim:
    """A coordinator to whom one borough is about to send its flags."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._world = world = World.create(root / "world")
        self._borough, flags = _several_flags(world)
        self._batch = [(Envelope.decode(flag.envelope), flag.ciphertext, flag.sealed_shares) for flag in flags]
        for name in world.borough_ids:
            world.gate(name)._ledger.close()
        world.unmasker._store.close()
        world.close()
        # Witnesses live on when the coordinator dies: they are made anew from what they had stored.
        self.template = root / "template"
        shutil.copytree(world.root, self.template)

    def restore(self) -> None:
        """Put everything back to where the flags are about to be sent."""
        shutil.rmtree(self._world.root)
        shutil.copytree(self.template, self._world.root)

    def _opened(self) -> tuple[Database, Appender, Publisher]:
        world = self._world
        database = Database(world.root / "coordinator.sqlite")
        appender = Appender(database, genesis=world.roster.digest(), clock=world.clock)
        publisher = Publisher(
            appender,
            key=world.keys["coordinator"],
            directory=world.root / "log",
            connect=lambda name: Loopback(WitnessService(world.witness(name))),
            report=lambda code, detail: None,
        )
        return database, appender, publisher

    def act(self) -> list[int]:
        """Start the coordinator, take the flags, publish; return where they stand."""
        database, appender, publisher = self._opened()
        positions = Register(appender, CaseStore(database)).raise_flags(
            self._world.roster.party(self._borough, "borough"), self._batch
        )
        publisher.publish()
        database.close()
        return positions

    def left(self) -> dict[str, Any]:
        """Say what the database and the published files hold, as the next start and an auditor find them."""
        database, appender, _ = self._opened()
        with database.transaction() as connection:
            logged = connection.execute(sa.select(leaves.c.index).where(leaves.c.kind == "flag")).scalars().all()
            stored = connection.execute(sa.select(flags.c.leaf)).scalars().all()
        database.close()
        published = read_mirror(self._world.root / "log", genesis=self._world.roster.digest())
        checkpoint = SignedCheckpoint.decode((self._world.root / "log" / "checkpoint").read_bytes()).checkpoint
        return {
            "logged": sorted(logged),
            "stored": sorted(stored),
            "leaves": appender.history.tree.size,
            "published": checkpoint.size,
            "agree": published.history.tree.root() == appender.history.tree.root(checkpoint.size),
        }

    @property
    def subjects(self) -> int:
        """How many flags there are."""
        return len({envelope.document(SealedFlag).header.flag_id for envelope, _, _ in self._batch})


def forked(victim: Victim, kill_at: int | None) -> tuple[int, list[list[Any]]]:
    """Let the coordinator act in a fork; return the signal that ended it, 0 for none, and what it sent."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            points = WritePoints(kill_at, lambda message: os.write(writing, json.dumps(message).encode() + b"\n"))
            points.install()
            victim.act()
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


def main(root: Path) -> None:
    """Let one run end by itself to learn its points, then kill one at each."""
    victim = Victim(root)
    gc.collect()
    gc.freeze()
    _, whole = forked(victim, None)
    for kill_at, label in enumerate(labels(whole)):
        victim.restore()
        ended_by, _ = forked(victim, kill_at)
        left = victim.left()
        again = victim.act()
        observed = {
            "killed": label,
            "signal": ended_by,
            "flags": victim.subjects,
            "left": left,
            "again": again,
            "end": victim.left(),
        }
        sys.stdout.write(json.dumps(observed) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
