"""What somebody can do who has the ledger's file, and which check finds it."""

import sqlite3

import pytest

from borough_node.ledger import Answer, Ledger, chain
from borough_node.ledger.schema import GUARDS
from protocol.documents.canonical import canonical_bytes
from protocol.errors import StorageError
from tests.borough_node.ledger.rows import (
    NOW,
    OTHER_PLAN,
    OTHER_REQUEST,
    PLAN,
    REQUEST,
    answer,
    charge,
    flag,
    rows_of,
    tamper,
    text,
)

# --- what the database refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE entries SET hash = 'x' WHERE number = 2", "never changed"),
        ("DELETE FROM entries WHERE number = 3", "never deleted"),
        ("INSERT INTO entries (number, content, hash) VALUES (9, x'7b7d', 'x')", "after the last"),
        ("INSERT OR REPLACE INTO entries (number, content, hash) VALUES (2, x'7b7d', 'x')", "after the last"),
        ("DELETE FROM answers", "never deleted"),
        ("UPDATE answers SET vector = x'00'", "never changed"),
        ("UPDATE answers SET statement = x'00', vector = NULL", "never changed"),
        ("DELETE FROM flags", "never deleted"),
        ("DELETE FROM checkpoints", "never deleted"),
    ],
)
def test_database_itself_refuses_to_change_what_is_only_added(path, ledger, statement, refusal):
    for index in range(3):
        answer(ledger, index=index)
    ledger.store_flags(PLAN, [flag("1" * 32)], at=text(NOW))
    ledger.store_evidence(b"earlier", b"later")
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match=refusal):
        connection.execute(statement)
    connection.close()


def test_two_charges_for_one_release_are_refused_by_the_database_itself(ledger):
    """Even if the code forgot to look: the same (plan, index), for whatever request, and a policy's second raising."""
    charge(ledger)
    ledger.store_flags(PLAN, [], at=text(NOW))
    for entry in ledger.entries():
        with pytest.raises(StorageError, match="UNIQUE"):
            ledger.append({**entry.content, "request": OTHER_REQUEST})
    assert ledger.head()[0] == 2


def test_answer_without_its_charge_is_refused_by_the_database_itself(ledger):
    charge(ledger)
    for plan, index, request in ((PLAN, 1, REQUEST), (OTHER_PLAN, 0, REQUEST), (PLAN, 0, OTHER_REQUEST)):
        with pytest.raises(StorageError, match="needs its charge"):
            ledger.store_answer(plan, index, Answer(request, b"statement", b"vector"))
        assert ledger.answer(plan, index) is None


# --- what is noticed when the ledger opens ----------------------------------------------------------------------


def test_guard_that_was_taken_away_is_missed(path, ledger):
    ledger.close()
    for name, made in GUARDS.items():
        kind = "TRIGGER" if "TRIGGER" in made else "INDEX"
        with sqlite3.connect(path) as connection:
            connection.execute(f"DROP {kind} {name}")
        with pytest.raises(StorageError, match=f"guard {name}"):
            Ledger(path)
        with sqlite3.connect(path) as connection:
            connection.execute(made)
    Ledger(path).close()


