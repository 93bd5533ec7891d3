"""The demo as its user runs it, small: a fresh process, the command line, the files it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from deploy.demo.scenario import SAMPLES
from deploy.force.events.generate import generate_events
from deploy.force.generate import generate
from deploy.force.population import CUTOFFS
from deploy.force.truth import FIGURES

PEOPLE, BOROUGHS, SEED = 600, 4, 2026
CATALOGUE = SAMPLES / "synthetic.catalogue.toml"


def custodes(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "deploy.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    # 600 people cannot carry a model at epsilon 1; at 12 the path is the same and some flags are real.
    out = tmp_path_factory.mktemp("demo") / "out"
    done = custodes(
        "demo", "--people", str(PEOPLE), "--boroughs", str(BOROUGHS), "--seed", str(SEED), "--epsilon", "12",
        "--out", out, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_the_demo_opens_exactly_one_name_and_it_is_the_right_one(demo: tuple[Path, dict, str]) -> None:
    out, summary, told = demo
    assert "exactly one flag" in told
    assert summary["opening"]["identity_matches"] is True
    assert summary["audit"]["openings"] == 1
    assert summary == json.loads((out / "summary.json").read_text())


@pytest.mark.slow
def test_the_demo_states_epsilon_per_adversary_for_the_whole_plan(demo: tuple[Path, dict, str]) -> None:
    statements = {entry["adversary"]: entry["epsilon"] for entry in demo[1]["privacy"]["statements"]}
    assert statements["released sums and 1 borough"] == pytest.approx(12, rel=1e-6)
    assert statements["released sums"] < 12 < statements["coordinator and unmasker together"]


@pytest.mark.slow
def test_every_ledger_charges_every_release_once(demo: tuple[Path, dict, str]) -> None:
    out, summary, _ = demo
    ledgers = sorted((out / "ledgers").glob("*.json"))
    assert len(ledgers) == BOROUGHS
    for ledger in ledgers:
        charged = [row["index"] for row in json.loads(ledger.read_text()) if row["kind"] == "release"]
        assert charged == list(range(summary["releases"]))


@pytest.mark.slow
def test_the_audit_holds_offline_and_fails_when_one_byte_of_the_log_changes(demo: tuple[Path, dict, str]) -> None:
    out, summary, _ = demo
    genesis = (out / "genesis").read_text().strip()
    done = custodes("audit", "verify", out / "log", "--genesis", genesis, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["size"] == summary["log_size"]
    leaf = next(
        path
        for path in sorted((out / "log" / "leaf").iterdir())
        if b'"kind":"release"' in path.read_bytes() or rb"\"kind\":\"release\"" in path.read_bytes()
    )
    original = leaf.read_bytes()
    flipped = bytearray(original)
    flipped[len(flipped) // 2] ^= 1
    leaf.write_bytes(bytes(flipped))
    try:
        assert custodes("audit", "verify", out / "log", "--genesis", genesis).returncode == 4
    finally:
        leaf.write_bytes(original)


@pytest.mark.slow
def test_the_results_hold_no_key_no_record_and_no_name(demo: tuple[Path, dict, str], tmp_path: Path) -> None:
    out, _, told = demo
    generate_events(tmp_path / "force", people=PEOPLE, months=12, boroughs=BOROUGHS, seed=SEED)
    names = {name for path in tmp_path.rglob("staff.parquet") for name in pq.read_table(path)["staff_no"].to_pylist()}
    assert len(names) >= PEOPLE
    assert not any(name in told for name in names)
    for path in out.rglob("*"):
        if path.is_file():
            content = path.read_text(errors="replace")
            assert "PRIVATE KEY" not in content
            assert not any(name in content for name in names), path
    assert not list(out.rglob("*.parquet"))
    assert not list(out.rglob("*.sqlite"))


@pytest.mark.slow
def test_the_demo_tells_what_was_planted_and_counts_what_of_it_was_flagged(demo: tuple[Path, dict, str]) -> None:
    _, summary, told = demo
    # Lines wrap where a terminal would.
    told = " ".join(told.split())
    planted = summary["force"]["planted"]
    assert set(planted) == set(summary["categories"])
    for category, figures in summary["categories"].items():
        counts = planted[category]
        assert f"{category}: {counts['serious_open']} serious" in told
        assert f"{counts['lookalikes']} honest look-alikes" in told
        kinds, flagged = figures["planted_kinds"], figures["flagged_kinds"]
        assert kinds["serious"] + kinds.get("lesser", 0) == figures["positives"]
        assert sum(flagged.values()) == figures["flags"] == summary["flags_by_category"][category]
        assert all(count <= kinds[kind] for kind, count in flagged.items())
        ours, rules = figures["against_planted"]["custodes"], figures["against_planted"]["rules"]
        assert set(ours) == set(rules) == set(FIGURES)
        assert ours["recall_serious"] == pytest.approx(flagged.get("serious", 0) / kinds["serious"])
        if flagged:
            cases = flagged.get("serious", 0) + flagged.get("lesser", 0)
            assert ours["precision"] == figures["precision"] == pytest.approx(cases / figures["flags"])
        alike = {kind for kind in kinds if kind.startswith("lookalike")}
        share = sum(flagged.get(kind, 0) for kind in alike) / sum(kinds[kind] for kind in alike)
        assert ours["lookalike_rate"] == pytest.approx(share)
    assert sum(figures["flags"] for figures in summary["categories"].values()) > 0


def _duplicated(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def _with_nan(table: pa.Table) -> pa.Table:
    values = table.column("overtime_hours").to_pylist()
    values[3] = float("nan")
    return table.set_column(
        table.schema.get_field_index("overtime_hours"), "overtime_hours", pa.array(values, pa.float64())
    )


BAD_TABLES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "an unknown column": (lambda t: t.append_column("shoe_size", pa.array([42] * len(t))), "shoe_size"),
    "a missing label": (lambda t: t.drop_columns(["y_fraud"]), "y_fraud"),
    "a NaN": (_with_nan, "overtime_hours"),
    "a duplicate person at one cutoff": (_duplicated, "person"),
    "no rows at the test cutoff": (lambda t: t.filter(pc.equal(t.column("cutoff"), CUTOFFS[0])), "test"),
}


@pytest.mark.parametrize("fault", sorted(BAD_TABLES))
def test_a_table_with_a_fault_is_refused_by_name_and_changes_nothing(tmp_path: Path, fault: str) -> None:
    spoil, named = BAD_TABLES[fault]
    table, out = tmp_path / "table.parquet", tmp_path / "out"
    pq.write_table(spoil(generate(people=120, boroughs=4, seed=1).table), table)
    done = custodes(
        "demo", "--table", table, "--catalogue", CATALOGUE, "--train-until", str(CUTOFFS[0]), "--test", str(CUTOFFS[1]),
        "--out", out,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert named in done.stderr
    assert "What to do:" in done.stderr
    assert not out.exists()


def test_a_truncated_table_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    table, out = tmp_path / "table.parquet", tmp_path / "out"
    pq.write_table(generate(people=120, boroughs=4, seed=1).table, table)
    table.write_bytes(table.read_bytes()[:-100])
    done = custodes(
        "demo", "--table", table, "--catalogue", CATALOGUE, "--train-until", str(CUTOFFS[0]), "--test", str(CUTOFFS[1]),
        "--out", out,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "What to do:" in done.stderr
    assert not out.exists()


@pytest.mark.slow
def test_the_same_path_runs_over_a_table_of_ones_own(tmp_path: Path) -> None:
    table, out = tmp_path / "table.parquet", tmp_path / "out"
    pq.write_table(generate(people=400, boroughs=4, seed=3).table, table)
    done = custodes(
        "demo", "--table", table, "--catalogue", CATALOGUE, "--train-until", str(CUTOFFS[0]), "--test", str(CUTOFFS[1]),
        "--epsilon", "6", "--out", out, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["audit"]["ok"] is True
    assert summary["boroughs"] == 4
