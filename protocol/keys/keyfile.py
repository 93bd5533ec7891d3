"""Key files: a private key under a passphrase, or in plain hex where a machine must start without a person.

A sealed file is canonical JSON: the public half in clear, the private half under ChaCha20-Poly1305 with a key that scrypt
makes of the passphrase. Everything but the ciphertext is authenticated with it.
Source: RFC 7914 (scrypt); N = 2^17, r = 8, p = 1 as the OWASP Password Storage Cheat Sheet asks (128 MiB a guess).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Field

from protocol.documents.base import Value, decode_canonical
from protocol.documents.canonical import canonical_bytes
from protocol.errors import ConfigurationError, MalformedDocument, WrongPassphrase
from protocol.ids import HexKey
from protocol.keys.passphrase import Passphrase
from protocol.sealing.secret import Secret

FORMAT: Final = "custodes/key-file/v1"
SCRYPT_COST_BITS = 17
"""Of new files; a file states its own."""
SCRYPT_BLOCK, SCRYPT_PARALLEL = 8, 1
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32

Kind = Literal["signing", "envelope"]


class KeyFile(Value):
    """What stands in a sealed key file."""

    format: Literal["custodes/key-file/v1"]
    kind: Kind
    public: HexKey
    """The public half, so that a file can be recognised without its passphrase."""
    scrypt_cost_bits: int = Field(ge=10, le=20)
    """log2 of N. A file that asks for more memory than 1 GiB is none of ours."""
    salt: Annotated[HexKey, Field(min_length=2 * SALT_BYTES, max_length=2 * SALT_BYTES)]
    nonce: Annotated[HexKey, Field(min_length=2 * NONCE_BYTES, max_length=2 * NONCE_BYTES)]
    ciphertext: HexKey

    def open(self, passphrase: Secret) -> Secret:
        """Return the private half. Raises: WrongPassphrase, also if one bit of the file is another."""
        cipher = ChaCha20Poly1305(_derived(passphrase, bytes.fromhex(self.salt), self.scrypt_cost_bits))
        try:
            return Secret(cipher.decrypt(bytes.fromhex(self.nonce), bytes.fromhex(self.ciphertext), _bound(self)))
        except InvalidTag:
            raise WrongPassphrase(f"{self.kind} key {self.public[:16]}") from None


def seal_key(private: Secret, *, kind: Kind, public: HexKey, passphrase: Secret) -> bytes:
    """Return the content of a sealed key file."""
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    unsealed = KeyFile(
        format=FORMAT,
        kind=kind,
        public=public,
        scrypt_cost_bits=SCRYPT_COST_BITS,
        salt=salt.hex(),
        nonce=nonce.hex(),
        ciphertext="00",
    )
    cipher = ChaCha20Poly1305(_derived(passphrase, salt, SCRYPT_COST_BITS))
    sealed = cipher.encrypt(nonce, private.reveal(), _bound(unsealed))
    return canonical_bytes(unsealed.model_copy(update={"ciphertext": sealed.hex()}).model_dump(mode="json"))


def write_key(path: Path, private: Secret, *, kind: Kind, public: HexKey, passphrase: Secret | None) -> None:
    """Write a key file that only its owner may read, and never over another file.

    Args:
        passphrase: None for a plain file.
    Raises: ConfigurationError if the file is there, or cannot be written.
    """
    content = private.reveal().hex().encode() if passphrase is None else b""
    if passphrase is not None:
        content = seal_key(private, kind=kind, public=public, passphrase=passphrase)
    write_private(path, content)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read, durably. Raises: ConfigurationError if it is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def read_key(path: Path, *, kind: Kind, passphrase: Passphrase) -> Secret:
    """Return the private key in a file; the passphrase is asked for only if the file is sealed.

    Raises: ConfigurationError naming the file if it holds no such key; WrongPassphrase.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    if not content.startswith(b"{"):
        try:
            return Secret(bytes.fromhex(content.decode("ascii").strip()))
        except ValueError:
            raise ConfigurationError(f"{path}: neither a sealed key file nor a key in hex") from None
    try:
        file = decode_canonical(KeyFile, content)
    except MalformedDocument as error:
        raise ConfigurationError(f"{path}: {error.detail}") from None
    if file.kind != kind:
        raise ConfigurationError(f"{path}: holds a key for {file.kind}, not for {kind}")
    return file.open(passphrase())


def _derived(passphrase: Secret, salt: bytes, cost_bits: int) -> bytes:
    kdf = Scrypt(salt=salt, length=KEY_BYTES, n=2**cost_bits, r=SCRYPT_BLOCK, p=SCRYPT_PARALLEL)
    return kdf.derive(passphrase.reveal())


def _bound(file: KeyFile) -> bytes:
    return canonical_bytes(file.model_dump(mode="json", exclude={"ciphertext"}))
