"""An error of a peer arrives as the same class, and what is no error of ours arrives as an unreachable peer."""

from __future__ import annotations

import grpc
import pytest

from protocol.errors import ForkDetected, PeerUnreachable, WarrantExpired
from protocol.rpc.status import CODE_KEY, from_rpc_error


class FakeRpcError(grpc.RpcError):
    """An error as gRPC raises it."""

    def __init__(self, metadata: tuple[tuple[str, str], ...] | None) -> None:
        self._metadata = metadata

    def trailing_metadata(self) -> tuple[tuple[str, str], ...] | None:
        return self._metadata

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "synthetic"


@pytest.mark.parametrize("kind", [WarrantExpired, ForkDetected])
def test_the_code_in_the_metadata_names_the_class(kind):
    error = from_rpc_error(FakeRpcError(((CODE_KEY, kind.code),)))
    assert type(error) is kind
    assert "said by the peer" in error.detail


@pytest.mark.parametrize("metadata", [None, (), ((CODE_KEY, "no.such.code"),), (("other", "warrant.expired"),)])
def test_anything_else_is_an_unreachable_peer_with_the_status_in_the_detail(metadata):
    error = from_rpc_error(FakeRpcError(metadata))
    assert type(error) is PeerUnreachable
    assert "UNAVAILABLE" in error.detail
