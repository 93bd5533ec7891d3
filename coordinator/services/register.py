"""The register over gRPC: parses, calls ``coordinator.warrants`` and ``coordinator.registry``, publishes, answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc

from coordinator.registry.proposals import Proposals
from coordinator.warrants.register import Register
from protocol.documents.roster import Party, Roster
from protocol.log.note import SignedCheckpoint
from protocol.rpc.server import caller_of
from protocol.rpc.v1 import register_pb2, register_pb2_grpc
from protocol.signing.dsse import Envelope


class RegisterService(register_pb2_grpc.RegisterServicer):
    """Parties' access to proposals, flags and cases."""

    def __init__(
        self,
        *,
        register: Register,
        proposals: Proposals,
        publish: Callable[[], SignedCheckpoint],
        roster: Callable[[], Roster],
        on_logged: Callable[[str], None],
    ) -> None:
        self._register = register
        self._proposals = proposals
        self._publish = publish
        self._roster = roster
        self._on_logged = on_logged

    def _caller(self, context: grpc.ServicerContext) -> Party:
        return caller_of(context, self._roster())

    def Proposals(self, request: register_pb2.Empty, context: grpc.ServicerContext) -> register_pb2.ProposalList:
        """Return what waits for signatures."""
        waiting = self._proposals.waiting()
        return register_pb2.ProposalList(
            proposals=[register_pb2.Proposal(kind=kind, envelope=envelope) for _, kind, envelope in waiting]
        )

    def Endorse(self, request: register_pb2.SignedDocument, context: grpc.ServicerContext) -> register_pb2.Empty:
        """Add a custodian's signature."""
        envelope = Envelope.decode(request.envelope)
        if self._proposals.endorse(envelope) is not None:
            self._publish()
            self._on_logged(envelope.payloadType)
        return register_pb2.Empty()

    def RaiseFlags(self, request: register_pb2.FlagBatch, context: grpc.ServicerContext) -> register_pb2.Positions:
        """Log a borough's flags, then say where they stand."""
        flags = [(Envelope.decode(flag.envelope), flag.ciphertext, tuple(flag.sealed_shares)) for flag in request.flags]
        indices = self._register.raise_flags(self._caller(context), flags)
        return register_pb2.Positions(indices=indices, checkpoint=self._publish().encode())

    def Shares(
        self, request: register_pb2.SharesRequest, context: grpc.ServicerContext
    ) -> Iterator[register_pb2.ShareDelivery]:
        """Stream a custodian's own shares."""
        for flag, share in self._register.shares_for(self._caller(context), held=frozenset(request.held)):
            yield register_pb2.ShareDelivery(
                envelope=flag.envelope, sealed_share=share, index=flag.leaf, salt=flag.salt
            )

    def Flags(
        self, request: register_pb2.FlagsRequest, context: grpc.ServicerContext
    ) -> Iterator[register_pb2.SignedDocument]:
        """Log and publish who looks and why, then stream the flags' signed headers."""
        envelope = Envelope.decode(request.envelope) if request.envelope else None
        headers = self._register.consult(
            self._caller(context), envelope, after=request.after or None, limit=request.limit or None
        )
        self._publish()
        for header in headers:
            yield register_pb2.SignedDocument(envelope=header)

    def Submit(self, request: register_pb2.Submission, context: grpc.ServicerContext) -> register_pb2.Position:
        """Log a case document and publish it."""
        index = self._register.submit(self._caller(context), request.kind, Envelope.decode(request.envelope))
        self._publish()
        return register_pb2.Position(index=index)

    def Cases(
        self, request: register_pb2.CasesRequest, context: grpc.ServicerContext
    ) -> Iterator[register_pb2.CaseDocument]:
        """Stream the case documents that the caller may read, of one warrant or of all."""
        for case in self._register.cases(self._caller(context), warrant=request.warrant or None):
            yield register_pb2.CaseDocument(kind=case.kind, envelope=case.envelope, index=case.index, salt=case.salt)

    def Open(self, request: register_pb2.SignedDocument, context: grpc.ServicerContext) -> register_pb2.Opened:
        """Log an opening under a witnessed checkpoint, then hand over the ciphertext."""
        index, flag = self._register.open(self._caller(context), Envelope.decode(request.envelope))
        self._publish()
        return register_pb2.Opened(index=index, ciphertext=flag.ciphertext, flag_envelope=flag.envelope)
