"""Flags: the policy that allows them, the header that leaves a borough, and what the borough signs about both."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from protocol.documents.base import Document, Instant, Value
from protocol.ids import Digest, Name, PartyId, RandomId

Band = Literal["high", "medium", "low", "withheld"]


LARGEST_STABILITY_ERROR = 0.05
"""Predictions of stability that are further off than this are not shown."""


class CategoryRule(Value):
    """When a score becomes a flag, and how often at the most."""

    category: Name
    threshold: float
    cap_per_borough: int = Field(ge=0)
    stability_error: float = Field(ge=0, le=1)
    """How far predicted stability is off for this category; see docs/spec/training.md, section 9."""
    minimum_band: Literal["medium", "high"] | None
    """A flag whose stability is in a lower band is not raised; None: stability decides nothing."""

    @property
    def shows_stability(self) -> bool:
        """Whether headers say how stable a flag is."""
        return self.stability_error <= LARGEST_STABILITY_ERROR

    @model_validator(mode="after")
    def _a_band_that_decides_is_reliable(self) -> Self:
        if self.minimum_band is not None and not self.shows_stability:
            raise ValueError("minimum_band: the stability of this category is too far off to decide anything")
        return self


class Waiver(Value):
    """Why flags of a category may be raised although the plan's fairness gate was missed, or could not be judged."""

    category: Name
    attribute: Name
    reason: Annotated[str, Field(min_length=20, max_length=2000)]


class FlagPolicy(Document):
    """The quorum's leave to raise flags with one model. Names the model by digest."""

    payload_type: ClassVar[str] = "application/vnd.custodes.flag-policy.v1+json"

    policy_id: RandomId
    roster: Digest
    plan: Digest
    model: Digest
    scoring_cutoff: int
    rules: Annotated[tuple[CategoryRule, ...], Field(min_length=1)]
    min_population: int = Field(ge=20)
    """Below this many eligible staff in a borough, reason codes and bands are withheld."""
    max_reasons: int = Field(ge=0, le=8)
    retention_days: int = Field(ge=1)
    control_rate: float = Field(ge=0, lt=1)
    """Share of the eligible people without a flag whom a borough draws at random and reviews blind; see
    docs/spec/training.md, outcomes."""
    waivers: tuple[Waiver, ...]
    valid_from: Instant
    valid_until: Instant

    @model_validator(mode="after")
    def _rules_and_times_are_sane(self) -> Self:
        if len({rule.category for rule in self.rules}) != len(self.rules):
            raise ValueError("a category has one rule")
        if len({(waiver.category, waiver.attribute) for waiver in self.waivers}) != len(self.waivers):
            raise ValueError("a category and attribute have one waiver")
        if self.valid_from >= self.valid_until:
            raise ValueError("valid_until must be after valid_from")
        return self


class FlagHeader(Document):
    """All that a flag says in clear. The identity is in the envelope beside it."""

    payload_type: ClassVar[str] = "application/vnd.custodes.flag-header.v1+json"

    flag_id: RandomId
    borough: PartyId
    plan: Digest
    policy: Digest
    model: Digest
    category: Name
    pseudonym: Digest
    """HMAC-SHA256 under the borough's key for this plan."""
    score_band: Band
    stability_band: Band
    reasons: tuple[Name, ...]
    raised_on: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    retain_until: Instant
    roster_version: int = Field(ge=1)
    epoch: int = Field(ge=1)
    threshold: int = Field(ge=2)
    custodians: tuple[PartyId, ...]
    """Who holds share 1, 2, ... n."""
    key_commitment: Digest
    share_commitments: tuple[Digest, ...]

    def line(self) -> str:
        """Return what a list of flags shows of it."""
        reasons = ", ".join(self.reasons) or "withheld"
        return f"{self.flag_id} {self.category} score {self.score_band}, stability {self.stability_band}: {reasons}"


class SealedFlag(Document):
    """What the borough signs: the header and the digests of the sealed parts, which travel beside it.

    HPKE base mode authenticates no sender; this signature does.
    """

    payload_type: ClassVar[str] = "application/vnd.custodes.sealed-flag.v1+json"

    header: FlagHeader
    ciphertext: Digest
    sealed_shares: tuple[Digest, ...]

    @model_validator(mode="after")
    def _lists_agree(self) -> Self:
        sizes = {len(self.sealed_shares), len(self.header.custodians), len(self.header.share_commitments)}
        if len(sizes) != 1 or self.header.threshold > len(self.sealed_shares):
            raise ValueError("custodians, commitments and shares differ in number or miss the threshold")
        return self
