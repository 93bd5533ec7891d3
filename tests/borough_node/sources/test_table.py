import datetime
import math

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from borough_node.sources.layout import TableLayout
from borough_node.sources.table import party_id, rows_at, split_by_silo, split_table
from protocol.documents.catalogue import FeatureCatalogue
from protocol.errors import ConfigurationError, TableInvalid
from tests.borough_node.sources.made_table import LAYOUT, catalogue_fields, columns, feature, read, write

BOTH = pytest.mark.parametrize("suffix", ["parquet", "csv"])


def refused(directory, *says, suffix="parquet", with_silo=True, **changed):
    """Read the changed table; it must be refused in these words and without anybody's value."""
    return refused_file(write(directory, columns(**changed), suffix), *says, with_silo=with_silo)


def refused_file(path, *says, **options):
    with pytest.raises(TableInvalid) as caught:
        read(path, **options)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for words in says:
        assert words in caught.value.detail
    return caught.value.detail


# --- what is read -----------------------------------------------------------------------------------------------


@BOTH
def test_a_table_is_read_column_by_column(tmp_path, suffix):
    table = read(write(tmp_path, columns(), suffix))
    assert table.rows == 4
    assert table.person.tolist() == ["SECRET-A", "SECRET-B", "SECRET-C", "SECRET-A"]
    assert table.silo.tolist() == ["North 1", "North 1", "South", "South"]
    assert table.cutoff.tolist() == [2024, 2024, 2024, 2025]
    assert table.cutoff.dtype == np.int64
    assert list(table.features) == ["claims", "hours", "senior"]
    assert {array.dtype for array in [*table.features.values(), *table.labels.values()]} == {np.dtype(np.float64)}
    assert table.features["claims"].tolist() == [0, 3, 7, 1]
    assert table.labels["y_fraud"].tolist() == [0, 1, 0, 0]
    assert table.protected["sex"].tolist() == ["a", "b", "a", "a"]


@BOTH
def test_missing_values_are_filled_with_the_public_constant(tmp_path, suffix):
    assert read(write(tmp_path, columns(), suffix)).features["hours"].tolist() == [10, 14, 31, 12]
    nan = columns(hours=[10.0, math.nan, 31.0, 5.0])
    assert read(write(tmp_path, nan, suffix)).features["hours"].tolist() == [10, 12, 31, 5]


@BOTH
@pytest.mark.parametrize("value", [None, math.nan])
def test_a_label_that_nobody_knows_yet_stays_missing(tmp_path, suffix, value):
    labels = read(write(tmp_path, columns(y_fraud=[0.0, 1.0, 0.0, value]), suffix)).labels["y_fraud"]
    assert labels[:3].tolist() == [0, 1, 0]
    assert np.isnan(labels[3])


def test_an_unstated_protected_attribute_is_the_empty_string(tmp_path):
    assert read(write(tmp_path, columns(sex=["a", None, "b", ""]))).protected["sex"].tolist() == ["a", "", "b", ""]


def test_whole_numbers_decimals_and_booleans_are_numbers(tmp_path):
    changed = columns(
        hours=pa.array([1, 2, 3, 4], pa.decimal128(5, 2)), senior=[True, False, True, False], officer=[1, 2, 3, 4]
    )
    table = read(write(tmp_path, changed))
    assert table.features["hours"].tolist() == [1, 2, 3, 4]
    assert table.features["senior"].tolist() == [1, 0, 1, 0]
    assert table.person.tolist() == ["1", "2", "3", "4"]


def test_ignored_columns_may_be_there(tmp_path):
    assert read(write(tmp_path, columns(note=["x", "y", "z", "w"]))).rows == 4


def test_a_person_may_move_between_boroughs_from_one_cutoff_to_the_next(tmp_path):
    table = read(write(tmp_path, columns()))
    assert table.silo[table.person == "SECRET-A"].tolist() == ["North 1", "South"]


def test_the_file_is_unchanged_and_the_arrays_are_read_only(tmp_path):
    path = write(tmp_path, columns())
    before = path.read_bytes()
    table = read(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ValueError, match="read-only"):
        table.features["claims"][0] = 1


