"""The training plan: everything about one run that matters to privacy, fixed before the custodians sign it.

Privacy parameters have no defaults. Sensitivities and sigmas are in units of the clip; ``protocol.aggregation.planning``
computes them and everybody recomputes them before acting.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from protocol.documents.arrays import Array
from protocol.documents.base import Document, Instant, Value
from protocol.ids import Digest, HexKey, Name, PartyId, RandomId

ReleaseFunction = Literal["second_moment", "gradient", "group_moments", "evaluation", "fairness", "drift", "outcomes"]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Establishment(Value):
    """A borough and its published number of people: a constant of the plan, never counted from records."""

    borough: PartyId
    people: int = Field(ge=1)


class Shares(Value):
    """How the mu**2 of the plan's releases is divided; spares come on top, see ``Privacy.spares``.

    A share of 0 means that the plan has no such release.
    """

    second_moment: NotNegative
    """0 if an earlier plan's second moment is used again."""
    gradients: Positive
    group_moments: NotNegative
    """What the mitigation of group differences needs."""
    evaluation: Positive
    fairness: NotNegative
    drift: NotNegative
    outcomes: NotNegative

    @model_validator(mode="after")
    def _sum_is_one(self) -> Self:
        if abs(math.fsum(value for _, value in self) - 1) > 1e-9:
            raise ValueError("the shares must sum to 1")
        return self


class Privacy(Value):
    """The guarantee of the **whole** plan: every head, every release."""

    epsilon: Positive
    delta: float = Field(gt=0, lt=1)
    unit: Literal["one person in one plan"]
    adjacency: Literal["add or remove one person's rows"]
    shares: Shares
    rows_per_person: int = Field(ge=1)
    """m, the most training rows that one person can have."""
    min_boroughs: int = Field(ge=2)
    colluding: int = Field(ge=1)
    """How many boroughs may reveal their own noise before the guarantee weakens."""
    spares: int = Field(ge=0, le=8)
    """Burnt indices that may be repeated. Each is budgeted as one more of the plan's costliest release."""


class PrivacyStatement(Value):
    """What one adversary can learn about one person from the whole plan."""

    adversary: str
    epsilon: float = Field(ge=0)
    delta: float = Field(gt=0, lt=1)
    mu: float = Field(gt=0)


class Descent(Value):
    """Whitened Nesterov descent; see docs/spec/training.md."""

    steps: int = Field(ge=1, le=100)
    learning_rate: Positive
    momentum: float = Field(ge=0, lt=1)
    row_norm: Positive
    ridge_factor: Positive
    clip_factor: Positive


class Histogram(Value):
    """Evaluation bins of the standardised score."""

    bins: int = Field(ge=4, le=400)
    low: float
    high: float

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Mitigation(Value):
    """How far the final weights are moved so that the groups of an attribute have the same mean score.

    The attribute itself is never read when people are scored; see docs/spec/training.md.
    """

    attribute: Name
    strength: float = Field(gt=0, le=1)


class FairnessGate(Value):
    """The lowest group's share of flagged people must be at least so many times the highest group's.

    A policy that misses it needs a waiver with a reason, which the quorum signs with the policy.
    """

    attribute: Name
    minimum: float = Field(gt=0, le=1)
    when_hidden: Literal["allow", "refuse"]
    """What follows if noise hides the ratio: nothing, or the same as a miss."""


class Fairness(Value):
    """What the plan measures by protected group, and what it does about it."""

    attributes: Annotated[tuple[Name, ...], Field(min_length=1)]
    bins: int = Field(ge=2, le=20)
    """Score bins per group and label; the last one is the flagged."""
    min_cell: NotNegative
    """Figures that rest on a noised count of fewer people are suppressed."""
    mitigations: tuple[Mitigation, ...]
    gates: tuple[FairnessGate, ...]

    @model_validator(mode="after")
    def _attributes_are_measured(self) -> Self:
        mitigated, gated = [one.attribute for one in self.mitigations], [one.attribute for one in self.gates]
        for names in (list(self.attributes), mitigated, gated):
            if len(set(names)) != len(names):
                raise ValueError("an attribute stands twice")
        if strangers := sorted((set(mitigated) | set(gated)) - set(self.attributes)):
            raise ValueError(f"{strangers[0]} has a mitigation or gate and is not measured")
        return self


class ReleaseSpec(Value):
    """One release that the plan allows, and what it costs."""

    index: int = Field(ge=0)
    function: ReleaseFunction
    length: int = Field(ge=1)
    l2: Positive
    """Largest L2 norm of one person's contribution, in units of the clip."""
    sigma: Positive
    """Noise of the sum over min_boroughs - colluding boroughs, in units of the clip."""


class Capacity(Value):
    """How many flags of a category the force can review."""

    category: Name
    flags: int = Field(ge=1)


