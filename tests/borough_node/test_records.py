"""A plan's rows: the right columns, the right cutoffs, and no person with more rows than the plan counts."""

import numpy as np
import pytest

from borough_node.records import Records
from protocol.errors import TableInvalid
from tests.world import CATALOGUE, SCORING, TRAINING, table

PEOPLE = 30


@pytest.fixture
def document(world):
    return world.draft()


def records():
    return Records(lambda catalogue: table("borough-1", PEOPLE))


def test_columns_are_the_intercept_and_the_features_that_heads_use(document):
    columns, cohort = records().cohort(document, CATALOGUE, first_cutoff=TRAINING, last_cutoff=TRAINING)
    assert columns.names == ("intercept", "alpha", "beta", "gamma", "senior")
    assert cohort.rows.shape == (PEOPLE, 5)
    assert (cohort.rows[:, 0] == 1).all()
    raw = table("borough-1", PEOPLE)
    at = raw.cutoff == TRAINING
    assert np.array_equal(cohort.rows[:, 1], np.clip(raw.features["alpha"][at], -4, 4))
    assert np.array_equal(cohort.labels, np.column_stack([raw.labels["y_first"][at], raw.labels["y_second"][at]]))


@pytest.mark.parametrize(
    ("function", "cutoff"), [("second_moment", TRAINING), ("gradient", TRAINING), ("evaluation", SCORING)]
)
def test_each_release_reads_its_own_cutoff(document, function, cutoff):
    _, cohort = records().cohort_for(function, document, CATALOGUE)
    raw = table("borough-1", PEOPLE)
    assert np.array_equal(cohort.labels[:, 0], raw.labels["y_first"][raw.cutoff == cutoff])


def test_person_with_more_rows_than_the_plan_counts_is_refused(document):
    with pytest.raises(TableInvalid, match="rows_per_person"):
        records().cohort(document, CATALOGUE, first_cutoff=TRAINING, last_cutoff=SCORING)


def test_table_is_read_once_for_each_catalogue(document):
    reads = []

    def read(catalogue):
        reads.append(catalogue.digest())
        return table("borough-1", PEOPLE)

    kept = Records(read)
    for _ in range(3):
        kept.cohort_for("gradient", document, CATALOGUE)
    assert reads == [CATALOGUE.digest()]


def test_borough_without_rows_at_a_cutoff_has_an_empty_cohort(document):
    columns, cohort = records().cohort(document, CATALOGUE, first_cutoff=1990, last_cutoff=1990)
    assert cohort.rows.shape == (0, columns.width)
