"""The model card as a document of its own: what its JSON holds, field by field. Normative text: docs/spec/model-card.md.

Rules this module keeps: everything the page says in figures stands here, so the page is made from this alone; a figure
that noise hides is ``null`` and keeps its interval; a part that the plan did not measure is ``null`` as a whole.
"""

from __future__ import annotations

import json
from typing import Literal

from pydantic import ValidationError

from protocol.documents.base import Value, describe
from protocol.documents.catalogue import Sensitivity, Transform
from protocol.documents.plan import ReleaseFunction
from protocol.errors import MalformedDocument
from protocol.ids import Digest, Name, PartyId

FORMAT = "custodes/model-card/v1"


class Estimate(Value):
    """An estimate with its 95 % interval, sampling and noise included."""

    value: float | None
    """None: the noise hides it."""
    low: float
    high: float | None
    """None: without an upper bound."""


# --- data -----------------------------------------------------------------------------------------------------------


class Borough(Value):
    """A borough and its published number of people."""

    borough: PartyId
    people: int


class FeatureCard(Value):
    """One feature, as the signed catalogue describes it."""

    name: Name
    definition: str
    unit: str
    transform: Transform
    missing: float | None
    direction: Literal[-1, 0, 1]
    reason: str
    legal_note: str
    sensitivity: Sensitivity
    categories: tuple[Name, ...]
    """Heads that use it."""


class ProtectedCard(Value):
    """A protected attribute: never a feature."""

    name: Name
    title: str
    groups: tuple[str, ...]


class DataCard(Value):
    """Which rows of whom were read, and through which catalogue."""

    train_from: int
    train_until: int
    evaluation_cutoff: int
    rows_per_person: int
    people: int
    """Published establishment of all boroughs together; never counted from records."""
    boroughs: tuple[Borough, ...]
    catalogue: PartyId
    catalogue_version: int
    catalogue_digest: Digest
    features: tuple[FeatureCard, ...]
    protected: tuple[ProtectedCard, ...]


# --- guarantee ------------------------------------------------------------------------------------------------------


class StatementCard(Value):
    """What one adversary can learn about one person from the whole plan."""

    adversary: str
    meaning: str
    epsilon: float
    delta: float
    mu: float
    right_guesses: float
    """Largest share of right guesses whether one person's rows were used, where guessing blindly gives one half."""


class ShareCard(Value):
    """A release's part of the plan's mu**2."""

    function: ReleaseFunction
    title: str
    share: float


class ReleaseCard(Value):
    """One published sum."""

    index: int
    function: ReleaseFunction
    numbers: int
    """How many numbers the sum has."""
    sigma: float
    """Realised sd of the noise in each of them, in units of one person's largest contribution."""
    boroughs: int
    """How many boroughs are in the sum."""


class BudgetCard(Value):
    """The purpose's account of 365 days, on the day on which the plan was approved, this plan included."""

    purpose: Name
    budget: float
    spent: float
    this_plan: float
    plans: int


class GuaranteeCard(Value):
    """What differential privacy says here, and of what."""

    epsilon: float
    delta: float
    unit: str
    adjacency: str
    min_boroughs: int
    colluding: int
    spares: int
    burnt: int
    statements: tuple[StatementCard, ...]
    shares: tuple[ShareCard, ...]
    releases: tuple[ReleaseCard, ...]
    budget: BudgetCard
    second_moment_of: Digest | None


# --- model ----------------------------------------------------------------------------------------------------------


class WeightCard(Value):
    """A row of a scorecard; fields as in ``protocol.scorecard.table``."""

    feature: Name
    definition: str
    unit: str
    weight: float
    points_per_unit: float
    points_are_for: str
    counts_from: float
    counts_until: float
    mean: float
    mean_value: float
    direction: str
    reason: str


class CurveCard(Value):
    """What flagging everybody at or above a score would give."""

    score: float
    false_positive_rate: Estimate
    recall: Estimate
    precision: Estimate


class CalibrationCard(Value):
    """The observed rate among people with scores in a range, beside what the scores say."""

    low: float
    high: float
    people: float
    """Noised count."""
    predicted: float
    recalibrated: float | None
    observed: Estimate


class RecalibrationCard(Value):
    """The fit that turns scores into probabilities, without an interval; a calibrated model has intercept 0 and slope 1."""

    intercept: float
    slope: float


class HeadCard(Value):
    """One category: how well it tells people apart, where its threshold lies, and its whole scorecard."""

    category: Name
    title: str
    label: Name
    eligible: Name | None
    prior: float
    """Public starting probability."""
    auc: Estimate
    average_precision: Estimate
    curve: tuple[CurveCard, ...]
    """From the lowest score to the highest."""
    calibration: tuple[CalibrationCard, ...]
    recalibration: RecalibrationCard | None
    noise_people: float
    """sd of the noise in each cell of the evaluation, in people."""
    threshold: float
    capacity: int
    """How many flags the force can review; the threshold was set for it."""
    people_above: Estimate
    """How many of the evaluation's people lie above the threshold."""
    intercept: float
    mean_score: float
    """The score of somebody whose every feature is the force's mean."""
    weights: tuple[WeightCard, ...]
    """Largest first."""


# --- stability ------------------------------------------------------------------------------------------------------


class ReliabilityCard(Value):
    """One band of predicted stability, and what reruns did."""

    band: Literal["high", "medium", "low"]
    predicted: float
    """Mean predicted probability of being flagged again."""
    seen: float
    """Share of reruns that flagged again."""
    people: float
    """Flagged people in the band, a mean over runs."""


