"""A borough's node is killed at every write of its ledger, in turn; whatever left it before stays the only answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ledger_kills import RELEASES

ROOT = Path(__file__).resolve().parents[2]
RELEASE, FLAGS = "release", "flags"


def observations(folder: Path, *more: str) -> list[dict[str, Any]]:
    """Run the program that kills, and return what it saw, kill by kill."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.ledger_kills", str(folder), *more],
        capture_output=True, text=True, cwd=ROOT, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def contradictions(seen: dict[str, Any]) -> list[str]:
    """Return what must not be, of one kill: between what left before it, what was found after it, and what left later."""
    found = []
    left, end = seen["left"], seen["end"]
    for moment, state in (("after the kill", left), ("in the end", end)):
        if len(set(state["charged"])) != len(state["charged"]):
            found.append(f"an index was charged twice {moment}")
        if not {int(index) for index in state["answers"]} <= set(state["charged"]):
            found.append(f"an answer is not paid for {moment}")
    answers: dict[str, set[tuple[str, str]]] = {}
    for message in (*seen["sent"], *seen["sent_later"]):
        if message[0] == "answer":
            answers.setdefault(str(message[1]), set()).add((message[2], message[3]))
    found += [f"two different answers to index {index} left" for index, made in answers.items() if len(made) > 1]
    for moment, state, sent in (("after the kill", left, seen["sent"]), ("in the end", end, seen["sent_later"])):
        for message in sent:
            if message[0] == "answer":
                _, index, statement, vector = message
                # Once the plan is closed the vector is forgotten; until then it is the one that left.
                if state["answers"].get(str(index)) not in ([statement, vector], [statement, None]):
                    found.append(f"{moment} the answer to index {index} is not the one that left")
            if message[0] == FLAGS and state["flags"] != message[1]:
                found.append(f"{moment} the flags are not those that left")
    kept = [index for index, stored in left["answers"].items() if end["answers"].get(index, [None])[0] != stored[0]]
    found += [f"the stored answer to index {index} changed" for index in kept]
    if not set(left["secrets"]) <= set(end["secrets"]) or len(end["secrets"]) != 1:
        found.append("a second secret was made")
    if (left["flags"] or end["flags"]) != end["flags"]:
        found.append("the stored flags changed")
    return found


@pytest.mark.slow
def test_killed_at_every_write_a_node_charges_once_and_never_gives_two_answers(tmp_path):
    seen = observations(tmp_path)
    killed = [one["killed"] for one in seen]
    for point in (
        "CREATE TABLE entries (",
        "INSERT INTO entries (number,",
        'INSERT INTO answers ("plan",',
        "UPDATE answers SET vector=?",
        "INSERT INTO flags (flag_id,",
        "INSERT INTO secrets (name,",
        "DELETE FROM checkpoints WHERE",
        "INSERT INTO checkpoints (note,",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "COMMIT",
        "sending answer",
        "sending flags",
    ):
        assert f"before {point}" in killed
        assert f"after {point}" in killed
    # Nobody survived, and each death left every state on the way: that the kills hit something is seen here.
    assert {one["signal"] for one in seen} == {signal.SIGKILL}
    assert {(len(one["left"]["charged"]), len(one["left"]["answers"])) for one in seen} == {
        (0, 0), (1, 0), (1, 1), (2, 1), (2, 2),
    }  # fmt: skip
    assert {one["left"]["flags"] is None for one in seen} == {True, False}
    for one in seen:
        assert contradictions(one) == [], one["killed"]
        end = one["end"]
        assert end["kinds"] == [RELEASE] * RELEASES + [FLAGS], one["killed"]
        assert end["charged"] == list(range(RELEASES))
        assert [stored[1] for stored in end["answers"].values()] == [None] * RELEASES
        assert end["flags"] is not None
        assert end["checkpoint"] == max(other["end"]["checkpoint"] for other in seen)
        # Also where the kill came between forgetting the vectors and emptying the write-ahead log.
        assert one["vectors_on_disk"] == 0, one["killed"]


def test_an_answer_that_left_before_it_was_stored_would_be_noticed(tmp_path):
    """The same program over a ledger that forgets to store: otherwise the test above might be one that cannot fail."""
    seen = observations(tmp_path, "careless")
    assert len(seen) == 2 * RELEASES
    for one in seen:
        assert any("is not the one that left" in found for found in contradictions(one))
    assert any("two different answers" in found for one in seen for found in contradictions(one))
