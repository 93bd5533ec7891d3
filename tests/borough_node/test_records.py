"""A plan's rows: the right columns, the right cutoffs, and no person with more rows than the plan counts."""

import dataclasses

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


def dated(raw, **known_from):
    """A table that says from which cutoff each label was known, as one made of events does."""
    columns = {name: np.where(raw.labels[name] == 1, known_from.get(name, TRAINING), 0) for name in raw.labels}
    return dataclasses.replace(raw, known_from=columns)


def test_what_was_not_known_at_the_evaluation_cutoff_labels_no_row_before_it(document):
    raw = table("borough-1", PEOPLE)
    kept = Records(lambda catalogue: dated(raw, y_first=SCORING, y_second=SCORING + 1))
    training, scoring = (
        np.column_stack([raw.labels["y_first"], raw.labels["y_second"]])[raw.cutoff == cutoff]
        for cutoff in (TRAINING, SCORING)
    )
    assert training.sum(axis=0).min() > 0
    found = kept.cohort_for("gradient", document, CATALOGUE)[1].labels
    assert np.array_equal(found, training * [1.0, 0.0])
    # Whoever evaluates may look back: that is what a label is.
    assert np.array_equal(kept.cohort_for("evaluation", document, CATALOGUE)[1].labels, scoring)


@pytest.mark.parametrize(("ended", "counts"), [("1014-12-31T23:59:59Z", True), ("1015-01-01T00:00:00Z", False)])
def test_a_review_that_ended_after_the_evaluation_cutoff_labels_no_row_before_it(document, tmp_path, ended, counts):
    raw = dated(table("borough-1", PEOPLE))
    at = raw.cutoff == TRAINING
    person, label = str(raw.person[at][0]), raw.labels["y_first"][at][0]
    reviews, today = Reviews(tmp_path / "reviews.sqlite"), ended[:10]
    for cutoff in (TRAINING, SCORING):
        reviews.add(str(cutoff % 10) * 64, Selected("first", person, listed_on=today), cutoff=cutoff)
    for review in reviews.listed(on=today):
        found = Outcome(is_substantiated=not label, reviewer="reviewer-1", reasons=REASON, recorded_at=ended)
        reviews.record(review.review_id, found, on=today, is_correction=False)
    kept = Records(lambda catalogue: raw, reviews)
    # SCORING, taken for a half-year, is 1 January 1015.
    assert kept.cohort_for("gradient", document, CATALOGUE)[1].labels[0, 0] == (1 - label if counts else label)
    assert kept.cohort_for("evaluation", document, CATALOGUE)[1].labels[0, 0] == 1 - label
    reviews.close()


def test_borough_without_rows_at_a_cutoff_has_an_empty_cohort(document):
    columns, cohort = records().cohort(document, CATALOGUE, first_cutoff=1990, last_cutoff=1990)
    assert cohort.rows.shape == (0, columns.width)
