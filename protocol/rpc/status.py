"""How each branch of the error tree looks to a gRPC peer, to an HTTP client and to a shell.

A peer gets the code and the public message; the detail stays in the party's own log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import grpc

from protocol.errors import (
    ConfigurationError,
    PeerUnreachable,
    ProtocolError,
    RefusalError,
    StateError,
    StorageError,
    TooManyCalls,
    TransportError,
    VerificationError,
)

CODE_KEY: Final = "custodes-code"
"""Trailing metadata key that carries the stable error code."""


@dataclass(frozen=True, slots=True)
class Status:
    """One row of the table."""

    grpc: grpc.StatusCode
    http: int
    exit: int


TABLE: Final[dict[type[ProtocolError], Status]] = {
    # Before its branch: who waits may call again, as of no other refusal.
    TooManyCalls: Status(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, 5),
    ConfigurationError: Status(grpc.StatusCode.INVALID_ARGUMENT, 400, 3),
    VerificationError: Status(grpc.StatusCode.INVALID_ARGUMENT, 422, 4),
    RefusalError: Status(grpc.StatusCode.PERMISSION_DENIED, 403, 5),
    StateError: Status(grpc.StatusCode.FAILED_PRECONDITION, 409, 5),
    TransportError: Status(grpc.StatusCode.UNAUTHENTICATED, 401, 6),
    StorageError: Status(grpc.StatusCode.INTERNAL, 500, 7),
}


def status_of(error: ProtocolError) -> Status:
    """Return the row of the branch that ``error`` belongs to."""
    return next(status for branch, status in TABLE.items() if isinstance(error, branch))


def error_classes(root: type[ProtocolError] = ProtocolError) -> Iterator[type[ProtocolError]]:
    """Yield every error class that is loaded, the root excluded."""
    for child in root.__subclasses__():
        yield child
        yield from error_classes(child)


def from_rpc_error(error: grpc.RpcError) -> ProtocolError:
    """Return the peer's error as an error of ours: the class of its code, or PeerUnreachable."""
    code = next((value for key, value in (error.trailing_metadata() or ()) if key == CODE_KEY), None)
    for known in error_classes():
        if known.code == code:
            return known("(said by the peer)")
    return PeerUnreachable(f"gRPC status {error.code().name}: {error.details()}")
