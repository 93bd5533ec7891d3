"""The exchange benchmark at a size that takes no time: its figures are those of the definition, and it cleans up."""

import json
import os

import pytest

from benchmarks import exchange, process_tree
from benchmarks.measured import Failed, Measured


def our_processes():
    return process_tree._descendants(os.getpid())


def test_figures_are_the_median_and_all_cpu_over_all_messages():
    measured = Measured(nodes=4, seconds=(0.5, 0.1, 0.9, 0.2, 0.3), cpu_seconds=8.0)
    assert exchange.row("ours", measured) == {
        "system": "custodes",
        "nodes": 4,
        "median_s": 0.3,
        "cpu_per_message_s": 8.0 / (2 * 4 * 5),
    }


def test_our_wire_is_measured_from_end_to_end_and_no_process_is_left(capsys):
    before = our_processes()
    exchange.main(["--systems", "ours", "--nodes", "2", "--exchanges", "5", "--payload-bytes", "1000", "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["system"], found["nodes"]) == ("custodes", 2)
    assert 0 < found["median_s"] < exchange.exchange_custodes.PATIENCE_SECONDS
    assert found["cpu_per_message_s"] > 0
    assert set(found) == {"system", "nodes", "median_s", "cpu_per_message_s"}
    assert our_processes() == before


def test_what_was_measured_is_printed_when_a_later_size_fails_or_is_interrupted(capsys, monkeypatch):
    good = Measured(nodes=3, seconds=(1.0,) * 5, cpu_seconds=1.0)

    def measure(root, *, nodes, **_):
        if nodes == 8:
            raise Failed("made to fail")
        if nodes == 32:
            raise KeyboardInterrupt
        return good

    monkeypatch.setitem(exchange.MEASURES, "flower", measure)
    with pytest.raises(SystemExit):
        exchange.main(["--systems", "flower", "--nodes", "8,3", "--json"])
    said = capsys.readouterr()
    assert [one["nodes"] for one in json.loads(said.out)] == [3]
    assert "flower-superlink, 8 nodes, failed: made to fail" in said.err
    with pytest.raises(KeyboardInterrupt):
        exchange.main(["--systems", "flower", "--nodes", "3,32", "--json"])
    assert [one["nodes"] for one in json.loads(capsys.readouterr().out)] == [3]


def test_fewer_than_five_exchanges_are_refused(capsys):
    with pytest.raises(SystemExit):
        exchange.main(["--systems", "ours", "--exchanges", "4"])
    assert "fewer than 5" in capsys.readouterr().err


def test_superlink_that_cannot_start_is_explained_and_leaves_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange.superlink, "PROGRAMS", tmp_path / "bin")
    (tmp_path / "bin").mkdir()
    with pytest.raises(Failed, match="flower-superlink"):
        exchange.superlink.measure(tmp_path, nodes=1, exchanges=5, payload_bytes=0, say=print)
