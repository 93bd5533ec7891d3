"""HPKE with a hybrid post-quantum KEM: what is sealed today stays sealed if X25519 falls, or if ML-KEM does.

The suite is fixed: MLKEM768-X25519 (KEM 0x647a, also called X-Wing), HKDF-SHA256, ChaCha20-Poly1305. A sealed
message is ``enc (1120) || ciphertext || tag (16)``, one message a key schedule.

Rules this module keeps: there is no second suite and so no negotiation; every context travels in ``info``, because
the library's public interface has no associated data; base mode authenticates no sender, so whoever needs to know the
sender signs what carries the sealed bytes.

Source: RFC 9180; draft-ietf-hpke-pq; draft-connolly-cfrg-xwing-kem.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from protocol.errors import ConfigurationError, EnvelopeInvalid, MalformedDocument
from protocol.sealing.secret import Secret

MLKEM_SEED_BYTES: Final = 64
MLKEM_PUBLIC_BYTES: Final = 1184
X25519_BYTES: Final = 32
PRIVATE_KEY_BYTES: Final = MLKEM_SEED_BYTES + X25519_BYTES
PUBLIC_KEY_BYTES: Final = MLKEM_PUBLIC_BYTES + X25519_BYTES
ENCAPSULATED_BYTES: Final = 1120
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = ENCAPSULATED_BYTES + TAG_BYTES
"""A sealed message is this much longer than its plaintext."""

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)

# Any clamped scalar sends every point of small order to zero, so one fixed scalar finds them all.
_PROBE: Final = X25519PrivateKey.from_private_bytes(b"\x01" * X25519_BYTES)


@dataclass(frozen=True, slots=True)
class HPKEPublicKey:
    """A public key to which something can be sealed: both halves are well formed once this exists.

    Raises: MalformedDocument if the length is wrong, an ML-KEM coefficient is out of range or the X25519 point has
        small order. Public keys arrive in rosters and warrants, so it is the document that must be corrected.
    """

    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Check both halves."""
        if len(self.content) != PUBLIC_KEY_BYTES:
            raise MalformedDocument(f"an HPKE public key has {PUBLIC_KEY_BYTES} bytes, this one {len(self.content)}")
        try:
            MLKEM768PublicKey.from_public_bytes(self.content[:MLKEM_PUBLIC_BYTES])
            _PROBE.exchange(X25519PublicKey.from_public_bytes(self.content[MLKEM_PUBLIC_BYTES:]))
        except ValueError:
            raise MalformedDocument("an HPKE public key is not a key of MLKEM768-X25519") from None

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return the key of ``mlkem768 (1184) || x25519 (32)``.

        Raises: MalformedDocument as the class says.
        """
        return cls(content)

    def encode(self) -> bytes:
        """Return ``mlkem768 (1184) || x25519 (32)``."""
        return self.content

    def _key(self) -> MLKEM768X25519PublicKey:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(self.content[:MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(self.content[MLKEM_PUBLIC_BYTES:]),
        )


@dataclass(frozen=True, slots=True)
class HPKEPrivateKey:
    """A private key for one retention epoch or one warrant; prints redacted, does not pickle.

    Raises: ConfigurationError if the stored bytes have the wrong length: the key file is ours.
    """

    content: Secret

    def __post_init__(self) -> None:
        """Check the length; every string of that length is a key."""
        if len(self.content) != PRIVATE_KEY_BYTES:
            raise ConfigurationError(f"an HPKE private key has {PRIVATE_KEY_BYTES} bytes, this one {len(self.content)}")

    @classmethod
    def generate(cls) -> Self:
        """Return a fresh key from the operating system's cryptographic source."""
        seed = MLKEM768PrivateKey.generate().private_bytes_raw()
        return cls(Secret(seed + X25519PrivateKey.generate().private_bytes_raw()))

    @classmethod
    def decode(cls, content: Secret) -> Self:
        """Return the key of ``ML-KEM seed (64) || x25519 (32)``.

        Raises: ConfigurationError as the class says.
        """
        return cls(content)

    def encode(self) -> Secret:
        """Return ``ML-KEM seed (64) || x25519 (32)``."""
        return self.content

    def public_key(self) -> HPKEPublicKey:
        """Return the public half."""
        mlkem, x25519 = self._halves()
        return HPKEPublicKey(mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    def _halves(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        content = self.content.reveal()
        return (
            MLKEM768PrivateKey.from_seed_bytes(content[:MLKEM_SEED_BYTES]),
            X25519PrivateKey.from_private_bytes(content[MLKEM_SEED_BYTES:]),
        )


def seal(public: HPKEPublicKey, plaintext: bytes, *, info: bytes) -> bytes:
    """Encrypt ``plaintext`` so that only the holder of the private key opens it, and only under the same ``info``.

    Returns: ``OVERHEAD_BYTES`` more than the plaintext; the length of the plaintext is not hidden.
    Source: RFC 9180 section 6.1, mode_base, SealBase with empty aad.
    """
    return _SUITE.encrypt(plaintext, public._key(), info=info)


def open_sealed(private: HPKEPrivateKey, sealed: bytes, *, info: bytes) -> bytes:
    """Return the plaintext of ``sealed``.

    Raises: EnvelopeInvalid if one bit of key, message or ``info`` differs; it does not say which, and the library
        does not tell.
    Source: RFC 9180 section 6.1, mode_base, OpenBase with empty aad.
    """
    try:
        return _SUITE.decrypt(sealed, MLKEM768X25519PrivateKey(*private._halves()), info=info)
    except (InvalidTag, ValueError):
        raise EnvelopeInvalid("the sealed bytes do not open with this key in this context") from None
