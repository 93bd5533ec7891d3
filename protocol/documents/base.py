"""The frame of every document: frozen, strict, versioned, with one canonical encoding and one digest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, ValidationError

from protocol.documents.canonical import canonical_bytes
from protocol.errors import MalformedDocument
from protocol.ids import Digest, digest_of


def _require_utc_seconds(instant: datetime) -> datetime:
    if instant.utcoffset() != timedelta(0) or instant.microsecond:  # None, of a naive one, is no zero either
        raise ValueError("an instant is UTC with whole seconds")
    return instant


Instant = Annotated[
    datetime,
    AfterValidator(_require_utc_seconds),
    PlainSerializer(lambda instant: instant.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str, when_used="json"),
]
"""A moment in UTC, whole seconds, written ``2026-01-31T12:00:00Z``. Intervals are half-open."""


class Value(BaseModel):
    """A part of a document: frozen, strict, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with other values for some fields, that remembers nothing which was computed of this one."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


class Document(Value):
    """A whole document. Subclasses set ``payload_type``, the DSSE payload type, which carries the version."""

    payload_type: ClassVar[str]

    def encode(self) -> bytes:
        """Return the canonical bytes: what is signed, hashed, logged and sent."""
        return canonical_bytes(self.model_dump(mode="json"))

    def digest(self) -> Digest:
        """Return the SHA-256 of the payload type and the canonical bytes, so that no two kinds share a digest."""
        return self.own_digest

    @cached_property
    def own_digest(self) -> Digest:
        """What ``digest`` returns: computed once, as a document never changes, and a plan names a thousand boroughs."""
        return digest_of(self.payload_type.encode() + b"\x00" + self.encode())

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return the document of these canonical bytes.

        Raises: MalformedDocument naming the first field that is wrong; the value itself is never repeated. Also if the
            document would be written otherwise: an instant has many spellings, and two of them are two digests.
        """
        return decode_canonical(cls, content)


V = TypeVar("V", bound=BaseModel)


def decode_canonical(kind: type[V], content: bytes) -> V:
    """Return the value of these bytes, which must be exactly what encoding it gives (RFC 8785).

    Raises: MalformedDocument naming the first field that is wrong, or that the bytes are not canonical: a document with
        two encodings has two digests, and somebody signed only one of them.
    """
    try:
        value = kind.model_validate_json(content)
    except ValidationError as error:
        raise MalformedDocument(f"{kind.__name__}: {describe(error)}") from None
    if canonical_bytes(value.model_dump(mode="json")) != content:
        raise MalformedDocument(f"{kind.__name__}: not in canonical form (RFC 8785), or a value in another spelling")
    return value


def describe(error: ValidationError) -> str:
    """Name the first wrong field and the rule it breaks, without its value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "(document)"
    return f"field {field}: {first['msg']}"


def document_of(kind: type[V], fields: Mapping[str, Any]) -> V:
    """Return a document of what somebody entered. Raises: MalformedDocument naming the first field that is wrong."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise MalformedDocument(f"{kind.__name__}: {describe(error)}") from None
