"""A person's pseudonym: stable within one borough and one plan, unlinkable across either, invertible by nobody else.

Rules this module keeps: a pseudonym is keyed, never a bare hash, because staff numbers have few digits and a table of
all of them takes a second; the key is 256 bits from the operating system, one for each borough and plan, and never
leaves the borough; borough and plan are bound as well, so that a key used twice by mistake still links nothing.

Source: HMAC, RFC 2104 and FIPS 198-1; EDPB Guidelines 01/2025 on pseudonymisation.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final, Self

from protocol.errors import ConfigurationError
from protocol.ids import Digest, PartyId
from protocol.sealing.framing import frame, text_field
from protocol.sealing.secret import Secret

PSEUDONYM_TAG: Final = b"custodes/pseudonym/v1"
PSEUDONYM_KEY_BYTES: Final = 32


class PseudonymKey(Secret):
    """The key of one borough for one plan; destroying it makes the pseudonyms of that plan permanent strangers."""

    __slots__ = ()

    def __init__(self, content: bytes) -> None:
        """Take a stored key.

        Raises: ConfigurationError if it does not have 32 bytes: the key file is ours.
        """
        if len(content) != PSEUDONYM_KEY_BYTES:
            raise ConfigurationError(f"a pseudonym key has {PSEUDONYM_KEY_BYTES} bytes, this one {len(content)}")
        super().__init__(content)

    @classmethod
    def generate(cls) -> Self:
        """Return a fresh key from the operating system's cryptographic source."""
        return cls(secrets.token_bytes(PSEUDONYM_KEY_BYTES))


def pseudonym(key: PseudonymKey, *, borough: PartyId, plan_digest: Digest, person: str) -> str:
    """Return the person's pseudonym in this borough and plan: 64 lower-case hex digits.

    Args:
        person: The borough's own identifier exactly as its table has it; it is not trimmed, folded or normalised, so
            two spellings are two people. Whoever reads the table decides on one spelling.
    Source: HMAC-SHA256 over ``frame(tag, borough, plan digest, person)``.
    """
    message = frame(PSEUDONYM_TAG, text_field(borough), text_field(plan_digest), text_field(person))
    return hmac.digest(key.reveal(), message, "sha256").hex()
