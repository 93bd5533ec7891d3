"""Where a release stands: requests are made once, sets are fixed once, vectors go, burns stay."""

import pytest

from coordinator.store.database import Database
from coordinator.store.runs import Runs
from protocol.errors import ConcurrentChange

PLAN = "1" * 64


@pytest.fixture
def runs(database):
    made = Runs(database)
    made.begin(PLAN, 0, request=b"request", tag_seed="2" * 64)
    return made


def test_release_that_was_not_begun_has_no_row(database):
    assert Runs(database).get(PLAN, 0) is None


def test_request_is_made_once(runs):
    with pytest.raises(ConcurrentChange):
        runs.begin(PLAN, 0, request=b"another", tag_seed="3" * 64)
    assert (runs.get(PLAN, 0).request, runs.get(PLAN, 0).tag_seed) == (b"request", "2" * 64)


def test_set_is_fixed_once(runs):
    runs.fix(PLAN, 0, statements={"a": "one"}, masked_sum=b"\x00\xff")
    runs.fix(PLAN, 0, statements={"b": "two"}, masked_sum=b"other")
    assert runs.get(PLAN, 0).statements == {"a": "one"}
    assert runs.masked_sum(PLAN, 0) == b"\x00\xff"


def test_state_survives_a_restart(place, runs, database):
    runs.fix(PLAN, 0, statements={"a": "one"}, masked_sum=b"sum")
    expected = runs.get(PLAN, 0)
    database.close()
    again = Database(place)
    assert Runs(again).get(PLAN, 0) == expected
    again.close()


def test_published_release_keeps_its_set_and_loses_its_masked_sum(tmp_path, runs, database):
    runs.fix(PLAN, 0, statements={"a": "one"}, masked_sum=b"synthetic-sum" * 50)
    runs.forget_sum(PLAN, 0)
    assert runs.masked_sum(PLAN, 0) is None
    assert runs.get(PLAN, 0).statements == {"a": "one"}
    database.close()
    # Of PostgreSQL's files nothing is promised: docs/operations.md, section 7.
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("c.sqlite*"))
    assert b"synthetic-sum".hex().encode() not in stored


def test_burnt_index_keeps_the_reason_and_loses_its_masked_sum(runs):
    runs.fix(PLAN, 0, statements={"a": "one"}, masked_sum=b"sum")
    runs.burn(PLAN, 0, reason="sum.invalid")
    assert (runs.get(PLAN, 0).burnt, runs.masked_sum(PLAN, 0)) == ("sum.invalid", None)
