"""The boroughs' stream: what waits goes out once a stream, and goes out again when it is asked again."""

import threading

import pytest

from coordinator.services.federation import FederationService
from coordinator.store.database import Database
from coordinator.store.mail import Mailbox

SOON = 4e9


@pytest.fixture
def mailbox(tmp_path):
    database = Database(tmp_path / "c.sqlite")
    yield Mailbox(database)
    database.close()


@pytest.fixture
def stream(mailbox):
    """What one open stream of borough-1 delivers."""
    service = FederationService(mailbox, lambda: None, lambda code, detail: None)
    ended = threading.Event()
    frames = service._deliver("borough-1", ended)
    yield lambda: next(frames).delivery
    ended.set()


def test_waiting_messages_are_delivered_in_order_and_once(mailbox, stream):
    mailbox.put("m1", "borough-1", b"one", expires_at=SOON)
    mailbox.put("m2", "borough-1", b"two", expires_at=SOON)
    mailbox.put("m3", "borough-2", b"not theirs", expires_at=SOON)
    assert [stream().message for _ in range(2)] == [b"one", b"two"]
    mailbox.put("m4", "borough-1", b"four", expires_at=SOON)
    assert stream().message == b"four"


def test_message_that_is_asked_again_after_an_error_is_delivered_again_on_the_same_stream(mailbox, stream):
    """A borough that could not answer for a moment must not wait for its stream to break."""
    mailbox.put("m1", "borough-1", b"first time", expires_at=SOON)
    assert stream().message == b"first time"
    mailbox.store_reply("m1", "borough-1", b"an error")
    mailbox.discard(["m1"])
    mailbox.put("m1", "borough-1", b"second time", expires_at=SOON)
    assert stream().message == b"second time"