def test_guard_that_was_weakened_or_added_is_noticed(path, ledger):
    ledger.close()
    weak = GUARDS["one_charge_for_a_release"].replace("UNIQUE ", "")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX one_charge_for_a_release")
        connection.execute(weak)
    with pytest.raises(StorageError, match="guard one_charge_for_a_release"):
        Ledger(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX one_charge_for_a_release")
        connection.execute(GUARDS["one_charge_for_a_release"])
        connection.execute("CREATE TRIGGER quiet BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(StorageError, match="guard quiet"):
        Ledger(path)


@pytest.mark.parametrize("position", [2, 60, -2])
def test_flipped_bit_in_a_row_is_detected_when_the_ledger_opens(path, ledger, position):
    for index in range(3):
        charge(ledger, index=index)
    ledger.close()
    content = bytearray(rows_of(path)[1][1])
    content[position] ^= 1
    tamper(path, ("UPDATE entries SET content = ? WHERE number = 2", bytes(content)))
    with pytest.raises(StorageError, match="row 2 does not continue"):
        Ledger(path)


def test_row_whose_content_is_no_bytes_is_detected(path, ledger):
    """SQLite compares by type: the same text, stored as text, is another row."""
    charge(ledger)
    ledger.close()
    tamper(
        path,
        ("PRAGMA ignore_check_constraints = ON",),
        ("UPDATE entries SET content = CAST(content AS TEXT) WHERE number = 1",),
    )
    with pytest.raises(StorageError, match="row 1 does not continue"):
        Ledger(path)


@pytest.mark.parametrize(
    ("statements", "broken"),
    [
        ([("DELETE FROM entries WHERE number = 1",)], 1),
        ([("DELETE FROM entries WHERE number = 2",)], 2),
        ([("DELETE FROM entries WHERE number = 2",), ("UPDATE entries SET number = 2 WHERE number = 3",)], 2),
        (
            [
                ("UPDATE entries SET number = 9 WHERE number = 1",),
                ("UPDATE entries SET number = 1 WHERE number = 2",),
                ("UPDATE entries SET number = 2 WHERE number = 9",),
            ],
            1,
        ),
        ([("UPDATE entries SET number = 4 WHERE number = 3",)], 3),
        (
            [
                ("UPDATE entries SET number = 4 WHERE number = 3",),
                ("INSERT INTO entries (number, content, hash) SELECT 3, x'7b7d', hash FROM entries WHERE number = 2",),
            ],
            3,
        ),
        ([("UPDATE entries SET hash = upper(hash) WHERE number = 3",)], 3),
    ],
    ids=["first-removed", "removed", "removed-and-closed-up", "reordered", "renumbered", "inserted", "rehashed"],
)
def test_row_that_was_moved_removed_or_inserted_is_named(path, ledger, statements, broken):
    for index in range(3):
        charge(ledger, index=index)
    ledger.close()
    tamper(path, *statements)
    with pytest.raises(StorageError, match=f"row {broken} does not continue"):
        Ledger(path)


def test_row_with_a_recomputed_hash_breaks_the_rows_after_it(path, ledger):
    for index in range(3):
        charge(ledger, index=index)
    found = ledger.entries()
    ledger.close()
    forged = canonical_bytes({**found[1].content, "rho": 0.0})
    tamper(path, ("UPDATE entries SET content = ?, hash = ? WHERE number = 2", forged, chain(found[0].hash, forged)))
    with pytest.raises(StorageError, match="row 3 does not continue"):
        Ledger(path)


def test_last_row_removed_under_an_answer_is_detected(path, ledger):
    """The chain alone cannot see it: what is left of it is whole."""
    for index in range(3):
        answer(ledger, index=index)
    ledger.close()
    tamper(path, ("DELETE FROM entries WHERE number = 3",))
    with pytest.raises(StorageError, match="lacks the charge for index 2"):
        Ledger(path)


def test_last_row_removed_over_flags_is_detected(path, ledger):
    ledger.store_flags(PLAN, [flag("1" * 32), flag("2" * 32)], at=text(NOW))
    ledger.close()
    tamper(path, ("DELETE FROM flags WHERE flag_id = ?", "1" * 32))
    with pytest.raises(StorageError, match="holds 1 flags"):
        Ledger(path)
    tamper(path, ("DELETE FROM entries WHERE number = 1",))
    with pytest.raises(StorageError, match="holds 1 flags"):
        Ledger(path)


@pytest.mark.parametrize(
    ("field", "statement"),
    [
        ("kind", "UPDATE entries SET kind = 'flags' WHERE number = 2"),
        ("plan", "UPDATE entries SET plan = '' WHERE number = 2"),
        ("index", 'UPDATE entries SET "index" = 7 WHERE number = 2'),
        ("request", "UPDATE entries SET request = NULL WHERE number = 2"),
        ("purpose", "UPDATE entries SET purpose = 'two' WHERE number = 2"),
        ("at", "UPDATE entries SET at = '2001-01-01T00:00:00Z' WHERE number = 2"),
        ("policy", "UPDATE entries SET policy = 'x' WHERE number = 2"),
    ],
)
def test_derived_column_that_says_something_else_than_its_row_is_detected(path, ledger, field, statement):
    """Generated columns cannot be set; so the attacker makes a table whose columns can, and hides the spending."""
    charge(ledger)
    charge(ledger, index=1)
    ledger.close()
    forge = (
        ('CREATE TABLE forged AS SELECT number, content, hash, kind, plan, "index", request, purpose, at, policy '
         "FROM entries",),
        ("DROP TABLE entries",),
        ("ALTER TABLE forged RENAME TO entries",),
    )  # fmt: skip
    tamper(path, *forge, (statement,))
    with pytest.raises(StorageError, match=f"row 2: column {field}"):
        Ledger(path)


def test_generated_column_cannot_be_set(path, ledger):
    charge(ledger)
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.OperationalError, match="generated column"):
        connection.execute("UPDATE entries SET purpose = 'two'")
    connection.close()


def test_index_that_was_changed_in_the_file_itself_is_detected(path, ledger):
    """The index is where a query looks; its bytes are not in the chain."""
    charge(ledger)
    ledger.close()
    content = path.read_bytes()
    places = [place for place in range(len(content)) if content.startswith(PLAN.encode(), place)]
    assert len(places) == 2
    found = []
    for place in places:
        path.write_bytes(content[:place] + b"0" + content[place + 1 :])
        with pytest.raises(StorageError) as raised:
            Ledger(path)
        found.append("chain" if "chain" in raised.value.detail else raised.value.detail)
    assert "chain" in found
    assert any("damaged" in detail and "one_charge_for_a_release" in detail for detail in found)
    path.write_bytes(content)
    Ledger(path).close()
