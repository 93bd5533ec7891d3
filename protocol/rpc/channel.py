"""Client channels: mutual TLS, and the server's key must be the one that the roster names.

gRPC for Python shows a client nothing of the server's certificate, so the certificate is fetched first over a TLS
connection of our own, checked against CA and roster, and then made the **only** trust root of the gRPC channel. A
certificate of the right CA for the wrong party cannot serve.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from protocol.documents.roster import Party, Roster
from protocol.errors import PeerNotInRoster, PeerUnreachable
from protocol.rpc.identity import Identity, roster_party

MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""What a server takes from a caller, in one message: a masked vector of a million entries twice over."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""What a caller takes from a server: a leaf of the log holds such a vector and its inputs in base64 within base64."""
MAX_FRAMING_BYTES = 1024
"""What a frame of the federation stream adds to the Flower message in it, at most."""
FETCH_TIMEOUT_SECONDS = 10.0
OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
CLIENT_OPTIONS = (
    *OPTIONS,
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
)
SERVER_OPTIONS = (
    *OPTIONS,
    ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
)


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """A party's own TLS material, as paths of PEM files."""

    ca: Path
    certificate: Path
    key: Path


def fetch_certificate(address: str, *, server: Identity, files: TLSFiles) -> x509.Certificate:
    """Return the certificate that the server at ``address`` proves to hold, verified against our CA.

    Raises: PeerUnreachable if nobody answers; PeerNotInRoster if the CA did not issue its certificate for this name.
    """
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=str(files.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(str(files.certificate), str(files.key))
    try:
        with (
            socket.create_connection((host, int(port)), timeout=FETCH_TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=server.hostname) as secure,
        ):
            der = secure.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        raise PeerNotInRoster(f"{server.role} {server.id}: {error.reason or 'TLS failed'}") from None
    except OSError as error:
        raise PeerUnreachable(f"{server.role} {server.id} at {address}: {error.strerror or error}") from None
    if der is None:
        raise PeerNotInRoster(f"{server.role} {server.id} showed no certificate")
    return x509.load_der_x509_certificate(der)


class CoordinatorChannel:
    """A channel to the coordinator, opened when first asked for, and again once the roster pins another key for it."""

    def __init__(self, address: str, *, roster: Callable[[], Roster], files: TLSFiles) -> None:
        """Open nothing yet. ``roster`` returns the newest roster that this party knows."""
        self._address = address
        self._roster = roster
        self._files = files
        self._lock = threading.Lock()
        self._open: tuple[Party, grpc.Channel] | None = None

    def __call__(self) -> grpc.Channel:
        """Return the channel, the same one as long as the roster names the same coordinator. Raises: as ``open_channel``."""
        with self._lock:
            server = self._roster().with_role("coordinator")[0]
            if self._open is None or self._open[0] != server:
                if self._open is not None:
                    self._open[1].close()
                    self._open = None
                self._open = (server, self.fresh())
            return self._open[1]

    def fresh(self) -> grpc.Channel:
        """Return a new channel, which is the caller's to close. Raises: as ``open_channel``."""
        roster = self._roster()
        server = roster.with_role("coordinator")[0]
        return open_channel(self._address, server=server, roster=roster, files=self._files)

    def close(self) -> None:
        """Close the channel."""
        with self._lock:
            if self._open is not None:
                self._open[1].close()
                self._open = None


def open_channel(address: str, *, server: Party, roster: Roster, files: TLSFiles) -> grpc.Channel:
    """Return a channel that talks to the roster's ``server`` and to nobody else.

    Raises: PeerUnreachable, PeerNotInRoster.
    """
    identity = Identity(roster.force, server.role, server.id)
    certificate = fetch_certificate(address, server=identity, files=files)
    if roster_party(certificate, roster) != server:
        raise PeerNotInRoster(f"{address} is not {server.role} {server.id}")
    credentials = grpc.ssl_channel_credentials(
        root_certificates=certificate.public_bytes(Encoding.PEM),
        private_key=files.key.read_bytes(),
        certificate_chain=files.certificate.read_bytes(),
    )
    options = (*CLIENT_OPTIONS, ("grpc.ssl_target_name_override", identity.hostname))
    return grpc.secure_channel(address, credentials, options=options)
