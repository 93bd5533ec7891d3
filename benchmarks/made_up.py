"""Roster, catalogue and plan of a force that does not exist, with one release of any length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from protocol.documents.catalogue import Bounded, Feature, FeatureCatalogue, Head
from protocol.documents.plan import (
    Descent,
    Establishment,
    Histogram,
    Privacy,
    ReleaseSpec,
    Shares,
    TrainingPlan,
)
from protocol.documents.roster import Budget, Party, Roster
from protocol.ids import Digest, HexKey, PartyId, RandomId, Role, digest_of
from protocol.signing.keys import SigningKey

NOW = datetime(2031, 3, 4, 12, 0, 0, tzinfo=UTC)
SCALE = 2**20
SIGMA = 4.0
PEOPLE = 1000
PURPOSE = "benchmark"


def made_up_roster(keys: Mapping[PartyId, SigningKey], boroughs: Sequence[PartyId]) -> Roster:
    """Return a roster of these boroughs, a coordinator, an unmasker, a witness, an issuer and two custodians."""
    roles: dict[PartyId, Role] = dict.fromkeys(boroughs, "borough")
    roles |= {"coordinator": "coordinator", "unmasker": "unmasker", "witness": "witness", "issuer": "issuer"}
    roles |= {"custodian-1": "custodian", "custodian-2": "custodian"}
    return Roster(
        force="benchmark",
        version=1,
        previous=None,
        valid_from=NOW,
        epoch=1,
        epoch_until=NOW + timedelta(days=365),
        approval_threshold=2,
        parties=tuple(
            Party(
                id=name,
                role=role,
                signing_key=keys[name].public if name in keys else digest_of(name.encode()),
                tls_key=digest_of(b"tls " + name.encode()),
                hpke_key=digest_of(b"hpke " + name.encode()) if role == "custodian" else None,
                conflicts=(),
            )
            for name, role in roles.items()
        ),
        budgets=(Budget(purpose=PURPOSE, rho=1e6),),
    )


def made_up_catalogue() -> FeatureCatalogue:
    """Return a catalogue of one feature and one head."""
    feature = Feature(
        name="made_up",
        definition="Made-up value.",
        unit="none",
        transform=Bounded(kind="bounded", low=0.0, high=1.0),
        missing=None,
        direction=0,
        reason="The made-up value was taken into account.",
        legal_note="Synthetic.",
    )
    head = Head(category="only", title="Only", label="y", features=("made_up",), prior=0.1, eligible=None, start={})
    return FeatureCatalogue(catalogue_id="made-up", version=1, features=(feature,), heads=(head,), protected=())


def made_up_plan(
    plan_id: RandomId,
    *,
    roster: Digest,
    catalogue: Digest,
    boroughs: Sequence[PartyId],
    length: int,
    unmasker_key: HexKey,
) -> TrainingPlan:
    """Return a plan of one release that asks for nine tenths of the boroughs. Its statements are empty: it is no plan
    that anybody would approve, and the harness does not ask.
    """
    return TrainingPlan(
        plan_id=plan_id,
        purpose=PURPOSE,
        roster=roster,
        catalogue=catalogue,
        categories=("only",),
        boroughs=tuple(Establishment(borough=name, people=PEOPLE) for name in boroughs),
        train_from=2029,
        train_until=2029,
        evaluation_cutoff=2030,
        privacy=Privacy(
            epsilon=1.0,
            delta=1e-6,
            unit="one person in one plan",
            adjacency="add or remove one person's rows",
            shares=Shares(
                second_moment=0.2,
                gradients=0.5,
                evaluation=0.3,
                group_moments=0.0,
                fairness=0.0,
                drift=0.0,
                outcomes=0.0,
            ),
            rows_per_person=1,
            min_boroughs=max(2, 9 * len(boroughs) // 10),
            colluding=1,
            spares=0,
        ),
        statements=(),
        descent=Descent(steps=1, learning_rate=1.0, momentum=0.5, row_norm=1.0, ridge_factor=0.5, clip_factor=0.8),
        second_moment_of=None,
        outcomes_of=None,
        fairness=None,
        histogram=Histogram(bins=4, low=-1.0, high=1.0),
        capacities=(),
        scale=SCALE,
        releases=(ReleaseSpec(index=0, function="second_moment", length=length, l2=1.0, sigma=SIGMA),),
        unmasker_key=unmasker_key,
        reply_slot_seconds=1.0,
        deadline_seconds=60.0,
        valid_from=NOW,
        valid_until=NOW + timedelta(days=30),
    )
