"""The personnel contract is complete, consistent, and what docs/spec/personnel.md says."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from borough_node.sources.contract import TABLES, Table
from borough_node.sources.contract.render import render

PAGE = Path(__file__).resolve().parents[3] / "docs" / "spec" / "personnel.md"
EVERY = pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)


def test_the_page_is_what_the_contract_renders():
    assert PAGE.read_text(encoding="utf-8") == render()


@EVERY
def test_a_table_names_its_own_columns_only(table: Table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert {*table.key, table.recorded, table.dated} <= set(names)
    assert {known for column in table.columns for known in column.known_from} <= set(names)
    for name in (table.recorded, table.dated):
        assert table.column(name).kind in ("date", "time")
        assert not table.column(name).optional


@EVERY
def test_every_column_has_a_meaning_a_basis_and_a_unit_where_it_is_measured(table: Table):
    for column in table.columns:
        assert column.meaning.endswith(".")
        assert table.basis_of(column).endswith(".")
        assert bool(column.unit) == (column.kind in ("whole", "number", "date", "time"))
        assert not (column.allowed and column.kind != "text")
        assert column.refers in ("", "staff", "sites")


@EVERY
def test_a_value_that_can_be_overwritten_says_since_when_it_is_known(table: Table):
    # Whatever is empty at first and filled in later must not be seen at a cutoff before that.
    for column in table.columns:
        for known in column.known_from:
            assert table.column(known).optional
            assert table.column(known).kind in ("date", "time")


def test_times_are_instants_and_schemas_keep_the_order():
    schema = TABLES["access_events"].schema
    assert list(schema) == ["staff_no", "at", "site", "reader", "direction"]
    assert schema["at"] == pl.Datetime("us", "UTC")


def test_no_table_holds_a_conclusion_except_findings_and_outcomes():
    words = re.compile(r"suspect|offend|planted|lookalike|label|score|risk|guilty|is_fraud", re.IGNORECASE)
    columns = [f"{table.name}.{column.name}" for table in TABLES.values() for column in table.columns]
    assert [name for name in columns if words.search(name)] == []


def test_a_confidential_report_has_no_source():
    names = {column.name for column in TABLES["confidential_reports"].columns}
    assert names == {"report_id", "staff_no", "received_on", "theme", "assessment", "assessed_at"}


def test_sickness_has_no_reason():
    names = {column.name for column in TABLES["sickness"].columns}
    assert names == {"absence_id", "staff_no", "first_day", "last_day", "certified", "recorded_at", "closed_at"}
