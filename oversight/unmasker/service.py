"""The unmasker over gRPC."""

from __future__ import annotations

import re

import grpc

from oversight.unmasker.unmasker import Unmasker
from protocol.errors import MalformedDocument
from protocol.rpc.v1 import unmasker_pb2, unmasker_pb2_grpc
from protocol.signing.dsse import Envelope


class UnmaskerService(unmasker_pb2_grpc.UnmaskerServicer):
    """Parses, calls, answers."""

    def __init__(self, unmasker: Unmasker) -> None:
        self._unmasker = unmasker

    def NewPlanKey(
        self, request: unmasker_pb2.NewPlanKeyRequest, context: grpc.ServicerContext
    ) -> unmasker_pb2.PlanKey:
        """Make a key for a plan. Raises: MalformedDocument if its id is none: whatever it is would be stored for ever."""
        if not re.fullmatch("[0-9a-f]{32}", request.plan_id):
            raise MalformedDocument("field plan_id: not 128 bits in hex")
        return unmasker_pb2.PlanKey(public_key=bytes.fromhex(self._unmasker.new_plan_key(request.plan_id)))

    def Commit(self, request: unmasker_pb2.CommitRequest, context: grpc.ServicerContext) -> unmasker_pb2.SignedReceipt:
        """Check statements and make a receipt."""
        statements = [Envelope.decode(content) for content in request.statements]
        return unmasker_pb2.SignedReceipt(envelope=self._unmasker.commit(request.request, statements).encode())

    def Reveal(self, request: unmasker_pb2.RevealRequest, context: grpc.ServicerContext) -> unmasker_pb2.MaskSum:
        """Reveal a logged receipt's mask sum."""
        return unmasker_pb2.MaskSum(mask_sum=self._unmasker.reveal(request.plan, request.index))

    def ClosePlan(
        self, request: unmasker_pb2.ClosePlanRequest, context: grpc.ServicerContext
    ) -> unmasker_pb2.SignedClosure:
        """Destroy a plan's key."""
        return unmasker_pb2.SignedClosure(envelope=self._unmasker.close_plan(request.plan).encode())
