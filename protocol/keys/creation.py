"""A party's new keys, in its own folder: made there, and only their public halves leave it.

signing.key      Ed25519, sealed or plain (``keyfile``)
envelope/        custodians: one HPKE key for each retention epoch, named by the SHA-256 of its public half
tls.key, tls.csr the TLS key, plain because the TLS library reads it from its file, and a request for the force's CA
enrolment.json   for whoever drafts the roster
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from protocol.documents.enrolment import Enrolment
from protocol.errors import ConfigurationError
from protocol.ids import Digest, HexKey, PartyId, Role, digest_of
from protocol.keys.keyfile import write_key, write_private
from protocol.rpc.identity import Identity, public_key_digest
from protocol.sealing.hpke import HPKEPrivateKey
from protocol.sealing.secret import Secret
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey

ENVELOPE_FOLDER = "envelope"
ENROLMENT_FILE = "enrolment.json"


def create_keys(
    directory: Path, *, force: PartyId, role: Role, party: PartyId, passphrase: Secret | None, now: datetime
) -> Enrolment:
    """Make every key of a party and return its enrolment, which stands in the folder too.

    Args:
        passphrase: Of signing and envelope key; None leaves them plain.
    Raises: ConfigurationError if one of the files is there: nothing is overwritten.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if any((directory / name).exists() for name in ("signing.key", "tls.key", ENROLMENT_FILE)):
        raise ConfigurationError(f"{directory} holds keys already; nothing was changed")
    signing = SigningKey.generate()
    write_key(
        directory / "signing.key",
        Secret(signing.seed()),
        kind="signing",
        public=signing.public,
        passphrase=passphrase,
    )
    envelope_key = None
    if role == "custodian":
        envelope_key = create_envelope_key(directory / ENVELOPE_FOLDER, passphrase=passphrase)
    enrolment = Enrolment(
        force=force,
        id=party,
        role=role,
        signing_key=signing.public,
        tls_key=_create_tls_key(directory, Identity(force, role, party)),
        hpke_key=envelope_key,
        enrolled_at=now,
    )
    write_private(directory / ENROLMENT_FILE, sign(enrolment, signing).encode())
    return enrolment


def create_envelope_key(folder: Path, *, passphrase: Secret | None) -> HexKey:
    """Make an envelope key for one retention epoch in a custodian's folder and return its public half."""
    folder.mkdir(parents=True, exist_ok=True)
    private = HPKEPrivateKey.generate()
    public = private.public_key().encode()
    path = folder / digest_of(public)
    write_key(path, private.encode(), kind="envelope", public=public.hex(), passphrase=passphrase)
    return public.hex()


def enrol_again(earlier: Enrolment, *, hpke_key: HexKey, signing_key: SigningKey, now: datetime) -> Envelope:
    """Return the enrolment of a custodian whose envelope key alone is new."""
    renewed = earlier.model_copy(update={"hpke_key": hpke_key, "enrolled_at": now})
    return sign(renewed, signing_key)


def _create_tls_key(directory: Path, identity: Identity) -> Digest:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(identity.uri), x509.DNSName(identity.hostname)]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.id)]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(directory / "tls.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_private(directory / "tls.csr", request.public_bytes(Encoding.PEM))
    return public_key_digest(key.public_key())
