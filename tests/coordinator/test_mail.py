"""The mailbox: a message is delivered until it is answered, the first answer counts, and what is stored stays stored."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from coordinator.store.database import Database
from coordinator.store.database import mailbox as stored
from coordinator.store.mail import Bell, Letter, Mailbox, Reply
from protocol.errors import StorageError

ONE = Letter("m1", "borough-1", b"one", 100.0)
PATIENCE_SECONDS = 20


@pytest.fixture
def mailbox(database):
    made = Mailbox(database)
    made.put([ONE])
    return made


def letters(count, borough="borough-1"):
    return [Letter(f"m{n}", borough, b"ask", 100.0) for n in range(count)]


def eventually(reached):
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_message_is_pending_until_it_is_answered(mailbox):
    assert mailbox.pending("borough-1", now=0) == [ONE]
    assert mailbox.answered_among(["m1", "m2"]) == set()
    mailbox.store_reply(Reply("m1", "borough-1", b"reply"))
    assert mailbox.pending("borough-1", now=0) == []
    assert mailbox.answered_among(["m1", "m2"]) == {"m1"}
    assert mailbox.replies(["m1", "m2"]) == [Reply("m1", "borough-1", b"reply")]


def test_message_is_pending_for_its_own_borough_only(mailbox):
    assert mailbox.pending("borough-2", now=0) == []


def test_expired_message_is_not_delivered(mailbox):
    assert mailbox.pending("borough-1", now=100.0) == []


def test_what_was_delivered_is_left_out_and_the_rest_comes_in_order(mailbox):
    mailbox.put(letters(4))
    assert [one.message_id for one in mailbox.pending("borough-1", now=0, delivered=["m1", "m9"])] == ["m0", "m2", "m3"]


def test_same_message_again_keeps_its_first_content_and_its_reply(mailbox):
    mailbox.store_reply(Reply("m1", "borough-1", b"reply"))
    mailbox.put([Letter("m1", "borough-1", b"another", 500.0)])
    assert mailbox.pending("borough-1", now=0) == []
    assert mailbox.replies(["m1"]) == [Reply("m1", "borough-1", b"reply")]


def test_message_that_is_sent_again_lives_as_long_as_its_last_sending(mailbox):
    """A plan that stands for longer than a message lives must still be able to ask."""
    mailbox.put([Letter("m1", "borough-1", b"one", 500.0)])
    assert [one.message for one in mailbox.pending("borough-1", now=100.0)] == [b"one"]


def test_messages_are_stored_all_or_none(mailbox):
    with pytest.raises(StorageError):
        mailbox.put([Letter("m2", "borough-1", b"two", 100.0), Letter("m3", "borough-1", None, 100.0)])
    assert mailbox.pending("borough-1", now=0) == [ONE]


def test_reply_that_arrives_twice_is_stored_once(mailbox):
    mailbox.store_reply(Reply("m1", "borough-1", b"first"))
    mailbox.store_reply(Reply("m1", "borough-1", b"second"))
    assert mailbox.replies(["m1"]) == [Reply("m1", "borough-1", b"first")]


def test_reply_of_another_borough_is_dropped(mailbox):
    """A borough answers for itself only, whatever message id it names."""
    mailbox.store_reply(Reply("m1", "borough-2", b"forged"))
    mailbox.store_reply(Reply("unknown", "borough-1", b"nothing"))
    assert mailbox.replies(["m1", "unknown"]) == []
    assert mailbox.pending("borough-1", now=0) == [ONE]


def test_discarded_message_leaves_nothing(mailbox):
    mailbox.store_reply(Reply("m1", "borough-1", b"reply"))
    mailbox.discard(["m1"])
    assert mailbox.replies(["m1"]) == []
    assert mailbox.pending("borough-1", now=0) == []


# --- replies that come at once ----------------------------------------------------------------------------------


def store_at_once(mailbox, replies):
    """Have every reply arrive while another is being written; return the errors, by content."""
    errors = {}

    def store(reply):
        try:
            mailbox.store_reply(reply)
        except StorageError as error:
            errors[reply.content] = error

    threads = [threading.Thread(target=store, args=(reply,)) for reply in replies]
    with mailbox._writing:
        for number, thread in enumerate(threads, 1):
            thread.start()
            eventually(lambda wanted=number: len(mailbox._arrivals) == wanted)
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    return errors


def count_commits(mailbox, monkeypatch, fail=lambda replies: False):
    sizes, original = [], mailbox._commit

    def commit(replies):
        sizes.append(len(replies))
        if fail(replies):
            raise StorageError("disk full")
        original(replies)

    monkeypatch.setattr(mailbox, "_commit", commit)
    return sizes


def test_replies_that_come_at_once_are_written_together(mailbox, monkeypatch):
    mailbox.put(letters(12))
    sizes = count_commits(mailbox, monkeypatch)
    replies = [Reply(f"m{n}", "borough-1", b"%d" % n) for n in range(12)]
    assert store_at_once(mailbox, replies) == {}
    assert sizes == [12]
    assert sorted(mailbox.replies([f"m{n}" for n in range(12)]), key=lambda one: int(one.content)) == replies


def test_first_of_two_replies_that_come_at_once_counts(mailbox):
    store_at_once(mailbox, [Reply("m1", "borough-1", content) for content in (b"first", b"second")])
    assert mailbox.replies(["m1"]) == [Reply("m1", "borough-1", b"first")]


def test_reply_that_cannot_be_written_fails_alone(mailbox, monkeypatch):
    mailbox.put(letters(4))
    bad = Reply("m2", "borough-1", b"bad")
    good = [Reply(f"m{n}", "borough-1", b"good") for n in (0, 1, 3)]
    count_commits(mailbox, monkeypatch, fail=lambda replies: bad in replies)
    assert set(store_at_once(mailbox, [*good[:2], bad, *good[2:]])) == {b"bad"}
    assert {one.message_id for one in mailbox.replies([f"m{n}" for n in range(4)])} == {"m0", "m1", "m3"}


def test_stored_reply_is_seen_by_another_connection_before_anybody_is_woken(mailbox, place):
    seen, other = [], Database(place)

    def look():
        with other.transaction() as connection:
            seen.append(connection.execute(sa.select(stored.c.reply)).fetchall())

    mailbox.answered.ring = look
    mailbox.store_reply(Reply("m1", "borough-1", b"reply"))
    assert seen == [[(b"reply",)]]
    other.close()


KILLED = """
import os, sys, threading
from pathlib import Path
import sqlalchemy as sa
from coordinator.store.database import Database
from coordinator.store.mail import Letter, Mailbox, Reply
place = sys.argv[1]
mailbox = Mailbox(Database(sa.make_url(place) if "://" in place else Path(place)))
mailbox.put([Letter(f"m{n}", "borough-1", b"ask", 100.0) for n in range(8)])
mailbox.answered.ring = lambda: None
stores = [threading.Thread(target=mailbox.store_reply, args=(Reply(f"m{n}", "borough-1", b"%d" % n),)) for n in range(5)]
for one in stores: one.start()
for one in stores: one.join()
os.kill(os.getpid(), 9)
"""


def test_what_was_acknowledged_survives_a_kill(place):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(place)],
        check=False,
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == -9
    database = Database(place)
    mailbox = Mailbox(database)
    ids = [f"m{n}" for n in range(8)]
    assert {one.message_id: one.content for one in mailbox.replies(ids)} == {f"m{n}": b"%d" % n for n in range(5)}
    assert [one.message_id for one in mailbox.pending("borough-1", now=0)] == ["m5", "m6", "m7"]
    database.close()


# --- waking -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["put", "reply"])
def test_whoever_waits_is_woken(mailbox, event):
    bell = mailbox.posted("borough-1") if event == "put" else mailbox.answered
    heard, woken = bell.rings, threading.Event()

    def wait():
        bell.wait(heard)
        woken.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    if event == "put":
        mailbox.put([Letter("m2", "borough-1", b"two", 100.0)])
    else:
        mailbox.store_reply(Reply("m1", "borough-1", b"reply"))
    assert woken.wait(PATIENCE_SECONDS)


def test_ring_between_looking_and_waiting_is_not_lost():
    bell = Bell()
    heard = bell.rings
    bell.ring()
    bell.wait(heard)
    assert bell.rings == heard + 1


def test_mail_of_one_borough_does_not_wake_another(mailbox):
    before = mailbox.posted("borough-2").rings
    mailbox.put([Letter("m2", "borough-1", b"two", 100.0)])
    assert mailbox.posted("borough-2").rings == before
    assert mailbox.posted("borough-1").rings > 0
