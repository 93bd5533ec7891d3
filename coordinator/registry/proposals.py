"""Plans and policies on their way to a quorum: proposed, signed by custodians one by one, logged when enough have."""

from __future__ import annotations

from coordinator.log.appender import Appender
from coordinator.store.cases import CaseStore
from protocol.documents.base import Document
from protocol.errors import StateError, UnknownSigner
from protocol.history.leaves import PUBLIC
from protocol.ids import Digest
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import custodian_quorum


def document_digest(envelope: Envelope) -> Digest:
    """Return the digest of the document in an envelope of a public kind. Raises: MalformedDocument."""
    return _document(envelope).digest()


def _document(envelope: Envelope) -> Document:
    kind = next((kind for kind in PUBLIC.values() if kind.payload_type == envelope.payloadType), None)
    if kind is None:
        raise StateError("only plans and policies are proposed")
    return envelope.document(kind)


class Proposals:
    """Documents that wait for the custodians."""

    def __init__(self, appender: Appender, store: CaseStore) -> None:
        self._appender = appender
        self._store = store

    def propose(self, kind: str, envelope: Envelope) -> Digest:
        """Offer a document to the custodians and return its digest. The rules are checked when it is logged."""
        digest = document_digest(envelope)
        self._store.propose(digest, kind, envelope.encode())
        return digest

    def waiting(self) -> list[tuple[Digest, str, bytes]]:
        """Return the proposals without a quorum, as (digest, kind, envelope)."""
        return [(one.digest, one.kind, one.envelope) for one in self._store.proposals()]

    def endorse(self, signature: Envelope) -> int | None:
        """Add a custodian's signature; return the log index once the quorum is met and the document logged.

        Raises: StateError if nothing of this digest waits; UnknownSigner if no custodian signed; BadSignature;
            ConcurrentChange if another custodian's signature arrived meanwhile: theirs is kept, this one is not; the
            error of the rule that the document breaks.
        """
        digest = document_digest(signature)
        waiting = self._store.proposal(digest)
        if waiting is None:
            raise StateError(f"no proposal {digest[:16]} waits")
        roster = self._appender.history.public.roster
        if not custodian_quorum(signature, roster).approved:
            raise UnknownSigner("the signature is not by a custodian of the roster")
        merged = Envelope.decode(waiting.envelope).merged(signature)
        self._store.replace_proposal(waiting, merged.encode())
        if not custodian_quorum(merged, roster).met:
            return None
        return self._appender.append(
            waiting.kind, merged, also=lambda connection, _: self._store.settle(connection, digest)
        )
