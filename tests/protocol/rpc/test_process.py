"""A party as a process: it waits for its peers, stops on a signal, and says errors as a person reads them."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from protocol.errors import BehindLog, PeerUnreachable, TableInvalid
from protocol.rpc import process
from protocol.rpc.process import explained_errors, run_until_signal


class Party:
    """Counts what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self) -> None:
        self.asked.append("start")

    def stop(self, *, grace_seconds: float) -> None:
        self.asked.append("stop")


@pytest.fixture(autouse=True)
def _quick_and_restored(monkeypatch):
    monkeypatch.setattr(process, "RETRY_SECONDS", 0.01)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_process_waits_for_a_peer_that_starts_later_and_stops_on_a_signal():
    party, attempts, reports = Party(), iter([PeerUnreachable("at 127.0.0.1:9"), PeerUnreachable("again"), None]), []

    def opened() -> Party:
        if (error := next(attempts)) is not None:
            raise error
        return party

    ready = lambda: threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()  # noqa: E731
    run_until_signal(opened, report=lambda code, detail: reports.append(code), on_ready=ready)
    assert party.asked == ["start", "stop"]
    assert reports == ["peer.unreachable", "peer.unreachable"]


def test_a_process_behind_the_log_does_not_wait_but_refuses():
    def opened() -> Party:
        raise BehindLog("restored from a backup")

    with pytest.raises(BehindLog):
        run_until_signal(opened, report=lambda code, detail: None, on_ready=lambda: None)


def test_an_error_is_printed_with_code_remedy_and_exit_code(capsys):
    with pytest.raises(SystemExit) as stopped, explained_errors():
        raise TableInvalid("column rest_days: missing; add it to the export")
    printed = capsys.readouterr().err
    assert stopped.value.code == 3
    assert printed.startswith("table.invalid: ")
    assert "column rest_days" in printed
    assert f"What to do: {TableInvalid.remedy_text}" in printed
