"""Every way in which a borough's tables can be bad has a rule, a count, keys where they may be shown, and advice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.checking import Report, as_json, check
from borough_node.sources.personnel.settings import PersonnelSettings
from borough_node.sources.personnel.staging import Problem, staged
from protocol.errors import TableInvalid
from tests.personnel import LONG_AGO, NOW, SmallForce, at, settings_for


def full_force() -> SmallForce:
    """At least one row in every table."""
    force = SmallForce()
    force.badge("S1", "2025-07-01T07:55")
    force.claim("S1", "2025-09-01")
    force.expense("S1", "2025-09-01", 1250)
    force.lookup("S1", "2025-09-01T09:00")
    force.add(
        "outages", system="badge", started_at=at("2025-09-02"), ended_at=at("2025-09-03"), recorded_at=at("2025-09-03")
    )
    force.add("sickness", staff_no="S2", first_day=date(2025, 9, 1), certified=False, recorded_at=at("2025-09-01"))
    force.add("complaints", staff_no="S2", received_at=at("2025-09-01"), source="public", allegation="incivility")
    force.add(
        "conduct_findings",
        staff_no="S2",
        category="fraud",
        level="misconduct",
        outcome="learning",
        conduct_from=date(2025, 1, 1),
        conduct_to=date(2025, 2, 1),
        found_at=at("2025-06-01"),
    )
    force.add("declarations", staff_no="S3", kind="gift", declared_at=at("2025-09-01"))
    force.add("confidential_reports", staff_no="S3", received_on=date(2025, 9, 1), theme="other")
    return force


def report_of(settings: PersonnelSettings) -> Report:
    with staged(settings) as tables:
        return check(tables, now=NOW)


def found(report: Report, table: str, rule: str) -> Problem:
    return next(problem for problem in report.problems if (problem.table, problem.rule) == (table, rule))


def test_good_tables_are_usable_and_counted(tmp_path: Path):
    report = report_of(full_force().write(tmp_path))
    assert report.problems == ()
    assert report.usable
    assert set(report.rows) == set(TABLES)
    assert report.rows["duties"] == 2
    assert report.coverage["duties"] == {"2025-07": 1, "2025-12": 1}


def test_csv_exports_read_the_same_as_parquet(tmp_path: Path):
    force = full_force()
    by_csv = report_of(force.write(tmp_path / "csv", suffix=".csv"))
    assert by_csv == report_of(force.write(tmp_path / "parquet"))


def duty(force: SmallForce, **values: object) -> None:
    force.duty("S2", "2025-09-01T08:00", **values)


SPOILED: list[tuple[str, str, Callable[[SmallForce], object]]] = [
    ("duties", "orphan", lambda force: force.duty("nobody", "2025-09-01T08:00")),
    ("duties", "duplicate", lambda force: [duty(force, duty_id="twice"), force.duty("S3", "2025-09-02", duty_id="twice")]),
    ("duties", "null", lambda force: duty(force, created_by=None)),
    ("duties", "value", lambda force: duty(force, duty_type="siesta")),
    ("duties", "range", lambda force: duty(force, overtime_minutes=3000)),
    ("duties", "future", lambda force: duty(force, amended_at=NOW + timedelta(hours=2), amended_by="S2")),
    ("duties", "order", lambda force: duty(force, planned_end=at("2025-09-01T07:00"))),
    ("duties", "untimed", lambda force: duty(force, booked_at=None)),
    ("duties", "half_booked", lambda force: duty(force, booked_end=None)),
    ("duties", "untimed_overtime",
     lambda force: duty(force, booked_start=None, booked_end=None, booked_at=None, overtime_minutes=30)),
    ("duties", "half_amended", lambda force: duty(force, amended_by="S2")),
    ("duties", "half_authorised", lambda force: duty(force, authorised_at=at("2025-09-02"))),
    ("duties", "half_swapped", lambda force: duty(force, swapped_with="S3")),
    ("duties", "too_much_overtime", lambda force: duty(force, hours=1, overtime_minutes=120)),
    ("duties", "long", lambda force: duty(force, hours=50)),
    ("duties", "overlap", lambda force: [duty(force), force.duty("S2", "2025-09-01T12:00")]),
    ("staff", "order", lambda force: force.rows["staff"][0].update(
        service_end=date(2010, 1, 1), service_end_recorded_at=LONG_AGO)),
    ("staff", "untimed", lambda force: force.rows["staff"][0].update(service_end=date(2026, 1, 1))),
    ("staff", "duplicate", lambda force: force.rows["staff"].append(dict(force.rows["staff"][0]))),
    ("postings", "overlap", lambda force: force.add(
        "postings", **(force.rows["postings"][0] | {"posting_id": "more", "valid_from": date(2021, 1, 1)}))),
    ("postings", "untimed", lambda force: force.rows["postings"][0].update(valid_to=date(2026, 1, 5))),
    ("postings", "order", lambda force: force.rows["postings"][0].update(
        valid_to=date(2019, 1, 5), end_recorded_at=LONG_AGO)),
    ("postings", "late_transfer", lambda force: force.rows["postings"][0].update(recorded_at=at("2025-08-01"))),
    ("postings", "borough", lambda force: [row.update(borough="borough-02") for row in force.rows["postings"]]),
    ("outages", "order", lambda force: force.rows["outages"][0].update(ended_at=at("2025-09-01"))),
    ("access_events", "orphan", lambda force: force.badge("S1", "2025-09-01T08:00", site="nowhere")),
    ("sickness", "order", lambda force: force.rows["sickness"][0].update(last_day=date(2025, 8, 1))),
    ("expenses", "order", lambda force: force.expense("S1", "2025-09-01", 500, submitted_at=at("2025-08-01"))),
    ("expenses", "half_approved", lambda force: force.expense("S1", "2025-09-01", 500, approved_by="S2")),
    ("lookups", "order", lambda force: force.lookup(
        "S1", "2025-09-01T09:00", case_ref="C1", case_linked_at=at("2025-08-01"))),
    ("lookups", "linked_to_nothing", lambda force: force.lookup(
        "S1", "2025-09-01T09:00", case_linked_at=at("2025-09-02"))),
    ("complaints", "untimed", lambda force: force.rows["complaints"][0].update(outcome="learning")),
    ("complaints", "order", lambda force: force.rows["complaints"][0].update(
        outcome="learning", outcome_at=at("2025-08-01"))),
    ("conduct_findings", "order", lambda force: force.rows["conduct_findings"][0].update(conduct_to=date(2024, 1, 1))),
    ("declarations", "untimed", lambda force: force.rows["declarations"][0].update(decision="approved")),
    ("declarations", "order", lambda force: force.rows["declarations"][0].update(
        decision="approved", decided_at=at("2025-08-01"))),
    ("confidential_reports", "untimed", lambda force: force.rows["confidential_reports"][0].update(
        assessment="investigated")),
    ("confidential_reports", "order", lambda force: force.rows["confidential_reports"][0].update(
        assessment="investigated", assessed_at=at("2025-08-01"))),
]  # fmt: skip
WARNINGS = {("duties", "long"), ("duties", "overlap"), ("postings", "late_transfer")}


@pytest.mark.parametrize(("table", "rule", "spoil"), SPOILED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_broken_rule_is_found_counted_and_explained(
    tmp_path: Path, table: str, rule: str, spoil: Callable[[SmallForce], object]
):
    force = full_force()
    spoil(force)
    report = report_of(force.write(tmp_path))
    problem = found(report, table, rule)
    assert problem.advice
    assert (problem.severity == "warning") == ((table, rule) in WARNINGS)
    assert report.usable == ((table, rule) in WARNINGS)
    if rule != "borough":
        assert problem.rows >= 1
        assert problem.keys


def test_a_refusal_names_the_table_the_rule_and_how_many_more(tmp_path: Path):
    force = full_force()
    duty(force, duty_type="siesta", created_by=None)
    with pytest.raises(TableInvalid, match=r"table duties\..*more errors"):
        report_of(force.write(tmp_path)).require_usable()


def test_only_the_first_keys_are_shown(tmp_path: Path):
    force = full_force()
    for day in range(1, 10):
        force.duty("S2", f"2025-09-0{day}T08:00", duty_type="siesta")
    problem = found(report_of(force.write(tmp_path)), "duties", "value")
    assert problem.rows == 9
    assert len(problem.keys) == 5
    assert all(key.startswith("duty_id=dut-") for key in problem.keys)


@pytest.mark.parametrize("table", ["confidential_reports", "complaints"])
def test_keys_that_are_sensitive_and_values_are_never_shown(tmp_path: Path, table: str):
    force = full_force()
    theme = "theme" if table == "confidential_reports" else "allegation"
    force.rows[table][0].update({theme: "SECRET-THEME", "staff_no": "SECRET-PERSON"})
    report = report_of(force.write(tmp_path))
    assert {problem.rule for problem in report.errors()} == {"value", "orphan"}
    assert "SECRET" not in str(as_json(report))
    with pytest.raises(TableInvalid) as refused:
        report.require_usable()
    assert "SECRET" not in refused.value.detail


def test_a_thin_month_between_full_ones_is_asked_about(tmp_path: Path):
    force = full_force()
    for month in (7, 8, 10, 11):
        for day in range(2, 22):
            force.duty("S2", f"2025-{month:02d}-{day:02d}T08:00")
    problem = found(report_of(force.write(tmp_path)), "duties", "gap")
    assert problem.severity == "warning"
    assert "2025-09" in problem.advice


def test_times_that_lost_their_hours_are_asked_about(tmp_path: Path):
    force = full_force()
    for number in range(120):
        force.lookup("S1", str((datetime(2025, 7, 2) + timedelta(days=number)).date()))
    assert found(report_of(force.write(tmp_path)), "lookups", "midnight").severity == "warning"


@pytest.mark.parametrize(("minutes", "asked"), [(58, True), (2, False)])
def test_badges_an_hour_off_the_duties_are_asked_about(tmp_path: Path, minutes: int, asked: bool):
    force = full_force()
    for number in range(120):
        start = at("2025-07-02T08:00") + timedelta(days=number)
        force.duty("S2", start.isoformat())
        force.badge("S2", (start + timedelta(minutes=minutes)).isoformat())
    report = report_of(force.write(tmp_path))
    assert any(problem.rule == "skew" for problem in report.problems) == asked


# --- reading ----------------------------------------------------------------------------------------------------


def spoiled_csv(tmp_path: Path, table: str, change: Callable[[str], str], **settings: object) -> Report:
    full_force().write(tmp_path, suffix=".csv")
    path = tmp_path / f"{table}.csv"
    path.write_text(change(path.read_text()))
    return report_of(settings_for(tmp_path, suffix=".csv").model_copy(update=settings))


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("expenses", ",1250,", ",12.5,"),
        ("expenses", ",1250,", ",a lot,"),
        ("expenses", "true", "perhaps"),
        ("expenses", "2025-09-01", "01/09/2025"),
        ("expenses", "2025-09-04T00:00:00Z", "2025-09-04"),
        ("attendance_claims", ",0.8,", ",nan,"),
    ],
)
def test_a_value_of_another_type_is_refused_not_guessed(tmp_path: Path, table: str, old: str, new: str):
    report = spoiled_csv(tmp_path, table, lambda text: text.replace(old, new))
    assert found(report, table, "type").rows == 1


def test_stated_formats_are_read(tmp_path: Path):
    report = spoiled_csv(
        tmp_path, "expenses", lambda text: text.replace("2025-09-01", "01/09/2025"), date_format="%d/%m/%Y"
    )
    assert not [problem for problem in report.errors() if problem.table == "expenses"]


def without_zone(text: str) -> str:
    return text.replace("Z", "")


def test_times_without_zone_are_refused_unless_the_settings_say_how_to_read_them(tmp_path: Path):
    assert found(spoiled_csv(tmp_path, "lookups", without_zone), "lookups", "naive").rows == 1
    assert spoiled_csv(tmp_path, "lookups", without_zone, naive_times="local").usable


def test_local_times_are_read_in_the_forces_zone(tmp_path: Path):
    full_force().write(tmp_path, suffix=".csv")
    path = tmp_path / "lookups.csv"
    path.write_text(without_zone(path.read_text()))
    with staged(settings_for(tmp_path, suffix=".csv").model_copy(update={"naive_times": "local"})) as tables:
        # 9:00 in British summer time.
        assert tables.frames["lookups"]["at"].to_list() == [at("2025-09-01T08:00")]


@pytest.mark.parametrize(
    ("moment", "rule", "severity"),
    [("2025-10-26T01:30:00", "ambiguous", "warning"), ("2025-03-30T01:30:00", "nonexistent", "error")],
)
def test_hours_that_came_twice_or_never_are_told(tmp_path: Path, moment: str, rule: str, severity: str):
    report = spoiled_csv(
        tmp_path, "lookups", lambda text: text.replace("2025-09-01T09:00:00Z", moment), naive_times="local"
    )
    assert found(report, "lookups", rule).severity == severity


def test_a_missing_column_or_file_refuses_its_table_and_the_rest_is_still_checked(tmp_path: Path):
    full_force().write(tmp_path)
    (tmp_path / "duties.parquet").unlink()
    pl.read_parquet(tmp_path / "expenses.parquet").drop("receipt").write_parquet(tmp_path / "expenses.parquet")
    report = report_of(settings_for(tmp_path))
    assert "no such file" in found(report, "duties", "unreadable").advice
    assert "receipt" in found(report, "expenses", "unreadable").advice
    assert report.rows["lookups"] == 1
    assert not report.usable


def test_a_column_of_a_hopeless_type_is_refused_by_name(tmp_path: Path):
    full_force().write(tmp_path)
    frame = pl.read_parquet(tmp_path / "lookups.parquet").with_columns(pl.lit(5).alias("at"))
    frame.write_parquet(tmp_path / "lookups.parquet")
    assert "column at: of type" in found(report_of(settings_for(tmp_path)), "lookups", "unreadable").advice


def test_an_empty_table_that_must_be_there_is_refused(tmp_path: Path):
    force = full_force()
    force.rows["duties"] = []
    assert found(report_of(force.write(tmp_path)), "duties", "empty").severity == "error"


def test_other_names_and_codes_are_mapped(tmp_path: Path):
    full_force().write(tmp_path)
    frame = pl.read_parquet(tmp_path / "postings.parquet")
    frame = frame.rename({"staff_no": "EMP_ID"}).with_columns(rank=pl.lit("PC")).drop("office_share_due")
    frame.write_parquet(tmp_path / "postings.parquet")
    settings = settings_for(tmp_path).model_copy(
        update={
            "mapping": {"postings": {"staff_no": "EMP_ID", "office_share_due": ""}},
            "values": {"postings": {"rank": {"PC": "constable"}}},
        }
    )
    report = report_of(settings)
    assert report.problems == ()


def test_events_before_the_stated_day_are_not_read(tmp_path: Path):
    settings = full_force().write(tmp_path).model_copy(update={"since": date(2025, 8, 1)})
    report = report_of(settings)
    assert report.rows["duties"] == 1
    assert report.rows["staff"] == 3


def test_an_absent_table_is_empty_and_said_to_be_absent(tmp_path: Path):
    report = report_of(full_force().write(tmp_path, absent=("lookups", "sites")))
    assert report.absent == ("sites", "lookups")
    assert report.rows["lookups"] == 0
    assert report.usable
