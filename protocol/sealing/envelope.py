"""The identity envelope of a flag: one name under one key, the key shared among custodians, everything committed.

    borough      deal -> commitments into the header -> seal_identity, seal_share for each custodian
    custodian    open_share on receipt and again before release -> reseal_share to the warrant's recipient
    recipient    open_released_share for each -> open_identity

Rules this module keeps: every hash, associated data and HPKE ``info`` starts with its own versioned tag and is framed
injectively; whatever opens was committed to in the header that the borough signed; the opener recomputes **all** n
shares, so that a wrong share dealt to any custodian is found by every quorum, also by one without that custodian; no
detail of an error holds a key, a share or an identity. Whose signature is on the header is not decided here.

Source: Shamir 1979; Feldman 1987 for the idea of committed shares (here hashes, checked at opening, which needs no
group); Len, Grubbs and Ristenpart 2021, Partitioning Oracle Attacks, for why the key itself is committed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.errors import EnvelopeInvalid
from protocol.ids import Digest, PartyId, digest_of
from protocol.sealing.framing import frame, integer_field, text_field
from protocol.sealing.hpke import HPKEPrivateKey, HPKEPublicKey, open_sealed, seal
from protocol.sealing.secret import Secret
from protocol.sealing.shamir import MAX_SHARES, SECRET_BYTES, check_quorum, check_share, combine, split

KEY_COMMITMENT_TAG: Final = b"custodes/envelope/v1/key-commitment"
SHARE_COMMITMENT_TAG: Final = b"custodes/envelope/v1/share-commitment"
IDENTITY_TAG: Final = b"custodes/envelope/v1/identity"
SHARE_TAG: Final = b"custodes/envelope/v1/share"
RELEASE_TAG: Final = b"custodes/envelope/v1/release"

PADDED_IDENTITY_BYTES: Final = 512
"""Every identity is this long before encryption, length prefix included: a length would tell short names from long."""
LENGTH_PREFIX_BYTES: Final = 2
MAX_IDENTITY_BYTES: Final = PADDED_IDENTITY_BYTES - LENGTH_PREFIX_BYTES
NONCE_BYTES: Final = 12
IDENTITY_CIPHERTEXT_BYTES: Final = NONCE_BYTES + PADDED_IDENTITY_BYTES + 16


@dataclass(frozen=True, slots=True)
class Dealing:
    """A fresh key, its shares for custodians 1..n, and what the header says of them."""

    key: Secret
    shares: tuple[Secret, ...]
    key_commitment: Digest
    share_commitments: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ShareContext:
    """Where a share belongs: bound into its sealing, so that it opens nowhere else.

    ``index`` is the custodian's x, 1..n, in this envelope; ``epoch`` is the retention epoch of the custodian's key.
    """

    header_digest: Digest
    custodian: PartyId
    index: int
    roster_version: int
    epoch: int

    def info(self) -> bytes:
        """Return the HPKE ``info``: one sequence of bytes for one context.

        Raises: EnvelopeInvalid naming a number that is out of range.
        """
        return frame(
            SHARE_TAG,
            text_field(self.header_digest),
            text_field(self.custodian),
            _index_field(self.index),
            integer_field(self.roster_version, name="roster version"),
            integer_field(self.epoch, name="epoch"),
        )


@dataclass(frozen=True, slots=True)
class ReleaseContext:
    """Under which warrant, for which flag and by which custodian a share is released."""

    warrant_digest: Digest
    header_digest: Digest
    custodian: PartyId
    index: int
    roster_version: int

    def info(self) -> bytes:
        """Return the HPKE ``info``: one sequence of bytes for one context.

        Raises: EnvelopeInvalid naming a number that is out of range.
        """
        return frame(
            RELEASE_TAG,
            text_field(self.warrant_digest),
            text_field(self.header_digest),
            text_field(self.custodian),
            _index_field(self.index),
            integer_field(self.roster_version, name="roster version"),
        )


def deal(*, threshold: int, custodians: int) -> Dealing:
    """Draw a fresh key and share it so that any ``threshold`` of ``custodians`` open it and fewer learn nothing.

    Raises: EnvelopeInvalid unless 2 <= threshold <= custodians <= 255.
    """
    check_quorum(threshold, custodians)
    key = Secret(secrets.token_bytes(SECRET_BYTES))
    shares = split(key, threshold=threshold, shares=custodians)
    return Dealing(
        key=key,
        shares=shares,
        key_commitment=commit_key(key),
        share_commitments=tuple(commit_share(share, index=index) for index, share in enumerate(shares, start=1)),
    )


def commit_key(key: Secret) -> Digest:
    """Return the commitment to a key: hiding, as the key is uniform; binding, as SHA-256 resists collisions."""
    return digest_of(frame(KEY_COMMITMENT_TAG, key.reveal()))


def commit_share(share: Secret, *, index: int) -> Digest:
    """Return the commitment to a share at its index, so that it is no commitment at another index.

    Raises: EnvelopeInvalid if the index is not within 1 to 255.
    """
    return digest_of(frame(SHARE_COMMITMENT_TAG, _index_field(index), share.reveal()))


def verify_share(share: Secret, *, index: int, commitment: Digest) -> None:
    """Hold that ``share`` is a share at all, and the one committed to at ``index``.

    Raises: EnvelopeInvalid naming the index.
    """
    check_share(share, number=index)
    if not _same(commit_share(share, index=index), commitment):
        raise EnvelopeInvalid(f"share {index} is not the one that the header commits to")


def seal_identity(dealing: Dealing, identity: bytes, *, header_digest: Digest) -> bytes:
    """Encrypt ``identity`` under the dealt key, bound to the header; every result is equally long.

    Args:
        identity: At most ``MAX_IDENTITY_BYTES``.
    Returns: ``nonce (12) || ciphertext (512) || tag (16)``. The nonce is random although a key is meant for one
        identity: a caller who seals twice under one dealing must not reveal the difference of two names.
    Raises: EnvelopeInvalid if the identity is too long; its length is not repeated.
    Source: RFC 8439 section 2.8.
    """
    if len(identity) > MAX_IDENTITY_BYTES:
        raise EnvelopeInvalid(f"the identity is longer than {MAX_IDENTITY_BYTES} bytes")
    padded = len(identity).to_bytes(LENGTH_PREFIX_BYTES, "big") + identity.ljust(MAX_IDENTITY_BYTES, b"\x00")
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(dealing.key.reveal()).encrypt(nonce, padded, _identity_aad(header_digest))


def seal_share(share: Secret, public_key: HPKEPublicKey, context: ShareContext) -> bytes:
    """Encrypt a dealt share to its custodian's key of the epoch, bound to ``context``."""
    return seal(public_key, share.reveal(), info=context.info())


