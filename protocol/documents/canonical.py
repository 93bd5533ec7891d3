"""Canonical JSON (RFC 8785): one document, one sequence of bytes, one digest.

Integers beyond 2**53 travel as decimal strings (I-JSON, RFC 7493 section 2.2); the document types say which fields.
"""

from __future__ import annotations

import json
from typing import Any

import rfc8785

from protocol.errors import MalformedDocument


def canonical_bytes(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value.

    Raises: MalformedDocument for a value that JSON cannot carry (NaN, an integer beyond 2**53).
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise MalformedDocument(f"not representable as canonical JSON: {error}") from error
    except RecursionError:
        raise MalformedDocument("not representable as canonical JSON: nested too deeply") from None


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
