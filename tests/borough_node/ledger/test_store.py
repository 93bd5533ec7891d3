"""The ledger: charges that are made once, answers that are made once, and a window that slides."""

import json
import math
import sqlite3
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from borough_node.ledger import GENESIS, Answer, Ledger, chain
from protocol.documents.canonical import canonical_bytes
from protocol.documents.plan import Statement
from protocol.errors import BehindLog, MalformedDocument, StorageError
from protocol.ids import digest_of
from protocol.signing.dsse import sign
from protocol.signing.keys import SigningKey
from tests.borough_node.ledger.rows import NOW, OTHER_PLAN, OTHER_REQUEST, PLAN, REQUEST, answer, charge, flag, text


def test_empty_ledger_has_the_genesis_hash_as_its_head(ledger):
    assert ledger.head() == (0, GENESIS)


def test_every_row_hashes_the_row_before_it(ledger):
    for index in range(3):
        charge(ledger, index=index)
    previous = GENESIS
    for entry in ledger.entries():
        previous = chain(previous, canonical_bytes(entry.content))
        assert entry.hash == previous
    assert ledger.head() == (3, previous)


def test_ledger_that_is_opened_again_continues_its_chain(path, ledger):
    charge(ledger)
    head = ledger.head()
    ledger.close()
    again = Ledger(path)
    assert again.head() == head
    charge(again, index=1)
    again.verify()
    assert again.head()[0] == 2
    again.close()


def test_ledger_of_another_schema_is_refused(path, ledger):
    charge(ledger)
    ledger.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="schema 1, this version knows 2; nothing was changed"):
        Ledger(path)
    assert path.read_bytes() == before


def test_ledger_file_is_readable_by_its_owner_only(path, ledger):
    assert path.stat().st_mode & 0o077 == 0


# --- charges ----------------------------------------------------------------------------------------------------


def test_same_release_is_charged_once(ledger):
    charge(ledger)
    charge(ledger, at=NOW + timedelta(hours=1))
    assert len(ledger.entries()) == 1
    assert ledger.spent("one", now=NOW) == 0.5


def test_another_request_for_a_charged_index_is_refused(ledger):
    charge(ledger)
    with pytest.raises(StorageError, match="another request"):
        charge(ledger, request=OTHER_REQUEST)
    assert len(ledger.entries()) == 1


def test_same_index_of_another_plan_is_another_charge(ledger):
    charge(ledger)
    charge(ledger, plan=OTHER_PLAN, request=OTHER_REQUEST)
    assert ledger.spent("one", now=NOW) == 1.0


def test_spending_counts_one_purpose_only(ledger):
    charge(ledger)
    charge(ledger, index=1, purpose="two", rho=0.25)
    assert (ledger.spent("one", now=NOW), ledger.spent("two", now=NOW)) == (0.5, 0.25)


@pytest.mark.parametrize(("days", "spent"), [(0, 0.5), (364, 0.5), (365, 0.0), (1000, 0.0)])
def test_spending_leaves_the_window_after_365_days(ledger, days, spent):
    charge(ledger)
    assert ledger.spent("one", now=NOW + timedelta(days=days)) == spent


def test_window_slides_over_several_charges(ledger):
    for month in range(4):
        charge(ledger, index=month, rho=2.0**-month, at=NOW + timedelta(days=100 * month))
    assert ledger.spent("one", now=NOW + timedelta(days=300)) == 1.875
    assert ledger.spent("one", now=NOW + timedelta(days=366)) == 0.875
    assert ledger.spent("one", now=NOW + timedelta(days=566)) == 0.125


def test_rows_that_are_not_releases_are_not_spending(ledger):
    ledger.append({"kind": "note", "purpose": "one", "rho": 1.0, "at": "2031-03-04T12:00:00Z"})
    ledger.store_flags(PLAN, [], at="2031-03-04T12:00:00Z")
    assert ledger.spent("one", now=NOW) == 0.0


