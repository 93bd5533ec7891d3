"""The ledger: a chain of charges that only grows, and answers that are made once."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from borough_node.ledger import GENESIS, Answer, Ledger, StoredFlag, chain
from protocol.documents.canonical import canonical_bytes
from protocol.errors import BehindLog, StorageError
from protocol.ids import digest_of

PLAN, OTHER_PLAN = "1" * 64, "2" * 64
REQUEST, OTHER_REQUEST = "a" * 64, "b" * 64
NOW = datetime(2031, 3, 4, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    opened = Ledger(path)
    yield opened
    opened.close()


def charge(ledger, *, plan=PLAN, index=0, request=REQUEST, purpose="one", rho=0.5, at=NOW):
    ledger.charge(
        plan=plan, index=index, request=request, purpose=purpose, rho=rho, at=at.strftime("%Y-%m-%dT%H:%M:%SZ")
    )


def tamper(path, statement, *values):
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)


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


@pytest.mark.parametrize("position", [0, 7, -1])
def test_flipped_byte_in_a_row_is_detected_when_the_ledger_opens(path, ledger, position):
    for index in range(3):
        charge(ledger, index=index)
    ledger.close()
    with sqlite3.connect(path) as connection:
        content = bytearray(connection.execute("SELECT content FROM entries WHERE number = 2").fetchone()[0])
    content[position] ^= 1
    tamper(path, "UPDATE entries SET content = ? WHERE number = 2", bytes(content))
    with pytest.raises(StorageError, match="row 2"):
        Ledger(path)


def test_removed_row_is_detected_when_the_ledger_opens(path, ledger):
    for index in range(3):
        charge(ledger, index=index)
    ledger.close()
    tamper(path, "DELETE FROM entries WHERE number = 2")
    with pytest.raises(StorageError, match="row 2"):
        Ledger(path)


def test_row_with_a_recomputed_hash_breaks_the_rows_after_it(path, ledger):
    for index in range(3):
        charge(ledger, index=index)
    entries = ledger.entries()
    ledger.close()
    forged = canonical_bytes({**entries[1].content, "rho": 0.0})
    tamper(path, "UPDATE entries SET content = ?, hash = ? WHERE number = 2", forged, chain(entries[0].hash, forged))
    with pytest.raises(StorageError, match="row 3"):
        Ledger(path)


def test_ledger_of_another_schema_is_refused(path, ledger):
    ledger.close()
    tamper(path, "PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="schema 99"):
        Ledger(path)


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
    ledger.append({"kind": "note", "at": "2031-03-04T12:00:00Z"})
    ledger.store_flags(PLAN, [], at="2031-03-04T12:00:00Z")
    assert ledger.spent("one", now=NOW) == 0.0


# --- answers ----------------------------------------------------------------------------------------------------


def test_stored_answer_is_never_made_again(ledger):
    first = ledger.store_answer(PLAN, 0, Answer(REQUEST, b"statement", b"vector"))
    second = ledger.store_answer(PLAN, 0, Answer(REQUEST, b"another", b"mask"))
    assert second == first == Answer(REQUEST, b"statement", b"vector")


def test_answer_survives_a_restart(path, ledger):
    ledger.store_answer(PLAN, 3, Answer(REQUEST, b"statement", b"vector"))
    ledger.close()
    again = Ledger(path)
    assert again.answer(PLAN, 3) == Answer(REQUEST, b"statement", b"vector")
    assert again.answer(PLAN, 2) is None
    again.close()


def test_vectors_are_forgotten_at_close_and_statements_are_not(ledger):
    ledger.store_answer(PLAN, 0, Answer(REQUEST, b"statement", b"vector"))
    ledger.store_answer(OTHER_PLAN, 0, Answer(REQUEST, b"statement", b"vector"))
    ledger.forget_vectors(PLAN)
    assert ledger.answer(PLAN, 0) == Answer(REQUEST, b"statement", None)
    assert ledger.answer(OTHER_PLAN, 0) == Answer(REQUEST, b"statement", b"vector")


def test_forgotten_vector_leaves_no_bytes_in_the_file(path, ledger):
    marker = b"synthetic-vector-bytes-" * 400
    ledger.store_answer(PLAN, 0, Answer(REQUEST, b"statement", marker))
    ledger.forget_vectors(PLAN)
    ledger.close()
    files = b"".join(file.read_bytes() for file in path.parent.glob("ledger.sqlite*"))
    assert b"synthetic-vector-bytes-" not in files


def test_statement_in_the_log_that_the_ledger_lacks_shows_a_restored_backup(ledger):
    ledger.store_answer(PLAN, 0, Answer(REQUEST, b"statement", b"vector"))
    ledger.require_answered(PLAN, 0, digest_of(b"statement"))
    for index, statement in ((1, b"statement"), (0, b"another")):
        with pytest.raises(BehindLog):
            ledger.require_answered(PLAN, index, digest_of(statement))


# --- flags, secrets, evidence -----------------------------------------------------------------------------------


def flag(flag_id):
    return StoredFlag(flag_id, b"envelope", b"ciphertext", (b"share 1", b"share 2"), None)


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
    ledger.store_flags(PLAN, [flag("1" * 32)], at="2031-03-04T12:00:00Z")
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
