"""What a serving coordinator does by itself: runs every approved plan, collects every valid policy's flags.

Rules this module keeps: each plan has a thread of its own, so that one which waits for boroughs holds up no other; a
failure is reported and tried again, for everything stands where it stood; nothing ends the work in silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from protocol.errors import ProtocolError
from protocol.ids import Digest

if TYPE_CHECKING:
    # Flower takes seconds to load; it is imported where a coordinator is opened.
    from coordinator.app import Coordinator, Report


class RunningCoordinator:
    """The coordinator, its approved plans running side by side, and approved policies' flags collected until all confirm."""

    def __init__(self, coordinator: Coordinator, report: Report, *, poll_seconds: float) -> None:
        self._coordinator = coordinator
        self._report = report
        self._poll_seconds = poll_seconds
        self._stopped = threading.Event()
        self._workers = [
            threading.Thread(target=self._repeat, args=(work,), name=work.__name__, daemon=True)
            for work in (self._run_plans, self._collect_flags)
        ]
        self._running: dict[Digest, threading.Thread] = {}
        self._collected: set[Digest] = set()

    def start(self) -> None:
        """Serve, then work."""
        self._coordinator.start()
        for worker in self._workers:
            worker.start()

    def stop(self, *, grace_seconds: float) -> None:
        """Stop working, then serving; whatever is half done is finished after the next start."""
        self._stopped.set()
        self._coordinator.stop(grace_seconds=grace_seconds)

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._stopped.wait(self._poll_seconds):
            self._attempt(work)

    def _attempt(self, work: Callable[..., None], *arguments: Digest) -> None:
        try:
            work(*arguments)
        except ProtocolError as error:
            # A missing witness, an unmasker that restarts: everything stands where it stood and is tried again.
            self._report(error.code, error.detail)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the work in silence
            self._report("bug", f"{work.__name__}: {type(error).__name__}")

    def _run_plans(self) -> None:
        self._coordinator.log_proposed_rosters()
        self._coordinator.log_proposed_catalogues()
        for plan in self._coordinator.unfinished_plans():
            if plan not in self._running or not self._running[plan].is_alive():
                # A plan of its own thread: one that waits for boroughs holds up no other.
                self._running[plan] = threading.Thread(
                    target=self._attempt, args=(self._run_plan, plan), name=f"plan-{plan[:16]}", daemon=True
                )
                self._running[plan].start()

    def _run_plan(self, plan: Digest) -> None:
        self._coordinator.run_plan(plan)
        self._report("plan.finished", f"plan {plan[:16]}")

    def _collect_flags(self) -> None:
        for policy in self._coordinator.live_policies():
            if policy not in self._collected:
                confirmed, asked = self._coordinator.collect_flags(policy)
                self._report("policy.collected", f"{len(confirmed)} of {len(asked)} boroughs, policy {policy[:16]}")
                if len(confirmed) == len(asked):
                    self._collected.add(policy)
