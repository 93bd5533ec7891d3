"""The event-level force on disk: the contract, integrity between tables, behaviour without giveaways, whole or not at all.

One force of 3,000 people, four boroughs and six months serves all tests; its seed is fixed. Statistical bounds are 4.4
standard errors, which an unlucky seed misses once in 100,000 times.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

import duckdb
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.skeleton import SETTINGS
from deploy.cli import app
from deploy.force.events import cases, generate, people
from deploy.force.events.generate import generate_events
from protocol.errors import ConfigurationError

PEOPLE, BOROUGHS, MONTHS, SEED = 3_000, 4, 6, 11
NAMES = [f"borough-{number + 1:02d}" for number in range(BOROUGHS)]
ERRORS = 4.4
SMALL = {"people": 240, "boroughs": 2, "months": 2}


@pytest.fixture(scope="module")
def force(tmp_path_factory):
    out = tmp_path_factory.mktemp("force") / "force"
    generate_events(out, people=PEOPLE, boroughs=BOROUGHS, months=MONTHS, seed=SEED)
    return out


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A force with 25 times the rarer offences, so that a test of their behaviour can fail."""
    out = tmp_path_factory.mktemp("crowded") / "force"
    many = tuple(
        dataclasses.replace(offence, serious=25 * offence.serious, lesser=25 * offence.lesser)
        if offence.lesser < 100
        else offence
        for offence in cases.OFFENCES
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "OFFENCES", many)
        patch.setattr(people, "SENIORS", 10 * people.SENIORS)
        generate_events(out, people=3_000, boroughs=BOROUGHS, months=MONTHS, seed=SEED)
    return out


@pytest.fixture(scope="module")
def truth(force):
    return pl.read_parquet(force / "truth" / "planted.parquet")


def _read(force, table):
    return pl.concat([pl.read_parquet(force / "boroughs" / name / f"{table}.parquet") for name in NAMES])


def _planted(truth):
    return truth.filter(pl.col("role") != "lookalike")["staff_no"].unique()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_the_contracts_schema_keys_and_values(force, name, table):
    rows = pl.read_parquet(force / "boroughs" / name / f"{table}.parquet")
    contract = TABLES[table]
    assert rows.schema == contract.schema
    assert rows.select(contract.key).is_unique().all()
    for column in contract.columns:
        if not column.optional:
            assert rows[column.name].null_count() == 0, column.name
        if column.allowed:
            assert set(rows[column.name].drop_nulls()) <= set(column.allowed), column.name
        if column.low is not None:
            assert rows[column.name].drop_nulls().is_between(column.low, column.high).all(), column.name


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_leads_somewhere(force, name):
    folder = force / "boroughs" / name
    everybody = set(_read(force, "staff")["staff_no"])
    staff = set(pl.read_parquet(folder / "staff.parquet")["staff_no"])
    sites = set(pl.read_parquet(folder / "sites.parquet")["site"])
    for table, contract in TABLES.items():
        rows = pl.read_parquet(folder / f"{table}.parquet")
        for column in contract.columns:
            values = set(rows[column.name].drop_nulls()) if column.refers else set()
            wanted = sites if column.refers == "sites" else everybody if column.outsiders else staff
            assert values <= wanted, (table, column.name)


def test_nobody_has_a_duty_where_not_posted_or_reads_a_badge_without_a_reader(force):
    for name in NAMES:
        with duckdb.connect() as base:
            base.execute("SET TimeZone = 'UTC'")
            for table in TABLES:
                base.read_parquet(str(force / "boroughs" / name / f"{table}.parquet")).create_view(table)
            strays = base.execute(
                "SELECT count(*) FROM duties AS d ANTI JOIN postings AS p ON p.staff_no = d.staff_no AND p.kind = 'home'"
                " AND p.borough = $borough AND d.planned_start >= p.valid_from - INTERVAL 1 HOUR"
                " AND (p.valid_to IS NULL OR d.planned_start < p.valid_to)",
                {"borough": name},
            ).fetchone()
            blind = base.execute(
                "SELECT count(*) FROM access_events JOIN sites USING (site) WHERE NOT badge_readers"
            ).fetchone()
            silent = base.execute(
                "SELECT count(*) FROM access_events AS a JOIN outages AS o ON o.system = 'badge' AND o.site = a.site"
                " AND a.at >= o.started_at AND a.at < o.ended_at"
            ).fetchone()
            assert (strays, blind, silent) == ((0,), (0,), (0,))


