"""Messages to boroughs and their replies, durable on both sides of a restart.

Rules this module keeps: whoever waits is woken after the commit, never before it; contents are read when they are used
and not to find out whether they are there, because a reply may be a masked vector of megabytes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from coordinator.store.database import Database, mailbox
from protocol.errors import StorageError
from protocol.ids import PartyId


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to a borough; ``expires_at`` in Unix seconds."""

    message_id: str
    borough: PartyId
    message: bytes
    expires_at: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a borough answered to the message of this id."""

    message_id: str
    borough: PartyId
    content: bytes


@dataclass(slots=True, eq=False)
class _Arrival:
    """A reply that waits for its commit."""

    reply: Reply
    is_committed: bool = False


class Bell:
    """Wakes whoever waits. A ring between looking and waiting is not lost: a waiter says how many it has heard."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0

    @property
    def rings(self) -> int:
        """How often it was rung."""
        return self._rings

    def ring(self) -> None:
        """Wake everybody."""
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def wait(self, heard: int, timeout_seconds: float | None = None) -> None:
        """Return when it was rung more than ``heard`` times, or after the timeout."""
        with self._condition:
            self._condition.wait_for(lambda: self._rings != heard, timeout_seconds)


class Mailbox:
    """Stores what was sent and answered; rings for whoever waits for either."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.answered = Bell()
        """Rung when replies were stored."""
        self._posted: dict[PartyId, Bell] = {}
        self._arrivals: deque[_Arrival] = deque()
        # One reader and one writer at a time: a connection for every stream that wakes would cost more than the wait.
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def posted(self, borough: PartyId) -> Bell:
        """Return what is rung when there is mail for a borough: one a borough, or each message would wake every stream."""
        return self._posted.setdefault(borough, Bell())

    def put(self, letters: Collection[Letter]) -> None:
        """Store messages to deliver, all or none. An id that is there is renewed while unanswered and keeps any reply."""
        if not letters:
            return
        rows = self._database.insert(mailbox)
        renewing = rows.on_conflict_do_update(
            index_elements=["message_id"],
            set_={name: rows.excluded[name] for name in ("message", "expires_at")},
            where=mailbox.c.reply.is_(None),
        )
        with self._writing, self._database.transaction() as connection:
            connection.execute(renewing, [asdict(letter) for letter in letters])
        for borough in {letter.borough for letter in letters}:
            self.posted(borough).ring()

    def pending(self, borough: PartyId, *, now: float, delivered: Collection[str] = ()) -> list[Letter]:
        """Return what this borough has not answered and has not expired, without what was ``delivered`` already."""
        with self._reading, self._database.transaction() as connection:
            rows = connection.execute(
                sa.select(mailbox.c.message_id, mailbox.c.borough, mailbox.c.message, mailbox.c.expires_at)
                .where(
                    mailbox.c.borough == borough,
                    mailbox.c.reply.is_(None),
                    mailbox.c.expires_at > now,
                    mailbox.c.message_id.not_in(delivered),
                )
                .order_by(mailbox.c.message_id)
            )
            return [Letter(*row) for row in rows]

    def store_reply(self, reply: Reply) -> None:
        """Store the first reply of a borough to a message that was sent to it; anything else is dropped.

        Returns once it is on disk. Replies that arrive while others are being written are written together afterwards:
        a commit costs more than a reply, and with many boroughs they come at once. Raises: StorageError.
        """
        arrival = _Arrival(reply)
        self._arrivals.append(arrival)
        with self._writing:
            if arrival.is_committed:
                return
            batch = [self._arrivals.popleft() for _ in range(len(self._arrivals))]
            if arrival not in batch:
                batch.append(arrival)  # The batch that it was in failed.
            try:
                self._commit([one.reply for one in batch])
            except StorageError:
                # Another may be to blame. Each of the others tries again when it gets here.
                batch = [arrival]
                self._commit([reply])
            for one in batch:
                one.is_committed = True
        self.answered.ring()

    def _commit(self, replies: list[Reply]) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                sa.update(mailbox)
                .where(
                    mailbox.c.message_id == sa.bindparam("answered"),
                    mailbox.c.borough == sa.bindparam("answering"),
                    mailbox.c.reply.is_(None),
                )
                .values(reply=sa.bindparam("content")),
                [{"answered": one.message_id, "answering": one.borough, "content": one.content} for one in replies],
            )

    def answered_among(self, message_ids: Collection[str]) -> set[str]:
        """Return those of the messages that have a reply."""
        with self._reading, self._database.transaction() as connection:
            return set(connection.execute(sa.select(mailbox.c.message_id).where(_answered(message_ids))).scalars())

    def replies(self, message_ids: Collection[str]) -> list[Reply]:
        """Return the replies that have arrived."""
        columns = (mailbox.c.message_id, mailbox.c.borough, mailbox.c.reply)
        with self._reading, self._database.transaction() as connection:
            rows = connection.execute(sa.select(*columns).where(_answered(message_ids)))
            return [Reply(row.message_id, row.borough, row.reply) for row in rows]

    def discard(self, message_ids: Collection[str]) -> None:
        """Delete messages and their replies."""
        with self._writing, self._database.transaction() as connection:
            connection.execute(sa.delete(mailbox).where(mailbox.c.message_id.in_(message_ids)))


def _answered(message_ids: Collection[str]) -> sa.ColumnElement[bool]:
    return sa.and_(mailbox.c.message_id.in_(message_ids), mailbox.c.reply.is_not(None))
