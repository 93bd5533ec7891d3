"""The frame of documents: frozen, strict, no unknown fields, one spelling, a digest for each kind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar

import pytest
from pydantic import ValidationError

from protocol.documents.base import Document, Instant
from protocol.documents.canonical import canonical_bytes
from protocol.errors import MalformedDocument
from protocol.ids import digest_of

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


class Memo(Document):
    payload_type: ClassVar[str] = "application/vnd.example.memo.v1+json"

    title: str
    count: int
    at: Instant


class Note(Document):
    payload_type: ClassVar[str] = "application/vnd.example.note.v1+json"

    title: str
    count: int
    at: Instant


MEMO = Memo(title="Synthetic", count=3, at=NOON)


def with_fields(**changes: object) -> bytes:
    return canonical_bytes(json.loads(MEMO.encode()) | changes)


def test_a_document_reads_back_as_itself():
    assert Memo.decode(MEMO.encode()) == MEMO
    assert MEMO.encode() == b'{"at":"2026-01-05T12:00:00Z","count":3,"title":"Synthetic"}'


def test_a_document_is_frozen():
    with pytest.raises(ValidationError):
        MEMO.count = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"count": "3"}, "count"),
        ({"count": 3.5}, "count"),
        ({"count": True}, "count"),
        ({"title": 3}, "title"),
        ({"title": None}, "title"),
        ({"secret": "value-that-must-not-be-repeated"}, "secret"),
        ({"at": 1767614400}, "at"),
    ],
)
def test_a_wrong_or_unknown_field_is_named_and_its_value_is_not_repeated(changes, field):
    with pytest.raises(MalformedDocument, match=f"field {field}") as caught:
        Memo.decode(with_fields(**changes))
    assert "value-that-must-not-be-repeated" not in str(caught.value)


def test_a_missing_field_is_named():
    with pytest.raises(MalformedDocument, match="field title"):
        Memo.decode(canonical_bytes({"at": "2026-01-05T12:00:00Z", "count": 3}))


@pytest.mark.parametrize(
    "spelling",
    [
        "2026-01-05T12:00:00+00:00",
        "2026-01-05 12:00:00Z",
        "2026-01-05T12:00:00.000Z",
        "2026-01-05T12:00Z",
        "2026-01-05t12:00:00z",
        "1767614400",
    ],
)
def test_an_instant_has_one_spelling_because_two_would_be_two_digests(spelling):
    with pytest.raises(MalformedDocument):
        Memo.decode(with_fields(at=spelling))


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 1, 5, 12, 0),
        NOON.replace(microsecond=1),
        NOON.astimezone(timezone(timedelta(hours=1))),
    ],
)
def test_an_instant_is_utc_with_whole_seconds(instant):
    with pytest.raises(ValidationError, match="UTC with whole seconds"):
        Memo(title="Synthetic", count=3, at=instant)


def test_the_same_fields_in_another_kind_have_another_digest():
    note = Note(title="Synthetic", count=3, at=NOON)
    assert note.encode() == MEMO.encode()
    assert note.digest() != MEMO.digest()


def test_a_digest_covers_the_payload_type_and_the_bytes():
    assert MEMO.digest() == digest_of(Memo.payload_type.encode() + b"\x00" + MEMO.encode())


def test_bytes_that_are_not_canonical_are_refused():
    with pytest.raises(MalformedDocument, match="canonical"):
        Memo.decode(MEMO.encode() + b"\n")


def subclasses(kind: type[Document]) -> list[type[Document]]:
    return [one for child in kind.__subclasses__() for one in (child, *subclasses(child))]


def test_every_kind_of_document_has_its_own_versioned_payload_type():
    from protocol.history import leaves  # noqa: F401 - loads every kind
    from protocol.scorecard import model  # noqa: F401

    named = [one for one in subclasses(Document) if one.__module__.startswith("protocol.")]
    kinds = [one for one in named if not one.__subclasses__()]  # what several kinds have in common is none
    types = [one.payload_type for one in kinds]
    assert len(kinds) >= 14
    assert len(set(types)) == len(types)
    assert all(one.startswith("application/vnd.custodes.") and ".v1+json" in one for one in types)