def test_entries_are_in_the_order_of_their_making(force):
    duties = _read(force, "duties")
    worked = duties.filter(pl.col("booked_at").is_not_null())
    assert (worked["booked_end"] > worked["booked_start"]).all()
    assert (worked["booked_at"] > worked["created_at"]).all()
    amended = worked.filter(pl.col("amended_at").is_not_null())
    assert (amended["amended_at"] > amended["booked_at"]).all()
    assert amended["amended_by"].null_count() == amended["amended_minutes"].null_count() == 0
    authorised = worked.filter(pl.col("authorised_at").is_not_null())
    assert (authorised["authorised_at"] > authorised["booked_at"]).all()
    assert (authorised["overtime_minutes"] > 0).all()
    unbooked = duties.filter(pl.col("booked_at").is_null())
    assert unbooked.select(
        pl.col("booked_start", "overtime_minutes", "amended_at", "authorised_at").null_count()
    ).sum_horizontal()[0] == 4 * len(unbooked)
    assert duties.filter(pl.col("duty_type") == "annual_leave")["booked_start"].null_count() > 0


def test_volumes_are_those_of_a_force(force):
    summary = json.loads((force / "force.json").read_text())
    person_years = PEOPLE * MONTHS / 12
    assert 200 < summary["rows"]["duties"] / person_years < 260
    assert 350 < summary["rows"]["access_events"] / person_years < 500
    assert 60 < summary["rows"]["lookups"] / person_years < 180
    assert {table: len(_read(force, table)) for table in TABLES} == summary["rows"]


def test_real_systems_flaws_are_there(force):
    duties = _read(force, "duties")
    twice = duties.group_by("staff_no", "planned_start").len().filter(pl.col("len") > 1)
    assert len(twice) > 0
    late = duties.filter(pl.col("booked_at") - pl.col("booked_end") > pl.duration(days=2))
    assert len(late) > 0.005 * len(duties)
    reads = _read(force, "access_events").sort("staff_no", "at")
    bounced = reads.filter(
        (pl.col("at").diff() <= pl.duration(seconds=3)) & (pl.col("staff_no") == pl.col("staff_no").shift())
    )
    assert len(bounced) > 0
    lookups = _read(force, "lookups")
    assert lookups["case_linked_at"].drop_nulls().len() > 100
    moved = (
        _read(force, "postings").filter(pl.col("kind") == "home").group_by("staff_no").agg(pl.col("borough").n_unique())
    )
    assert (moved["borough"] > 1).sum() > 0.01 * PEOPLE


def test_planted_overtime_leaves_no_badge_read(force, truth):
    """Own amendments that add time at a building with readers: planted people's lack a late read far more often."""
    who = truth.filter((pl.col("category") == "roster_manipulation") & (pl.col("role") != "lookalike"))["staff_no"]
    sites = _read(force, "sites").filter("badge_readers")["site"]
    added = (
        _read(force, "duties")
        .filter((pl.col("amended_by") == pl.col("staff_no")) & (pl.col("amended_minutes") > 0))
        .filter(pl.col("site").is_in(sites.to_list()))
        .sort("booked_end")
    )
    reads = _read(force, "access_events").select("staff_no", "at").sort("at")
    joined = added.join_asof(
        reads,
        left_on="booked_end",
        right_on="at",
        by="staff_no",
        strategy="forward",
        tolerance="15m",
        check_sortedness=False,
    )
    planted = joined["staff_no"].is_in(who.to_list()).to_numpy()
    unread = joined["at"].is_null().to_numpy()
    assert planted.sum() > 50
    error = np.sqrt(0.25 / planted.sum() + 0.25 / (~planted).sum())
    assert unread[planted].mean() - unread[~planted].mean() > ERRORS * error


