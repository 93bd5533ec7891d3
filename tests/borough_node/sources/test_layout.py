from pathlib import Path

import pytest

from borough_node.sources.layout import TableLayout, load_catalogue
from protocol.errors import ConfigurationError

SAMPLES = Path(__file__).parents[3] / "deploy" / "samples"

TABLE = """
[table]
person = "officer"
cutoff = "year"
"""

CATALOGUE = """
[catalogue]
catalogue_id = "test"
version = 1
protected = [{ name = "sex", title = "Sex", groups = ["a", "b"] }]

[[catalogue.features]]
name = "claims"
definition = "Claims."
unit = "claims"
transform = { kind = "count", cap = 3 }
direction = 1
reason = "There were many claims."
legal_note = ""

[[catalogue.heads]]
category = "fraud"
title = "Fraud"
label = "y_fraud"
features = ["claims"]
prior = 0.01
"""


def loaded(directory, text):
    path = directory / "a.catalogue.toml"
    path.write_text(text)
    return load_catalogue(path)


def refused(directory, text, *says):
    with pytest.raises(ConfigurationError) as caught:
        loaded(directory, text)
    for words in ("a.catalogue.toml", *says):
        assert words in caught.value.detail


def test_a_catalogue_file_gives_a_layout_and_a_catalogue(tmp_path):
    layout, catalogue = loaded(tmp_path, TABLE + 'silo = "area"\nignored = ["note"]\n' + CATALOGUE)
    assert layout == TableLayout(person="officer", silo="area", cutoff="year", ignored=("note",))
    assert catalogue.feature("claims").transform.cap == 3.0


def test_what_toml_cannot_write_is_none_when_absent(tmp_path):
    layout, catalogue = loaded(tmp_path, TABLE + CATALOGUE)
    assert layout.silo is None
    assert layout.ignored == ()
    assert catalogue.feature("claims").missing is None
    assert catalogue.head("fraud").eligible is None


def test_missing_and_eligible_are_read_when_present(tmp_path):
    text = CATALOGUE.replace("direction = 1", "direction = 1\nmissing = 2").replace(
        "prior =", 'eligible = "claims"\nprior ='
    )
    _, catalogue = loaded(tmp_path, TABLE + text)
    assert catalogue.feature("claims").missing == 2.0
    assert catalogue.head("fraud").eligible == "claims"


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        load_catalogue(tmp_path / "none.toml")


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    refused(tmp_path, "[table", "not a readable TOML file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TABLE + CATALOGUE + "[other]\n", "unknown key other"),
        (TABLE + 'shoe = "x"\n' + CATALOGUE, "shoe"),
        (TABLE + CATALOGUE.replace("version = 1", "version = 1\nshoe = 1"), "shoe"),
        (TABLE + CATALOGUE.replace("direction = 1", "direction = 1\nshoe = 1"), "features.0.shoe"),
        (TABLE + CATALOGUE.replace("cap = 3", "cap = 3, shoe = 1"), "shoe"),
    ],
)
def test_an_unknown_key_is_refused(tmp_path, text, says):
    refused(tmp_path, text, says)


@pytest.mark.parametrize("text", [TABLE, CATALOGUE, "table = 1\n" + CATALOGUE])
def test_a_file_without_both_tables_is_refused(tmp_path, text):
    refused(tmp_path, text, "is missing")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cap = 3", "cap = -3", "features.0.transform.count.cap"),
        ("cap = 3", "cap = nan", "features.0.transform.count.cap"),
        ("direction = 1", "direction = 2", "features.0.direction"),
        ("prior = 0.01", "prior = 1", "heads.0.prior"),
        ("prior = 0.01", "prior = 2024-01-01", "a date"),
        ('features = ["claims"]', 'features = ["other"]', "unknown feature other"),
        ('{ name = "sex",', '{ name = "claims",', "claims is protected"),
        ('[[catalogue.heads]]\ncategory = "fraud"', '[catalogue.heads]\ncategory = "fraud"', "heads"),
    ],
)
def test_a_wrong_field_of_the_catalogue_is_named(tmp_path, old, new, says):
    assert old in CATALOGUE
    refused(tmp_path, TABLE + CATALOGUE.replace(old, new), "catalogue:", says)


@pytest.mark.parametrize(
    ("more", "says"),
    [("ignored = 3\n", "ignored"), ("silo = 1\n", "silo"), ('silo = "officer"\n', "different columns")],
)
def test_a_wrong_field_of_the_table_is_named(tmp_path, more, says):
    refused(tmp_path, TABLE + more + CATALOGUE, "table:", says)


@pytest.mark.parametrize("name", ["claims", "y_fraud", "sex"])
def test_a_column_with_two_meanings_is_refused(tmp_path, name):
    refused(tmp_path, TABLE + f'ignored = ["{name}"]\n' + CATALOGUE, f"column {name}")


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.catalogue.toml")), ids=lambda path: path.name)
def test_every_sample_catalogue_loads(path):
    layout, catalogue = load_catalogue(path)
    assert layout.silo is not None
    assert len({feature.reason for feature in catalogue.features}) == len(catalogue.features)


def test_the_chicago_catalogue_has_its_features_and_bounds():
    _, catalogue = load_catalogue(SAMPLES / "chicago.catalogue.toml")
    assert len(catalogue.features) == 77
    kinds = [feature.transform.kind for feature in catalogue.features]
    assert (kinds.count("scaled"), kinds.count("bounded"), kinds.count("count")) == (7, 6, 64)
    filled = {feature.name: feature.missing for feature in catalogue.features if feature.missing is not None}
    assert filled == {"age_y": 44.0, "salary_k": 78.0, "salary_growth_2y": 0.1}
    assert [head.label for head in catalogue.heads] == ["y_3plus", "y_5plus", "y_sust"]
