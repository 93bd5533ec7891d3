"""A custodian's envelope keys: one for each retention epoch, in a folder, each destroyed when its epoch has ended.

Destroyed means: overwritten in its file and unlinked. A file system or a disk may keep old blocks, and a backup its copy;
both hold the key under its passphrase only. Whoever needs more keeps keys on media that are themselves destroyed.
"""

from __future__ import annotations

import os
from pathlib import Path

from protocol.errors import EpochEnded
from protocol.ids import Digest, HexKey, digest_of
from protocol.keys.keyfile import read_key
from protocol.keys.passphrase import Passphrase
from protocol.sealing.hpke import HPKEPrivateKey


class EnvelopeKeys:
    """One folder of key files, each named by the SHA-256 of its public half."""

    def __init__(self, folder: Path, *, passphrase: Passphrase) -> None:
        self._folder = folder
        self._passphrase = passphrase
        self._opened: dict[HexKey, HPKEPrivateKey] = {}

    def held(self) -> frozenset[Digest]:
        """Return the digests of the keys that are here."""
        names = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        return frozenset(name for name in names if len(name) == 64)

    def open(self, public: HexKey) -> HPKEPrivateKey:
        """Return the private half of a key. Raises: EpochEnded if it is not here any more; WrongPassphrase."""
        if public not in self._opened:
            digest = digest_of(bytes.fromhex(public))
            if digest not in self.held():
                raise EpochEnded(f"envelope key {digest[:16]} is not on this desk")
            secret = read_key(self._folder / digest, kind="envelope", passphrase=self._passphrase)
            self._opened[public] = HPKEPrivateKey.decode(secret)
        return self._opened[public]

    def destroy(self, digest: Digest) -> None:
        """Overwrite and remove a key; nothing happens if it is not here."""
        self._opened.clear()
        path = self._folder / digest
        if digest not in self.held():
            return
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
