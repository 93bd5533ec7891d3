"""Who a certificate speaks for: role and id in its URI SAN, its key hash in the roster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.documents.roster import Party, Roster
from protocol.errors import PeerNotInRoster, UnknownSigner
from protocol.ids import Digest, PartyId, Role, digest_of

URI_SCHEME = "custodes"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a certificate claims."""

    force: PartyId
    role: Role
    id: PartyId

    @property
    def uri(self) -> str:
        """The URI subject alternative name, ``custodes://force/role/id``."""
        return f"{URI_SCHEME}://{self.force}/{self.role}/{self.id}"

    @property
    def hostname(self) -> str:
        """The DNS subject alternative name, for TLS libraries that want one. It resolves nowhere."""
        return f"{self.id}.{self.role}.{self.force}.internal"


def tls_key_digest(certificate: x509.Certificate) -> Digest:
    """Return the SHA-256 of the certificate's SubjectPublicKeyInfo."""
    return public_key_digest(certificate.public_key())


def public_key_digest(key: CertificatePublicKeyTypes) -> Digest:
    """Return the SHA-256 of a public key's SubjectPublicKeyInfo: what a roster pins."""
    return digest_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def identity_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> Identity:
    """Return the identity that a certificate, or a request for one, claims.

    Raises: PeerNotInRoster if it claims none or several.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise PeerNotInRoster("the certificate has no subject alternative name") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    parts = uris[0].removeprefix(f"{URI_SCHEME}://").split("/") if len(uris) == 1 else []
    if len(parts) != 3 or parts[1] not in get_args(Role) or not uris[0].startswith(f"{URI_SCHEME}://"):
        raise PeerNotInRoster("the certificate's URI is not custodes://force/role/id")
    return Identity(force=parts[0], role=cast(Role, parts[1]), id=parts[2])


def roster_party(certificate: x509.Certificate, roster: Roster) -> Party:
    """Return the roster's party that this certificate proves to be.

    Raises: PeerNotInRoster if the roster names no such party or gives it another TLS key.
    """
    identity = identity_of(certificate)
    if identity.force != roster.force:
        raise PeerNotInRoster(f"the certificate is of force {identity.force}")
    try:
        party = roster.party(identity.id, identity.role)
    except UnknownSigner as error:
        raise PeerNotInRoster(error.detail) from None
    if party.tls_key != tls_key_digest(certificate):
        raise PeerNotInRoster(f"{identity.role} {identity.id} presents a key that the roster does not name")
    return party
