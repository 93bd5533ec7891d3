"""Drafts of plans and policies: the coordinator's team fills in choices, everything that follows from them is computed."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from protocol.aggregation import planning
from protocol.documents.base import Value, describe
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.flags import CategoryRule, FlagPolicy, Waiver
from protocol.documents.plan import (
    Capacity,
    Descent,
    Establishment,
    Fairness,
    Histogram,
    Privacy,
    Shares,
    TrainingPlan,
)
from protocol.documents.roster import Roster
from protocol.errors import ConfigurationError, StateError
from protocol.history.public import PlanRecord
from protocol.ids import Digest, HexKey, Name, PartyId, RandomId, random_id
from protocol.scorecard.capacity import thresholds
from protocol.scorecard.columns import columns_of
from protocol.scorecard.gates import check_waivers
from protocol.scorecard.reliability import reliability

ANY = "any"
"""Stands for every category without a capacity of its own, and for every protected attribute of the catalogue."""


class PlanChoices(Value):
    """What a person decides about a plan; a TOML file such as those in ``deploy/samples``."""

    purpose: Name
    epsilon: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    shares: Shares
    min_boroughs_share: float = Field(gt=0, le=1)
    """Share of the boroughs that must answer; noise grows by its inverse root, so ask for nearly all."""
    colluding: int = Field(ge=1)
    spares: int = Field(ge=0, le=8)
    """Burnt releases that may be repeated; each is budgeted as one more of the costliest release."""
    descent: Descent
    histogram: Histogram
    fairness: Fairness | None
    capacity_share: dict[Name, float]
    """Flags the force can review, as a share of its people, by category; ``any`` for categories not named."""
    minimum_band: dict[Name, Literal["medium", "high"]]
    """Flags of a category that are less stable are not raised; ``any`` for categories not named; absent: all are."""
    cap_factor: float = Field(ge=1)
    """A borough's cap is its share of the capacity times this."""
    scale_bits: int = Field(ge=10, le=40)
    reply_slot_seconds: float = Field(gt=0)
    deadline_seconds: float = Field(gt=0)
    validity_days: int = Field(ge=1)
    min_population: int = Field(ge=20)
    max_reasons: int = Field(ge=0, le=8)
    retention_days: int = Field(ge=1)
    control_rate: float = Field(ge=0, lt=1)
    """Share of people without a flag whom a borough draws at random and reviews blind."""

    @classmethod
    def load(cls, path: Path) -> PlanChoices:
        """Return the choices of a TOML file. Raises: ConfigurationError naming the file and the field."""
        try:
            return cls.model_validate_json(json.dumps({"fairness": None, **tomllib.loads(path.read_text())}))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path}: {error}") from None
        except ValidationError as error:
            raise ConfigurationError(f"{path}: {describe(error)}") from None

    def capacity(self, category: Name, people: int) -> int:
        """Return how many flags of a category the whole force can review."""
        share = self.capacity_share.get(category, self.capacity_share.get(ANY))
        if share is None:
            raise ConfigurationError(f"field capacity_share: neither {category} nor {ANY} is given")
        return max(1, round(share * people))


def draft_plan(
    choices: PlanChoices,
    *,
    plan_id: RandomId,
    roster: Roster,
    catalogue: FeatureCatalogue,
    establishment: Mapping[PartyId, int],
    train_from: int,
    train_until: int,
    evaluation_cutoff: int,
    unmasker_key: HexKey,
    now: datetime,
    second_moment_of: Digest | None = None,
    outcomes_of: Digest | None = None,
) -> TrainingPlan:
    """Return a plan with calibrated noise and the statements that follow from it.

    Args:
        establishment: Published number of people by borough.
        second_moment_of: An earlier plan's release that is used again; the choices then give it no share.
        outcomes_of: The policy whose outcomes are counted; the choices then give outcomes a share.
    Raises: ConfigurationError, PlanInvalid naming the field.
    """
    privacy = Privacy(
        epsilon=choices.epsilon,
        delta=choices.delta,
        unit="one person in one plan",
        adjacency="add or remove one person's rows",
        shares=choices.shares,
        rows_per_person=train_until - train_from + 1,
        min_boroughs=max(choices.colluding + 1, math.ceil(choices.min_boroughs_share * len(establishment))),
        colluding=choices.colluding,
        spares=choices.spares,
    )
    people = sum(establishment.values())
    fields = {
        "plan_id": plan_id,
        "purpose": choices.purpose,
        "roster": roster.digest(),
        "catalogue": catalogue.digest(),
        "categories": tuple(head.category for head in catalogue.heads),
        "boroughs": tuple(Establishment(borough=name, people=size) for name, size in sorted(establishment.items())),
        "train_from": train_from,
        "train_until": train_until,
        "evaluation_cutoff": evaluation_cutoff,
        "privacy": privacy,
        "descent": choices.descent,
        "histogram": choices.histogram,
        "fairness": _fairness(choices.fairness, catalogue),
        "second_moment_of": second_moment_of,
        "outcomes_of": outcomes_of,
        "capacities": tuple(
            Capacity(category=head.category, flags=choices.capacity(head.category, people)) for head in catalogue.heads
        ),
        "scale": 2**choices.scale_bits,
        "unmasker_key": unmasker_key,
        "reply_slot_seconds": choices.reply_slot_seconds,
        "deadline_seconds": choices.deadline_seconds,
        "valid_from": now,
        "valid_until": now + timedelta(days=choices.validity_days),
    }
    unpriced = TrainingPlan.model_construct(**fields)
    planning.check_parts(unpriced)
    columns = columns_of(unpriced, catalogue)
    releases = planning.schedule(
        privacy=privacy,
        descent=choices.descent,
        columns=columns,
        scale=2**choices.scale_bits,
    )
    plan = TrainingPlan(
        **fields,
        releases=releases,
        statements=planning.statements(
            releases, privacy=privacy, scale=2**choices.scale_bits, boroughs=len(establishment)
        ),
    )
    planning.check_plan(plan, catalogue)
    return plan


