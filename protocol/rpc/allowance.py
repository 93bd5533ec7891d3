"""How often each caller may call each method, and how many calls it may have running: one party must not take a server.

Rules this module keeps: what one caller uses up is nobody else's; a call over the limit costs the server a look into a
table; how much is left is told to nobody.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from protocol.documents.roster import Party
from protocol.errors import TooManyCalls
from protocol.ids import PartyId, Role

CALLS_PER_MINUTE = 6000
"""What one party may ask of one method unless the settings say otherwise: far more than a busy desk or a node that
reconnects asks, and a fraction of what would keep a server from the others."""
SECONDS = 60.0


@dataclass(slots=True)
class _Bucket:
    """One caller's calls to one method: how many are left, and when that was so."""

    left: float
    at: float


class Allowance:
    """A bucket for each caller and method that holds a minute's calls and fills again as time passes."""

    def __init__(self, *, per_minute: int, at_once: int, now: Callable[[], float] = time.monotonic) -> None:
        """Start with full buckets.

        Args:
            at_once: Calls of one caller that may run at the same time; each holds a thread of the server.
            now: Seconds of any clock that never goes back.
        """
        self._per_minute = per_minute
        self._at_once = at_once
        self._now = now
        # The keys are parties of the roster and methods that are served: a stranger adds none.
        self._buckets: dict[tuple[Role, PartyId, str], _Bucket] = {}
        self._running: Counter[tuple[Role, PartyId]] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def call(self, caller: Party, method: str) -> Iterator[None]:
        """Count one call while it runs. Raises: TooManyCalls."""
        self._begin(caller, method)
        try:
            yield
        finally:
            with self._lock:
                self._running[caller.role, caller.id] -= 1

    def _begin(self, caller: Party, method: str) -> None:
        now, party = self._now(), (caller.role, caller.id)
        with self._lock:
            bucket = self._buckets.setdefault((*party, method), _Bucket(float(self._per_minute), now))
            filled = bucket.left + (now - bucket.at) * self._per_minute / SECONDS
            bucket.left, bucket.at = min(float(self._per_minute), filled), now
            if bucket.left < 1 or self._running[party] >= self._at_once:
                raise TooManyCalls(f"{caller.role} {caller.id} called {method} more often than it may")
            bucket.left -= 1
            self._running[party] += 1
