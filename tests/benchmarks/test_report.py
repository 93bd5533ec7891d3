from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from benchmarks.markdown import figure, markdown_table, milliseconds, times
from benchmarks.report import machine, main, page
from tests.benchmarks.rows import ours, theirs

TODAY = datetime(2031, 3, 4, tzinfo=UTC)


def measured(row: dict[str, object], **more: object) -> dict[str, object]:
    is_ours = row["system"] == "custodes"
    details = {
        "noise_cpu_s": 0.004 if is_ours else 0.0,
        "bytes_up": 81_000,
        "bytes_down": 480,
        "graph": None if is_ours else "complete",
        "repeats": 5,
        "spread": 0.04,
        "parts": {"coordinator": 0.5, "unmasker": 0.25, "servers: disk": 0.125, "servers: log": 0.125}
        if is_ours
        else {"quantisation": 0.001},
    }
    return row | details | more


ROWS = [
    measured(theirs(32, 10_000, 0.120, 1.50)),
    measured(ours(32, 10_000, 0.002, 0.75)),
    measured(ours(1024, 10_000, 0.0021, 48.0)),
]
LOG = [measured(theirs(32, 10_000, 0.021, 0.30), graph="log")]
DROPS = [{"system": "flower-secagg+", "stage": "share_keys", "outcome": "no sum: made up"}]
EXCHANGE = [
    {"system": "custodes", "nodes": 32, "median_s": 0.1, "cpu_per_message_s": 0.002},
    {"system": "flower-superlink", "nodes": 32, "median_s": 8.0, "cpu_per_message_s": 2.5},
]
MASKING = [
    {"operation": "mask", "dimension": 1_000_000, "seconds": 0.002, "ratio_to_raw": 1.25},
    {
        "operation": "noise",
        "dimension": 1_000_000,
        "seconds": 0.15,
        "ratio_to_raw": None,
        "noise_ns_per_sample": 150.0,
    },
]


def whole(**changes: object) -> str:
    sections = {"others": LOG, "drops": DROPS, "exchanges": EXCHANGE, "maskings": MASKING} | changes
    return page(ROWS, today=TODAY, **sections)


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_figures_keep_three_digits():
    assert [figure(value) for value in (0.012345, 1.2345, 12.345, 123.45, 12345.6)] == [
        "0.0123",
        "1.23",
        "12.3",
        "123",
        "12,346",
    ]
    assert milliseconds(0.0123) == "12.3"
    assert times(9.0, 2.0) == "4.5"
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_ratios_follow_from_the_rows():
    assert "| 32 | 10,000 | 2 | 120 | 60 | 750 | 1,500 | 2 | 4 |" in whole()
    assert "one client: SecAgg+ takes 60 to 60 times ours; all servers: SecAgg+ takes 2 to 2 times ours" in whole()


def test_goals_are_judged_and_misses_are_not_hidden():
    text = whole()
    assert lines(text, "| servers' CPU at 32 clients, d = 10,000")[0].endswith("| 2.0 times less | **missed** |")
    assert lines(text, "| client's CPU at 32 clients, d = 10,000")[0].endswith("| 60.0 times less | met |")
    assert lines(text, "| servers' CPU a borough within")[0].endswith("| **missed** |")
    assert lines(text, "| client's CPU a borough within")[0].endswith("| met |")


def test_the_cheaper_graph_is_shown_with_what_it_does_to_the_goals():
    text = whole()
    assert "| 2 ceil(log2 N) neighbours | 32 | 10,000 | 21 | 10.5 | 300 | 0.4 |" in text
    assert "Against 2 ceil(log2 N) neighbours, 1 of the 2 goals that compare would be met." in text


def test_cost_a_borough_is_related_to_that_at_32():
    assert "| 1,024 | 2.1 | 1.05 | 46.9 | 2.00 |" in whole()


def test_what_is_beside_the_figures_is_added_up():
    assert "With disk and log, our servers take 1,000 ms at 10,000 entries" in whole()


def test_what_was_not_measured_is_said():
    text = whole(others=[], drops=[], exchanges=[], maskings=[])
    for command in ("private_sum --drops", "exchange", "masking"):
        assert f"Not measured for this page: `python -m benchmarks.{command}`." in text


def test_a_run_of_too_few_rounds_is_called_preliminary():
    assert "preliminary" not in whole()
    assert "medians of 3 rounds; fewer than 5, so this is a preliminary run" in page(
        [row | {"repeats": 3} for row in ROWS], today=TODAY
    )


def test_rows_without_details_make_a_page_too():
    plain = [{name: row[name] for name in row if name not in ("graph", "repeats", "spread", "parts")} for row in ROWS]
    text = page(plain, today=TODAY)
    assert "medians, by default of 5 rounds" in text
    assert "`--details` writes them" in text


def test_the_other_benchmarks_have_their_tables():
    text = whole()
    assert "| 32 | flower-superlink | 8 | 2,500 | 80 |" in text
    assert "| mask | 1,000,000 | 2 | 1.25 |  |" in text
    assert "| noise | 1,000,000 | 150 |  | 150 |" in text


def test_the_machine_is_named():
    facts = dict(machine())
    assert set(facts) >= {"processor", "memory", "system", "Python", "flwr", "numpy"}
    assert all(facts.values())


def test_a_file_without_a_promised_field_is_refused(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"system": "custodes"}]))
    with pytest.raises(SystemExit, match="no field clients"):
        main(["--private-sum", str(path), "--out", str(tmp_path / "page.md")])


def test_page_and_plots_are_written(tmp_path):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    files = {"private-sum": ROWS, "other-graphs": LOG, "drops": DROPS, "exchange": EXCHANGE, "masking": MASKING}
    arguments = ["--out", str(tmp_path / "page.md")]
    for name, rows in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
        arguments += [f"--{name}", str(tmp_path / f"{name}.json")]
    assert main(arguments) == 0
    text = (tmp_path / "page.md").read_text()
    for name in ("private-sum-cpu", "private-sum-scaling", "exchange"):
        assert f"](plots/{name}.svg)" in text
        assert "<svg" in (tmp_path / "plots" / f"{name}.svg").read_text()


def test_page_says_what_its_reader_has_to_know_about_the_run():
    assert "**About this run.** A loaded machine." in page(ROWS, today=TODAY, note="A loaded machine.")
    assert "About this run" not in page(ROWS, today=TODAY)
