"""The ledger's rows and the chain over them: a row is its canonical content, and its hash covers all rows before it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocol.history import anchors
from protocol.history.public import BUDGET_WINDOW
from protocol.ids import Digest, digest_of


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One row: what was charged or raised, and the hash over it and all before it."""

    number: int
    content: dict[str, Any]
    hash: Digest


@dataclass(frozen=True, slots=True)
class Charge:
    """A row that paid for one release."""

    plan: Digest
    index: int
    purpose: str
    rho: float
    at: str


def charges_of(entries: Iterable[LedgerEntry]) -> tuple[Charge, ...]:
    """Return the charges among rows, in their order."""
    return tuple(
        Charge(*(entry.content[field] for field in ("plan", "index", "purpose", "rho", "at")))
        for entry in entries
        if entry.content["kind"] == "release"
    )


def total_rho(charges: Iterable[Charge]) -> float:
    """Return what charges add up to, rounded once, in whatever order they stand."""
    return math.fsum(charge.rho for charge in charges)


def chain(previous: Digest, content: bytes) -> Digest:
    """Return the hash of a row, given its canonical content."""
    return anchors.chain(previous, digest_of(content))


def instant_text(instant: datetime) -> str:
    """Return an instant as rows state it: UTC, in seconds; such texts sort as the instants do."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def window_start(now: datetime) -> str:
    """Return the instant after which a charge counts at ``now``: the budget's window ago, itself excluded."""
    return instant_text(now - BUDGET_WINDOW)
