"""Messages to boroughs and their replies, durable on both sides of a restart."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from coordinator.store.database import Database, mailbox
from protocol.ids import PartyId


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to a borough."""

    message_id: str
    message: bytes


class Mailbox:
    """Stores what was sent and answered; wakes whoever waits for either."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.answered = threading.Condition()
        self._waiting: defaultdict[PartyId, threading.Condition] = defaultdict(threading.Condition)

    def waiting(self, borough: PartyId) -> threading.Condition:
        """Return what a borough's stream waits on: one a borough, or every reply would wake every stream."""
        return self._waiting[borough]

    def wake(self, borough: PartyId) -> None:
        """Wake a borough's stream."""
        condition = self.waiting(borough)
        with condition:
            condition.notify_all()

    def put(self, message_id: str, borough: PartyId, message: bytes, *, expires_at: float) -> None:
        """Store a message to deliver. The same id again renews it while it is unanswered and keeps any reply."""
        with self._database.transaction() as connection:
            connection.execute(
                sa.dialects.sqlite.insert(mailbox)
                .values(message_id=message_id, borough=borough, message=message, expires_at=expires_at)
                .on_conflict_do_update(
                    index_elements=["message_id"],
                    set_={"message": message, "expires_at": expires_at},
                    where=mailbox.c.reply.is_(None),
                )
            )
        self.wake(borough)

    def pending(self, borough: PartyId, *, now: float) -> list[Letter]:
        """Return what this borough has not answered and has not expired."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                sa.select(mailbox.c.message_id, mailbox.c.message)
                .where(mailbox.c.borough == borough, mailbox.c.reply.is_(None), mailbox.c.expires_at > now)
                .order_by(mailbox.c.message_id)
            ).all()
        return [Letter(row.message_id, row.message) for row in rows]

    def store_reply(self, message_id: str, borough: PartyId, reply: bytes) -> None:
        """Store the first reply of a borough to a message that was sent to it; anything else is dropped."""
        with self._database.transaction() as connection:
            connection.execute(
                sa.update(mailbox)
                .where(mailbox.c.message_id == message_id, mailbox.c.borough == borough, mailbox.c.reply.is_(None))
                .values(reply=reply)
            )
        with self.answered:
            self.answered.notify_all()

    def replies(self, message_ids: Iterable[str]) -> dict[str, bytes]:
        """Return the replies that have arrived, by message id."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                sa.select(mailbox.c.message_id, mailbox.c.reply).where(
                    mailbox.c.message_id.in_(list(message_ids)), mailbox.c.reply.is_not(None)
                )
            ).all()
        return {row.message_id: row.reply for row in rows}

    def discard(self, message_ids: Iterable[str]) -> None:
        """Delete messages and their replies."""
        with self._database.transaction() as connection:
            connection.execute(sa.delete(mailbox).where(mailbox.c.message_id.in_(list(message_ids))))