def test_a_table_does_not_print_its_people(tmp_path):
    assert "SECRET" not in repr(read(write(tmp_path, columns())))


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    folder = tmp_path / "note=1"
    folder.mkdir()
    assert read(write(folder, columns())).rows == 4


def test_quoted_fields_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "table.csv"
    lines = [
        "officer,area,year,sex,claims,hours,senior,y_fraud",
        '"O, ""A""",x, 2024 ,a,1,,0,0',
        "B,x,2024,,2,3,0,1",
        "",
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    table = read(path)
    assert table.person.tolist() == ['O, "A"', "B"]
    assert table.features["hours"].tolist() == [12, 3]


# --- refusals: the file -----------------------------------------------------------------------------------------


def test_an_absent_file_is_refused(tmp_path):
    refused_file(tmp_path / "none.parquet", "no such file")


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "table.xlsx"
    path.write_bytes(b"x")
    refused_file(path, "neither .csv nor .parquet")


def test_a_path_that_reads_as_a_pattern_is_refused(tmp_path):
    path = write(tmp_path, columns())
    refused_file(path.rename(tmp_path / "t*.parquet"), "rename it")


def test_a_truncated_parquet_file_is_refused(tmp_path):
    path = write(tmp_path, columns())
    path.write_bytes(path.read_bytes()[:-20])
    refused_file(path, "unreadable or truncated")


def test_a_damaged_parquet_file_is_refused(tmp_path):
    path = write(tmp_path, columns())
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(bytes(content))
    refused_file(path, "unreadable or truncated")


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_truncated_csv_file_is_refused(tmp_path, cut):
    path = write(tmp_path, columns(), "csv")
    path.write_bytes(path.read_bytes()[:-cut])
    refused_file(path, "truncated")


def test_a_csv_line_with_too_few_fields_is_refused_by_its_number(tmp_path):
    path = write(tmp_path, columns(), "csv")
    path.write_bytes(path.read_bytes() + b"SECRET-D,North 1\n")
    refused_file(path, "at line 6")


def test_a_csv_line_with_too_many_fields_is_refused(tmp_path):
    path = write(tmp_path, columns(), "csv")
    path.write_bytes(path.read_bytes() + b"SECRET-D,South,2024,a,1,2,0,0,SECRET\n")
    refused_file(path, "at line 6")


def test_a_csv_file_in_another_encoding_is_refused(tmp_path):
    path = write(tmp_path, columns(), "csv")
    path.write_bytes(path.read_bytes().replace(b"SECRET-B", "SECRET-Ü".encode("latin-1")))
    refused_file(path, "unreadable or truncated at line 3")


def test_an_empty_csv_file_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"")
    refused_file(path, "empty")


def test_a_csv_header_that_names_a_column_twice_is_refused(tmp_path):
    path = write(tmp_path, columns(), "csv")
    path.write_bytes(path.read_bytes().replace(b'"claims"', b'"hours"'))
    refused_file(path, "names a column twice")