class HeadStabilityCard(Value):
    """How far predicted and seen stability of a category lie apart."""

    category: Name
    error: float
    """Mean distance over flagged people; 1 if the noise leaves nothing to go by."""
    shown: bool
    """Whether headers may show bands of stability."""
    rows: tuple[ReliabilityCard, ...]
    """Bands that have people, highest first."""


class StabilityCard(Value):
    """What bands of stability promise, held against reruns on people invented from the published sums."""

    largest_error: float
    """A category that is further off shows no bands."""
    heads: tuple[HeadStabilityCard, ...]


# --- fairness, drift, outcomes --------------------------------------------------------------------------------------


class ObservedCard(Value):
    """The share with the label among a group's people of one score bin."""

    low: float | None
    """None: from the lowest score."""
    high: float | None
    """None: to the highest. The bin without an upper end is that of the flagged."""
    rate: Estimate | None
    """None: suppressed."""


class GroupCard(Value):
    """One group's figures at the threshold; None: suppressed, because they rest on too few people."""

    group: str
    selection_rate: Estimate | None
    true_positive_rate: Estimate | None
    false_positive_rate: Estimate | None
    observed: tuple[ObservedCard, ...]
    """Calibration, from the lowest scores to the flagged."""


class GateCard(Value):
    """What the plan asks of the selection rates of an attribute's groups, and what came of it."""

    minimum: float
    when_hidden: Literal["allow", "refuse"]
    outcome: Literal["passed", "missed", "hidden"]
    needs_waiver: bool


class AttributeCard(Value):
    """All groups of a protected attribute under one head."""

    category: Name
    attribute: Name
    title: str
    ratio: Estimate | None
    """Lowest over highest selection rate of the groups that are shown; None: fewer than two are."""
    gate: GateCard | None
    groups: tuple[GroupCard, ...]


class MitigationCard(Value):
    """How far the mean scores of an attribute's groups were brought together."""

    attribute: Name
    title: str
    strength: float


class FairnessCard(Value):
    """What was measured by protected group, and what was done about it."""

    min_cell: float
    """Figures that rest on fewer people, noised, are suppressed."""
    mitigations: tuple[MitigationCard, ...]
    passed: int
    missed: int
    hidden: int
    """Gates by outcome, over all categories."""
    attributes: tuple[AttributeCard, ...]


class FeatureDriftCard(Value):
    """How far one feature moved."""

    feature: Name
    definition: str
    index: Estimate
    """Population stability index."""


class DriftCard(Value):
    """How far the features moved since an earlier plan."""

    against: Digest | None
    """The plan that is compared with; None: the log has none that can be."""
    features: tuple[FeatureDriftCard, ...]


class OutcomeCard(Value):
    """What human review found in one category."""

    category: Name
    precision: Estimate
    """Share of the reviewed flags that were substantiated."""
    missed_rate: Estimate
    """Share of the people without a flag whom a review would substantiate, from the control sample."""
    flags_reviewed: float
    """Noised count."""
    controls_reviewed: float
    """Noised count."""


class OutcomesCard(Value):
    """What became of an earlier policy's flags, and what they missed."""

    policy: Digest
    heads: tuple[OutcomeCard, ...]


# --- use and proof --------------------------------------------------------------------------------------------------


class RuleCard(Value):
    """When a score becomes a flag."""

    category: Name
    threshold: float
    cap_per_borough: int
    stability_error: float
    """How far predicted stability was off when the policy was signed."""
    minimum_band: Literal["medium", "high"] | None
    """A flag in a lower band is not raised; None: stability decides nothing."""


class WaiverCard(Value):
    """Why a category may be flagged although a gate of the plan was missed or hidden."""

    category: Name
    attribute: Name
    reason: str


class PolicyCard(Value):
    """A quorum's leave to raise flags with this model."""

    digest: Digest
    scoring_cutoff: int
    valid_from: str
    valid_until: str
    rules: tuple[RuleCard, ...]
    min_population: int
    max_reasons: int
    retention_days: int
    control_rate: float
    waivers: tuple[WaiverCard, ...]


class EntryCard(Value):
    """A log entry that the card rests on."""

    index: int
    kind: Name
    day: str
    document: Digest
    """The signed document's digest."""
    entry: Digest
    """The 32 bytes that stand in the tree at this index."""
    signers: tuple[str, ...]


class ProofCard(Value):
    """Where everything above can be looked up."""

    origin: str
    genesis: Digest
    size: int
    root: Digest
    entries: tuple[EntryCard, ...]
    command: str


class ModelCard(Value):
    """All that is said about one model; a function of the public log alone."""

    format: Literal["custodes/model-card/v1"]
    force: PartyId
    purpose: Name
    model: Digest
    plan: Digest
    approved_on: str
    closed: bool
    """Whether the unmasker has destroyed the plan's key."""
    data: DataCard
    guarantee: GuaranteeCard
    not_covered: tuple[str, ...]
    heads: tuple[HeadCard, ...]
    stability: StabilityCard
    fairness: FairnessCard | None
    drift: DriftCard | None
    outcomes: OutcomesCard | None
    policies: tuple[PolicyCard, ...]
    flags_raised: int
    """Flags of this plan in the log so far; public, and without noise."""
    not_measured: tuple[str, ...]
    limits: tuple[str, ...]
    proof: ProofCard

    def encode(self) -> str:
        """Return the card's JSON file: the same card is the same text."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def decode(cls, text: str) -> ModelCard:
        """Return the card of a JSON file. Raises: MalformedDocument naming the first wrong field."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise MalformedDocument(f"model card: {describe(error)}") from None
