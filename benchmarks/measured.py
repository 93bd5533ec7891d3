"""What one system took for its exchanges, and how the figures are made of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

Say = Callable[[str], None]
"""Tells the person who waits how far it is."""


class Failed(Exception):
    """A system could not be brought up, or did not answer; says which and how it ended."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The exchanges after the warm-up.

    Args:
        seconds: Wall time of each: from before the requests are made until the last reply has been read.
        cpu_seconds: User and system time of all processes of both sides from the end of the warm-up to the end of the
            last exchange. What they spend on waiting, such as asking for mail, is in it: a federation pays that too.
    """

    nodes: int
    seconds: tuple[float, ...]
    cpu_seconds: float

    @property
    def median_s(self) -> float:
        """The median exchange."""
        return statistics.median(self.seconds)

    @property
    def cpu_per_message_s(self) -> float:
        """CPU seconds a message: an exchange is one request to each node and one reply from each, two messages a node."""
        return self.cpu_seconds / (2 * self.nodes * len(self.seconds))
