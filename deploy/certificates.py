"""A certificate authority for a federation on one machine. A real force uses its own PKI; the roster pins keys either way."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.errors import PeerNotInRoster
from protocol.ids import Digest
from protocol.rpc.identity import Identity, identity_of, tls_key_digest

VALIDITY = dt.timedelta(days=365)
BACKDATE = dt.timedelta(hours=1)


class ForceCA:
    """Issues certificates whose URI names role and id."""

    def __init__(self, force: str, *, now: dt.datetime) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._now = now
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{force} test CA")])
        self._name = name
        self._certificate = (
            self._builder(name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - BACKDATE)
            .not_valid_after(self._now + VALIDITY)
        )

    @property
    def certificate(self) -> bytes:
        """The CA certificate, PEM."""
        return self._certificate.public_bytes(Encoding.PEM)

    def issue(self, identity: Identity) -> tuple[bytes, bytes, Digest]:
        """Return (certificate PEM, private key PEM, TLS key digest) for an identity."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certified(identity, key.public_key())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), private, tls_key_digest(certificate)

    def certify(self, request: bytes) -> bytes:
        """Return the certificate, PEM, for a party's request, PEM, in the name that it asks for.

        A real authority asks who asks. Raises: PeerNotInRoster if the request names no identity.
        """
        asked = x509.load_pem_x509_csr(request)
        key = asked.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not asked.is_signature_valid:
            raise PeerNotInRoster("the request is not signed with the EC key that it names")
        return self._certified(identity_of(asked), key).public_bytes(Encoding.PEM)

    def _certified(self, identity: Identity, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.id)])
        names = [x509.UniformResourceIdentifier(identity.uri), x509.DNSName(identity.hostname)]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        return (
            self._builder(subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_key_usage(certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
