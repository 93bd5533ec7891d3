"""A plan's rows: the right columns, the right cutoffs, and no person with more rows than the plan counts."""

import numpy as np
import pytest

from borough_node.ledger.reviews import Outcome, Reviews, Selected
from borough_node.records import Records
from protocol.errors import TableInvalid
from tests.world import CATALOGUE, REASON, SCORING, TRAINING, table

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


def test_releases_that_follow_each_other_prepare_the_same_rows_once(document):
    kept = records()
    _, training = kept.cohort_for("second_moment", document, CATALOGUE)
    assert kept.cohort_for("gradient", document, CATALOGUE)[1] is training
    _, scoring = kept.cohort_for("evaluation", document, CATALOGUE)
    assert not np.array_equal(scoring.labels, training.labels)
    again = kept.cohort_for("gradient", document, CATALOGUE)[1]
    assert again is not training
    assert np.array_equal(again.rows, training.rows)


def test_rows_are_prepared_anew_once_a_review_has_ended(document, tmp_path):
    raw = table("borough-1", PEOPLE)
    at = raw.cutoff == TRAINING
    person, label = str(raw.person[at][0]), raw.labels["y_first"][at][0]
    reviews, today = Reviews(tmp_path / "reviews.sqlite"), "2031-03-04"
    kept = Records(lambda catalogue: raw, reviews)
    reviews.add("0" * 64, Selected("first", person, listed_on=today), cutoff=TRAINING)
    assert kept.cohort_for("gradient", document, CATALOGUE)[1].labels[0, 0] == label
    (review,) = reviews.listed(on=today)
    found = Outcome(is_substantiated=not label, reviewer="reviewer-1", reasons=REASON, recorded_at=today)
    reviews.record(review.review_id, found, on=today, is_correction=False)
    assert kept.cohort_for("gradient", document, CATALOGUE)[1].labels[0, 0] == 1 - label
    reviews.close()


@pytest.mark.parametrize(("function", "refused"), [("gradient", False), ("evaluation", True)])
def test_row_without_a_label_is_refused_where_a_release_reads_it_and_nowhere_else(document, function, refused):
    raw = table("borough-1", PEOPLE)
    latest = np.cumsum(raw.cutoff == SCORING) * (raw.cutoff == SCORING)
    raw.labels["y_second"] = np.where((latest > 0) & (latest <= 3), np.nan, raw.labels["y_second"])
    kept = Records(lambda catalogue: raw)
    if not refused:
        assert not np.isnan(kept.cohort_for(function, document, CATALOGUE)[1].labels).any()
        return
    with pytest.raises(TableInvalid, match=r"column y_second: 3 rows .* have no label"):
        kept.cohort_for(function, document, CATALOGUE)


def test_borough_without_rows_at_a_cutoff_has_an_empty_cohort(document):
    columns, cohort = records().cohort(document, CATALOGUE, first_cutoff=1990, last_cutoff=1990)
    assert cohort.rows.shape == (0, columns.width)