def second_moment(record: PlanRecord) -> Digest:
    """Return the digest of the release whose second moment a plan goes by: its own, or the one that it used again.

    Raises: StateError while its own is not published.
    """
    if record.plan.second_moment_of is not None:
        return record.plan.second_moment_of
    if not record.releases:
        raise StateError("the earlier plan's second moment is not published")
    return record.releases[0].digest()


def _fairness(chosen: Fairness | None, catalogue: FeatureCatalogue) -> Fairness | None:
    """Return what is measured by group, where ``any`` stands for every protected attribute of the catalogue."""
    if chosen is None:
        return None
    every = catalogue.protected_names()
    if not every:
        raise ConfigurationError("section fairness: the catalogue has no protected attribute; leave the section out")
    gates = tuple(
        gate.model_copy(update={"attribute": name})
        for gate in chosen.gates
        for name in (every if gate.attribute == ANY else (gate.attribute,))
    )
    return Fairness(
        **dict(chosen) | {"attributes": every if chosen.attributes == (ANY,) else chosen.attributes, "gates": gates}
    )


def draft_policy(
    choices: PlanChoices,
    *,
    record: PlanRecord,
    roster: Roster,
    now: datetime,
    waivers: tuple[Waiver, ...] = (),
    without: tuple[Name, ...] = (),
) -> FlagPolicy:
    """Return a policy for a finished plan: its model, and the thresholds that its evaluation release implies.

    Args:
        waivers: Reasons for the categories and attributes whose fairness gate needs one.
        without: Categories that are not flagged.
    Raises: FairnessGateMissed naming every gate that needs a waiver and has none; WaiverUnfounded; ConfigurationError if
        ``without`` names no category of the plan, or all, or if a band is demanded of a category whose stability is not
        shown.
    """
    if strangers := sorted(set(without) - set(record.plan.categories)):
        raise ConfigurationError(f"{strangers[0]} is not a category of the plan")
    if not set(record.plan.categories) - set(without):
        raise ConfigurationError("a policy needs a category to flag")
    capacities = {capacity.category: capacity.flags for capacity in record.plan.capacities}
    boroughs = len(record.plan.boroughs)
    known = {head.category: head for head in reliability(record.run) if head.category not in without}
    bands = {category: choices.minimum_band.get(category, choices.minimum_band.get(ANY)) for category in known}
    if hidden := [category for category, head in known.items() if bands[category] is not None and not head.shown]:
        raise ConfigurationError(
            f"field minimum_band: {hidden[0]} demands a band, and its stability is off by {known[hidden[0]].error:.2f}"
        )
    policy = FlagPolicy(
        policy_id=random_id(),
        roster=roster.digest(),
        plan=record.plan.digest(),
        model=record.model().digest(),
        scoring_cutoff=record.plan.evaluation_cutoff,
        rules=tuple(
            CategoryRule(
                category=category,
                threshold=threshold,
                cap_per_borough=math.ceil(choices.cap_factor * capacities[category] / boroughs),
                stability_error=known[category].error,
                minimum_band=bands[category],
            )
            for category, threshold in thresholds(record.run).items()
            if category not in without
        ),
        min_population=choices.min_population,
        max_reasons=choices.max_reasons,
        retention_days=choices.retention_days,
        control_rate=choices.control_rate,
        waivers=waivers,
        valid_from=now,
        valid_until=now + timedelta(days=choices.validity_days),
    )
    check_waivers(record.run, policy)
    return policy
