"""One sequence of bytes for a tag and its fields: what sealing hashes, authenticates and binds.

    frame(tag, a, b) = u32(len(tag)) || tag || u32(len(a)) || a || u32(len(b)) || b        (u32, u64 big-endian)

Rules this module keeps: the map is injective, so that no byte can move from one field to its neighbour; the tag is
first and names format and version, so that bytes made for one purpose never serve another; text is UTF-8 as given,
without normalisation.

Source: the pre-authentication encoding of DSSE, with fixed-width lengths.
"""

from __future__ import annotations

from protocol.errors import EnvelopeInvalid

LENGTH_BYTES = 4
INTEGER_BYTES = 8


def frame(tag: bytes, *fields: bytes) -> bytes:
    """Return the injective encoding of ``tag`` and ``fields``."""
    return b"".join(len(part).to_bytes(LENGTH_BYTES, "big") + part for part in (tag, *fields))


def integer_field(value: int, *, name: str) -> bytes:
    """Return ``value`` as eight big-endian bytes.

    Raises: EnvelopeInvalid naming the field, if the value is negative or does not fit.
    """
    if not 0 <= value < 1 << (8 * INTEGER_BYTES):
        raise EnvelopeInvalid(f"{name} is not an unsigned 64-bit integer")
    return value.to_bytes(INTEGER_BYTES, "big")


def text_field(value: str) -> bytes:
    """Return ``value`` in UTF-8."""
    return value.encode("utf-8")
