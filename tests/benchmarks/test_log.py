"""The log's benchmark: rows as promised, and the peer left out aloud."""

import sys

from benchmarks import log


def test_rows_name_system_entries_rate_and_proof_time():
    (ours, *rest) = log.measure(entries=300, appends=3)
    assert list(ours) == ["system", "entries", "appends_per_s", "proof_ms"]
    assert (ours["system"], ours["entries"]) == ("custodes", 300)
    assert ours["appends_per_s"] > 0
    assert ours["proof_ms"] > 0
    assert [one["system"] for one in rest] in ([], ["pymerkle"])


def test_a_peer_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pymerkle", None)
    assert [one["system"] for one in log.measure(entries=10, appends=1)] == ["custodes"]
    assert "pymerkle is not installed" in capsys.readouterr().err
