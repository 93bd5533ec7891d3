from __future__ import annotations

import json
import signal

import pytest

from benchmarks import private_sum
from benchmarks.private_sum import FIELDS, Cell, cells, main

SMALL = ["--clients", "4", "--dimensions", "20,30", "--repeats", "1", "--no-scaling"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of both systems: what it printed, and the details."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private_sum.sys, "stdout", (folder / "rows.json").open("w+"))
        patch.setattr(private_sum.sys, "stderr", (folder / "progress").open("w+"))
        assert main([*SMALL, "--json", "--details", str(folder / "details.json")]) == 0
        private_sum.sys.stdout.close()
        private_sum.sys.stderr.close()
    return folder


def test_json_has_exactly_the_fields_that_are_promised(run):
    rows = json.loads((run / "rows.json").read_text())
    assert [(row["system"], row["clients"], row["dimension"]) for row in rows] == [
        ("flower-secagg+", 4, 20),
        ("custodes", 4, 20),
        ("flower-secagg+", 4, 30),
        ("custodes", 4, 30),
    ]
    for row in rows:
        assert tuple(row) == FIELDS
        assert row["client_cpu_s"] > 0
        assert row["server_cpu_s"] > 0
        assert (row["noise_cpu_s"] > 0) is (row["system"] == "custodes")
        assert (row["exchanges"], row["mask_bits"]) == ((1, 256) if row["system"] == "custodes" else (4, 32))
        assert all(isinstance(row[name], int) for name in ("bytes_up", "bytes_down"))


def test_an_entry_more_is_eight_bytes_more_from_each_client(run):
    by_cell = {(row["system"], row["dimension"]): row for row in json.loads((run / "rows.json").read_text())}
    for system in ("custodes", "flower-secagg+"):
        # The signature, hence the statement, and length prefixes vary by a few bytes.
        assert abs(by_cell[system, 30]["bytes_up"] - by_cell[system, 20]["bytes_up"] - 80) < 10


def test_details_are_the_rows_and_more(run):
    rows, details = (json.loads((run / name).read_text()) for name in ("rows.json", "details.json"))
    assert [{name: row[name] for name in FIELDS} for row in details] == rows
    assert {row["graph"] for row in details} == {"complete", None}
    assert all(row["repeats"] == 1 and row["spread"] == 0 and row["parts"] for row in details)


def test_progress_is_told_as_it_happens(run):
    assert "custodes, 4 clients, d = 30: round 1 of 1 took" in (run / "progress").read_text()


def test_figures_are_medians_over_the_rounds():
    rounds = [
        private_sum.Round(seconds, 2 * seconds, 0.0, 100.2 + seconds, 7.0, 1, {"a": seconds})
        for seconds in (1.0, 9.0, 2.0)
    ]
    row = private_sum.row_of("custodes", Cell(2, 5, ("custodes",)), rounds, mask_bits=256, graph="log")
    assert (row["client_cpu_s"], row["server_cpu_s"], row["bytes_up"], row["bytes_down"]) == (2.0, 4.0, 102, 7)
    assert (row["repeats"], row["parts"], row["graph"]) == (3, {"a": 2.0}, None)
    assert row["spread"] == pytest.approx((36 - 4) / 8)


def test_ours_goes_on_alone_where_both_have_not_been():
    both = ("flower-secagg+", "custodes")
    assert cells((8, 32), (10_000,), (32, 64)) == [
        Cell(8, 10_000, both),
        Cell(32, 10_000, both),
        Cell(64, 10_000, ("custodes",)),
    ]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_finished_is_printed_after_an_interruption(monkeypatch, capsys, as_json, sent, tmp_path, run):
    finished = json.loads((run / "details.json").read_text())[:2]
    before = signal.getsignal(signal.SIGTERM)

    def stopped(*args, **kwargs):
        yield from finished
        signal.raise_signal(sent)
        raise AssertionError("the signal did not end the run")

    monkeypatch.setattr(private_sum, "measure", stopped)
    details = tmp_path / "details.json"
    assert main([*SMALL, "--details", str(details), *(["--json"] if as_json else [])]) == 130
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out) == [{name: row[name] for name in FIELDS} for row in finished]
    else:
        assert "custodes" in out
        assert "dies" not in out
    assert json.loads(details.read_text()) == finished
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_table_shows_rows_parts_goals_and_deaths(monkeypatch, capsys, run):
    rows = json.loads((run / "details.json").read_text())
    monkeypatch.setattr(private_sum, "measure", lambda *args, **kwargs: iter(rows))
    death = {"system": "custodes", "stage": "some stage", "outcome": "some outcome"}
    monkeypatch.setattr(private_sum, "drops", lambda graph: iter([death]))
    assert main(SMALL) == 0
    out = capsys.readouterr().out
    assert "met     one exchange a round: 1" in out
    assert "unmasker" in out
    assert "some stage" in out
    assert "some outcome" in out


def test_drops_alone_as_json(monkeypatch, capsys):
    death = {"system": "custodes", "stage": "some stage", "outcome": "some outcome"}
    monkeypatch.setattr(private_sum, "drops", lambda graph: iter([death]))
    assert main(["--drops", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [death]


def test_quick_is_small(monkeypatch, capsys):
    seen = {}
    monkeypatch.setattr(private_sum, "measure", lambda todo, **kwargs: seen.update(kwargs, todo=todo) or iter(()))
    assert main(["--quick", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert max(cell.clients * cell.dimension for cell in seen["todo"]) <= 320_000
    assert seen["repeats"] == 2