@pytest.mark.parametrize("rho", [-1e-9, math.nan, math.inf])
def test_charge_that_is_no_cost_is_refused(ledger, rho):
    with pytest.raises((StorageError, MalformedDocument)):
        charge(ledger, rho=rho)
    assert ledger.head() == (0, GENESIS)


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 800), st.sampled_from(["one", "two"]), st.floats(0, 1e3)), min_size=1, max_size=12
    ),
    day=st.integers(0, 1200),
)
def test_spending_is_the_exact_sum_of_the_rows_in_the_window(tmp_path_factory, rows, day):
    """Against the definition, row by row; bit for bit, because fsum rounds once."""
    ledger = Ledger(tmp_path_factory.mktemp("window") / "ledger.sqlite")
    for index, (days, purpose, rho) in enumerate(rows):
        charge(ledger, index=index, purpose=purpose, rho=rho, at=NOW + timedelta(days=days))
    now = NOW + timedelta(days=day)
    for purpose in ("one", "two", "three"):
        expected = math.fsum(rho for days, named, rho in rows if named == purpose and days > day - 365)
        assert ledger.spent(purpose, now=now) == expected
    ledger.close()


# --- cost -------------------------------------------------------------------------------------------------------


def filled(path, rows):
    """Return a ledger with so many old charges, made through the guards but not one commit each."""
    ledger, previous = Ledger(path), GENESIS
    with ledger.writing() as connection:
        values = []
        for number in range(1, rows + 1):
            content = json.dumps(
                {"at": "2029-01-01T00:00:00Z", "index": number, "kind": "release", "plan": OTHER_PLAN, "purpose": "one",
                 "request": REQUEST, "rho": 0.5}, separators=(",", ":")
            ).encode()  # fmt: skip
            previous = chain(previous, content)
            values.append((number, content, previous))
        connection.exec_driver_sql("INSERT INTO entries (number, content, hash) VALUES (?, ?, ?)", values)
    return ledger


def steps(ledger, act):
    """Return how many steps SQLite's own machine takes for something: what a query costs, without a clock."""
    counted = [0]

    def count():
        counted[0] += 1
        return 0

    with ledger.transaction() as connection:
        connection.connection.dbapi_connection.set_progress_handler(count, 1)
    act(ledger)
    with ledger.transaction() as connection:
        connection.connection.dbapi_connection.set_progress_handler(None, 1)
    return counted[0]


def test_cost_of_a_release_does_not_grow_with_the_ledger(tmp_path):
    acts = (
        lambda ledger: ledger.is_charged(PLAN, 0, REQUEST),
        lambda ledger: ledger.spent("one", now=NOW),
        charge,
        lambda ledger: ledger.spent("one", now=NOW),
        lambda ledger: ledger.is_charged(PLAN, 0, REQUEST),
        lambda ledger: ledger.store_answer(PLAN, 0, Answer(REQUEST, b"statement", b"vector")),
        lambda ledger: ledger.head(),
        lambda ledger: ledger.flags(PLAN),
        lambda ledger: ledger.store_flags(PLAN, [], at=text(NOW)),
    )
    costs = []
    for rows in (10, 20_000):
        ledger = filled(tmp_path / f"{rows}.sqlite", rows)
        costs.append([steps(ledger, act) for act in acts])
        ledger.close()
    assert all(cost > 0 for cost in costs[0])
    assert costs[0] == costs[1]


# --- answers ----------------------------------------------------------------------------------------------------


def test_stored_answer_is_never_made_again(ledger):
    first = answer(ledger)
    second = ledger.store_answer(PLAN, 0, Answer(REQUEST, b"another", b"mask"))
    assert second == first == Answer(REQUEST, b"statement", b"vector")


def test_answer_survives_a_restart(path, ledger):
    answer(ledger, index=3)
    ledger.close()
    again = Ledger(path)
    assert again.answer(PLAN, 3) == Answer(REQUEST, b"statement", b"vector")
    assert again.answer(PLAN, 2) is None
    again.close()


def test_vectors_are_forgotten_at_close_and_statements_are_not(ledger):
    answer(ledger)
    answer(ledger, plan=OTHER_PLAN)
    ledger.forget_vectors(PLAN)
    assert ledger.answer(PLAN, 0) == Answer(REQUEST, b"statement", None)
    assert ledger.answer(OTHER_PLAN, 0) == Answer(REQUEST, b"statement", b"vector")


def on_disk(path):
    return b"".join(file.read_bytes() for file in path.parent.glob("ledger.sqlite*"))


