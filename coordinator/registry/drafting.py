"""Drafts of plans and policies: the coordinator's team fills in choices, everything that follows from them is computed."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import Field, ValidationError

from protocol.aggregation import planning
from protocol.documents.base import Value, describe
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.flags import CategoryRule, FlagPolicy
from protocol.documents.plan import (
    Capacity,
    Descent,
    Establishment,
    Histogram,
    Privacy,
    Shares,
    TrainingPlan,
)
from protocol.documents.roster import Roster
from protocol.errors import ConfigurationError
from protocol.history.public import PlanRecord, expected_thresholds
from protocol.ids import HexKey, Name, PartyId, RandomId, random_id
from protocol.scorecard.columns import columns_of

EVERY_CATEGORY = "any"


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
    capacity_share: dict[Name, float]
    """Flags the force can review, as a share of its people, by category; ``any`` for categories not named."""
    cap_factor: float = Field(ge=1)
    """A borough's cap is its share of the capacity times this."""
    scale_bits: int = Field(ge=10, le=40)
    reply_slot_seconds: float = Field(gt=0)
    deadline_seconds: float = Field(gt=0)
    validity_days: int = Field(ge=1)
    min_population: int = Field(ge=20)
    max_reasons: int = Field(ge=0, le=8)
    retention_days: int = Field(ge=1)

    @classmethod
    def load(cls, path: Path) -> PlanChoices:
        """Return the choices of a TOML file. Raises: ConfigurationError naming the file and the field."""
        try:
            return cls.model_validate_json(json.dumps(tomllib.loads(path.read_text())))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path}: {error}") from None
        except ValidationError as error:
            raise ConfigurationError(f"{path}: {describe(error)}") from None

    def capacity(self, category: Name, people: int) -> int:
        """Return how many flags of a category the whole force can review."""
        share = self.capacity_share.get(category, self.capacity_share.get(EVERY_CATEGORY))
        if share is None:
            raise ConfigurationError(f"field capacity_share: neither {category} nor {EVERY_CATEGORY} is given")
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
) -> TrainingPlan:
    """Return a plan with calibrated noise and the statements that follow from it.

    Args:
        establishment: Published number of people by borough.
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
    columns = columns_of(TrainingPlan.model_construct(**fields), catalogue)
    releases = planning.schedule(
        privacy=privacy,
        descent=choices.descent,
        histogram=choices.histogram,
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


def draft_policy(choices: PlanChoices, *, record: PlanRecord, roster: Roster, now: datetime) -> FlagPolicy:
    """Return a policy for a finished plan: its model, and the thresholds that its evaluation release implies."""
    capacities = {capacity.category: capacity.flags for capacity in record.plan.capacities}
    boroughs = len(record.plan.boroughs)
    return FlagPolicy(
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
            )
            for category, threshold in expected_thresholds(record).items()
        ),
        min_population=choices.min_population,
        max_reasons=choices.max_reasons,
        retention_days=choices.retention_days,
        valid_from=now,
        valid_until=now + timedelta(days=choices.validity_days),
    )
