"""CPU seconds booked to accounts: whoever works, pays, and nobody twice.

One process plays every party in turn, so the process's CPU time (user and system, all threads: Flower's secret sharing
starts some) belongs to whoever's turn it is. An account opened inside another one pauses the outer one.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Meter:
    """Accounts of CPU seconds."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = time.process_time()

    def _book(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def account(self, name: str) -> Iterator[None]:
        """Book the CPU time of the block to ``name``, less what inner accounts take."""
        self._book()
        self._open.append(name)
        try:
            yield
        finally:
            self._book()
            self._open.pop()

    def metered(self, function: Callable[P, R], name: str) -> Callable[P, R]:
        """Return the function with its CPU time booked to ``name``."""

        @functools.wraps(function)
        def paying(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.account(name):
                return function(*args, **kwargs)

        return paying


class Metered:
    """An object whose methods are booked to an account, whatever its methods are called."""

    def __init__(self, wrapped: Any, meter: Meter, name: str) -> None:
        self._wrapped, self._meter, self._name = wrapped, meter, name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._wrapped, attribute)
        return self._meter.metered(found, self._name) if callable(found) else found
