"""The warrant issuer's desk: reads flags' headers, issues and withdraws warrants, and decides on what was opened."""

from __future__ import annotations

from typing import Any, TypeVar

from protocol.clock import Clock
from protocol.documents.base import Document, document_of
from protocol.documents.cases import ReviewReferral, Warrant, Withdrawal
from protocol.documents.casework import Deferral, Notice, Outcome, Review, RightsAnswer, RightsRequest
from protocol.documents.flags import FlagHeader
from protocol.errors import OutcomeUnreviewed
from protocol.ids import Digest, RandomId, random_id
from protocol.rpc.connection import Connection
from protocol.signing.dsse import Envelope, sign

D = TypeVar("D", bound=Document)


class IssuerDesk:
    """One issuer."""

    def __init__(self, connection: Connection, *, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    @property
    def id(self) -> str:
        """The issuer's id in the roster."""
        return self._connection.party.settings.id

    def flags(
        self, *flag_ids: RandomId, by: str, reason: str, after: RandomId | None = None, limit: int | None = None
    ) -> list[FlagHeader]:
        """Return the headers of these flags, or of all, or a page; who looked and why is logged.

        Raises: as ``Connection.consult``.
        """
        return self._connection.consult(*flag_ids, by=by, reason=reason, after=after, limit=limit)

    def issue(self, warrant: Warrant) -> Digest:
        """Sign and log a warrant; return its digest. Raises: what the register refuses."""
        self._connection.submit("warrant", warrant)
        return warrant.digest()

    def withdraw(self, warrant: Digest, *, reason: str) -> None:
        """Take a warrant back, for good. Raises: what the register refuses."""
        withdrawal = Withdrawal(warrant=warrant, issuer=self.id, reason=reason, withdrawn_at=self._clock.now())
        self._connection.submit("withdrawal", withdrawal)

    def defer(self, warrant: Digest, flag_id: RandomId, *, dry_run: bool = False, **fields: Any) -> Deferral:
        """Put the notice off, with reasons and an end. Raises: MalformedDocument naming a field; what the register refuses."""
        fields |= self._connection.named_flag(warrant, flag_id) | {"deferred_at": self._clock.now()}
        return self._log("deferral", Deferral, fields, dry_run=dry_run)

    def give_notice(self, warrant: Digest, flag_id: RandomId, *, dry_run: bool = False, **fields: Any) -> Notice:
        """Have the borough tell the person. Raises: MalformedDocument naming a field; what the register refuses."""
        fields |= self._connection.named_flag(warrant, flag_id) | {"noticed_at": self._clock.now()}
        return self._log("notice", Notice, fields, dry_run=dry_run)

    def decide(self, warrant: Digest, flag_id: RandomId, *, dry_run: bool = False, **fields: Any) -> Outcome:
        """Log the outcome of a case, on its last review.

        Raises: OutcomeUnreviewed if nobody has reviewed it; MalformedDocument naming a field; what the register refuses.
        """
        reviews = self._connection.of_case(Review, warrant, flag_id)
        if not reviews:
            raise OutcomeUnreviewed("nobody has reviewed this case")
        fields |= self._connection.named_flag(warrant, flag_id) | {"decided_at": self._clock.now()}
        return self._log("outcome", Outcome, fields | {"review": reviews[-1].digest()}, dry_run=dry_run)

    def requests(self) -> list[RightsRequest]:
        """Return the data subjects' requests that are held, in log order."""
        cases = self._connection.cases(lambda kind: kind == "request")
        return [case.document for case in cases if isinstance(case.document, RightsRequest)]

    def answer(self, request: Digest, *, dry_run: bool = False, **fields: Any) -> RightsAnswer:
        """Log the answer to a request. Raises: MalformedDocument naming a field; what the register refuses."""
        fields |= {"answer_id": random_id(), "request": request, "answered_at": self._clock.now()}
        return self._log("answer", RightsAnswer, fields, dry_run=dry_run)

    def _log(self, kind: str, of: type[D], fields: dict[str, Any], *, dry_run: bool) -> D:
        document = document_of(of, fields | {"issuer": self.id})
        if not dry_run:
            self._connection.submit(kind, document)
        return document

    def refer(self, warrant: Digest, flag_id: RandomId, *, by: str, reason: str) -> Envelope:
        """Return the signed word to the flag's borough that the person may be reviewed there; the borough checks the log.

        Raises: as ``Connection.consult``.
        """
        (header,) = self.flags(flag_id, by=by, reason=reason)
        referral = ReviewReferral(
            warrant=warrant,
            flag_id=flag_id,
            header=header.digest(),
            policy=header.policy,
            issuer=self.id,
            referred_at=self._clock.now(),
        )
        return sign(referral, self._connection.party.signing_key)
