"""DSSE envelopes: a document's bytes, their type, and any number of signatures over both.

The payload type enters the signature (pre-authentication encoding), so a signed warrant can never pass as a plan.
Source: github.com/secure-systems-lab/dsse, protocol.md, version 1.0.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from functools import lru_cache
from typing import Self, TypeVar

from pydantic import model_validator

from protocol.documents.base import Document, Value, decode_canonical
from protocol.documents.canonical import canonical_bytes
from protocol.errors import BadSignature, MalformedDocument
from protocol.ids import Digest, HexKey, key_id
from protocol.signing.keys import SigningKey, verify_signature

D = TypeVar("D", bound=Document)

PREFIX = b"DSSEv1"


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: prefix, type and payload, each with its length."""
    kind = payload_type.encode()
    return b" ".join([PREFIX, str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


class Signature(Value):
    """One signature and the id of the key that made it; the id is a hint, the key decides."""

    keyid: Digest
    sig: str


class Envelope(Value):
    """A signed document as it travels and as it is logged."""

    payload: str
    payloadType: str  # noqa: N815 - the field's name in the DSSE specification
    signatures: tuple[Signature, ...]

    @model_validator(mode="after")
    def _a_key_signs_once(self) -> Self:
        if len({signature.keyid for signature in self.signatures}) != len(self.signatures):
            raise ValueError("a key id stands twice")
        return self

    def encode(self) -> bytes:
        """Return the canonical bytes of the envelope."""
        return canonical_bytes(self.model_dump(mode="json"))

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return the envelope of these canonical bytes. Raises: MalformedDocument."""
        return decode_canonical(cls, content)

    def payload_bytes(self) -> bytes:
        """Return the signed payload. Raises: MalformedDocument if it is not base64."""
        return _from_base64(self.payload, "payload")

    def document(self, kind: type[D]) -> D:
        """Return the payload as a document of this kind. Signatures are **not** checked here.

        Raises: MalformedDocument if the envelope holds another kind.
        """
        if self.payloadType != kind.payload_type:
            raise MalformedDocument(f"expected {kind.payload_type}, the envelope says {self.payloadType[:80]}")
        document: D = _decoded(kind, self.payload)
        return document

    def signed_by(self, keys: Iterable[HexKey]) -> frozenset[HexKey]:
        """Return those of ``keys`` whose signature over this envelope verifies.

        A set of keys, not of key ids: one key under two ids counts once (the flaw that met a threshold of two with
        one key in several TUF clients, CVE-2020-6174 among them).
        Raises: BadSignature if a signature names one of ``keys`` and does not verify: somebody forged or damaged it.
        """
        message = pre_authentication_encoding(self.payloadType, self.payload_bytes())
        by_id = {key_id(key): key for key in keys}
        signers = set()
        for signature in self.signatures:
            if (key := by_id.get(signature.keyid)) is not None:
                verify_signature(key, _from_base64(signature.sig, "sig"), message)
                signers.add(key)
        return frozenset(signers)

    def merged(self, other: Envelope) -> Envelope:
        """Return this envelope with the other's signatures added; both must carry the same payload.

        Raises: BadSignature if the payloads differ.
        """
        if (self.payload, self.payloadType) != (other.payload, other.payloadType):
            raise BadSignature("the signatures are over different payloads")
        merged = {signature.keyid: signature for signature in (*self.signatures, *other.signatures)}
        return self.model_copy(update={"signatures": tuple(merged[keyid] for keyid in sorted(merged))})


@lru_cache(maxsize=128)
def _decoded(kind: type[D], payload: str) -> D:
    """Return a document; remembered, because a reader looks into one envelope several times and documents are frozen."""
    return kind.decode(_from_base64(payload, "payload"))


def _from_base64(text: str, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedDocument(f"envelope: field {field} is not base64") from None


def sign(document: Document, *keys: SigningKey) -> Envelope:
    """Return ``document`` signed by each of ``keys``."""
    payload = document.encode()
    message = pre_authentication_encoding(document.payload_type, payload)
    signatures = {key.key_id: key.sign(message) for key in keys}
    return Envelope(
        payload=base64.b64encode(payload).decode(),
        payloadType=document.payload_type,
        signatures=tuple(
            Signature(keyid=keyid, sig=base64.b64encode(signatures[keyid]).decode()) for keyid in sorted(signatures)
        ),
    )
