"""The borough's privacy ledger: what was charged, in a hash chain, and what was answered, byte for byte.

Rules this package keeps: a row is durable before the act it pays for; rows are only added, at the end; a release is
charged once, by the database's own constraint; an answer needs its charge, is stored before it leaves and is never made
twice; answers die with their plan. Only this package of the node talks to SQLite.
"""

from borough_node.ledger.chain import LedgerEntry, chain
from borough_node.ledger.store import Answer, Ledger, StoredFlag
from protocol.history.anchors import GENESIS

__all__ = ["GENESIS", "Answer", "Ledger", "LedgerEntry", "StoredFlag", "chain"]
