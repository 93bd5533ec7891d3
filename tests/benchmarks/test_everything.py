"""One command for the page: what is measured is kept, what failed is not taken for a result."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from benchmarks import everything


@pytest.fixture
def commands(monkeypatch):
    """The commands that were run; each writes its name, and those in ``failing`` fail."""
    ran = SimpleNamespace(modules=[], failing=set())

    def run(command, *, stdout=None, check):
        ran.modules.append(command[2])
        if stdout is not None:
            stdout.write(command[2].encode())
        return SimpleNamespace(returncode=int(command[2] in ran.failing))

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def test_every_part_is_measured_once_and_the_page_rendered_each_time(tmp_path, commands):
    assert everything.main([str(tmp_path)]) == 0
    assert commands.modules == [
        f"benchmarks.{name}" for name in ("private_sum", "private_sum", "masking", "exchange", "report")
    ]
    commands.modules.clear()
    assert everything.main([str(tmp_path)]) == 0
    assert commands.modules == ["benchmarks.report"]


def test_part_that_failed_is_no_result_and_is_measured_again(tmp_path, commands):
    commands.failing = {"benchmarks.exchange"}
    assert everything.main([str(tmp_path)]) == 1
    assert not (tmp_path / "exchange.json").exists()
    commands.failing.clear()
    commands.modules.clear()
    assert everything.main([str(tmp_path)]) == 0
    assert commands.modules == ["benchmarks.exchange", "benchmarks.report"]
