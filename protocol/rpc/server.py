"""Servers: mutual TLS, the roster as the list of guests, the access table at the door, errors as codes.

Rules this module keeps: no handler runs before the caller's certificate is matched to the roster, its call counted against
what one caller may ask, and its role matched to the access table; a peer learns an error's code and public message, the
party's own log learns the rest; of a fault of our own a peer learns that there was one.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from cryptography import x509
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from protocol.documents.roster import Party, Roster
from protocol.errors import PeerNotInRoster, ProtocolError, RoleForbidden
from protocol.rpc.access import ACCESS
from protocol.rpc.allowance import CALLS_PER_MINUTE, Allowance
from protocol.rpc.channel import SERVER_OPTIONS, TLSFiles
from protocol.rpc.identity import roster_party
from protocol.rpc.status import CODE_KEY, status_of

LEAST_AT_ONCE = 4
"""A borough that reconnects has its old stream and its new one for a moment."""
BUG = "bug"
"""Code under which a party's own log gets an exception that nobody foresaw."""

Report = Callable[[str, str, str], None]
"""Called with (method, error code, detail) for the party's own log."""


def caller_of(context: grpc.ServicerContext, roster: Roster) -> Party:
    """Return the roster's party at the other end. Raises: PeerNotInRoster."""
    chain = context.auth_context().get("x509_pem_cert")
    if not chain:
        raise PeerNotInRoster("the caller showed no certificate")
    return roster_party(x509.load_pem_x509_certificate(chain[0]), roster)


class Door(grpc.ServerInterceptor):
    """Admits callers by roster, allowance and access table, and turns our errors into statuses."""

    def __init__(self, roster: Callable[[], Roster], report: Report, allowance: Allowance) -> None:
        self._roster = roster
        self._report = report
        self._allowance = allowance

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of one call."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        @contextmanager
        def admitted(context: grpc.ServicerContext) -> Iterator[None]:
            party = caller_of(context, self._roster())
            with self._allowance.call(party, method):
                if party.role not in ACCESS.get(method, frozenset()):
                    raise RoleForbidden(f"{party.role} {party.id} called {method}")
                yield

        def unary(behaviour: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
            def guarded(request: Any, context: grpc.ServicerContext) -> Any:
                try:
                    with admitted(context):
                        return behaviour(request, context)
                except ProtocolError as error:
                    self._abort(context, method, error)
                except Exception as error:  # noqa: BLE001 - the border of the service
                    self._fault(context, method, error)

            return guarded

        def stream(
            behaviour: Callable[[Any, grpc.ServicerContext], Iterator[Any]],
        ) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
            def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                try:
                    with admitted(context):
                        yield from behaviour(request, context)
                except ProtocolError as error:
                    self._abort(context, method, error)
                except Exception as error:  # noqa: BLE001 - the border of the service
                    self._fault(context, method, error)

            return guarded

        if handler.stream_stream is not None and handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                stream(handler.stream_stream), handler.request_deserializer, handler.response_serializer
            )
        if handler.response_streaming:
            assert handler.unary_stream is not None  # noqa: S101 - for the type checker
            return grpc.unary_stream_rpc_method_handler(
                stream(handler.unary_stream), handler.request_deserializer, handler.response_serializer
            )
        assert handler.unary_unary is not None  # noqa: S101 - for the type checker
        return grpc.unary_unary_rpc_method_handler(
            unary(handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    def _abort(self, context: grpc.ServicerContext, method: str, error: ProtocolError) -> NoReturn:
        self._report(method, error.code, f"{error.detail or error.public_message} ({_origin(error)})")
        context.set_trailing_metadata(((CODE_KEY, error.code),))
        context.abort(status_of(error).grpc, error.public_message)
        raise AssertionError("unreachable: abort raises")

    def _fault(self, context: grpc.ServicerContext, method: str, error: Exception) -> NoReturn:
        # gRPC would send the exception's text to the peer, and that may quote what a peer must not read.
        self._report(method, BUG, f"{type(error).__name__} ({_origin(error)})")
        context.abort(grpc.StatusCode.INTERNAL, ProtocolError.public_message)
        raise AssertionError("unreachable: abort raises")


def _origin(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.name}:{frame.lineno}"


def serve(
    address: str,
    *,
    files: TLSFiles,
    roster: Callable[[], Roster],
    report: Report,
    register: Callable[[grpc.Server], None],
    threads: int,
    calls_per_minute: int = CALLS_PER_MINUTE,
) -> tuple[grpc.Server, int]:
    """Start a server and return it with its port.

    Args:
        address: ``host:port``; port 0 takes a free one.
        roster: Returns the roster that counts now.
        register: Adds the services.
        threads: Calls served at once; a bidirectional stream holds one for its life. One caller may hold a quarter of them.
        calls_per_minute: Of one caller to one method.
    Raises: PeerNotInRoster never here; OSError-like RuntimeError of gRPC if the port is taken.
    """
    allowance = Allowance(per_minute=calls_per_minute, at_once=max(LEAST_AT_ONCE, threads // 4))
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="grpc"),
        interceptors=(Door(roster, report, allowance),),
        options=(*SERVER_OPTIONS, ("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 10_000)),
    )
    register(server)
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    credentials = grpc.ssl_server_credentials(
        [(files.key.read_bytes(), files.certificate.read_bytes())],
        root_certificates=files.ca.read_bytes(),
        require_client_auth=True,
    )
    port = server.add_secure_port(address, credentials)
    server.start()
    return server, port
