"""Masks: one fresh AES-256-CTR keystream per borough and release, which only the unmasker can repeat.

mask key = HKDF-SHA256(X25519(own key, unmasker's plan key), info = tag || request digest || borough || own public key).
The borough's key is fresh for every release, so neither a restored backup nor the unmasker key of another plan
reuses or reveals a mask (ARCHITECTURE.md, private sums, step 2).

No step of a release holds a mask whole: its keystream comes in chunks that stay in the processor's cache, and is added
to the vector in place. ``python -m benchmarks.masking`` compares that with the raw cipher and addition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.aggregation.encoding import Int64Array, UInt64Array
from protocol.errors import ShapeMismatch, VerificationError
from protocol.ids import Digest, HexKey, PartyId, digest_of

MASK_TAG = b"custodes/mask/v1"
CHUNK_ENTRIES: Final = 1 << 14
"""Entries handled at a time: 128 KiB of keystream and 128 KiB of vector stay in the second-level cache."""

_ZEROS: Final = memoryview(bytes(8 * CHUNK_ENTRIES))


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


def keystream_chunks(
    key: bytes, length: int, *, start: int = 0, buffer: bytearray | None = None
) -> Iterator[UInt64Array]:
    """Yield entries ``start`` to ``start + length`` of the keystream under ``key``, ``CHUNK_ENTRIES`` at a time.

    The keystream is AES-256-CTR with a counter that starts at zero, read as little-endian uint64: a key is used for one
    keystream only. Every chunk is a view of one buffer, overwritten by the next chunk.

    Args:
        buffer: From `chunk_buffer`; streams that share one overwrite each other's chunks.
    """
    # Two entries an AES block; NIST SP 800-38A counts blocks big-endian.
    block, skipped = divmod(start, 2)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, "big"))).encryptor()
    encryptor.update(bytes(8 * skipped))
    buffer = chunk_buffer(length) if buffer is None else buffer
    for done in range(0, length, CHUNK_ENTRIES):
        count = min(CHUNK_ENTRIES, length - done)
        encryptor.update_into(_ZEROS[: 8 * count], buffer)
        yield np.frombuffer(buffer, dtype="<u8", count=count)


def chunk_buffer(length: int) -> bytearray:
    """Return room for a chunk of a keystream of ``length`` entries."""
    # update_into asks for room for one unfinished block more.
    return bytearray(8 * min(length, CHUNK_ENTRIES) + 15)


def add_keystreams(values: UInt64Array, *keys: bytes) -> None:
    """Add the keystreams under ``keys`` to ``values``, in place, modulo 2**64.

    A borough masks its tagged vector with one; the unmasker sums those of all boroughs, a chunk of all of them before the
    next one, so that what they are added to stays in the cache.

    Args:
        values: Shape (length,), uint64.
    """
    buffer = chunk_buffer(values.size)
    streams = [keystream_chunks(key, values.size, buffer=buffer) for key in keys]
    for place in range(0, values.size, CHUNK_ENTRIES):
        part = values[place : place + CHUNK_ENTRIES]
        for stream in streams:
            part += next(stream)


def keystream(key: bytes, length: int) -> UInt64Array:
    """Return the first ``length`` entries of the keystream under ``key``: the mask itself."""
    values = np.zeros(length, dtype=np.uint64)
    add_keystreams(values, key)
    return values


def add_vector(content: bytes | memoryview, total: UInt64Array, *, digest: Digest) -> None:
    """Add a vector in wire form to ``total``, in place, modulo 2**64, if it is the one of this SHA-256.

    Each chunk is added while hashing has it in the cache; a vector that turns out to be another is taken away again.
    Raises: ShapeMismatch if it has another length or digest; ``total`` is then as it was.
    """
    vector, wire, hashed = vector_from_bytes(content, length=total.size), memoryview(content), hashlib.sha256()
    for place in range(0, total.size, CHUNK_ENTRIES):
        hashed.update(wire[8 * place : 8 * (place + CHUNK_ENTRIES)])
        total[place : place + CHUNK_ENTRIES] += vector[place : place + CHUNK_ENTRIES]
    if hashed.hexdigest() != digest:
        total -= vector
        raise ShapeMismatch("the vector is not the one that the statement signs")


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
    """Return a view of signed integers as elements of Z/2**64."""
    return values.view(np.uint64)


def from_ring(values: UInt64Array) -> Int64Array:
    """Return a view of ring elements as the signed integers nearest zero."""
    return values.view(np.int64)


def vector_bytes(values: UInt64Array) -> bytes:
    """Return the wire form: little-endian uint64."""
    return values.astype("<u8", copy=False).tobytes()


def vector_from_bytes(content: bytes | memoryview, *, length: int) -> UInt64Array:
    """Return a view of the wire form, which cannot be written to. Raises: ShapeMismatch if it has another length."""
    if len(content) != 8 * length:
        raise ShapeMismatch(f"{len(content)} bytes instead of {8 * length}")
    return np.frombuffer(content, dtype="<u8").astype(np.uint64, copy=False)


def vector_digest(content: bytes) -> Digest:
    """Return the digest of a vector's wire form."""
    return digest_of(content)
