"""What the coordinator's team does with flags: look, with a reason; triage; erase what has expired. Over its own wire.

A serving coordinator is the only writer of its log, so its team asks it as any other party does.
"""

from __future__ import annotations

from typing import Literal

from protocol.clock import Clock
from protocol.documents.base import document_of
from protocol.documents.casework import Erasure, Triage
from protocol.documents.flags import FlagHeader
from protocol.ids import RandomId, random_id
from protocol.rpc.connection import Connection


class TeamDesk:
    """The coordinator's team."""

    def __init__(self, connection: Connection, *, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def flags(
        self, *flag_ids: RandomId, by: str, reason: str, after: RandomId | None = None, limit: int | None = None
    ) -> list[FlagHeader]:
        """Return the headers of these flags, or of all, or a page; who looked and why is logged.

        Raises: as ``Connection.consult``.
        """
        return self._connection.consult(*flag_ids, by=by, reason=reason, after=after, limit=limit)

    def triage(
        self,
        flag_id: RandomId,
        *,
        by: str,
        decision: Literal["pursue", "set_aside"],
        reasons: str,
        dry_run: bool = False,
    ) -> Triage:
        """Look at one flag's header, which is logged, and log whether it is worth a warrant.

        Raises: MalformedDocument naming a field; NotLogged if no such flag is held; CaseOutOfOrder.
        """
        (header,) = self.flags(flag_id, by=by, reason=f"Triage: {reasons}")
        triage = document_of(
            Triage,
            {
                "triage_id": random_id(),
                "flag_id": flag_id,
                "header": header.digest(),
                "coordinator": self._connection.party.settings.id,
                "triaged_by": by,
                "decision": decision,
                "reasons": reasons,
                "triaged_at": self._clock.now(),
            },
        )
        if not dry_run:
            self._connection.submit("triage", triage)
        return triage

    def erase(self, erasure: Erasure) -> int:
        """Have an erasure logged and done; return its index. Raises: ErasureRefused, if something came in between."""
        return self._connection.submit("erasure", erasure)
