from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks import meter as meter_module
from benchmarks.meter import Meter, Metered


class Processor:
    """A CPU clock that moves when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def work(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def processor(monkeypatch):
    made = Processor()
    monkeypatch.setattr(meter_module.time, "process_time", lambda: made.seconds)
    return made


def test_an_inner_account_pauses_the_outer_one(processor):
    meter = Meter()
    with meter.account("outer"):
        processor.work(1)
        with meter.account("inner"):
            processor.work(10)
            with meter.account("outer"):
                processor.work(100)
        processor.work(1000)
    assert dict(meter.seconds) == {"outer": 1101, "inner": 10}


def test_time_outside_of_every_account_is_nobodys(processor):
    meter = Meter()
    processor.work(5)
    with meter.account("one"):
        processor.work(1)
    processor.work(5)
    with meter.account("two"):
        processor.work(2)
    assert dict(meter.seconds) == {"one": 1, "two": 2}


def test_time_up_to_an_error_is_booked_and_the_outer_account_goes_on(processor):
    meter = Meter()

    def fail() -> None:
        processor.work(3)
        raise LookupError

    with meter.account("outer"):
        with pytest.raises(LookupError):
            meter.metered(fail, "inner")()
        processor.work(1)
    assert dict(meter.seconds) == {"outer": 1, "inner": 3}


def test_methods_of_a_metered_object_are_booked_and_its_values_pass(processor):
    meter = Meter()
    store = Metered(SimpleNamespace(put=lambda what: processor.work(2) or f"put {what}", name="store"), meter, "disk")
    assert store.put("a") == "put a"
    assert store.name == "store"
    assert dict(meter.seconds) == {"disk": 2}
