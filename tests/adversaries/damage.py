"""How fuzz tests damage what was valid: bits and bytes, JSON values, protobuf fields.

What is still well formed gets deepest, so most damage is to values and only some to encodings.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from protocol.documents.canonical import canonical_bytes
from protocol.errors import MalformedDocument

EXTREMES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 63, 64, 2**31, 2**53 - 1, -(2**53) + 1,
    0.5, -0.5, 1e-9, 5e-324, 1e16, 1e308, 1 - 2**-53,
    "", "a", "\u0000", "é", "\U0001f600", "0" * 32, "0" * 63, "0" * 64, "f" * 64, "G" * 64, "A===", "borough-1",
    "2031-03-04T12:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2031-02-30T00:00:00Z",
    [], {}, [None], [[]], {"a": None},
)  # fmt: skip
"""Values that a field of a document may be replaced with."""

NONSENSE: tuple[bytes, ...] = (
    b"", b"\x00", b" ", b"null", b"true", b"[]", b"{}", b'""', b"0", b"\xff\xfe", b"\xc3\x28", b"\xef\xbb\xbf{}",
    b"NaN", b"[Infinity]", b"[-Infinity]", b"1e400", b"[1e400]", b"9" * 5000, b'{"index":' + b"9" * 5000 + b"}",
    b'{"a":1,"a":2}', b'"\\ud800"', b'{"\\ud800":1}', b'{"payload":"\\udfff"}', "{}".encode("utf-16"),
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 5000 + b"]" * 5000, bytes(1_000_000), b" " * 1_000_000,
    b'{"payload":"","payloadType":"","signatures":[]}',
)  # fmt: skip
"""Bytes that are no document of anybody."""


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return other bytes: values of the JSON replaced, or bits and bytes changed, or nothing of it left."""
    choice = rng.random()
    if choice < 0.05:
        return rng.choice(NONSENSE)
    if choice < 0.1:
        return rng.randbytes(rng.randrange(300))
    if choice < 0.8:
        try:
            return damage_json(content, rng)
        except (ValueError, RecursionError, MalformedDocument):
            pass
    return damage_bytes(content, rng)


def damage_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return the bytes after a few changes."""
    changed = bytearray(content or b"\x00")
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(changed))
        match rng.randrange(5):
            case 0:
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                changed[place] = rng.choice((0, 0x7F, 0x80, 0xFF, ord('"'), ord("9"), ord("\\")))
            case 2:
                del changed[place : place + rng.randrange(1, 20)]
            case 3:
                changed[place:place] = rng.randbytes(rng.randrange(1, 20))
            case _:
                start = rng.randrange(len(changed))
                changed[place:place] = changed[start : start + rng.randrange(100)]
        changed = changed or bytearray(b"\x00")
    return bytes(changed)


def damage_json(content: bytes, rng: random.Random) -> bytes:
    """Return the canonical bytes of the document with a few values replaced, swapped, dropped or added.

    Raises: ValueError or MalformedDocument if it is not JSON, or no longer is.
    """
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _replaced(value, rng)
    encoded = canonical_bytes(value)
    # The same value, spelt as no signer would.
    return json.dumps(value, indent=1).encode() if rng.random() < 0.05 else encoded


def _extreme(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(EXTREMES))


def _replaced(value: Any, rng: random.Random) -> Any:
    """Return the JSON value with one value in it changed."""
    inner = [value] if isinstance(value, dict | list) and value else []
    for container in inner:
        children = container.values() if isinstance(container, dict) else container
        inner += [child for child in children if isinstance(child, dict | list) and child]
    if not inner:
        return _extreme(rng)
    container = rng.choice(inner)
    key = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
    match rng.randrange(8):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container[rng.choice(("a", "\u0000", "index", "payload"))] = _extreme(rng)
        case 1:
            container.insert(key, copy.deepcopy(container[key]))
        case 2 if isinstance(container, list):
            rng.shuffle(container)
        case 3 if isinstance(container[key], int | float) and not isinstance(container[key], bool):
            container[key] = rng.choice((-container[key], container[key] + 1, container[key] * 2, container[key] / 2))
        case 4 | 5 if isinstance(container[key], str) and container[key]:
            text = container[key]
            place = rng.randrange(len(text))
            # A digit of a digest becomes another digit, which is well formed and wrong.
            container[key] = text[:place] + rng.choice("0123456789abcdefZ=\n ") + text[place + 1 :]
        case _:
            container[key] = _extreme(rng)
    return value


def damage_message(message: Message, rng: random.Random) -> bytes:
    """Return the serialised message with fields changed, or bytes that may be no message."""
    choice = rng.random()
    if choice < 0.1:
        return rng.choice(NONSENSE)
    if choice < 0.25:
        return damage_bytes(message.SerializeToString(), rng)
    changed = type(message)()
    changed.CopyFrom(message)
    for _ in range(rng.choice((1, 1, 2))):
        _damage_field(changed, rng)
    return changed.SerializeToString()


def _damage_field(message: Message, rng: random.Random) -> None:
    if not message.DESCRIPTOR.fields:
        return
    present = [field for field, _ in message.ListFields()]
    # Rather what is there than what could be: of a dozen kinds of value, one has the rest of the message in it.
    field = rng.choice(present if present and rng.random() < 0.8 else message.DESCRIPTOR.fields)
    if field.is_repeated:
        _damage_repeated(message, field, rng)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        if rng.random() < 0.1:
            message.ClearField(field.name)
        else:
            _damage_field(getattr(message, field.name), rng)
    else:
        setattr(message, field.name, _other_value(field, getattr(message, field.name), rng))


def _damage_repeated(message: Message, field: FieldDescriptor, rng: random.Random) -> None:
    values = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        message.ClearField(field.name)
        return
    if values and field.type == FieldDescriptor.TYPE_MESSAGE and rng.random() < 0.8:
        _damage_field(rng.choice(values), rng)
        return
    match rng.randrange(4):
        case 0:
            del values[:]
        case 1 if values:
            values.extend([values[0]] * rng.choice((1, 2, 100)))
        case 2 if values:
            del values[rng.randrange(len(values))]
        case _ if values and field.type != FieldDescriptor.TYPE_MESSAGE:
            place = rng.randrange(len(values))
            values[place] = _other_value(field, values[place], rng)


def _other_value(field: FieldDescriptor, value: Any, rng: random.Random) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_BYTES:
            return damage(value, rng)
        case FieldDescriptor.TYPE_STRING:
            return rng.choice(
                ("", "\u0000", "é", "0" * 64, "f" * 64, "a" * 10_000, "../..", "plan", value + "0", value[1:])
            )
        case FieldDescriptor.TYPE_BOOL:
            return not value
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return rng.choice((0.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324))
        case FieldDescriptor.TYPE_UINT64:
            return rng.choice((0, 1, (value + 1) % 2**64, 2**31, 2**63, 2**64 - 1))
        case FieldDescriptor.TYPE_UINT32:
            return rng.choice((0, 1, (value + 1) % 2**32, 2**31, 2**32 - 1))
        case FieldDescriptor.TYPE_INT64 | FieldDescriptor.TYPE_SINT64:
            return rng.choice((0, -1, 1, 2**63 - 1, -(2**63)))
        case _:
            return rng.choice((0, 1, 2**31 - 1))
