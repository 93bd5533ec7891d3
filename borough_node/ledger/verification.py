"""Whether a ledger's file still is what was written: the chain, what is derived from it, the guards, the pages.

What each check finds:

- the chain: a row changed, removed from the middle, inserted or moved; it cannot see that the last rows are gone;
- answers without their charge, flags without their row: last rows gone, while what they stand for is still there;
- derived columns, guards, pages: a query would look for something else than what the rows say.

Whoever rewrites all of it at once leaves a file that is whole in itself. That is found by the log alone, which holds the
head and length that the node's statements carried: ``Ledger.require_answered`` and ``comparison``.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from borough_node.ledger.schema import DERIVED, GUARDS, ROWS, answers, entries, sealed_flags
from protocol.documents.plan import Statement
from protocol.errors import StorageError
from protocol.ids import digest_of
from protocol.signing.dsse import Envelope


def verify(connection: sa.Connection) -> None:
    """Return if the ledger is whole. Raises: StorageError naming the first row, or the part, that is not."""
    ROWS.verify(connection)
    _verify_derived(connection)
    ROWS.verify_guards(connection, GUARDS)
    ROWS.verify_pages(connection)
    _verify_answers(connection)
    _verify_flags(connection)


def verify_statements(connection: sa.Connection) -> int:
    """Return how many answers there are, if each is what its own statement says.

    Its plan, index, request and vector, and the rows that the ledger had then. Slower than ``verify``: it reads every
    vector that is still held. Raises: StorageError naming the first answer that is not.
    """
    count = 0
    hashes = {number: hash_ for number, hash_ in connection.execute(sa.select(entries.c.number, entries.c.hash))}
    held = sa.select(answers.c.plan, answers.c["index"], answers.c.request, answers.c.statement, answers.c.vector)
    for plan, index, request, statement, vector in connection.execute(
        held.order_by(answers.c.plan, answers.c["index"])
    ):
        said = Envelope.decode(statement).document(Statement)
        same = (said.plan, said.index, said.request) == (plan, index, request)
        if not same or (vector is not None and digest_of(vector) != said.vector):
            raise StorageError(f"the answer to index {index} of plan {plan[:16]} is not what its statement says")
        if hashes.get(said.ledger_length) != said.ledger_head:
            raise StorageError(
                f"the statement for index {index} of plan {plan[:16]} counted {said.ledger_length} ledger rows; "
                "this ledger has fewer, or other ones"
            )
        count += 1
    return count


def _verify_derived(connection: sa.Connection) -> None:
    columns = [entries.c[field] for field in DERIVED]
    for row in connection.execute(sa.select(entries.c.number, entries.c.content, *columns).order_by(entries.c.number)):
        content: dict[str, Any] = json.loads(row.content)
        for field, derived in zip(DERIVED, row[2:], strict=True):
            if content.get(field) != derived:
                raise StorageError(f"ledger row {row.number}: column {field} is not what the row says")


def _verify_answers(connection: sa.Connection) -> None:
    same = ("plan", "index", "request")
    paid = sa.exists().where(*(entries.c[field] == answers.c[field] for field in same))
    unpaid = connection.execute(sa.select(answers.c.plan, answers.c["index"]).where(~paid).limit(1)).one_or_none()
    if unpaid is not None:
        plan, index = unpaid
        raise StorageError(f"the ledger lacks the charge for index {index} of plan {plan[:16]}")


def _verify_flags(connection: sa.Connection) -> None:
    counted = connection.execute(sa.select(entries.c.policy, entries.c.content).where(entries.c.kind == "flags"))
    expected = {policy: json.loads(content)["count"] for policy, content in counted}
    held = connection.execute(sa.select(sealed_flags.c.policy, sa.func.count()).group_by(sealed_flags.c.policy))
    found = dict.fromkeys(expected, 0) | {policy: count for policy, count in held}
    for policy in sorted(found):
        if found[policy] != expected.get(policy):
            raise StorageError(
                f"the ledger holds {found[policy]} flags of policy {policy[:16]}, its row says otherwise"
            )