def test_forgotten_vector_leaves_no_bytes_in_the_file(path, ledger):
    answer(ledger, vector=b"synthetic-vector-bytes-" * 400)
    assert b"synthetic-vector-bytes-" in on_disk(path)
    ledger.forget_vectors(PLAN)
    assert b"synthetic-vector-bytes-" not in on_disk(path)
    before = on_disk(path)
    ledger.forget_vectors(PLAN)
    assert on_disk(path) == before


def test_vector_whose_forgetting_was_interrupted_is_gone_after_the_next_start(path, ledger, monkeypatch):
    """Killed after the commit and before the write-ahead log was emptied; at the next start nothing is left to forget."""
    answer(ledger, vector=b"synthetic-vector-bytes-" * 400)
    monkeypatch.setattr(Ledger, "scrub", lambda self: None)
    ledger.forget_vectors(PLAN)
    assert b"synthetic-vector-bytes-" in on_disk(path)
    monkeypatch.undo()
    again = Ledger(path)
    assert b"synthetic-vector-bytes-" not in on_disk(path)
    again.close()


def said(ledger, *, length, head):
    """Return a signed statement that counts so many rows."""
    statement = Statement(
        borough="borough-1",
        plan=PLAN,
        index=0,
        request=REQUEST,
        public_key="0" * 64,
        vector=digest_of(b"vector"),
        ledger_head=head,
        ledger_length=length,
        ledger_rows=(),
    )
    return sign(statement, SigningKey.generate()).encode()


def test_statement_in_the_log_that_the_ledger_lacks_shows_a_restored_backup(ledger):
    charge(ledger)
    length, head = ledger.head()
    statement = said(ledger, length=length, head=head)
    answer(ledger, statement=statement)
    charge(ledger, index=1)
    ledger.require_answered(PLAN, 0, digest_of(statement))
    for index, digest in ((1, digest_of(statement)), (0, digest_of(b"another"))):
        with pytest.raises(BehindLog, match="lacks"):
            ledger.require_answered(PLAN, index, digest)


@pytest.mark.parametrize(("length", "head"), [(1, GENESIS), (2, None), (2, GENESIS)])
def test_statement_that_counted_other_rows_shows_a_ledger_that_was_rewritten(ledger, length, head):
    """Whole in itself, with every answer in place, and yet not the ledger that the log has seen."""
    charge(ledger)
    statement = said(ledger, length=length, head=head or ledger.head()[1])
    answer(ledger, statement=statement)
    ledger.verify()
    with pytest.raises(BehindLog, match="fewer, or other ones"):
        ledger.require_answered(PLAN, 0, digest_of(statement))


# --- flags, secrets, evidence -----------------------------------------------------------------------------------


def test_flags_of_a_policy_are_stored_once(ledger):
    assert ledger.flags(PLAN) is None
    ledger.store_flags(PLAN, [flag("1" * 32), flag("2" * 32)], at="2031-03-04T12:00:00Z")
    with pytest.raises(StorageError, match="raised before"):
        ledger.store_flags(PLAN, [], at="2031-03-04T12:00:00Z")
    assert [stored.flag_id for stored in ledger.flags(PLAN)] == ["1" * 32, "2" * 32]


def test_policy_that_flags_nobody_is_remembered_as_scored(ledger):
    ledger.store_flags(PLAN, [], at="2031-03-04T12:00:00Z")
    assert ledger.flags(PLAN) == ()


def test_place_of_a_flag_in_the_log_is_kept(ledger):
    ledger.store_flags(PLAN, [flag("1" * 32)], at=text(NOW))
    ledger.locate_flags({"1" * 32: 17})
    assert ledger.flags(PLAN)[0].log_index == 17


def test_secret_keeps_its_first_value(ledger):
    assert ledger.secret("pseudonym/x", b"first") == b"first"
    assert ledger.secret("pseudonym/x", b"second") == b"first"
    assert ledger.secret("pseudonym/y", b"second") == b"second"


def test_evidence_of_a_fork_survives_later_checkpoints(ledger):
    ledger.store_evidence(b"earlier", b"later")
    ledger.store_checkpoint(b"another")
    assert ledger.has_evidence()
    assert ledger.checkpoint() == b"another"
