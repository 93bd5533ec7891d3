"""The mailbox: a message is delivered until it is answered, and the first answer counts."""

import threading

import pytest

from coordinator.store.database import Database
from coordinator.store.mail import Letter, Mailbox


@pytest.fixture
def mailbox(tmp_path):
    database = Database(tmp_path / "c.sqlite")
    made = Mailbox(database)
    made.put("m1", "borough-1", b"one", expires_at=100.0)
    yield made
    database.close()


def test_message_is_pending_until_it_is_answered(mailbox):
    assert mailbox.pending("borough-1", now=0) == [Letter("m1", b"one")]
    mailbox.store_reply("m1", "borough-1", b"reply")
    assert mailbox.pending("borough-1", now=0) == []
    assert mailbox.replies(["m1", "m2"]) == {"m1": b"reply"}


def test_message_is_pending_for_its_own_borough_only(mailbox):
    assert mailbox.pending("borough-2", now=0) == []


def test_expired_message_is_not_delivered(mailbox):
    assert mailbox.pending("borough-1", now=100.0) == []


def test_same_message_again_keeps_its_first_content_and_its_reply(mailbox):
    mailbox.store_reply("m1", "borough-1", b"reply")
    mailbox.put("m1", "borough-1", b"another", expires_at=500.0)
    assert mailbox.pending("borough-1", now=0) == []
    assert mailbox.replies(["m1"]) == {"m1": b"reply"}


def test_reply_that_arrives_twice_is_stored_once(mailbox):
    mailbox.store_reply("m1", "borough-1", b"first")
    mailbox.store_reply("m1", "borough-1", b"second")
    assert mailbox.replies(["m1"]) == {"m1": b"first"}


def test_reply_of_another_borough_is_dropped(mailbox):
    """A borough answers for itself only, whatever message id it names."""
    mailbox.store_reply("m1", "borough-2", b"forged")
    mailbox.store_reply("unknown", "borough-1", b"nothing")
    assert mailbox.replies(["m1", "unknown"]) == {}
    assert mailbox.pending("borough-1", now=0) == [Letter("m1", b"one")]


def test_discarded_message_leaves_nothing(mailbox):
    mailbox.store_reply("m1", "borough-1", b"reply")
    mailbox.discard(["m1"])
    assert mailbox.replies(["m1"]) == {}
    assert mailbox.pending("borough-1", now=0) == []


@pytest.mark.parametrize("event", ["put", "reply"])
def test_whoever_waits_is_woken(mailbox, event):
    woken = threading.Event()
    waiting = threading.Event()

    condition = mailbox.waiting("borough-1") if event == "put" else mailbox.answered

    def wait():
        with condition:
            waiting.set()
            if condition.wait(20):
                woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait(20)
    if event == "put":
        mailbox.put("m2", "borough-1", b"two", expires_at=100.0)
    else:
        mailbox.store_reply("m1", "borough-1", b"reply")
    thread.join(20)
    assert woken.is_set()


def test_message_that_is_sent_again_lives_as_long_as_its_last_sending(mailbox):
    """A plan that stands for longer than a message lives must still be able to ask."""
    mailbox.put("m1", "borough-1", b"one", expires_at=500.0)
    assert mailbox.pending("borough-1", now=100.0) == [Letter("m1", b"one")]
