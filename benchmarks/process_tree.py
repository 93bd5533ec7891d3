"""Processes that a benchmark starts: their CPU time, also of those that they start in turn, and their end.

Linux only: reads ``/proc``. As a command it runs another one that the kernel kills when its parent ends, however it ends:
``python -m benchmarks.process_tree COMMAND``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CPUCLOCK_SCHED = 2
GRACE_SECONDS = 5.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BOUND_TO_US = (sys.executable, "-m", "benchmarks.process_tree")
"""Put before a command so that it does not outlive this process."""


def adopt_orphans() -> None:
    """Make orphans among this process's descendants its children instead of init's: still counted, still ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _stat(process: int) -> list[str]:
    # The second field is a file name in parentheses, which may hold anything.
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def _descendants(root: int) -> list[int]:
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                children[int(_stat(int(entry.name))[1])].append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        below = children[waiting.pop()]
        found += below
        waiting += below
    return found


def cpu_seconds() -> float:
    """Return user and system time of this process and of all its descendants, the living and the ended.

    A process that has ended and was awaited counts with its parent, to a tick of 10 ms; any other to a nanosecond.
    """
    total = 0.0
    for process in (os.getpid(), *_descendants(os.getpid())):
        with suppress(OSError):
            total += sum(map(int, _stat(process)[13:15])) / TICKS_PER_SECOND
            # clock_getcpuclockid(3), which Python does not have.
            total += time.clock_gettime(~process << 3 | CPUCLOCK_SCHED)
    return total


def end_descendants() -> None:
    """End whatever this process started and has not ended: politely, and after a grace by force."""
    deadline = time.monotonic() + GRACE_SECONDS
    while left := _descendants(os.getpid()):
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.1)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - a benchmark runs our own command
