"""A Flower message and a vector in one sequence of bytes, neither of them copied to be read.

The vector comes first, as a protobuf field that Flower's message does not have: its tag, its length, its bytes. The
message follows. A parser that knows nothing of this reads the message and skips the field; one that does need not
touch the vector, which within a message is copied twice by whoever reads it and three times by whoever writes it.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import MalformedDocument

FIELD: Final = 1000
LENGTH_DELIMITED: Final = 2


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_TAG: Final = _varint(FIELD << 3 | LENGTH_DELIMITED)
_LENGTH_BYTES: Final = 5
"""A length of up to 2**35."""


def attach(message: bytes, vector: bytes) -> bytes:
    """Return a serialised message with a vector before it."""
    return b"".join((_TAG, _varint(len(vector)), vector, message))


def detach(content: bytes) -> tuple[bytes, memoryview | None]:
    """Return the serialised message, and a view of the vector before it or None if there is none.

    Raises: MalformedDocument if the vector is cut short or its length is written otherwise than ``attach`` writes it.
    """
    if not content.startswith(_TAG):
        return content, None
    length, place = 0, len(_TAG)
    for shift, byte in enumerate(content[place : place + _LENGTH_BYTES]):
        length |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            break
    begin = place + len(_varint(length))
    if length > len(content) - begin or content[place:begin] != _varint(length):
        raise MalformedDocument("a vector before a message is cut short")
    return content[begin + length :], memoryview(content)[begin : begin + length]
