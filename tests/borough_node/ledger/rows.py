"""Charges, answers and flags with made-up digests, and hands that reach into the file."""

import sqlite3
from datetime import UTC, datetime

from borough_node.ledger import Answer, StoredFlag
from borough_node.ledger.schema import GUARDS

PLAN, OTHER_PLAN = "1" * 64, "2" * 64
REQUEST, OTHER_REQUEST = "a" * 64, "b" * 64
NOW = datetime(2031, 3, 4, 12, 0, 0, tzinfo=UTC)


def text(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def charge(ledger, *, plan=PLAN, index=0, request=REQUEST, purpose="one", rho=0.5, at=NOW):
    ledger.charge(plan=plan, index=index, request=request, purpose=purpose, rho=rho, at=text(at))


def answer(ledger, *, plan=PLAN, index=0, statement=b"statement", vector=b"vector"):
    """Charge a release and store an answer to it."""
    charge(ledger, plan=plan, index=index)
    return ledger.store_answer(plan, index, Answer(REQUEST, statement, vector))


def tamper(path, *statements):
    """Change the file as somebody does who knows it: take the guards away, act, and put them back."""
    with sqlite3.connect(path) as connection:
        for name, made in GUARDS.items():
            connection.execute(f"DROP {'TRIGGER' if 'TRIGGER' in made else 'INDEX'} {name}")
        for statement, *values in statements:
            connection.execute(statement, values)
        for made in GUARDS.values():
            connection.execute(made)
    connection.close()


def rows_of(path):
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT number, content, hash FROM entries ORDER BY number").fetchall()
    connection.close()
    return found


def flag(flag_id):
    return StoredFlag(flag_id, b"envelope", b"ciphertext", (b"share 1", b"share 2"), None)
