"""Running one party as a process: log events as JSON on stderr, stop on a signal, say an error as a person reads it."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from protocol.documents.base import Document
from protocol.errors import CheckpointInvalid, NotReady, PeerUnreachable, ProtocolError
from protocol.rpc.status import status_of

GRACE_SECONDS = 5.0
RETRY_SECONDS = 2.0


class Stoppable(Protocol):
    """Something that runs until it is told to stop."""

    def start(self) -> None:
        """Serve in the background."""
        ...

    def stop(self, *, grace_seconds: float) -> None:
        """Drain within ``grace_seconds`` and release everything."""
        ...


def event_log(party: str) -> Callable[[str, str], None]:
    """Return a reporter that writes (code, detail) as one JSON event a line; details never hold personal data."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    log = structlog.get_logger().bind(party=party)
    return lambda code, detail: log.info(code, detail=detail)


def run_until_signal(
    opened: Callable[[], Stoppable], *, report: Callable[[str, str], None], on_ready: Callable[[], None]
) -> None:
    """Open and start a process, wait for SIGTERM or SIGINT, then drain.

    Args:
        opened: Returns the process; called again while a peer that it needs cannot be reached, so that parties can be
            started in any order.
    Raises: what opening or starting raises otherwise.
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    process: Stoppable | None = None
    while process is None and not stopped.is_set():
        candidate: Stoppable | None = None
        try:
            candidate = opened()
            candidate.start()
            process = candidate
        except (PeerUnreachable, CheckpointInvalid, NotReady) as error:
            report(error.code, f"{error.detail}; tried again")
            if candidate is not None:
                candidate.stop(grace_seconds=0)
            stopped.wait(RETRY_SECONDS)
    if process is not None:
        on_ready()
        stopped.wait()
        process.stop(grace_seconds=GRACE_SECONDS)


@contextmanager
def explained_errors() -> Iterator[None]:
    """Print a foreseen error as code, message and remedy, and exit with its branch's code."""
    try:
        yield
    except ProtocolError as error:
        sys.stderr.write(f"{error.code}: {error}\nWhat to do: {error.remedy()}\n")
        raise SystemExit(status_of(error).exit) from None


def answer_with(document: Document, *, dry_run: bool, as_json: bool) -> None:
    """Write what a command logged, or would have."""
    if as_json:
        shown = {"digest": document.digest(), "logged": not dry_run, "document": document.model_dump(mode="json")}
        print_json(shown)
    else:
        sys.stdout.write(f"{document.digest()}{' (nothing was logged)' if dry_run else ''}\n")


def print_json(value: Any) -> None:
    """Write a value as indented JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True) + "\n")
