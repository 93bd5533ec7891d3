"""What the logged statements say about each borough's own ledger: heads that a later statement must not contradict.

A borough adds a row to its ledger before every statement, and the statement carries the ledger's length and head. So
within a plan the length grows from index to index, and two statements over ledgers of one length show one head. A node
that runs on a restored or edited ledger, and so may forget what it has spent, contradicts one or the other as soon as
it answers again.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.documents.plan import Statement
from protocol.documents.roster import Roster
from protocol.errors import LedgerRewound
from protocol.ids import Digest, HexKey


class LedgerAnchors:
    """Ledger heads by borough key: a new key, by roster rotation, begins a new ledger."""

    def __init__(self) -> None:
        self._heads: dict[HexKey, dict[int, Digest]] = {}
        self._longest: dict[tuple[HexKey, Digest], int] = {}

    def check(self, statements: Sequence[Statement], roster: Roster) -> None:
        """Return if every statement's ledger continues what its borough anchored before.

        Raises: LedgerRewound naming the borough.
        """
        for statement in statements:
            key = roster.party(statement.borough, "borough").signing_key
            anchored = self._heads.get(key, {}).get(statement.ledger_length, statement.ledger_head)
            earlier = self._longest.get((key, statement.plan), 0)
            if anchored != statement.ledger_head or statement.ledger_length <= earlier:
                raise LedgerRewound(f"borough {statement.borough}, a ledger of {statement.ledger_length} rows")

    def add(self, statements: Sequence[Statement], roster: Roster) -> None:
        """Anchor the ledgers of logged statements. Raises: LedgerRewound; nothing is added then."""
        self.check(statements, roster)
        for statement in statements:
            key = roster.party(statement.borough, "borough").signing_key
            self._heads.setdefault(key, {})[statement.ledger_length] = statement.ledger_head
            self._longest[key, statement.plan] = statement.ledger_length
