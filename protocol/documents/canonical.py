"""Canonical JSON (RFC 8785): one document, one sequence of bytes, one digest.

Integers beyond 2**53 travel as decimal strings (I-JSON, RFC 7493 section 2.2); the document types say which fields.
"""

from __future__ import annotations

import json
from typing import Any, Final

import rfc8785

from protocol.errors import MalformedDocument

EXACT: Final = 2**53
"""JSON carries integers of smaller magnitude only."""


def canonical_bytes(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value.

    Raises: MalformedDocument for a value that JSON cannot carry (NaN, an integer beyond 2**53, half of a surrogate pair).
    """
    try:
        if _is_plain(value):
            return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        return rfc8785.dumps(value)
    except UnicodeEncodeError as error:
        raise MalformedDocument("not representable as canonical JSON: half of a surrogate pair") from error
    except rfc8785.CanonicalizationError as error:
        raise MalformedDocument(f"not representable as canonical JSON: {error}") from error
    except RecursionError:
        raise MalformedDocument("not representable as canonical JSON: nested too deeply") from None


def _is_plain(value: Any) -> bool:
    """Whether Python's own encoder, several times faster, writes a value as RFC 8785 does.

    The two differ in how they write a float, and in the order of keys outside of ASCII.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is dict:
        return all(type(key) is str and key.isascii() and _is_plain(item) for key, item in value.items())
    if kind is list:
        return all(_is_plain(item) for item in value)
    return kind is int and -EXACT < value < EXACT


def parse_canonical(content: bytes) -> Any:
    """Return the JSON value of ``content``, which must already be in canonical form.

    Raises: MalformedDocument if it is not JSON or if re-encoding gives other bytes: a document with two encodings
    has two digests, and somebody signed only one of them.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedDocument(f"not JSON: {type(error).__name__}") from error
    if canonical_bytes(value) != content:
        raise MalformedDocument("the JSON is not in canonical form (RFC 8785)")
    return value
