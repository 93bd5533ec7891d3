"""One flag's envelope with everybody's keys, as the tests deal, steal and bend it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from protocol.sealing.envelope import (
    Dealing,
    ReleaseContext,
    ShareContext,
    commit_key,
    commit_share,
    deal,
    open_identity,
    open_released_share,
    open_share,
    reseal_share,
    seal_identity,
    seal_share,
)
from protocol.sealing.hpke import PRIVATE_KEY_BYTES, HPKEPrivateKey
from protocol.sealing.secret import Secret
from protocol.sealing.shamir import PRIME, SHARE_BYTES

IDENTITY = '{"staff_number":"4711","name":"Ærø Example"}'.encode()
HEADER = hashlib.sha256(b"header of flag A").hexdigest()
OTHER_HEADER = hashlib.sha256(b"header of flag B").hexdigest()
WARRANT = hashlib.sha256(b"warrant 1").hexdigest()
OTHER_WARRANT = hashlib.sha256(b"warrant 2").hexdigest()


@cache
def private_key(name: str) -> HPKEPrivateKey:
    """The same key for the same name in every run."""
    return HPKEPrivateKey.decode(Secret(hashlib.shake_256(name.encode()).digest(PRIVATE_KEY_BYTES)))


def shares_of(*coefficients: int, custodians: int) -> tuple[Secret, ...]:
    """The shares of a stated polynomial, lowest coefficient (the key) first."""
    return tuple(
        Secret((sum(c * x**power for power, c in enumerate(coefficients)) % PRIME).to_bytes(SHARE_BYTES, "big"))
        for x in range(1, custodians + 1)
    )


def dealing_of(key: bytes, shares: Iterable[Secret]) -> Dealing:
    """A dealing by a dealer who commits to whatever it likes: here, to just what is given."""
    shares = tuple(shares)
    commitments = tuple(commit_share(share, index=index) for index, share in enumerate(shares, start=1))
    return Dealing(Secret(key), shares, commit_key(Secret(key)), commitments)


@dataclass(frozen=True)
class SealedFlag:
    threshold: int
    dealing: Dealing
    header: str
    ciphertext: bytes

    @classmethod
    def raise_one(cls, *, threshold: int, custodians: int, header: str = HEADER, identity: bytes = IDENTITY):
        dealing = deal(threshold=threshold, custodians=custodians)
        return cls(threshold, dealing, header, seal_identity(dealing, identity, header_digest=header))

    def context(self, index: int) -> ShareContext:
        return ShareContext(self.header, f"custodian-{index}", index, roster_version=3, epoch=7)

    def release_context(self, index: int) -> ReleaseContext:
        return ReleaseContext(WARRANT, self.header, f"custodian-{index}", index, roster_version=3)

    def commitment(self, index: int) -> str:
        return self.dealing.share_commitments[index - 1]

    def sealed_share(self, index: int) -> bytes:
        public = private_key(f"custodian-{index}").public_key()
        return seal_share(self.dealing.shares[index - 1], public, self.context(index))

    def received_share(self, index: int) -> Secret:
        private = private_key(f"custodian-{index}")
        return open_share(self.sealed_share(index), private, self.context(index), commitment=self.commitment(index))

    def released_share(self, index: int) -> bytes:
        recipient = private_key("recipient").public_key()
        return reseal_share(self.received_share(index), recipient, self.release_context(index))

    def opened_share(self, index: int) -> Secret:
        context, commitment = self.release_context(index), self.commitment(index)
        return open_released_share(self.released_share(index), private_key("recipient"), context, commitment=commitment)

    def open(self, indices: Iterable[int], **changed: object) -> bytes:
        """Open from the dealt shares, without the sealing in between, with some arguments replaced."""
        arguments = {
            "threshold": self.threshold,
            "share_commitments": self.dealing.share_commitments,
            "key_commitment": self.dealing.key_commitment,
            "ciphertext": self.ciphertext,
            "header_digest": self.header,
        }
        shares = {index: self.dealing.shares[index - 1] for index in indices}
        return open_identity(shares, **(arguments | changed))
