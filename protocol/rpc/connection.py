"""What whoever works with the register has: a party's keys, its own mirror of the log, and the register."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import grpc
from pydantic import ValidationError

from protocol.clock import Clock
from protocol.documents.base import Document, describe
from protocol.documents.cases import Warrant, Withdrawal
from protocol.documents.casework import CaseDocument, Consultation
from protocol.documents.flags import FlagHeader
from protocol.documents.roster import Party as RosterParty
from protocol.errors import ConsultationUnexplained, DigestMismatch, NotLogged
from protocol.history.cases import signer_of
from protocol.history.leaves import skeleton_of
from protocol.history.signers import logged_flag
from protocol.ids import Digest, PartyId, RandomId, random_id
from protocol.log.leaf import make_leaf
from protocol.rpc.channel import CoordinatorChannel
from protocol.rpc.log_reader import LogReader
from protocol.rpc.party import CheckpointFile, Party, PartySettings
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import register_pb2, register_pb2_grpc
from protocol.signing.dsse import Envelope, sign

D = TypeVar("D", bound=CaseDocument)

CALL_SECONDS = 120.0
"""A coordinator that takes a call and never answers must not keep a desk waiting for ever."""


@dataclass(frozen=True, slots=True)
class LoggedCase:
    """A case document that is signed by the right role and stands in the witnessed log."""

    kind: str
    index: int
    document: Document
    signer: RosterParty
    """As the roster named it when the document was logged."""


@contextmanager
def typed_errors() -> Iterator[None]:
    """Turn gRPC errors into ours."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None


