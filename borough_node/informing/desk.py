"""A borough's side of a data subject's rights: requests go out under pseudonyms, notices come in, and answers.

Rules this module keeps: a request names nobody and goes out for whoever makes one, flagged or not; before a notice has been
served the borough can say one sentence only, the same to everybody, because it knows no more itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from borough_node.ledger import Ledger
from borough_node.reviewing.outcomes import raised_headers
from protocol.clock import Clock
from protocol.documents.base import document_of
from protocol.documents.casework import (
    KnownAs,
    Notice,
    Notification,
    Outcome,
    Representation,
    RightsAnswer,
    RightsRequest,
)
from protocol.documents.flags import FlagHeader
from protocol.errors import MalformedDocument, NotLogged, PersonNotScored
from protocol.history.public import PublicRecord
from protocol.ids import Digest, RandomId, random_id
from protocol.rpc.connection import Connection
from protocol.sealing.pseudonym import pseudonym

NEUTRAL: Final = (
    "Your request was recorded and passed on under a pseudonym. Whether a flag about you exists or was opened is "
    "neither confirmed nor denied. You will be told without asking as soon as you may be told anything."
)
"""What a borough answers to everybody before a notice."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the borough may tell about one request."""

    request: Digest
    text: str
    answer: RightsAnswer | None
    """In substance; None until the person was told of an opening."""


class InformingDesk:
    """One borough."""

    def __init__(self, connection: Connection, *, ledger: Ledger, clock: Clock) -> None:
        self._connection = connection
        self._ledger = ledger
        self._clock = clock

    @property
    def id(self) -> str:
        """The borough's id in the roster."""
        return self._connection.party.settings.id

    # --- requests -----------------------------------------------------------------------------------------------

    def request(
        self, person: str, *, kind: Literal["access", "contest"], statement: str, by: str, dry_run: bool = False
    ) -> RightsRequest:
        """Send a person's request to the centre, under their pseudonym in every plan of this borough.

        Raises: MalformedDocument if a field is wrong or the statement names the person; PersonNotScored if the borough
            has no plan yet; what the register refuses.
        """
        if person.casefold() in statement.casefold():
            raise MalformedDocument("field statement: it names the person")
        self._connection.reader.sync()
        known = [
            KnownAs(
                plan=plan,
                pseudonym=pseudonym(self._ledger.pseudonym_key(plan), borough=self.id, plan_digest=plan, person=person),
            )
            for plan in self._flagging_plans(self._connection.reader.public)
        ]
        if not known:
            raise PersonNotScored("no policy was ever approved under which this borough could flag anybody")
        request = document_of(
            RightsRequest,
            {
                "request_id": random_id(),
                "borough": self.id,
                "kind": kind,
                "known_as": tuple(known),
                "statement": statement,
                "received_by": by,
                "received_at": self._clock.now(),
            },
        )
        if not dry_run:
            self._connection.submit("request", request)
        return request

    def _flagging_plans(self, public: PublicRecord) -> list[Digest]:
        """Return the plans under whose policies this borough may have flagged people."""
        plans = dict.fromkeys(policy.plan for policy in public.policies.values())
        return [plan for plan in plans if self.id in public.plan(plan).plan.members]

    def replies(self) -> list[Reply]:
        """Return what may be told now about each request that this borough has sent."""
        cases = [case.document for case in self._connection.cases(lambda kind: kind in ("request", "answer"))]
        answers = {one.request: one for one in cases if isinstance(one, RightsAnswer)}
        replies = []
        for request in cases:
            if isinstance(request, RightsRequest):
                answer = answers.get(request.digest())
                replies.append(Reply(request.digest(), NEUTRAL if answer is None else _text(answer), answer))
        return replies

    # --- notices ------------------------------------------------------------------------------------------------

    def notices(self) -> list[Notice]:
        """Return the notices that this borough is to serve, or has served."""
        cases = self._connection.cases(lambda kind: kind == "notice")
        return [case.document for case in cases if isinstance(case.document, Notice)]

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes of cases whose notice this borough has."""
        cases = self._connection.cases(lambda kind: kind == "outcome")
        return [case.document for case in cases if isinstance(case.document, Outcome)]

    def header_of(self, notice: Notice) -> FlagHeader:
        """Return the header of the flag that a notice is about. Raises: NotLogged if this borough raised no such flag."""
        self._connection.reader.sync()
        for policy in self._connection.reader.public.policies:
            for header in raised_headers(self._ledger, policy):
                if (header.flag_id, header.digest()) == (notice.flag_id, notice.header):
                    return header
        raise NotLogged("this borough raised no such flag")

    def told(self, notice: Digest, *, dry_run: bool = False, **fields: Any) -> Notification:
        """Log that the person was told. Raises: NotLogged if there is no such notice; what the register refuses."""
        document = document_of(Notification, self._of(notice) | fields)
        if not dry_run:
            self._connection.submit("notification", document)
        return document

    def heard(self, notice: Digest, *, dry_run: bool = False, **fields: Any) -> Representation:
        """Log what the person says to it. Raises: NotLogged if there is no such notice; what the register refuses."""
        document = document_of(Representation, self._of(notice) | {"received_at": self._clock.now()} | fields)
        if not dry_run:
            self._connection.submit("representation", document)
        return document

    def _of(self, digest: Digest) -> dict[str, Any]:
        notice = next((one for one in self.notices() if one.digest() == digest), None)
        if notice is None:
            raise NotLogged("no notice of this digest is there for this borough")
        flag_id: RandomId = notice.flag_id
        return {
            "warrant": notice.warrant,
            "flag_id": flag_id,
            "header": notice.header,
            "notice": digest,
            "borough": self.id,
        }


def _text(answer: RightsAnswer) -> str:
    return f"{answer.decision.replace('_', ' ')}: {answer.reasons}"
