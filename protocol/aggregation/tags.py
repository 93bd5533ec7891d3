"""Tags: three random linear checks that travel inside the masked vector.

Boroughs append ``<r_k, x>``, k = 1, 2, 3, modulo 2**64 to their vector x before masking; the sum of tags is the tag of
the sum. The unmasker commits to a mask sum before r is public, so what goes wrong there is chosen without r.

**What passes unseen.** Let e be what is added to the sum (a wrong mask sum, a vector changed or left out) and f_k what
is added to its tags, (e, f) not all zero and independent of r. Tag k passes if <r_k, e> = f_k.

- e = 0: no tag passes unless its f_k = 0.
- Else let 2**v be the largest power of two that divides every entry of e, 0 <= v <= 63. Some entry is 2**v times an odd
  number, so for uniform r_k the product <r_k, e> is uniform on the 2**(64 - v) multiples of 2**v. It equals f_k with
  chance 2**(v - 64), or 0 if 2**v does not divide f_k. The r_k are independent: three tags pass with chance at most

      2**(-3 (64 - v)).

The tags alone stop little at v = 63: an error of 2**63 passes once in 8. What bounds v is the range check, as the sum
that ought to be there and the one that is there must both lie within its bound B. Every entry of e is then a difference
of two such numbers, at most 2 B in magnitude as a signed integer; one of them is not zero and divisible by 2**v, so

      2**v <= 2 B.

``encoding.check_capacity`` refuses a plan with B >= 2**40. Then v <= 40, and a wrong sum is published with chance at
most 2**-72. Plans with a smaller B do better: B = 2**37 gives 2**-78.

- r is not uniform but AES-256-CTR under a seed that only boroughs and the coordinator hold. That adds the advantage
  against AES, and its blocks never repeat: below 2**-87 for three tags of 10**6 entries (2**20.6 blocks; half of its
  square over 2**128).
- Should the sum that ought to be there lie outside B, the release fails in any case unless e brings it back within.
  Whoever could arrange that is a borough that lies beyond B together with the unmasker; what they reach is a sum within
  B that the borough could have reached by a lie alone. Likewise a borough that gives the seed to the unmasker.
"""

from __future__ import annotations

import secrets

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.aggregation.encoding import UInt64Array
from protocol.aggregation.masks import CHUNK_ENTRIES, keystream_chunks
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


def tags_of(values: UInt64Array, seed: Digest) -> UInt64Array:
    """Return the tags ``<r_k, values>`` modulo 2**64, shape (3,), in one pass over the values.

    r is one keystream under a key of its own, its three rows one after the other.

    Args:
        values: Shape (length,), uint64.
    """
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=TAG_INFO).derive(bytes.fromhex(seed))
    rows = [keystream_chunks(key, values.size, start=row * values.size) for row in range(TAGS)]
    totals = [0] * TAGS
    for number, chunks in enumerate(zip(*rows, strict=True)):
        part = values[number * CHUNK_ENTRIES : (number + 1) * CHUNK_ENTRIES]
        for row, coefficients in enumerate(chunks):
            totals[row] += int(np.dot(coefficients, part))  # of uint64: modulo 2**64
    return np.array([total % 2**64 for total in totals], dtype=np.uint64)


def with_tags(values: UInt64Array, seed: Digest) -> UInt64Array:
    """Return a new vector: ``values`` followed by their three tags."""
    tagged = np.empty(values.size + TAGS, dtype=np.uint64)
    tagged[:-TAGS] = values
    tagged[-TAGS:] = tags_of(values, seed)
    return tagged


def without_tags(tagged: UInt64Array, seed: Digest) -> UInt64Array:
    """Return a view of the values of a tagged vector or of a sum of tagged vectors.

    Raises: SumInvalid if a tag does not match.
    """
    values = tagged[:-TAGS]
    if not np.array_equal(tags_of(values, seed), tagged[-TAGS:]):
        raise SumInvalid("the tags of the sum do not match: a vector or a mask sum is wrong")
    return values