CASELESS = pl.col("subject_ref").filter(pl.col("case_ref").is_null() & pl.col("subject_ref").is_not_null())


@pytest.mark.parametrize(
    ("category", "table", "value"),
    [
        (
            "roster_manipulation",
            "duties",
            pl.col("amended_minutes").filter(pl.col("amended_by") == pl.col("staff_no")).clip(0).sum(),
        ),
        ("false_attendance", "attendance_claims", (pl.col("claimed_location") == "home").sum()),
        ("fraud", "expenses", pl.len()),
        ("abuse_of_position", "lookups", (pl.col("case_ref").is_null() & pl.col("subject_vulnerable")).sum()),
        ("undeclared_association", "lookups", CASELESS.unique_counts().max()),
    ],
)
def test_planted_people_differ_by_behaviour_and_overlap_with_honest_ones(crowded, category, table, value):
    """One crude figure ranks no category perfectly, and ranks cases above people without a part in any.

    Who hides days at home claims fewer of them, so there only the overlap is asked for.
    """
    truth = pl.read_parquet(crowded / "truth" / "planted.parquet")
    figure = _read(crowded, table).group_by("staff_no").agg(value.alias("figure"))
    if category != "false_attendance":  # of which only senior grades have rows at all
        figure = _read(crowded, "staff").select("staff_no").unique().join(figure, on="staff_no", how="left")
    figure = figure.fill_null(0)
    who = truth.filter((pl.col("category") == category) & (pl.col("role") != "lookalike"))["staff_no"]
    planted = figure["staff_no"].is_in(who.to_list()).to_numpy()
    plain = ~figure["staff_no"].is_in(truth["staff_no"].to_list()).to_numpy()
    values = figure["figure"].to_numpy().astype(float)
    assert planted.sum() >= 20
    assert _auc(values, planted) < 0.98
    assert (values[~planted] > np.median(values[planted])).sum() > 10
    if category != "false_attendance":
        compared = planted | plain
        error = np.sqrt((compared.sum() + 1) / (12 * planted.sum() * plain.sum()))
        assert _auc(values[compared], planted[compared]) > 0.5 + ERRORS * error


def test_no_value_of_any_column_occurs_with_planted_people_only(force, truth):
    planted = _planted(truth)
    for table, contract in TABLES.items():
        rows = _read(force, table)
        # What was found is in the findings, and nowhere else.
        if "staff_no" not in rows.columns or table == "conduct_findings":
            continue
        for column in contract.columns:
            if column.kind not in ("text", "flag", "number") or column.refers == "staff" or column.name in contract.key:
                continue
            if column.name in ("case_ref", "subject_ref", "operation", "unit"):
                continue  # thousands of values, most with one person each
            groups = rows.group_by(column.name).agg(
                pl.len(),
                pl.col("staff_no").n_unique().alias("people"),
                pl.col("staff_no").is_in(planted.to_list()).mean().alias("share"),
            )
            marking = groups.filter((pl.col("people") >= 10) & (pl.col("share") > 0.9))
            assert len(marking) == 0, (table, column.name)


@pytest.mark.parametrize("table", ["staff", "duties", "expenses", "lookups", "complaints", "conduct_findings"])
def test_ids_and_places_in_files_say_nothing_about_conduct(force, truth, table):
    planted = _planted(truth)
    rows = pl.read_parquet(force / "boroughs" / NAMES[0] / f"{table}.parquet")
    marked = rows["staff_no"].is_in(planted.to_list()).to_numpy()
    assert 5 < marked.sum() < len(marked)
    ids = rows[TABLES[table].key[0]].rank().to_numpy()
    error = np.sqrt((len(marked) + 1) / (12 * marked.sum() * (~marked).sum()))
    assert abs(_auc(ids, marked) - 0.5) < ERRORS * error
    if table in ("staff", "complaints", "conduct_findings"):
        assert abs(_auc(np.arange(len(rows)), marked) - 0.5) < ERRORS * error


