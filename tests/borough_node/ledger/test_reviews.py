"""The reviews' store: a sample is drawn once, an outcome is added and never changed, and nothing says who was flagged."""

import sqlite3

import pytest

from borough_node.ledger.reviews import Outcome, Reviews, Selected
from protocol.errors import ReviewRecorded, ReviewUnknown, StorageError

POLICY, OTHER = "1" * 64, "2" * 64
TODAY, TOMORROW = "2031-03-04", "2031-03-05"
FOUND = Outcome(True, "reviewer-1", "made-up reasons", "2031-03-04T12:00:00Z")


@pytest.fixture
def reviews(tmp_path):
    made = Reviews(tmp_path / "reviews.sqlite")
    yield made
    made.close()


def selected(person="P-1", category="first", day=TODAY):
    return Selected(category, person, day)


def only(reviews, on=TODAY):
    (one,) = reviews.listed(on=on)
    return one


def test_sample_is_drawn_once(reviews):
    reviews.store_sample(POLICY, [selected("P-1"), selected("P-2")], cutoff=2030)
    reviews.store_sample(POLICY, [selected("P-3")], cutoff=2030)
    assert {one.person for one in reviews.listed(on=TODAY)} == {"P-1", "P-2"}
    reviews.store_sample(OTHER, [selected("P-3")], cutoff=2031)
    assert {(one.person, one.cutoff) for one in reviews.listed(on=TODAY)} == {
        ("P-1", 2030),
        ("P-2", 2030),
        ("P-3", 2031),
    }


def test_empty_sample_was_drawn_too(reviews):
    reviews.store_sample(POLICY, [], cutoff=2030)
    reviews.store_sample(POLICY, [selected()], cutoff=2030)
    assert reviews.listed(on=TODAY) == ()


def test_nobody_is_listed_before_their_day(reviews):
    reviews.store_sample(POLICY, [selected(day=TOMORROW)], cutoff=2030)
    assert reviews.listed(on=TODAY) == ()
    review = only(reviews, on=TOMORROW)
    with pytest.raises(ReviewUnknown):
        reviews.record(review.review_id, FOUND, on=TODAY, is_correction=False)
    reviews.record(review.review_id, FOUND, on=TOMORROW, is_correction=False)
    assert only(reviews, on=TOMORROW).outcome == FOUND


def test_person_who_is_on_the_list_is_not_added_again(reviews):
    reviews.store_sample(POLICY, [selected(day=TOMORROW)], cutoff=2030)
    reviews.add(POLICY, selected(), cutoff=2030)
    assert reviews.listed(on=TODAY) == ()
    reviews.add(POLICY, selected(category="second"), cutoff=2030)
    assert only(reviews).category == "second"


def test_last_of_several_outcomes_counts_and_the_earlier_ones_stay(reviews, tmp_path):
    reviews.add(POLICY, selected(), cutoff=2030)
    review = only(reviews)
    reviews.record(review.review_id, FOUND, on=TODAY, is_correction=False)
    with pytest.raises(ReviewRecorded, match="has an outcome"):
        reviews.record(review.review_id, FOUND, on=TODAY, is_correction=False)
    second = Outcome(False, "reviewer-2", "the first finding was of somebody else", "2031-03-04T13:00:00Z")
    reviews.record(review.review_id, second, on=TODAY, is_correction=True)
    assert only(reviews).outcome == second
    assert [one.outcome for one in reviews.finished()] == [second]
    with sqlite3.connect(tmp_path / "reviews.sqlite") as connection:
        assert connection.execute("SELECT reviewer FROM outcomes ORDER BY number").fetchall() == [
            ("reviewer-1",),
            ("reviewer-2",),
        ]
    connection.close()


def test_correction_needs_something_to_correct(reviews):
    reviews.add(POLICY, selected(), cutoff=2030)
    with pytest.raises(ReviewRecorded, match="no outcome"):
        reviews.record(only(reviews).review_id, FOUND, on=TODAY, is_correction=True)


def test_finished_reviews_are_ordered_by_when_they_were_recorded(reviews):
    for number in range(8):
        reviews.add(POLICY, selected(f"P-{number}"), cutoff=2030)
    listed = reviews.listed(on=TODAY)
    for one in listed[::-1]:
        reviews.record(one.review_id, FOUND, on=TODAY, is_correction=False)
    assert [one.person for one in reviews.finished()] == [one.person for one in listed[::-1]]


def test_order_of_the_list_does_not_follow_the_order_of_arrival(reviews):
    """Of 40 people in the order of their arrival by chance: 1 in 40!."""
    people = [f"P-{number:02d}" for number in range(40)]
    for person in people:
        reviews.add(POLICY, selected(person), cutoff=2030)
    listed = [one.person for one in reviews.listed(on=TODAY)]
    assert sorted(listed) == people
    assert listed != people


def test_dry_run_checks_and_writes_nothing(reviews):
    reviews.add(POLICY, selected(), cutoff=2030)
    reviews.record(only(reviews).review_id, FOUND, on=TODAY, is_correction=False, dry_run=True)
    assert reviews.finished() == ()
    with pytest.raises(ReviewUnknown):
        reviews.record("0" * 32, FOUND, on=TODAY, is_correction=False, dry_run=True)


@pytest.mark.parametrize(
    "change",
    ["UPDATE reviews SET review_id = 'x'", "UPDATE outcomes SET is_substantiated = 0"],
    ids=["review", "outcome"],
)
def test_what_was_recorded_is_not_changed(reviews, tmp_path, change):
    reviews.add(POLICY, selected(), cutoff=2030)
    reviews.record(only(reviews).review_id, FOUND, on=TODAY, is_correction=False)
    with (
        sqlite3.connect(tmp_path / "reviews.sqlite") as connection,
        pytest.raises(sqlite3.DatabaseError, match="never"),
    ):
        connection.execute(change)
    connection.close()


def test_file_is_the_owners_alone_and_outlives_the_process(reviews, tmp_path):
    path = tmp_path / "reviews.sqlite"
    assert path.stat().st_mode & 0o077 == 0
    reviews.store_sample(POLICY, [selected()], cutoff=2030)
    again = Reviews(path)
    assert only(again) == only(reviews)
    again.close()


def test_looking_makes_no_file(tmp_path):
    with pytest.raises(StorageError, match="not there"):
        Reviews(tmp_path / "absent.sqlite", read_only=True)