def open_share(sealed: bytes, private_key: HPKEPrivateKey, context: ShareContext, *, commitment: Digest) -> Secret:
    """Return the share that was dealt to this custodian, which is the committed one.

    A custodian calls this on receipt, while a bad dealing can still be refused, and again before release, because the
    desk's own storage lay in between.

    Raises: EnvelopeInvalid if it does not open in this context or is not the committed share.
    """
    return _open_committed(sealed, private_key, context, commitment)


def reseal_share(share: Secret, recipient_public: HPKEPublicKey, context: ReleaseContext) -> bytes:
    """Encrypt an opened share to the recipient that the warrant names, bound to ``context``."""
    return seal(recipient_public, share.reveal(), info=context.info())


def open_released_share(
    sealed: bytes, recipient_private: HPKEPrivateKey, context: ReleaseContext, *, commitment: Digest
) -> Secret:
    """Return the share that a custodian released under this warrant, which is the committed one.

    Raises: EnvelopeInvalid if it does not open in this context or is not the committed share.
    """
    return _open_committed(sealed, recipient_private, context, commitment)


def open_identity(
    shares: Mapping[int, Secret],
    *,
    threshold: int,
    share_commitments: Sequence[Digest],
    key_commitment: Digest,
    ciphertext: bytes,
    header_digest: Digest,
) -> bytes:
    """Return the identity, after everything the header commits to was found true.

    The order names who is at fault: first each given share against its commitment (its custodian), then all n
    recomputed shares and the key against theirs (the dealer), then the ciphertext (dealer or register).

    Args:
        shares: Opened share by index, at least ``threshold`` of them.
        threshold: t as the signed header states it.
        share_commitments: All n commitments of the signed header, in order.
    Raises: EnvelopeInvalid naming what failed.
    """
    count = len(share_commitments)
    check_quorum(threshold, count)
    for index, share in shares.items():
        if not 1 <= index <= count:
            raise EnvelopeInvalid(f"a share's number is not within 1 to {count}")
        verify_share(share, index=index, commitment=share_commitments[index - 1])
    recovered = combine(shares, threshold=threshold, count=count)
    for index, (share, commitment) in enumerate(zip(recovered.all_shares, share_commitments, strict=True), start=1):
        if not _same(commit_share(share, index=index), commitment):
            raise EnvelopeInvalid(
                f"the dealer committed to a share {index} that is not on the polynomial of the others"
            )
    if not _same(commit_key(recovered.secret), key_commitment):
        raise EnvelopeInvalid("the shares combine to another key than the header commits to")
    return _decrypt_identity(recovered.secret, ciphertext, header_digest)


def _open_committed(
    sealed: bytes, private_key: HPKEPrivateKey, context: ShareContext | ReleaseContext, commitment: Digest
) -> Secret:
    share = Secret(open_sealed(private_key, sealed, info=context.info()))
    verify_share(share, index=context.index, commitment=commitment)
    return share


def _decrypt_identity(key: Secret, ciphertext: bytes, header_digest: Digest) -> bytes:
    if len(ciphertext) != IDENTITY_CIPHERTEXT_BYTES:
        raise EnvelopeInvalid(f"an identity ciphertext has {IDENTITY_CIPHERTEXT_BYTES} bytes, not {len(ciphertext)}")
    nonce, body = ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:]
    try:
        padded = ChaCha20Poly1305(key.reveal()).decrypt(nonce, body, _identity_aad(header_digest))
    except InvalidTag:
        raise EnvelopeInvalid("the identity does not decrypt under the committed key and this header") from None
    length = int.from_bytes(padded[:LENGTH_PREFIX_BYTES], "big")
    identity, padding = padded[LENGTH_PREFIX_BYTES:][:length], padded[LENGTH_PREFIX_BYTES:][length:]
    if length > MAX_IDENTITY_BYTES or any(padding):
        raise EnvelopeInvalid("the identity is not padded as the format says")
    return identity


def _identity_aad(header_digest: Digest) -> bytes:
    return frame(IDENTITY_TAG, text_field(header_digest))


def _index_field(index: int) -> bytes:
    if not 1 <= index <= MAX_SHARES:
        raise EnvelopeInvalid(f"a share's index is not within 1 to {MAX_SHARES}")
    return integer_field(index, name="index")


def _same(one: Digest, other: Digest) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
