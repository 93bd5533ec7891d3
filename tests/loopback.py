"""A gRPC channel without a network: the servicer is called directly, and errors become codes as at the real door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc

from protocol.errors import ProtocolError
from protocol.rpc.status import CODE_KEY, status_of


class PeerError(grpc.RpcError):
    """What a client sees of an error that a servicer raised."""

    def __init__(self, error: ProtocolError) -> None:
        super().__init__(error.public_message)
        self._error = error

    def code(self) -> grpc.StatusCode:
        return status_of(self._error).grpc

    def details(self) -> str:
        return self._error.public_message

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return ((CODE_KEY, self._error.code),)


class CallContext:
    """A call by the holder of one certificate."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._certificate]}


class Loopback:
    """The calls of one client to the given servicers."""

    def __init__(self, *servicers: object, certificate: bytes = b"") -> None:
        self._servicers = servicers
        self._context = CallContext(certificate)

    def _method(self, path: str) -> Callable[[Any, Any], Any]:
        service, name = path.rsplit(".", 1)[1].split("/")
        for servicer in self._servicers:
            if any(base.__name__ == f"{service}Servicer" for base in type(servicer).__mro__):
                return getattr(servicer, name)
        raise AssertionError(f"nobody serves {path}")

    def unary_unary(self, path: str, **_: object) -> Callable[..., Any]:
        def call(request: Any, timeout: float | None = None) -> Any:
            try:
                return self._method(path)(request, self._context)
            except ProtocolError as error:
                raise PeerError(error) from None

        return call

    def unary_stream(self, path: str, **_: object) -> Callable[..., Iterator[Any]]:
        def call(request: Any, timeout: float | None = None) -> Iterator[Any]:
            try:
                yield from self._method(path)(request, self._context)
            except ProtocolError as error:
                raise PeerError(error) from None

        return call

    def stream_stream(self, path: str, **_: object) -> Callable[..., Any]:
        raise AssertionError(f"{path} needs a real channel")

    def close(self) -> None:
        """There is nothing to close."""
