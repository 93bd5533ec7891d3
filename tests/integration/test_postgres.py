"""A borough's tables in a real PostgreSQL: read as Arrow, only what is needed, the same result as from files."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

from borough_node.features.extract import INDICATORS, LABELS, PROTECTED, rows_as_of
from borough_node.sources.contract import TABLES
from borough_node.sources.personnel.checking import check
from borough_node.sources.personnel.settings import PersonnelSettings
from borough_node.sources.personnel.staging import staged
from protocol.errors import TableInvalid
from tests.borough_node.sources.personnel.test_checking import full_force
from tests.personnel import BOROUGH, CUTOFF, NOW


@pytest.fixture
def uri(postgres: str) -> str:
    return postgres


@pytest.fixture
def settings(uri: str, tmp_path: Path) -> PersonnelSettings:
    """Every table of a small force in the schema ``hr``, and settings that read them there."""
    force = full_force()
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS hr CASCADE")
        cursor.execute("CREATE SCHEMA hr")
        for name in TABLES:
            rows = force.frame(name).with_columns(remark=pl.lit("never read")).to_arrow()
            cursor.adbc_ingest(name, rows, mode="create", db_schema_name="hr")
        # As databases have them, and Arrow has not.
        cursor.execute("ALTER TABLE hr.attendance_claims ALTER COLUMN policy_office_share TYPE numeric(6, 3)")
        cursor.execute("ALTER TABLE hr.expenses ALTER COLUMN amount_pence TYPE numeric")
        cursor.execute("ALTER TABLE hr.duties ALTER COLUMN overtime_minutes TYPE smallint")
        cursor.execute("ALTER TABLE hr.staff ALTER COLUMN sex TYPE char(1)")
        connection.commit()
    secret = tmp_path / "database.uri"
    secret.write_text(uri)
    return PersonnelSettings(
        borough=BOROUGH,
        time_zone="Europe/London",
        database=secret,
        tables={name: f"postgresql:hr.{name}" for name in TABLES},
    )


def execute(uri: str, statement: str) -> None:
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()


def test_tables_in_postgres_check_and_give_the_features_of_files(settings: PersonnelSettings, tmp_path: Path):
    asked = {"features": list(INDICATORS), "labels": list(LABELS), "protected": PROTECTED}
    with staged(full_force().write(tmp_path / "files")) as tables:
        by_file, report = rows_as_of(tables, CUTOFF, **asked), check(tables, now=NOW)
    with staged(settings) as tables:
        assert check(tables, now=NOW) == report
        by_database = rows_as_of(tables, CUTOFF, **asked)
    assert report.usable
    assert by_database.person.tolist() == by_file.person.tolist()
    for name, values in by_file.features.items():
        assert np.array_equal(by_database.features[name], values), name


def test_only_needed_columns_and_dates_are_read(settings: PersonnelSettings):
    later = settings.model_copy(update={"since": date(2025, 8, 1)})
    with staged(later) as tables:
        assert check(tables, now=NOW).rows["duties"] == 1
        assert "remark" not in tables.frames["duties"].columns


def test_a_view_with_other_names_and_local_times_is_mapped(settings: PersonnelSettings, uri: str):
    execute(
        uri,
        "CREATE VIEW hr.audit AS SELECT lookup_id, staff_no AS \"EMP_ID\", at AT TIME ZONE 'Europe/London' AS at,"
        " system, case_ref, case_linked_at, subject_ref, subject_vulnerable FROM hr.lookups",
    )
    mapped = settings.model_copy(
        update={
            "tables": settings.tables | {"lookups": "postgresql:hr.audit"},
            "mapping": {"lookups": {"staff_no": "EMP_ID"}},
            "naive_times": "local",
        }
    )
    with staged(settings) as tables:
        expected = tables.frames["lookups"].select("staff_no", "at")
    with staged(mapped) as tables:
        assert check(tables, now=NOW).usable
        assert tables.frames["lookups"].select("staff_no", "at").equals(expected)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DROP TABLE hr.lookups", "hr.lookups"),
        ("ALTER TABLE hr.lookups DROP COLUMN system", "column system"),
        ("ALTER TABLE hr.lookups ALTER COLUMN at TYPE date", "column at"),
    ],
)
def test_what_the_database_lacks_refuses_that_table_alone(
    settings: PersonnelSettings, uri: str, statement: str, named: str
):
    execute(uri, statement)
    with staged(settings) as tables:
        report = check(tables, now=NOW)
    assert [problem.table for problem in report.errors()] == ["lookups"]
    assert named in report.errors()[0].advice
    assert report.rows["duties"] == 2


def test_a_value_of_another_type_is_found_by_key(settings: PersonnelSettings, uri: str):
    execute(uri, "ALTER TABLE hr.expenses ALTER COLUMN amount_pence TYPE text USING 'x'")
    with staged(settings) as tables:
        (problem,) = check(tables, now=NOW).errors()
    assert (problem.column, problem.rule, problem.keys) == ("amount_pence", "type", ("expense_id=exp-0001",))


def test_a_database_that_does_not_answer_is_said_without_its_password(settings: PersonnelSettings, tmp_path: Path):
    secret = tmp_path / "wrong.uri"
    secret.write_text("postgresql://reader:SECRET@127.0.0.1:1/hr")
    with staged(settings.model_copy(update={"database": secret})) as tables:
        report = check(tables, now=NOW)
    assert {problem.table for problem in report.errors()} == set(TABLES)
    assert "SECRET" not in str(report)
    with pytest.raises(TableInvalid, match="does not answer"):
        report.require_usable()
