"""A passphrase comes from a file, from a file descriptor or from a person at a terminal; never from a command line.

What stands on a command line or in the environment, every process of the machine may read.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from protocol.errors import ConfigurationError
from protocol.sealing.secret import Secret

MIN_PASSPHRASE_LENGTH = 15
"""Characters. NIST SP 800-63B-4, section 3.1.1.2, for a password that is the only factor."""
MAX_PASSPHRASE_BYTES = 4096

Passphrase = Callable[[], Secret]
"""Returns the passphrase, asked for when the first key needs it."""


def passphrase_source(*, file: Path | None, descriptor: int | None) -> Passphrase:
    """Return how to get the passphrase of a party's key files; it is got once, when it is first needed.

    Raises, when called: ConfigurationError if there is neither file nor descriptor nor a terminal, or nothing is read.
    """

    @lru_cache(maxsize=1)
    def passphrase() -> Secret:
        if file is not None and descriptor is not None:
            raise ConfigurationError("fields passphrase_file and passphrase_fd: give one of the two")
        if file is not None:
            return _stripped(_from_file(file), str(file))
        if descriptor is not None:
            return _stripped(_from_descriptor(descriptor), f"file descriptor {descriptor}")
        return _stripped(_asked("Passphrase of the key files: ").encode(), "the terminal")

    return passphrase


def new_passphrase(*, file: Path | None, descriptor: int | None) -> Secret:
    """Return a passphrase for new key files; a person at a terminal types it twice.

    Raises: ConfigurationError if it is shorter than ``MIN_PASSPHRASE_LENGTH`` or typed differently.
    """
    found = passphrase_source(file=file, descriptor=descriptor)()
    if len(found.reveal().decode("utf-8", "replace")) < MIN_PASSPHRASE_LENGTH:
        raise ConfigurationError(f"the passphrase has fewer than {MIN_PASSPHRASE_LENGTH} characters")
    if file is None and descriptor is None and Secret(_asked("The same once more: ").encode()) != found:
        raise ConfigurationError("the two passphrases differ; no key was made")
    return found


def _asked(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError("no passphrase: give passphrase_file or passphrase_fd, or run at a terminal")
    return getpass.getpass(prompt)


def _from_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"field passphrase_file: {path}: {error.strerror}") from None


def _from_descriptor(descriptor: int) -> bytes:
    try:
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read(MAX_PASSPHRASE_BYTES)
    except OSError as error:
        raise ConfigurationError(f"field passphrase_fd: {descriptor}: {error.strerror}") from None


def _stripped(content: bytes, where: str) -> Secret:
    """Return the first line, without its end: editors and ``echo`` add one."""
    line = content.split(b"\n", 1)[0].rstrip(b"\r")
    if not line:
        raise ConfigurationError(f"{where} holds no passphrase")
    return Secret(line)
