"""What every desk has: its keys, its own mirror of the log, and the register."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from protocol.clock import Clock
from protocol.documents.base import Document
from protocol.documents.cases import Approval, Opening, Warrant, Withdrawal
from protocol.documents.roster import Party as RosterParty
from protocol.errors import DigestMismatch, NotLogged
from protocol.history.leaves import skeleton_of
from protocol.ids import Digest
from protocol.log.leaf import make_leaf
from protocol.rpc.channel import CoordinatorChannel
from protocol.rpc.log_reader import LogReader
from protocol.rpc.party import CheckpointFile, Party, PartySettings
from protocol.rpc.status import from_rpc_error
from protocol.rpc.v1 import register_pb2, register_pb2_grpc
from protocol.signing.dsse import Envelope, sign
from protocol.signing.quorum import verify_signed_by_role

CASE_ROLES = {
    "warrant": (Warrant, "issuer"),
    "withdrawal": (Withdrawal, "issuer"),
    "approval": (Approval, "custodian"),
    "refusal": (Approval, "custodian"),
    "opening": (Opening, "investigator"),
}


@dataclass(frozen=True, slots=True)
class Case:
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
    """A desk's side of the wire."""

    def __init__(self, settings: PartySettings, *, clock: Clock) -> None:
        """Connect. Raises: ConfigurationError, PeerUnreachable, PeerNotInRoster, ForkDetected if one was seen before."""
        self.party = Party.open(settings)
        memory = CheckpointFile(settings.state)
        self._channel = CoordinatorChannel(settings.coordinator, roster=lambda: self.party.roster, files=settings.tls())
        self.reader = LogReader(
            self._channel,
            genesis=settings.genesis,
            remembered=memory.load(),
            remember=memory.remember,
            keep_evidence=memory.keep_evidence,
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
            position = self.register.Submit(register_pb2.Submission(kind=kind, envelope=envelope.encode()))
        self.reader.sync()
        skeleton = skeleton_of(kind, envelope, day=self.reader.history.skeletons[position.index].day)
        if self.reader.history.skeletons[position.index] != skeleton:
            raise DigestMismatch(f"the log holds something else at index {position.index}")
        return int(position.index)

    def require_logged(self, kind: str, envelope: Envelope, *, index: int, salt: bytes) -> None:
        """Return if the witnessed log holds this very envelope at ``index``. Raises: NotLogged."""
        if not 0 <= index < self.reader.mirror.size:
            self.reader.sync()
        if not 0 <= index < self.reader.mirror.size:
            raise NotLogged(f"the witnessed log does not reach index {index}")
        day = self.reader.history.skeletons[index].day
        leaf = make_leaf(skeleton_of(kind, envelope, day=day), salt=salt, body=envelope.encode())
        self.reader.mirror.require_logged(index, leaf)

    def cases(self, accept: Callable[[str], bool]) -> list[Case]:
        """Return the case documents of these kinds that this party may see, each verified and found in the log.

        Raises: UnknownSigner, BadSignature, NotLogged: the register showed something that is not in the log.
        """
        self.reader.sync()
        with typed_errors():
            shown = list(self.register.Cases(register_pb2.Empty()))
        found = []
        for case in shown:
            if not accept(case.kind):
                continue
            kind, role = CASE_ROLES[case.kind]
            envelope = Envelope.decode(case.envelope)
            self.require_logged(case.kind, envelope, index=case.index, salt=case.salt)
            roster = self.reader.history.roster_at(case.index)
            document, signer = verify_signed_by_role(envelope, kind, roster, role)  # type: ignore[type-var, arg-type]
            found.append(Case(case.kind, case.index, document, signer))
        return found

    def warrant(self, digest: Digest) -> tuple[Warrant, bool]:
        """Return a logged warrant and whether it was withdrawn. Raises: DigestMismatch if none has this digest."""
        cases = self.cases(lambda kind: kind in ("warrant", "withdrawal"))
        withdrawn = any(isinstance(case.document, Withdrawal) and case.document.warrant == digest for case in cases)
        for case in cases:
            if isinstance(case.document, Warrant) and case.document.digest() == digest:
                return case.document, withdrawn
        raise DigestMismatch("the register shows no warrant of this digest")
