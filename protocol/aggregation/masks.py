"""Masks: one fresh AES-256-CTR keystream per borough and release, which only the unmasker can repeat.

mask key = HKDF-SHA256(X25519(own key, unmasker's plan key), info = tag || request digest || borough || own public key).
The borough's key is fresh for every release, so neither a restored backup nor the unmasker key of another plan
reuses or reveals a mask (ARCHITECTURE.md, private sums, step 2).
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.aggregation.encoding import Int64Array, UInt64Array
from protocol.errors import ShapeMismatch, VerificationError
from protocol.ids import Digest, HexKey, PartyId, digest_of

MASK_TAG = b"custodes/mask/v1"
CHUNK_BYTES = 1 << 20


class MaskKeyInvalid(VerificationError):
    """A mask key cannot be agreed: the peer's public key is not a usable X25519 key."""

    code = "mask.key_invalid"
    public_message = "A mask key cannot be agreed."


class MaskPrivateKey:
    """An X25519 private key: a borough's for one release, or the unmasker's for one plan."""

    def __init__(self, private_bytes: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private_bytes)
        self.public: HexKey = self._private.public_key().public_bytes_raw().hex()

    @classmethod
    def generate(cls) -> MaskPrivateKey:
        """Return a fresh key from the operating system's cryptographic source."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    def private_bytes(self) -> bytes:
        """Return the private bytes, for storing them; handle as a secret."""
        return self._private.private_bytes_raw()

    def agree(self, peer: HexKey, *, request: Digest, borough: PartyId, borough_key: HexKey) -> bytes:
        """Return the 32-byte mask key that both sides derive.

        Raises: MaskKeyInvalid if ``peer`` is not a point of full order.
        """
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(peer)))
        except ValueError:
            raise MaskKeyInvalid(f"borough {borough}") from None
        context = b"\x00".join([MASK_TAG, bytes.fromhex(request), borough.encode(), bytes.fromhex(borough_key)])
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=context).derive(shared)

    def __repr__(self) -> str:
        return "<redacted mask key>"


def keystream(key: bytes, length: int) -> UInt64Array:
    """Return ``length`` uint64 of the AES-256-CTR keystream under ``key``, read little-endian.

    The counter starts at zero: a key is used for one keystream only.
    """
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    stream = bytearray(8 * length)
    view, zeros = memoryview(stream), bytes(min(CHUNK_BYTES, max(1, 8 * length)))
    for start in range(0, len(stream), CHUNK_BYTES):
        part = view[start : start + CHUNK_BYTES]
        part[:] = encryptor.update(zeros[: len(part)])
    return np.frombuffer(stream, dtype="<u8")


def add_mask(values: UInt64Array, mask: UInt64Array) -> UInt64Array:
    """Return ``values + mask`` modulo 2**64."""
    if values.shape != mask.shape:
        raise ShapeMismatch(f"{values.shape} values, {mask.shape} mask")
    return values + mask


def remove_masks(masked_sum: UInt64Array, mask_sum: UInt64Array) -> UInt64Array:
    """Recover the plain sum of the boroughs' encoded vectors, still with its tags.

    Args:
        masked_sum: Sum of the received vectors, shape (length + tags,), uint64, modulo 2**64.
        mask_sum: Sum of the same boroughs' masks, as the unmasker returned it; same shape and dtype.
    Raises: ShapeMismatch if the two differ in length.
    Source: additive sharing between two servers, as in the IETF's DAP (draft-ietf-ppm-dap).
    """
    if masked_sum.shape != mask_sum.shape:
        raise ShapeMismatch(f"{masked_sum.shape} masked, {mask_sum.shape} masks")
    return masked_sum - mask_sum


def to_ring(values: Int64Array) -> UInt64Array:
    """Return signed integers as elements of Z/2**64."""
    return values.astype(np.int64).view(np.uint64)


def from_ring(values: UInt64Array) -> Int64Array:
    """Return ring elements as the signed integers nearest zero."""
    return values.view(np.int64)


def vector_bytes(values: UInt64Array) -> bytes:
    """Return the wire form: little-endian uint64."""
    return values.astype("<u8").tobytes()


def vector_from_bytes(content: bytes, *, length: int) -> UInt64Array:
    """Return the vector of the wire form. Raises: ShapeMismatch if it has another length."""
    if len(content) != 8 * length:
        raise ShapeMismatch(f"{len(content)} bytes instead of {8 * length}")
    return np.frombuffer(content, dtype="<u8").astype(np.uint64)


def vector_digest(content: bytes) -> Digest:
    """Return the digest of a vector's wire form."""
    return digest_of(content)
