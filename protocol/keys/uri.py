"""Where a private key is kept, as a URI in a party's settings: ``file:signing.key``, later ``pkcs11:...``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator

from protocol.errors import KeyCustodyUnsupported

SCHEMES = ("file", "pkcs11")


@dataclass(frozen=True, slots=True)
class KeyUri:
    """A scheme and what it makes of the rest."""

    scheme: str
    rest: str

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the URI of a text. Raises: ValueError, for pydantic, if it has no known scheme or nothing after it."""
        if isinstance(text, cls):
            return text
        scheme, separator, rest = str(text).partition(":")
        if not separator or scheme not in SCHEMES or not rest:
            raise ValueError("a key is named by a URI, file:PATH (or later pkcs11:...)")
        return cls(scheme, rest)

    def under(self, base: Path) -> Self:
        """Return the URI with a relative path made relative to ``base``."""
        return self if self.scheme != "file" else type(self)("file", str(base / self._path()))

    def path(self) -> Path:
        """Return the file or folder. Raises: KeyCustodyUnsupported if the key is not kept in one."""
        if self.scheme != "file":
            raise KeyCustodyUnsupported(f"{self.scheme}: keys are kept in files in this version; write file:PATH")
        return self._path()

    def _path(self) -> Path:
        # RFC 8089: file:///absolute is file:/absolute with an empty host.
        return Path(self.rest.removeprefix("//") if self.rest.startswith("///") else self.rest)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


def _parsed(value: Any) -> KeyUri:
    return KeyUri.parse(value)


KeyUriField = Annotated[KeyUri, BeforeValidator(_parsed)]
"""A field of settings that names a key."""