def test_a_csv_file_without_a_header_line_is_refused_without_naming_anybody(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("SECRET-A,SECRET-North,2024,a,0,10,1,3\nB,South,2024,b,1,10,0,0\n")
    refused_file(path, "column officer: missing")


def test_the_message_of_the_database_stays_inside(tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise duckdb.InvalidInputException("Original Line: SECRET-A")

    monkeypatch.setattr("borough_node.sources.table._check_rows", fail)
    refused_file(write(tmp_path, columns()), "InvalidInputException")


# --- refusals: columns ------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("name", ["officer", "area", "year", "sex", "claims", "y_fraud"])
def test_a_missing_column_is_refused(tmp_path, name, suffix):
    refused(tmp_path, f"column {name}: missing", "add it", suffix=suffix, **{name: None})


@BOTH
def test_an_unknown_column_is_refused(tmp_path, suffix):
    refused(tmp_path, "column shoe_size: unknown", "ignored", suffix=suffix, shoe_size=[1, 2, 3, 4])


def test_a_column_in_another_case_is_another_column(tmp_path):
    refused(tmp_path, "column claims: missing", claims=None, Claims=[0, 1, 2, 3])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("claims", ["SECRET1", "2", "3", "4"]),
        ("y_fraud", ["0", "1", "0", "0"]),
        ("year", [2024.0, 2024.0, 2024.0, 2025.0]),
        ("year", [datetime.date(2024, 1, 1)] * 4),
        ("officer", [1.5, 2.5, 3.5, 4.5]),
        ("sex", [b"a", b"b", b"a", b"a"]),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(tmp_path, name, values):
    refused(tmp_path, f"column {name}: of type", "export it as", **{name: values})


def test_text_in_a_number_column_of_a_csv_file_is_refused(tmp_path):
    refused(tmp_path, "column claims: holds text", suffix="csv", claims=["1", "SECRET", "2", "3"])


def test_a_fraction_of_a_year_in_a_csv_file_is_refused(tmp_path):
    refused(tmp_path, "column year:", "no whole number", suffix="csv", year=["2024", "2024.5", "2024", "2025"])


def test_a_column_with_two_meanings_is_refused(tmp_path):
    layout = TableLayout(person="officer", silo="area", cutoff="year", ignored=("claims",))
    with pytest.raises(ConfigurationError, match="column claims"):
        read(write(tmp_path, columns()), layout=layout)


# --- refusals: rows and values ----------------------------------------------------------------------------------


@BOTH
def test_an_empty_table_is_refused(tmp_path, suffix):
    path = write(tmp_path, columns().slice(0, 0), suffix)
    refused_file(path, "no rows")


@BOTH
def test_a_row_without_a_person_is_refused(tmp_path, suffix):
    refused(tmp_path, "column officer: has missing", suffix=suffix, officer=["SECRET", None, "B", "C"])


def test_a_person_of_blanks_is_refused(tmp_path):
    refused(tmp_path, "column officer: has missing", officer=["SECRET", "  ", "B", "C"])


@BOTH
def test_a_row_without_a_cutoff_is_refused(tmp_path, suffix):
    refused(tmp_path, "column year: missing", suffix=suffix, year=[2024, None, 2024, 2025])


@BOTH
def test_a_row_without_a_silo_is_refused(tmp_path, suffix):
    refused(tmp_path, "column area: has missing", suffix=suffix, area=["x", None, "x", "x"])


@BOTH
def test_a_person_twice_at_one_cutoff_is_refused_with_the_number_of_rows(tmp_path, suffix):
    people = ["SECRET-A", "SECRET-A", "SECRET-A", "SECRET-B"]
    refused(tmp_path, "columns officer, year: 2 rows repeat", "posting", suffix=suffix, officer=people)


def test_a_person_in_two_boroughs_at_one_cutoff_is_refused(tmp_path):
    people, areas = ["SECRET-A", "B", "SECRET-A", "C"], ["North", "North", "South", "South"]
    refused(tmp_path, "1 rows repeat", officer=people, area=areas)


def test_a_person_who_differs_in_a_blank_is_the_same_person(tmp_path):
    refused(tmp_path, "1 rows repeat", officer=["SECRET-A", "SECRET-A ", "B", "C"])


@BOTH
@pytest.mark.parametrize("absent", [None, math.nan])
def test_a_missing_value_without_a_public_constant_is_refused(tmp_path, suffix, absent):
    refused(tmp_path, "column claims: has missing", suffix=suffix, claims=[0.0, absent, 1.0, 2.0])


@BOTH
@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_value_is_refused(tmp_path, suffix, value):
    refused(tmp_path, "column hours: has infinite", suffix=suffix, hours=[1.0, value, 2.0, 3.0])


@BOTH
def test_a_negative_count_is_refused(tmp_path, suffix):
    refused(tmp_path, "column claims: is a count", suffix=suffix, claims=[0, -1, 1, 2])


@BOTH
@pytest.mark.parametrize("value", [2.0, 0.5, -1.0, math.inf])
def test_a_label_other_than_0_or_1_is_refused(tmp_path, suffix, value):
    refused(tmp_path, "column y_fraud: a label", suffix=suffix, y_fraud=[0.0, value, 1.0, 0.0])


def test_an_eligibility_other_than_0_or_1_is_refused(tmp_path):
    refused(tmp_path, "column senior: decides who is eligible", senior=[0.0, 0.5, 1.0, 0.0])


# --- boroughs and cutoffs ---------------------------------------------------------------------------------------


def test_a_borough_reads_its_own_table_with_or_without_the_silo_column(tmp_path):
    assert read(write(tmp_path, columns(area=None)), with_silo=False).silo is None
    assert read(write(tmp_path, columns(area=["x"] * 4)), with_silo=False).silo is None


def test_a_borough_refuses_the_table_of_two(tmp_path):
    refused(tmp_path, "column area: names 2 boroughs", with_silo=False)


def test_a_whole_force_needs_a_silo_column_in_the_layout(tmp_path):
    layout = TableLayout(person="officer", silo=None, cutoff="year", ignored=())
    refused_file(write(tmp_path, columns(area=None)), "names no silo column", layout=layout)


def test_rows_are_chosen_by_cutoff_with_both_ends(tmp_path):
    table = read(write(tmp_path, columns(year=[2021, 2022, 2023, 2024])))
    chosen = rows_at(table, first_cutoff=2022, last_cutoff=2023)
    assert chosen.cutoff.tolist() == [2022, 2023]
    assert chosen.features["claims"].tolist() == [3, 7]
    assert chosen.silo.tolist() == ["North 1", "South"]


def test_a_table_splits_into_its_boroughs(tmp_path):
    parts = split_by_silo(read(write(tmp_path, columns())))
    assert {silo: part.rows for silo, part in parts.items()} == {"North 1": 2, "South": 2}
    with pytest.raises(TableInvalid, match="silo"):
        split_by_silo(read(write(tmp_path, columns(area=None)), with_silo=False))


@BOTH
def test_a_file_splits_into_one_file_per_borough(tmp_path, suffix):
    files = split_table(write(tmp_path, columns(), suffix), LAYOUT, tmp_path / "out")
    assert {silo: path.name for silo, path in files.items()} == {"North 1": "north-1.parquet", "South": "south.parquet"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files.values())
    if suffix == "parquet":
        south = read(files["South"], with_silo=False)
        assert south.person.tolist() == ["SECRET-C", "SECRET-A"]
        assert south.features["hours"].tolist() == [31, 12]


def test_splitting_twice_gives_the_same_files(tmp_path):
    source = write(tmp_path, columns())
    first = {silo: path.read_bytes() for silo, path in split_table(source, LAYOUT, tmp_path / "out").items()}
    again = {silo: path.read_bytes() for silo, path in split_table(source, LAYOUT, tmp_path / "out").items()}
    assert first == again


@pytest.mark.parametrize("areas", [["a b", "a_b", "c", "c"], ["a", None, "b", "b"], ["a", "-b", "c", "c"]])
def test_silos_without_a_file_name_of_their_own_are_refused_before_anything_is_written(tmp_path, areas):
    with pytest.raises(TableInvalid, match="silo"):
        split_table(write(tmp_path, columns(area=areas)), LAYOUT, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_silo_becomes_a_dns_label():
    assert party_id("AIRPORT_TRANSIT_PH") == "airport-transit-ph"


def test_column_names_are_quoted(tmp_path):
    layout = TableLayout(person='of"fi; DROP', silo="the area", cutoff="year", ignored=())
    fields = catalogue_fields(
        features=[*catalogue_fields()["features"], feature("order", {"kind": "count", "cap": 1.0})]
    )
    renamed = columns(order=[1, 2, 3, 4]).rename_columns({"officer": 'of"fi; DROP', "area": "the area"})
    for suffix in ("csv", "parquet"):
        path = write(tmp_path, renamed, suffix)
        assert read(path, layout=layout, catalogue=FeatureCatalogue.from_fields(fields)).rows == 4
    assert pyarrow.parquet.read_table(split_table(path, layout, tmp_path / "out")["South"]).num_rows == 2