class TrainingPlan(Document):
    """One approved run."""

    payload_type: ClassVar[str] = "application/vnd.custodes.training-plan.v1+json"

    plan_id: RandomId
    purpose: Name
    roster: Digest
    catalogue: Digest
    categories: Annotated[tuple[Name, ...], Field(min_length=1)]
    boroughs: Annotated[tuple[Establishment, ...], Field(min_length=2)]
    train_from: int
    train_until: int
    """Last training cutoff, inclusive."""
    evaluation_cutoff: int
    privacy: Privacy
    statements: tuple[PrivacyStatement, ...]
    second_moment_of: Digest | None
    """An earlier plan's release of the second moment, used again; None: the plan releases its own."""
    outcomes_of: Digest | None
    """The policy whose reviewed flags and control sample the plan counts; None: it counts none."""
    descent: Descent
    histogram: Histogram
    fairness: Fairness | None
    capacities: tuple[Capacity, ...]
    scale: int = Field(ge=2**10, le=2**40)
    releases: Annotated[tuple[ReleaseSpec, ...], Field(min_length=1)]
    unmasker_key: Annotated[HexKey, Field(min_length=64, max_length=64)]
    """X25519 key that the unmasker made for this plan alone."""
    reply_slot_seconds: Positive
    """A node answers at a multiple of this after it was asked, never when the work happens to be done."""
    deadline_seconds: Positive
    valid_from: Instant
    valid_until: Instant

    @property
    def people(self) -> int:
        """The published establishment of all boroughs together."""
        return sum(entry.people for entry in self.boroughs)

    @cached_property
    def members(self) -> frozenset[PartyId]:
        """The boroughs of the plan."""
        return frozenset(entry.borough for entry in self.boroughs)

    def borough_ids(self) -> tuple[PartyId, ...]:
        """Return the boroughs of the plan, in plan order."""
        return tuple(entry.borough for entry in self.boroughs)


class ReleaseRequest(Document):
    """What every borough is asked for one index: computed once, stored, resent unchanged."""

    payload_type: ClassVar[str] = "application/vnd.custodes.release-request.v1+json"

    roster: Digest
    plan: Digest
    index: int = Field(ge=0)
    """Counts what was asked, burnt indices included: the release is the first of the plan that is not published."""
    function: ReleaseFunction
    length: int = Field(ge=1)
    inputs: dict[str, Array]
    """Public inputs of the vector function; see protocol.scorecard.descent."""
    tag_commitment: Digest
    """SHA-256 of the tag seed, which boroughs get beside the request and the unmasker does not."""


class Statement(Document):
    """What a borough signs about its masked vector; the unmasker sees this and never the vector."""

    payload_type: ClassVar[str] = "application/vnd.custodes.statement.v1+json"

    borough: PartyId
    plan: Digest
    index: int = Field(ge=0)
    request: Digest
    public_key: Annotated[HexKey, Field(min_length=64, max_length=64)]
    """Fresh X25519 key of this release."""
    vector: Digest
    """SHA-256 of the masked vector's bytes."""
    ledger_head: Digest
    ledger_length: int = Field(ge=1)
    ledger_rows: Annotated[tuple[Digest, ...], Field(max_length=1024)]
    """SHA-256 of each row since a length that the log anchors; readers follow the chain from there to the head. Bounded:
    every statement stands in the log for ever, and all of an index go to the unmasker in one message."""


class Receipt(Document):
    """The unmasker's durable word on what it is about to unmask."""

    payload_type: ClassVar[str] = "application/vnd.custodes.receipt.v1+json"

    plan: Digest
    index: int = Field(ge=0)
    request: Digest
    statements: tuple[str, ...]
    """The signed statements (DSSE envelopes, canonical JSON), ordered by borough."""
    mask_sum: Digest
    """SHA-256 of the mask sum's bytes."""


class Release(Document):
    """A published private sum."""

    payload_type: ClassVar[str] = "application/vnd.custodes.release.v1+json"

    request: ReleaseRequest
    tag_seed: Digest
    receipt: Digest
    boroughs: tuple[PartyId, ...]
    sums: Array
    """Noised sums in ring units, int64, shape (length,)."""


class Burn(Document):
    """The coordinator's word that the sum of an index failed its checks: charged, and never published."""

    payload_type: ClassVar[str] = "application/vnd.custodes.burn.v1+json"

    plan: Digest
    index: int = Field(ge=0)
    receipt: Digest
    """The unmasker's receipt for the index."""


class Closure(Document):
    """The unmasker's word that the plan's key is destroyed."""

    payload_type: ClassVar[str] = "application/vnd.custodes.closure.v1+json"

    plan: Digest
    unmasker_key: HexKey
    closed_at: Instant
