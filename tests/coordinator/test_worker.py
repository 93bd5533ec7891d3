"""The serving coordinator's own work: plans side by side, failures reported and tried again, never in silence."""

import threading

import pytest

from coordinator.worker import RunningCoordinator
from protocol.errors import CohortTooSmall

WAIT_SECONDS = 20


class FakeCoordinator:
    """Plans that do what a test says."""

    def __init__(self, **plans):
        self.plans = plans
        self.finished = []
        self.polled = threading.Semaphore(0)

    def start(self):
        pass

    def stop(self, *, grace_seconds):
        pass

    def log_proposed_rosters(self):
        pass

    def log_proposed_catalogues(self):
        self.polled.release()

    def live_policies(self):
        return ()

    def unfinished_plans(self):
        return tuple(name for name in self.plans if name not in self.finished)

    def run_plan(self, plan):
        self.plans[plan]()
        self.finished.append(plan)


class Reports:
    """What the worker reports, to wait for."""

    def __init__(self):
        self.seen = []
        self._changed = threading.Condition()

    def __call__(self, code, detail):
        with self._changed:
            self.seen.append((code, detail))
            self._changed.notify_all()

    def wait_for(self, code, count=1):
        with self._changed:
            found = self._changed.wait_for(lambda: [c for c, _ in self.seen].count(code) >= count, WAIT_SECONDS)
        assert found, f"{code} was not reported; seen: {self.seen}"


@pytest.fixture
def running():
    started = []

    def start(coordinator):
        reports = Reports()
        started.append(RunningCoordinator(coordinator, reports, poll_seconds=0.01))
        started[-1].start()
        return reports

    yield start
    for worker in started:
        worker.stop(grace_seconds=1.0)


def test_plan_that_waits_holds_up_no_other(running):
    enough = threading.Event()
    coordinator = FakeCoordinator(waits=lambda: enough.wait(WAIT_SECONDS), quick=lambda: None)
    reports = running(coordinator)
    reports.wait_for("plan.finished")
    assert coordinator.finished == ["quick"]
    enough.set()
    reports.wait_for("plan.finished", 2)
    assert coordinator.finished == ["quick", "waits"]


def test_plan_that_failed_is_tried_again(running):
    attempts = []

    def fails_twice():
        attempts.append(1)
        if len(attempts) < 3:
            raise CohortTooSmall("2 of 3")

    reports = running(FakeCoordinator(plan=fails_twice))
    reports.wait_for("plan.finished")
    assert [code for code, _ in reports.seen] == ["cohort.too_small", "cohort.too_small", "plan.finished"]


def test_fault_of_ours_is_reported_by_its_type_alone_and_ends_nothing(running):
    attempts = []

    def breaks_once():
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("a value that may quote a record")

    reports = running(FakeCoordinator(plan=breaks_once))
    reports.wait_for("plan.finished")
    assert reports.seen[0] == ("bug", "_run_plan: ValueError")


def test_plan_runs_once_at_a_time(running):
    enough, runs = threading.Event(), []

    def slow():
        runs.append(1)
        enough.wait(WAIT_SECONDS)

    coordinator = FakeCoordinator(slow=slow)
    reports = running(coordinator)
    for _ in range(5):
        assert coordinator.polled.acquire(timeout=WAIT_SECONDS)
    assert runs == [1]
    enough.set()
    reports.wait_for("plan.finished")
