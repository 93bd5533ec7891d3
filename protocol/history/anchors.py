"""What the logged statements say about each borough's own ledger, and that a later statement continues it.

A ledger is a hash chain over its rows. A statement carries its length and head, and the digests of the rows that were
added since a length which the log already anchors, so that every reader can follow the chain from one to the other
without seeing a row. A node on a restored or edited ledger, which may have forgotten what it spent, cannot continue
what it anchored before: it is refused until the true ledger is back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from protocol.documents.plan import Statement
from protocol.documents.roster import Roster
from protocol.errors import LedgerRewound
from protocol.ids import Digest, HexKey, digest_of

CHAIN_TAG: Final = b"custodes/ledger/v1\x00"
GENESIS: Final = digest_of(CHAIN_TAG)
"""The hash that the first row follows."""


def chain(previous: Digest, row: Digest) -> Digest:
    """Return the hash of a row: of the one before it and the digest of its content."""
    return digest_of(CHAIN_TAG + bytes.fromhex(previous) + bytes.fromhex(row))


class LedgerAnchors:
    """Ledger heads by borough key and length: a new key, by roster rotation, begins a new ledger."""

    def __init__(self) -> None:
        self._heads: dict[HexKey, dict[int, Digest]] = {}
        self._lengths: dict[HexKey, int] = {}
        self._longest: dict[tuple[HexKey, Digest], int] = {}

    def length(self, key: HexKey) -> int:
        """Return the length of the longest ledger that a borough has anchored; 0 if none."""
        return self._lengths.get(key, 0)

    def check(self, statements: Sequence[Statement], roster: Roster) -> None:
        """Return if every statement's ledger continues what its borough anchored before.

        Raises: LedgerRewound naming the borough.
        """
        for statement in statements:
            self._followed(statement, _key(statement, roster))

    def add(self, statements: Sequence[Statement], roster: Roster) -> None:
        """Anchor the ledgers of logged statements. Raises: LedgerRewound; nothing is added then."""
        followed = [self._followed(statement, _key(statement, roster)) for statement in statements]
        for statement, heads in zip(statements, followed, strict=True):
            key = _key(statement, roster)
            self._heads.setdefault(key, {0: GENESIS}).update(heads)
            self._lengths[key] = max(self.length(key), statement.ledger_length)
            self._longest[key, statement.plan] = statement.ledger_length

    def _followed(self, statement: Statement, key: HexKey) -> Mapping[int, Digest]:
        """Return the head at each length from the anchored one on."""
        anchored = self._heads.get(key, {0: GENESIS})
        length = statement.ledger_length - len(statement.ledger_rows)
        # A row is added for every index of a plan, so two statements of one plan never show one length.
        if length not in anchored or statement.ledger_length <= self._longest.get((key, statement.plan), 0):
            raise LedgerRewound(f"borough {statement.borough}: no ledger of {length} rows continues to this statement")
        head = anchored[length]
        heads = {}
        for row in statement.ledger_rows:
            length, head = length + 1, chain(head, row)
            heads[length] = head
            if anchored.get(length, head) != head:
                raise LedgerRewound(f"borough {statement.borough}: another row {length} than it anchored before")
        if head != statement.ledger_head:
            raise LedgerRewound(f"borough {statement.borough}: its rows do not lead to its head")
        return heads


def _key(statement: Statement, roster: Roster) -> HexKey:
    return roster.party(statement.borough, "borough").signing_key
