"""Tags: three random linear checks that travel inside the masked vector.

Boroughs append ``<r_k, x>`` to x before masking; the sum of tags is the tag of the sum. The unmasker does not know r
until the release is published, so a wrong mask sum passes one tag with chance 2**(v - 64), where 2**v is the largest
power of two dividing the error. Errors with v beyond the honest range fail the range check; with v below 40, as here,
three tags leave at most 2**-72.
"""

from __future__ import annotations

import secrets

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.aggregation.encoding import UInt64Array
from protocol.aggregation.masks import keystream
from protocol.errors import DigestMismatch, SumInvalid
from protocol.ids import Digest, digest_of

TAGS = 3
TAG_INFO = b"custodes/tag/v1"
SEED_TAG = b"custodes/tag-seed/v1\x00"


def new_seed() -> Digest:
    """Return 32 fresh random bytes in hex."""
    return secrets.token_hex(32)


def commit(seed: Digest) -> Digest:
    """Return the commitment to a seed that the request carries."""
    return digest_of(SEED_TAG + bytes.fromhex(seed))


def check_seed(seed: Digest, commitment: Digest) -> None:
    """Return if ``seed`` is the committed one. Raises: DigestMismatch."""
    if commit(seed) != commitment:
        raise DigestMismatch("the tag seed is not the one that the request commits to")


def _coefficients(seed: Digest, length: int) -> UInt64Array:
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=TAG_INFO).derive(bytes.fromhex(seed))
    return keystream(key, TAGS * length).reshape(TAGS, length)


def with_tags(values: UInt64Array, seed: Digest) -> UInt64Array:
    """Return ``values`` followed by their three tags."""
    tags = (_coefficients(seed, values.size) * values).sum(axis=1, dtype=np.uint64)
    return np.concatenate([values, tags])


def without_tags(tagged: UInt64Array, seed: Digest) -> UInt64Array:
    """Return the values of a tagged vector or of a sum of tagged vectors.

    Raises: SumInvalid if a tag does not match.
    """
    values = tagged[:-TAGS]
    if not np.array_equal(with_tags(values, seed), tagged):
        raise SumInvalid("the tags of the sum do not match: a vector or a mask sum is wrong")
    return values
