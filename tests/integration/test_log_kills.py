"""The coordinator is killed at every write while flags are logged: log, register and published files never disagree."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def contradictions(seen: dict[str, Any]) -> list[str]:
    """Return what must not be, of one kill."""
    found = []
    for moment in ("left", "end"):
        state = seen[moment]
        if state["logged"] != state["stored"]:
            found.append(f"{moment}: a flag is in the log and not in the register, or the other way round")
        if len(state["logged"]) not in (0, seen["flags"]):
            found.append(f"{moment}: some flags of a batch were logged and others not")
        if state["published"] > state["leaves"] or not state["agree"]:
            found.append(f"{moment}: what was published is not in the database")
    if seen["left"]["logged"] and seen["again"] != seen["left"]["logged"]:
        found.append("flags that were held already got another place")
    if seen["end"]["logged"] != sorted(seen["again"]) or seen["end"]["published"] != seen["end"]["leaves"]:
        found.append("in the end not everything is published where the borough was told")
    return found


@pytest.mark.slow
def test_killed_at_every_write_the_log_and_the_register_hold_the_same_flags(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.log_kills", str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    killed = [one["killed"] for one in seen]
    for point in ("INSERT INTO leaves (", "INSERT INTO flags (flag_id,", "INSERT INTO checkpoints (size,", "COMMIT"):
        assert any(label.startswith(f"before {point}") for label in killed), killed
        assert any(label.startswith(f"after {point}") for label in killed), killed
    assert {one["signal"] for one in seen} == {signal.SIGKILL}
    assert {bool(one["left"]["logged"]) for one in seen} == {True, False}, "kills on both sides of the commit"
    assert [(one["killed"], contradictions(one)) for one in seen if contradictions(one)] == []


def test_a_flag_that_is_logged_and_not_stored_would_be_noticed():
    state = {"logged": [7, 8], "stored": [7, 8], "leaves": 9, "published": 9, "agree": True}
    whole = {"flags": 2, "left": state, "again": [7, 8], "end": state}
    assert contradictions(whole) == []
    for change in ({"stored": [7]}, {"logged": [7], "stored": [7]}, {"published": 10}, {"agree": False}):
        assert contradictions(whole | {"left": state | change})
    assert contradictions(whole | {"again": [8, 9]})
