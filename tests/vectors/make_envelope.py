"""Write ``envelope/envelope.json``: one envelope, 2 of 3, with every key in it, and what opening it must give.

Run from the root of the repository: ``python -m tests.vectors.make_envelope``. Sealing is random, so a rerun gives
other ciphertexts; what the format derives (``fixed_part``) must come out the same, and the tests hold it to that.
A change of ``fixed_part`` is a change of the format and needs a new version tag.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from protocol.sealing.envelope import (
    Dealing,
    ReleaseContext,
    ShareContext,
    commit_key,
    commit_share,
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

PATH = Path(__file__).parent / "envelope" / "envelope.json"
THRESHOLD, CUSTODIANS = 2, 3
CASES: list[dict[str, Any]] = [
    {"name": "custodians 1 and 2", "shares": [1, 2], "replace": {}, "error": None},
    {"name": "custodians 1 and 3", "shares": [1, 3], "replace": {}, "error": None},
    {"name": "custodians 2 and 3", "shares": [2, 3], "replace": {}, "error": None},
    {"name": "all custodians", "shares": [1, 2, 3], "replace": {}, "error": None},
    {"name": "one custodian", "shares": [1], "replace": {}, "error": "envelope.invalid"},
    {"name": "threshold of one", "shares": [1], "replace": {"threshold": 1}, "error": "envelope.invalid"},
    {"name": "threshold of all", "shares": [1, 2, 3], "replace": {"threshold": 3}, "error": "envelope.invalid"},
    {"name": "threshold beyond all", "shares": [1, 2, 3], "replace": {"threshold": 4}, "error": "envelope.invalid"},
    {"name": "another header", "shares": [1, 2], "replace": {"header_digest": "00" * 32}, "error": "envelope.invalid"},
    {"name": "another key", "shares": [1, 2], "replace": {"key_commitment": "00" * 32}, "error": "envelope.invalid"},
]


def drawn(label: str, length: int) -> bytes:
    """Return bytes that look random and are the same in every run."""
    return hashlib.shake_256(b"custodes test vector: " + label.encode()).digest(length)


def custodian(index: int) -> str:
    """Return the name of a custodian."""
    return f"custodian-{index}"


def fixed_dealing() -> Dealing:
    """Return a dealing with a known key and a known line: share x is key + slope * x."""
    key, slope = Secret(drawn("key", 32)), int.from_bytes(drawn("slope", 65), "big")
    values = [(int.from_bytes(key.reveal(), "big") + slope * x) % PRIME for x in range(1, CUSTODIANS + 1)]
    shares = tuple(Secret(value.to_bytes(SHARE_BYTES, "big")) for value in values)
    commitments = tuple(commit_share(share, index=index) for index, share in enumerate(shares, start=1))
    return Dealing(key, shares, commit_key(key), commitments)


def fixed_part() -> dict[str, Any]:
    """Return every field that does not depend on the randomness of sealing."""
    dealing = fixed_dealing()
    return {
        "format": "custodes/envelope/v1",
        "threshold": THRESHOLD,
        "header_digest": drawn("header", 32).hex(),
        "warrant_digest": drawn("warrant", 32).hex(),
        "roster_version": 3,
        "epoch": 7,
        "identity": '{"staff_number":"4711","name":"Ærø Example"}'.encode().hex(),
        "key": dealing.key.reveal().hex(),
        "key_commitment": dealing.key_commitment,
        "share_commitments": list(dealing.share_commitments),
        "recipient_private_key": drawn("recipient", PRIVATE_KEY_BYTES).hex(),
        "cases": CASES,
    }


def contexts(vector: dict[str, Any], index: int) -> tuple[ShareContext, ReleaseContext]:
    """Return both contexts of one custodian's share."""
    header, version = vector["header_digest"], vector["roster_version"]
    return (
        ShareContext(header, custodian(index), index, version, vector["epoch"]),
        ReleaseContext(vector["warrant_digest"], header, custodian(index), index, version),
    )


def open_both(vector: dict[str, Any], index: int) -> tuple[Secret, Secret]:
    """Open a share as its custodian received it and as the recipient did, holding the stated ``info`` of both."""
    party, (own, release) = vector["custodians"][index - 1], contexts(vector, index)
    assert own.info().hex() == party["info"]
    assert release.info().hex() == party["release_info"]
    private = HPKEPrivateKey.decode(Secret(bytes.fromhex(party["private_key"])))
    assert hashlib.sha256(private.public_key().encode()).hexdigest() == party["public_key_sha256"]
    recipient = HPKEPrivateKey.decode(Secret(bytes.fromhex(vector["recipient_private_key"])))
    commitment = vector["share_commitments"][index - 1]
    return (
        open_share(bytes.fromhex(party["sealed_share"]), private, own, commitment=commitment),
        open_released_share(bytes.fromhex(party["released_share"]), recipient, release, commitment=commitment),
    )


def open_case(vector: dict[str, Any], case: dict[str, Any]) -> bytes:
    """Open the identity with the case's shares, after replacing what the case replaces."""
    changed = vector | case["replace"]
    return open_identity(
        {index: Secret(bytes.fromhex(vector["custodians"][index - 1]["share"])) for index in case["shares"]},
        threshold=changed["threshold"],
        share_commitments=changed["share_commitments"],
        key_commitment=changed["key_commitment"],
        ciphertext=bytes.fromhex(changed["ciphertext"]),
        header_digest=changed["header_digest"],
    )


def make() -> dict[str, Any]:
    """Return a whole vector with fresh sealing."""
    vector, dealing = fixed_part(), fixed_dealing()
    identity, header = bytes.fromhex(vector["identity"]), vector["header_digest"]
    vector["ciphertext"] = seal_identity(dealing, identity, header_digest=header).hex()
    recipient = HPKEPrivateKey.decode(Secret(bytes.fromhex(vector["recipient_private_key"]))).public_key()
    vector["custodians"] = []
    for index, share in enumerate(dealing.shares, start=1):
        private = HPKEPrivateKey.decode(Secret(drawn(custodian(index), PRIVATE_KEY_BYTES)))
        own, release = contexts(vector, index)
        party = {
            "custodian": custodian(index),
            "private_key": private.encode().reveal().hex(),
            "public_key_sha256": hashlib.sha256(private.public_key().encode()).hexdigest(),
            "share": share.reveal().hex(),
            "info": own.info().hex(),
            "release_info": release.info().hex(),
            "sealed_share": seal_share(share, private.public_key(), own).hex(),
            "released_share": reseal_share(share, recipient, release).hex(),
        }
        vector["custodians"].append(party)
    return vector


def load() -> dict[str, Any]:
    """Return the stored vector."""
    return json.loads(PATH.read_text())


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
