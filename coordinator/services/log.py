"""The log for every party of the roster: leaves up to the last witnessed checkpoint, then the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from coordinator.log.appender import Appender
from protocol.errors import NotReady
from protocol.rpc.v1 import log_pb2, log_pb2_grpc


class LogService(log_pb2_grpc.LogServicer):
    """Read access."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender

    def Read(self, request: log_pb2.ReadRequest, context: grpc.ServicerContext) -> Iterator[log_pb2.ReadResponse]:
        """Stream the witnessed leaves from ``start``. Raises: NotReady before the first witnessed checkpoint."""
        latest = self._appender.latest()
        if latest is None:
            raise NotReady("no checkpoint is witnessed yet")
        for leaf in self._appender.history.leaves[request.start : latest.checkpoint.size]:
            yield log_pb2.ReadResponse(leaf=log_pb2.LogLeaf(skeleton=leaf.skeleton_bytes, body_hash=leaf.body_hash))
        yield log_pb2.ReadResponse(checkpoint=latest.encode())
