"""Shamir's secret sharing of a 256-bit key, t of n, over the prime field of 2**521 - 1.

A share is the value of a random polynomial of degree t - 1 at x = 1..n, as 66 big-endian bytes; the secret is the value
at 0. Any t shares determine the polynomial; t - 1 are consistent with every secret.

Rules this module keeps: 2 <= t <= n <= 255, always stated by the caller; whoever combines gets all n shares back, so
that a caller who holds commitments can check those that nobody brought; a polynomial of too low a degree is refused,
because fewer people than agreed could have opened it. Integer arithmetic is not constant-time: shares are combined
once, on the recipient's own machine.

Source: Shamir 1979, How to Share a Secret; interpolation by Newton's divided differences.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import EnvelopeInvalid
from protocol.sealing.secret import Secret

PRIME: Final = (1 << 521) - 1
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 66
MIN_THRESHOLD: Final = 2
"""With a threshold of one, every custodian holds the key alone and there is nothing to share."""
MAX_SHARES: Final = 255


@dataclass(frozen=True, slots=True)
class Recovered:
    """What t shares determine: the secret, and every share as an honest dealer would have dealt it, x = 1..n."""

    secret: Secret
    all_shares: tuple[Secret, ...]


def split(secret: Secret, *, threshold: int, shares: int) -> tuple[Secret, ...]:
    """Share ``secret`` so that any ``threshold`` of ``shares`` recover it and fewer learn nothing.

    Args:
        secret: 32 bytes.
        threshold: t, 2 <= t <= shares.
        shares: n, at most 255.
    Returns: The shares at x = 1..n, in order, 66 bytes each.
    Raises: EnvelopeInvalid if the numbers or the length of the secret are out of range.
    Source: Shamir 1979.
    """
    check_quorum(threshold, shares)
    if len(secret) != SECRET_BYTES:
        raise EnvelopeInvalid(f"a shared secret has {SECRET_BYTES} bytes, this one {len(secret)}")
    # Uniform in the whole field, zero included: only then do t - 1 shares say exactly nothing. A leading zero, which
    # `combine` refuses, comes once in 2**521 dealings.
    coefficients = [int.from_bytes(secret.reveal(), "big"), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return tuple(_encode(_horner(coefficients, x)) for x in range(1, shares + 1))


def combine(shares: Mapping[int, Secret], *, threshold: int, count: int) -> Recovered:
    """Recover the secret, and all ``count`` shares, from at least ``threshold`` shares.

    The polynomial is interpolated from the ``threshold`` shares of lowest number; every other given share must lie
    on it.

    Args:
        shares: Share by its x in 1..count.
        threshold: t as the signed header states it.
        count: n as the signed header states it.
    Raises: EnvelopeInvalid for numbers out of range, too few shares, an x outside 1..count, a share of the wrong length
        or outside the field, one share under two numbers, a share off the polynomial, a polynomial of too low a degree,
        or a recovered value that is no 256-bit key.
    Source: Shamir 1979.
    """
    check_quorum(threshold, count)
    if len(shares) < threshold:
        raise EnvelopeInvalid(f"{len(shares)} shares were given and {threshold} are needed")
    if not all(1 <= x <= count for x in shares):
        raise EnvelopeInvalid(f"a share's number is not within 1 to {count}")
    for x, share in shares.items():
        check_share(share, number=x)
    points = sorted((x, _decode(share)) for x, share in shares.items())
    if len({y for _, y in points}) != len(points):
        raise EnvelopeInvalid("one share was given under two numbers")
    xs = [x for x, _ in points[:threshold]]
    differences = _divided_differences(points[:threshold])
    if differences[-1] == 0:
        raise EnvelopeInvalid("fewer custodians than the threshold could have opened this")
    recovered = _newton(differences, xs, 0)
    if recovered >> (8 * SECRET_BYTES):
        raise EnvelopeInvalid("the shares do not combine to a key")
    all_shares = tuple(_encode(_newton(differences, xs, x)) for x in range(1, count + 1))
    for x, share in shares.items():
        if all_shares[x - 1] != share:
            raise EnvelopeInvalid(f"share {x} does not lie on the polynomial of the others")
    return Recovered(secret=Secret(recovered.to_bytes(SECRET_BYTES, "big")), all_shares=all_shares)


def check_quorum(threshold: int, count: int) -> None:
    """Hold ``2 <= threshold <= count <= 255``.

    Raises: EnvelopeInvalid naming both numbers.
    """
    if not MIN_THRESHOLD <= threshold <= count <= MAX_SHARES:
        raise EnvelopeInvalid(f"a threshold of {threshold} among {count} shares is not within 2 <= t <= n <= 255")


def check_share(share: Secret, *, number: int) -> None:
    """Hold that ``share`` is 66 bytes of a field element below the prime.

    Raises: EnvelopeInvalid naming the number of the share.
    """
    if len(share) != SHARE_BYTES:
        raise EnvelopeInvalid(f"share {number} has {len(share)} bytes and not {SHARE_BYTES}")
    if _decode(share) >= PRIME:  # otherwise one field element would have several encodings, and several commitments
        raise EnvelopeInvalid(f"share {number} is not an element of the field")


def _encode(value: int) -> Secret:
    return Secret(value.to_bytes(SHARE_BYTES, "big"))


def _decode(share: Secret) -> int:
    return int.from_bytes(share.reveal(), "big")


def _horner(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % PRIME
    return value


def _divided_differences(points: Sequence[tuple[int, int]]) -> list[int]:
    xs = [x for x, _ in points]
    inverses = {distance: pow(distance, -1, PRIME) for distance in range(1, xs[-1] - xs[0] + 1)}
    differences = [y for _, y in points]
    for order in range(1, len(points)):
        for i in range(len(points) - 1, order - 1, -1):
            rise = differences[i] - differences[i - 1]
            differences[i] = rise * inverses[xs[i] - xs[i - order]] % PRIME
    return differences


def _newton(differences: Sequence[int], xs: Sequence[int], x: int) -> int:
    value = 0
    for difference, known in zip(reversed(differences), reversed(xs), strict=True):
        value = (value * (x - known) + difference) % PRIME
    return value