class Connection:
    """A party's side of the wire."""

    _clock: Clock

    def __init__(self, settings: PartySettings, *, clock: Clock, memory: Path | None = None) -> None:
        """Connect.

        Args:
            memory: Where the last checkpoint is remembered; of a party that also serves, not where its server does: two
                processes would write one file. None: in the party's state.
        Raises: ConfigurationError, PeerUnreachable, PeerNotInRoster, ForkDetected if one was seen before.
        """
        self._clock = clock
        self.party = Party.open(settings)
        folder = memory or settings.state
        folder.mkdir(parents=True, exist_ok=True)
        remembered = CheckpointFile(folder)
        self._channel = CoordinatorChannel(settings.coordinator, roster=lambda: self.party.roster, files=settings.tls())
        self.reader = LogReader(
            self._channel,
            genesis=settings.genesis,
            remembered=remembered.load(),
            remember=remembered.remember,
            keep_evidence=remembered.keep_evidence,
            learn=self.party.rosters.learn,
            clock=clock,
        )
        self.register = register_pb2_grpc.RegisterStub(self._channel())

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def submit(self, kind: str, document: Document) -> int:
        """Sign a case document, have it logged, and return its index once our own mirror shows it there.

        Raises: what the register refuses; NotLogged if the witnessed log does not hold it.
        """
        envelope = sign(document, self.party.signing_key)
        with typed_errors():
            position = self.register.Submit(
                register_pb2.Submission(kind=kind, envelope=envelope.encode()), timeout=CALL_SECONDS
            )
        self.reader.sync()
        skeleton = skeleton_of(kind, envelope, day=self.reader.history.skeletons[position.index].day)
        if self.reader.history.skeletons[position.index] != skeleton:
            raise DigestMismatch(f"the log holds something else at index {position.index}")
        return int(position.index)

    def consult(
        self, *flag_ids: RandomId, by: str, reason: str, after: RandomId | None = None, limit: int | None = None
    ) -> list[FlagHeader]:
        """Return flags' headers, each signed by the borough that it names; who looked and why is logged before.

        Args:
            flag_ids: None for the whole list.
            after: The last flag of the page before, if the list is read page by page; each page is a look of its own.
            limit: Flags of a page.
        Raises: ConsultationUnexplained without a name and a reason; NotLogged if one of the flags is not held.
        """
        consultation = consultation_of(
            self.party.settings.id, by=by, reason=reason, flags=tuple(sorted(flag_ids)), now=self._clock.now()
        )
        envelope = sign(consultation, self.party.signing_key)
        with typed_errors():
            shown = list(
                self.register.Flags(
                    register_pb2.FlagsRequest(envelope=envelope.encode(), after=after or "", limit=limit or 0),
                    timeout=CALL_SECONDS,
                )
            )
        # Afterwards, so that a flag which was raised meanwhile is found in the log.
        self.reader.sync()
        return [logged_flag(self.reader.history, Envelope.decode(flag.envelope))[0].header for flag in shown]

    def require_logged(self, kind: str, envelope: Envelope, *, index: int, salt: bytes) -> None:
        """Return if the witnessed log holds this very envelope at ``index``. Raises: NotLogged."""
        if not 0 <= index < self.reader.mirror.size:
            self.reader.sync()
        if not 0 <= index < self.reader.mirror.size:
            raise NotLogged(f"the witnessed log does not reach index {index}")
        day = self.reader.history.skeletons[index].day
        leaf = make_leaf(skeleton_of(kind, envelope, day=day), salt=salt, body=envelope.encode())
        self.reader.mirror.require_logged(index, leaf)

    def cases(self, accept: Callable[[str], bool], *, warrant: Digest | None = None) -> list[LoggedCase]:
        """Return the case documents of these kinds that this party may see, each verified and found in the log.

        Args:
            warrant: Only what belongs to this one: a desk with many cases reads one at a time.

        Raises: UnknownSigner, BadSignature, NotLogged: the register showed something that is not in the log.
        """
        self.reader.sync()
        with typed_errors():
            shown = list(self.register.Cases(register_pb2.CasesRequest(warrant=warrant or ""), timeout=CALL_SECONDS))
        found = []
        for case in shown:
            if not accept(case.kind):
                continue
            envelope = Envelope.decode(case.envelope)
            self.require_logged(case.kind, envelope, index=case.index, salt=case.salt)
            document, signer = signer_of(case.kind, envelope, self.reader.history.roster_at(case.index))
            found.append(LoggedCase(case.kind, case.index, document, signer))
        return found

    def warrant(self, digest: Digest) -> tuple[Warrant, bool]:
        """Return a logged warrant and whether it was withdrawn. Raises: DigestMismatch if none has this digest."""
        cases = self.cases(lambda kind: kind in ("warrant", "withdrawal"), warrant=digest)
        withdrawn = any(isinstance(case.document, Withdrawal) and case.document.warrant == digest for case in cases)
        for case in cases:
            if isinstance(case.document, Warrant) and case.document.digest() == digest:
                return case.document, withdrawn
        raise DigestMismatch("the register shows no warrant of this digest")

    def named_flag(self, warrant: Digest, flag_id: RandomId) -> dict[str, Any]:
        """Return the fields that every step after an opening has. Raises: DigestMismatch if the warrant does not name it."""
        document, _ = self.warrant(warrant)
        for named in document.flags:
            if named.flag_id == flag_id:
                return {"warrant": warrant, "flag_id": flag_id, "header": named.header}
        raise DigestMismatch("the warrant does not name this flag")

    def of_case(self, kind: type[D], warrant: Digest, flag_id: RandomId) -> list[D]:
        """Return the documents of one kind about a flag under a warrant, in log order."""
        return [
            case.document
            for case in self.cases(lambda _: True, warrant=warrant)
            if isinstance(case.document, kind) and (case.document.warrant, case.document.flag_id) == (warrant, flag_id)
        ]


def consultation_of(
    reader: PartyId, *, by: str, reason: str, flags: tuple[RandomId, ...], now: datetime
) -> Consultation:
    """Return the document that asks to see flags. Raises: ConsultationUnexplained naming the field that is missing."""
    try:
        return Consultation(
            consultation_id=random_id(), reader=reader, consulted_by=by, flags=flags, reason=reason, consulted_at=now
        )
    except ValidationError as error:
        raise ConsultationUnexplained(describe(error)) from None
