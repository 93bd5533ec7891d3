"""Proof that whoever enrols a signing key holds it."""

from __future__ import annotations

from protocol.documents.enrolment import Enrolment
from protocol.errors import UnknownSigner
from protocol.ids import key_id
from protocol.signing.dsse import Envelope


def verify_enrolment(envelope: Envelope) -> Enrolment:
    """Return an enrolment that the key which it enrols has signed, and nobody else.

    Raises: UnknownSigner, BadSignature, MalformedDocument.
    """
    enrolment = envelope.document(Enrolment)
    if [signature.keyid for signature in envelope.signatures] != [key_id(enrolment.signing_key)]:
        raise UnknownSigner(f"the enrolment of {enrolment.id} is not signed with the key that it enrols")
    envelope.signed_by((enrolment.signing_key,))
    return enrolment
