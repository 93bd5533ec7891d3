"""The receiving side of RFC 9180, base mode, written from the RFC: a second opinion on the library.

Also the X-Wing combiner, so that the hybrid KEM is held against its own description and not only against itself.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

CURVES = {0x0010: ec.SECP256R1(), 0x0012: ec.SECP521R1()}
KEM_HASHES = {0x0010: "sha256", 0x0012: "sha512", 0x0020: "sha256"}
KDF_HASHES = {1: "sha256", 3: "sha512"}
AEADS = {1: (AESGCM, 16), 2: (AESGCM, 32), 3: (ChaCha20Poly1305, 32)}
X_WING = 0x647A
X_WING_LABEL = b"\\.//^\\"


def labeled_extract(algorithm: str, suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    salt = salt or bytes(hashlib.new(algorithm).digest_size)
    return hmac.digest(salt, b"HPKE-v1" + suite + label + secret, algorithm)


def labeled_expand(algorithm: str, suite: bytes, key: bytes, label: bytes, context: bytes, length: int) -> bytes:
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
    output, block = b"", b""
    for counter in range(1, 256):
        if len(output) >= length:
            break
        block = hmac.digest(key, block + labeled + bytes([counter]), algorithm)
        output += block
    return output[:length]


def dh_private_key(kem_id: int, content: bytes) -> X25519PrivateKey | ec.EllipticCurvePrivateKey:
    if kem_id == 0x0020:
        return X25519PrivateKey.from_private_bytes(content)
    return ec.derive_private_key(int.from_bytes(content, "big"), CURVES[kem_id])


def dh_decapsulate(kem_id: int, enc: bytes, private: bytes, public: bytes) -> bytes:
    """DHKEM: section 4.1."""
    key = dh_private_key(kem_id, private)
    if isinstance(key, X25519PrivateKey):
        shared = key.exchange(X25519PublicKey.from_public_bytes(enc))
    else:
        shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVES[kem_id], enc))
    algorithm, suite = KEM_HASHES[kem_id], b"KEM" + kem_id.to_bytes(2, "big")
    extracted = labeled_extract(algorithm, suite, b"", b"eae_prk", shared)
    size = hashlib.new(algorithm).digest_size
    return labeled_expand(algorithm, suite, extracted, b"shared_secret", enc + public, size)


def x_wing_decapsulate(enc: bytes, mlkem_seed: bytes, x25519_private: bytes) -> bytes:
    """X-Wing: draft-connolly-cfrg-xwing-kem, section 5."""
    mlkem_part, x25519_part = enc[:1088], enc[1088:]
    x25519 = X25519PrivateKey.from_private_bytes(x25519_private)
    post_quantum = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed).decapsulate(mlkem_part)
    classical = x25519.exchange(X25519PublicKey.from_public_bytes(x25519_part))
    public = x25519.public_key().public_bytes_raw()
    return hashlib.sha3_256(post_quantum + classical + x25519_part + public + X_WING_LABEL).digest()


class Context:
    """The key schedule of section 5.1 and the message encryption of section 5.2, mode_base."""

    def __init__(self, kem_id: int, kdf_id: int, aead_id: int, shared_secret: bytes, info: bytes) -> None:
        algorithm = KDF_HASHES[kdf_id]
        suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (kem_id, kdf_id, aead_id))
        psk_id_hash = labeled_extract(algorithm, suite, b"", b"psk_id_hash", b"")
        info_hash = labeled_extract(algorithm, suite, b"", b"info_hash", info)
        context = b"\x00" + psk_id_hash + info_hash
        secret = labeled_extract(algorithm, suite, shared_secret, b"secret", b"")
        cipher, key_bytes = AEADS[aead_id]
        self._aead = cipher(labeled_expand(algorithm, suite, secret, b"key", context, key_bytes))
        self._base_nonce = labeled_expand(algorithm, suite, secret, b"base_nonce", context, 12)

    def _nonce(self, sequence: int) -> bytes:
        return bytes(a ^ b for a, b in zip(self._base_nonce, sequence.to_bytes(12, "big"), strict=True))

    def seal(self, sequence: int, plaintext: bytes, aad: bytes) -> bytes:
        return self._aead.encrypt(self._nonce(sequence), plaintext, aad)

    def open(self, sequence: int, ciphertext: bytes, aad: bytes) -> bytes:
        return self._aead.decrypt(self._nonce(sequence), ciphertext, aad)


def drawn_inputs() -> Iterator[bytes]:
    """The published inputs: one byte of length, then that many bytes, from the SHAKE128 stream of the empty string."""
    stream, at = hashlib.shake_128().digest(2000 * 256), 0
    while True:
        length = stream[at]
        yield stream[at + 1 : at + 1 + length]
        at += 1 + length
