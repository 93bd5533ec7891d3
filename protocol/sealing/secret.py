"""Secret bytes as a type, so that a key or a share cannot reach a log line, a set or a pickle by accident.

Rules this module keeps: the content leaves only through ``reveal``, which is easy to search for; two secrets are
compared in constant time; nothing else about a secret but its length can be observed. Memory is not wiped: CPython
copies bytes freely, and a promise to the contrary would be false.
"""

from __future__ import annotations

import hmac
from typing import Final, NoReturn, SupportsIndex

REDACTED: Final = "<redacted>"


class Secret:
    """Bytes that print as ``<redacted>``.

    A secret equals only a secret of its own class: comparing it with plain bytes is false, never a timing leak.
    """

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        """Hold ``content``; the caller drops its own reference."""
        self._content = bytes(content)

    def reveal(self) -> bytes:
        """Return the bytes; the caller now answers for where they go."""
        return self._content

    def __len__(self) -> int:
        """Return the number of bytes, which is public in every format."""
        return len(self._content)

    # Defined without a hash, so that there is none: it would be a function of the content, and a table of secrets tells
    # by timing which are equal.
    def __eq__(self, other: object) -> bool:
        """Compare in constant time; false for anything that is not this kind of secret."""
        if type(other) is not type(self):
            return NotImplemented
        return hmac.compare_digest(self._content, other._content)

    def __repr__(self) -> str:
        """Return the same text for every secret."""
        return REDACTED

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse to be pickled or copied: caches and worker queues write pickles to disk.

        Raises: TypeError always. It is a bug in our own code, not a fault of a peer.
        """
        raise TypeError(f"{type(self).__name__} is not picklable")
