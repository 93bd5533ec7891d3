from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from borough_node.features.matrix import design_matrix
from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import read_table, rows_at, split_by_silo
from deploy.cli import app
from deploy.force.generate import EFFECT, OFFENCES, generate
from deploy.force.population import CUTOFFS, STANDARD
from protocol.documents.catalogue import Scaled
from protocol.errors import ConfigurationError

SAMPLE = Path(__file__).parents[2] / "deploy" / "samples" / "synthetic.catalogue.toml"
PEOPLE, BOROUGHS = 11_500, 8
"""A quarter of the reference force."""


@pytest.fixture(scope="module")
def force():
    return generate(people=PEOPLE, boroughs=BOROUGHS, seed=1)


@pytest.fixture(scope="module")
def layout_and_catalogue():
    return load_catalogue(SAMPLE)


@pytest.fixture(scope="module")
def table(force, layout_and_catalogue, tmp_path_factory):
    path = tmp_path_factory.mktemp("force") / "force.parquet"
    pq.write_table(force.table, path)
    layout, catalogue = layout_and_catalogue
    return read_table(path, layout=layout, catalogue=catalogue, with_silo=True)


def members(force, category, kind, cutoff):
    truth = force.truth
    rows = pc.and_(pc.equal(truth["category"], category), pc.equal(truth["kind"], kind))
    return truth.filter(pc.and_(rows, pc.equal(truth["cutoff"], cutoff)))["person"].to_pylist()


def test_one_seed_gives_one_force_and_another_seed_another():
    first, again, other = (generate(people=400, boroughs=5, seed=seed) for seed in (3, 3, 4))
    assert first.table.equals(again.table)
    assert first.truth.equals(again.truth)
    assert not first.table.equals(other.table)
    assert not first.truth.equals(other.truth)


def test_the_table_says_nothing_of_roles(force):
    assert not {"kind", "role", "category", "offender", "lookalike", "lesser"} & set(force.table.column_names)


def test_everybody_has_one_row_at_each_cutoff(force):
    keys = Counter(zip(force.table["person"].to_pylist(), force.table["cutoff"].to_pylist(), strict=True))
    assert len(keys) == 2 * PEOPLE
    assert set(keys.values()) == {1}
    assert {cutoff for _, cutoff in keys} == set(CUTOFFS)


def test_a_reference_force_has_the_reported_numbers():
    # The whole force once: half a second, and the numbers are what the README promises.
    force = generate(people=46_000, boroughs=32, seed=1)
    counts = Counter(zip(*(force.truth[name].to_pylist() for name in ("cutoff", "category", "kind")), strict=True))
    for cutoff in CUTOFFS:
        assert counts[cutoff, "roster_manipulation", "offender"] == 98
        assert counts[cutoff, "roster_manipulation", "lesser"] == 500
        assert counts[cutoff, "roster_manipulation", "lookalike"] == 1196
        for category, offenders in (("attendance", 42), ("fraud", 60), ("abuse_of_position", 60)):
            assert counts[cutoff, category, "offender"] == offenders
            assert counts[cutoff, category, "lookalike"] == 2 * offenders
            assert counts[cutoff, category, "lesser"] == 0
        rows = force.table.filter(pc.equal(force.table["cutoff"], cutoff))
        assert pc.sum(rows["senior_grade"]).as_py() == 1500
        sizes = Counter(rows["borough"].to_pylist())
        assert len(sizes) == 32
        assert min(sizes.values()) > 500
        assert max(sizes.values()) < 2500


def test_a_small_force_has_at_least_two_offenders_a_category():
    force = generate(people=60, boroughs=3, seed=1)
    counts = Counter(zip(*(force.truth[name].to_pylist() for name in ("cutoff", "category", "kind")), strict=True))
    for cutoff in CUTOFFS:
        assert all(counts[cutoff, offence.category, "offender"] == 2 for offence in OFFENCES)
    assert min(Counter(force.table["borough"].to_pylist()).values()) >= 2 * 20


@pytest.mark.parametrize(("people", "boroughs"), [(39, 1), (100, 0), (100, 101)])
def test_an_impossible_force_is_refused(people, boroughs):
    with pytest.raises(ConfigurationError):
        generate(people=people, boroughs=boroughs, seed=1)


def test_some_people_transfer_and_every_borough_keeps_its_establishment(table):
    before, after = (rows_at(table, first_cutoff=cutoff, last_cutoff=cutoff) for cutoff in CUTOFFS)
    assert before.person.tolist() == after.person.tolist()
    assert 0.03 < np.mean(before.silo != after.silo) < 0.05
    assert Counter(before.silo.tolist()) == Counter(after.silo.tolist())


@pytest.mark.parametrize("offence", OFFENCES, ids=lambda offence: offence.category)
def test_the_label_is_one_for_offenders_and_lesser_cases_only(force, table, offence):
    for cutoff in CUTOFFS:
        rows = rows_at(table, first_cutoff=cutoff, last_cutoff=cutoff)
        guilty = members(force, offence.category, "offender", cutoff) + members(
            force, offence.category, "lesser", cutoff
        )
        lookalikes = members(force, offence.category, "lookalike", cutoff)
        assert set(rows.person[rows.labels[offence.label] == 1]) == set(guilty)
        assert not set(guilty) & set(lookalikes)
        assert len(lookalikes) == 2 * len(guilty)


