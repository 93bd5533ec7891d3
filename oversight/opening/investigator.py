"""The investigator's desk: a key for one warrant, an opening on the log, one name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.clock import Clock
from protocol.documents.base import document_of
from protocol.documents.cases import Approval, Opening, Warrant
from protocol.documents.casework import Review
from protocol.documents.flags import FlagHeader
from protocol.errors import ConfigurationError, DigestMismatch, EnvelopeInvalid, QuorumNotMet
from protocol.history.signers import logged_flag
from protocol.ids import Digest, RandomId, digest_of
from protocol.keys.keyfile import write_private
from protocol.rpc.connection import CALL_SECONDS, Connection, typed_errors
from protocol.rpc.v1 import register_pb2
from protocol.sealing.envelope import ReleaseContext, open_identity, open_released_share
from protocol.sealing.hpke import HPKEPrivateKey
from protocol.sealing.secret import Secret
from protocol.signing.dsse import Envelope, sign


@dataclass(frozen=True, slots=True)
class OpenedFlag:
    """A name, and the header it belongs to. Never log or print this object."""

    header: FlagHeader
    identity: str

    def __repr__(self) -> str:
        return f"OpenedFlag({self.header.flag_id}, <redacted>)"


class InvestigatorDesk:
    """One investigator."""

    def __init__(self, connection: Connection, *, keys: Path, clock: Clock) -> None:
        """Keep one-warrant keys in the directory ``keys``."""
        self._connection = connection
        self._keys = keys
        self._clock = clock
        keys.mkdir(parents=True, exist_ok=True)

    @property
    def id(self) -> str:
        """The investigator's id in the roster."""
        return self._connection.party.settings.id

    def new_recipient_key(self) -> str:
        """Make a key for one warrant, store it, and return its public half in hex, for the issuer."""
        private = HPKEPrivateKey.generate()
        public = private.public_key().encode()
        path = self._keys / digest_of(public)
        write_private(path, private.encode().reveal().hex().encode())
        return public.hex()

    def _private_key(self, warrant: Warrant) -> HPKEPrivateKey:
        path = self._keys / digest_of(bytes.fromhex(warrant.recipient_key))
        if not path.exists():
            raise ConfigurationError("the key of this warrant is not on this desk")
        return HPKEPrivateKey.decode(Secret(bytes.fromhex(path.read_text())))

    def open(self, warrant_digest: Digest, flag_id: RandomId) -> OpenedFlag:
        """Log the opening of one flag and return the identity in it.

        Raises: QuorumNotMet before anything is logged if too few custodians approved; WarrantExpired,
            WarrantWithdrawn; EnvelopeInvalid if a share, a commitment or the ciphertext does not hold.
        """
        warrant, _ = self._connection.warrant(warrant_digest)
        approvals = self._approvals(warrant_digest, flag_id)
        required = self._connection.reader.public.roster.approval_threshold
        if len(approvals) < required:
            raise QuorumNotMet(f"{len(approvals)} of {required} custodians approved")
        named = next((named for named in warrant.flags if named.flag_id == flag_id), None)
        if named is None:
            raise DigestMismatch("the warrant does not name this flag")
        opening = Opening(
            warrant=warrant_digest,
            flag_id=flag_id,
            header=named.header,
            investigator=self.id,
            approvals=tuple(sorted(approval.digest() for approval in approvals)),
            opened_at=self._clock.now(),
        )
        envelope = sign(opening, self._connection.party.signing_key)
        with typed_errors():
            opened = self._connection.register.Open(
                register_pb2.SignedDocument(envelope=envelope.encode()), timeout=CALL_SECONDS
            )
        return self._decrypt(warrant, approvals, opened, named.header)

    def review(self, warrant: Digest, flag_id: RandomId, *, dry_run: bool = False, **fields: Any) -> Review:
        """Log that a named person has reviewed an opened case, and what they found.

        Raises: MalformedDocument naming a field; what the register refuses.
        """
        own = {"investigator": self.id, "reviewed_at": self._clock.now()}
        review = document_of(Review, fields | own | self._connection.named_flag(warrant, flag_id))
        if not dry_run:
            self._connection.submit("review", review)
        return review

    def _approvals(self, warrant: Digest, flag_id: RandomId) -> list[Approval]:
        cases = self._connection.cases(lambda kind: kind == "approval", warrant=warrant)
        custodians = self._connection.reader.public.roster.with_role("custodian")
        counted = {custodian.signing_key for custodian in custodians}
        return [
            case.document
            for case in cases
            if isinstance(case.document, Approval)
            and (case.document.warrant, case.document.flag_id) == (warrant, flag_id)
            # A custodian who was revoked, or has a new key, since: the log does not count this approval any more.
            and case.signer.signing_key in counted
        ]

    def _decrypt(
        self, warrant: Warrant, approvals: list[Approval], opened: register_pb2.Opened, header_digest: Digest
    ) -> OpenedFlag:
        sealed, _ = logged_flag(self._connection.reader.history, Envelope.decode(opened.flag_envelope))
        header = sealed.header
        if header.digest() != header_digest:
            raise EnvelopeInvalid("the flag handed over is not the one in the warrant")
        if digest_of(opened.ciphertext) != sealed.ciphertext:
            raise EnvelopeInvalid("the ciphertext is not the one that the borough signed")
        private = self._private_key(warrant)
        shares = {}
        for approval in approvals:
            context = ReleaseContext(
                warrant.digest(), header_digest, approval.custodian, approval.share_index, approval.roster_version
            )
            shares[approval.share_index] = open_released_share(
                bytes.fromhex(approval.sealed_share or ""),
                private,
                context,
                commitment=header.share_commitments[approval.share_index - 1],
            )
        identity = open_identity(
            shares,
            threshold=header.threshold,
            share_commitments=header.share_commitments,
            key_commitment=header.key_commitment,
            ciphertext=opened.ciphertext,
            header_digest=header_digest,
        )
        return OpenedFlag(header, identity.decode())
