"""Ed25519 keys: a private key never shows itself, and a key id is computed from the key, never chosen."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.errors import BadSignature, ConfigurationError
from protocol.ids import Digest, HexKey, key_id

SEED_BYTES = 32


class SigningKey:
    """An Ed25519 private key."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ConfigurationError("signing key: the seed must have 32 bytes")
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: HexKey = self.private.public_key().public_bytes_raw().hex()

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh key from the operating system's cryptographic source."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def key_id(self) -> Digest:
        """The id of the public half."""
        return key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of ``message``."""
        return self.private.sign(message)

    def seed(self) -> bytes:
        """Return the private seed, for storing it; handle as a secret."""
        return self.private.private_bytes_raw()

    def __repr__(self) -> str:
        return "<redacted signing key>"


def verify_signature(public_key: HexKey, signature: bytes, message: bytes) -> None:
    """Return if ``signature`` is by ``public_key`` over ``message``.

    Raises: BadSignature otherwise, also when the key is not a key.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise BadSignature(f"public key {public_key[:16]}") from None