@pytest.mark.parametrize("offence", OFFENCES, ids=lambda offence: offence.category)
def test_planted_features_have_standard_deviation_one_and_the_stated_shift(offence, layout_and_catalogue):
    # The reference force, for enough offenders: the smallest group gives a standard error of 0.08 over four features.
    force = generate(people=46_000, boroughs=32, seed=2)
    _, catalogue = layout_and_catalogue
    everybody, shift = force.table, {"offender": [], "lesser": [], "lookalike": []}
    for cutoff in CUTOFFS:
        rows = everybody.filter(pc.equal(everybody["cutoff"], cutoff))
        eligible = rows["senior_grade"].to_numpy() == 1 if offence.seniors_only else np.ones(len(rows), dtype=bool)
        person = rows["person"].to_numpy()
        kinds = {kind: np.isin(person, members(force, offence.category, kind, cutoff)) for kind in shift}
        honest = eligible & ~np.logical_or.reduce(list(kinds.values()))
        for name in offence.features:
            transform = catalogue.feature(name).transform
            z = (rows[name].to_numpy() - transform.center) / transform.scale
            assert z[honest].mean() == pytest.approx(0, abs=0.12)
            assert z[honest].std() == pytest.approx(1, abs=0.08)
            for kind, chosen in kinds.items():
                if chosen.any():
                    assert eligible[chosen].all()
                    shift[kind].append(z[chosen].mean() - z[honest].mean())
    assert EFFECT == 2.0
    assert np.mean(shift["offender"]) == pytest.approx(2.0, abs=0.25)
    assert np.mean(shift["lookalike"]) == pytest.approx(1.0, abs=0.2)
    if shift["lesser"]:
        assert np.mean(shift["lesser"]) == pytest.approx(1.5, abs=0.1)


def test_attendance_columns_of_other_grades_are_neutral(table, layout_and_catalogue):
    _, catalogue = layout_and_catalogue
    matrix = design_matrix(table, catalogue)
    position = {feature.name: column for column, feature in enumerate(catalogue.features, start=1)}
    others = table.features["senior_grade"] == 0
    for offence in OFFENCES:
        if offence.seniors_only:
            assert not matrix[np.ix_(others, [position[name] for name in offence.features])].any()


def test_busy_people_have_more_of_the_planted_features(table):
    overtime = table.features["overtime_hours"]
    assert np.corrcoef(overtime, table.features["own_entries_amended"])[0, 1] > 0.3
    assert np.corrcoef(overtime, table.features["lookups_without_case"])[0, 1] > 0.3


def test_people_keep_their_features_but_not_their_offences(table, force):
    before, after = (rows_at(table, first_cutoff=cutoff, last_cutoff=cutoff) for cutoff in CUTOFFS)
    assert np.corrcoef(before.features["premium_swaps"], after.features["premium_swaps"])[0, 1] > 0.6
    again = set(members(force, "roster_manipulation", "lesser", 2024)) & set(
        members(force, "roster_manipulation", "lesser", 2025)
    )
    assert len(again) < 12


def test_protected_groups_have_no_part_in_it(table):
    for name, groups in (("sex", "ab"), ("ethnicity_group", ("g1", "g2", "g3", "g4"))):
        assert set(table.protected[name]) == set(groups)
        rates = [table.labels["y_roster"][table.protected[name] == group].mean() for group in groups]
        assert max(rates) < 0.03


def test_the_sample_catalogue_fits_the_force(table, layout_and_catalogue, force):
    layout, catalogue = layout_and_catalogue
    assert len(catalogue.features) == 40
    assert {feature.name for feature in catalogue.features} == set(table.features)
    for attribute in catalogue.protected:
        assert set(attribute.groups) == set(table.protected[attribute.name])
    assert [head.category for head in catalogue.heads] == [offence.category for offence in OFFENCES]
    for head, offence in zip(catalogue.heads, OFFENCES, strict=True):
        assert head.label == offence.label
        assert set(offence.features) <= set(head.features)
        assert (head.eligible is not None) == offence.seniors_only
    for name, column in STANDARD.items():
        transform = catalogue.feature(name).transform
        assert isinstance(transform, Scaled)
        assert (transform.center, transform.scale) == (column.center, column.scale)
    assert pc.sum(pc.is_null(force.table["vetting_age_years"])).as_py() > 0
    assert len(split_by_silo(table)) == BOROUGHS
    assert force.table.schema.field(layout.person).type == pa.string()


def test_command_writes_the_table_of_a_seed_and_replaces_no_file(tmp_path):
    options = ["force", "table", "--people", "60", "--boroughs", "2", "--seed", "3", "--out"]
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    for file in (first, second):
        assert CliRunner().invoke(app, [*options, str(file)]).exit_code == 0
    assert pq.read_table(first).equals(pq.read_table(second))
    assert pq.read_table(first).equals(generate(people=60, boroughs=2, seed=3).table)
    before = first.read_bytes()
    assert CliRunner().invoke(app, [*options, str(first)]).exit_code == 3
    assert first.read_bytes() == before