@pytest.mark.parametrize("column", ["service_start", "vetting_renewed_on", "recorded_at"])
def test_dates_in_the_personnel_file_say_nothing_about_conduct(force, truth, column):
    rows = _read(force, "staff").unique("staff_no").filter(pl.col(column).is_not_null())
    serving = rows.filter(pl.col("service_start") < pl.date(2025, 1, 1))
    marked = serving["staff_no"].is_in(_planted(truth).to_list()).to_numpy()
    error = np.sqrt((len(marked) + 1) / (12 * marked.sum() * (~marked).sum()))
    assert abs(_auc(serving[column].rank().to_numpy(), marked) - 0.5) < ERRORS * error


def test_the_truth_is_outside_the_boroughs_folders(force):
    for path in (force / "boroughs").rglob("*"):
        assert path.is_dir() or path.name == SETTINGS or path.stem in TABLES
    assert {path.name for path in force.iterdir()} == {"boroughs", "truth", "force.json"}


def test_two_runs_agree_byte_for_byte_whatever_the_number_of_processes(tmp_path):
    for name, processes in (("one", 1), ("again", 1), ("two", 2)):
        generate_events(tmp_path / name, **SMALL, seed=5, processes=processes)
    one = _digests(tmp_path / "one")
    assert len(one) == 2 * (len(TABLES) + 1) + 2
    assert one == _digests(tmp_path / "again") == _digests(tmp_path / "two")


def test_another_seed_gives_another_force(tmp_path):
    for seed in (5, 6):
        generate_events(tmp_path / str(seed), **SMALL, seed=seed)
    five, six = (_digests(tmp_path / str(seed)) for seed in (5, 6))
    same = ("sites.parquet", "outages.parquet", SETTINGS)
    assert all(five[path] != six[path] for path in five if not path.endswith(same))


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(generate, "write_borough", fails)
    with pytest.raises(OSError, match="disk full"):
        generate_events(tmp_path / "force", **SMALL, seed=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"people": 199}, "people: 199"),
        ({"boroughs": 0}, "boroughs: 0"),
        ({"boroughs": 13}, "boroughs: 13"),
        ({"months": 3}, "months: 3"),
        ({"months": 26}, "months: 26"),
        ({"seed": -1}, "seed: -1"),
        ({"processes": 3}, "processes: 3"),
    ],
)
def test_sizes_that_make_no_force_are_refused(tmp_path, wrong, said):
    with pytest.raises(ConfigurationError, match=said):
        generate_events(tmp_path / "force", **({**SMALL, "seed": 1} | wrong))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_or_has_no_parent_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="exists"):
        generate_events(tmp_path, **SMALL, seed=1)
    with pytest.raises(ConfigurationError, match="create it first"):
        generate_events(tmp_path / "no" / "force", **SMALL, seed=1)


def test_the_command_writes_a_force_and_says_so_as_json(tmp_path):
    arguments = ["force", "generate", "--people", "240", "--boroughs", "2", "--months", "2", "--seed", "3"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "force"), "--json"])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert {"generate_s", "peak_mb", "rows", "planted", "training_cutoff"} <= set(summary)
    assert (tmp_path / "force" / "boroughs" / "borough-02" / "duties.parquet").exists()
    again = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "force")])
    assert again.exit_code == 3
    assert "name a new folder" in again.stderr


def _auc(values, marked):
    ranks = pl.Series(values).rank("average").to_numpy()
    ones = marked.sum()
    return (ranks[marked].sum() - ones * (ones + 1) / 2) / (ones * (len(values) - ones))


def _digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
