"""The model card of a finished plan, built from the public log alone: nothing is computed here that the log's readers do
not compute too."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from oversight.reports.card import (
    Borough,
    BudgetCard,
    CalibrationCard,
    CurveCard,
    DataCard,
    EntryCard,
    FeatureCard,
    GuaranteeCard,
    HeadCard,
    ModelCard,
    PolicyCard,
    ProofCard,
    ProtectedCard,
    RecalibrationCard,
    ReleaseCard,
    RuleCard,
    ShareCard,
    StatementCard,
    WaiverCard,
    WeightCard,
)
from oversight.reports.measured import drift_card, estimate, fairness_card, outcomes_card, stability_card
from oversight.reports.page import render_html
from oversight.reports.words import COMMAND, MEANINGS, NOT_COVERED, TITLES, limits, not_measured
from protocol.aggregation.accounting import right_guesses
from protocol.aggregation.planning import plan_rho
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.flags import FlagPolicy
from protocol.documents.plan import TrainingPlan
from protocol.history.leaves import PUBLIC, commitment
from protocol.history.mirror import History, log_origin
from protocol.history.public import PlanRecord
from protocol.history.spending import spending
from protocol.ids import Digest, key_id
from protocol.scorecard.calibration import calibration, recalibration
from protocol.scorecard.capacity import people_above, thresholds
from protocol.scorecard.curves import area_under_curve, average_precision, curve
from protocol.scorecard.evaluation import HeadEvaluation, evaluate
from protocol.scorecard.table import ScorecardTable, scorecard_tables
from protocol.signing.dsse import Envelope


def write_card(card: ModelCard, directory: Path) -> tuple[Path, Path]:
    """Write ``model-card.json`` and ``model-card.html`` into a folder and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    text, page = directory / "model-card.json", directory / "model-card.html"
    text.write_text(card.encode(), encoding="utf-8")
    page.write_text(render_html(card), encoding="utf-8")
    return text, page


def model_card(history: History, plan: Digest) -> ModelCard:
    """Return the card of a plan.

    Raises: PlanNotApproved if the log shows no such plan; StateError while releases are missing.
    """
    record = history.public.plan(plan)
    model, cutoffs = record.model(), thresholds(record.run)
    policies = [policy for policy in history.public.policies.values() if policy.plan == plan]
    return ModelCard(
        format="custodes/model-card/v1",
        force=record.roster.force,
        purpose=record.plan.purpose,
        model=model.digest(),
        plan=plan,
        approved_on=record.day.isoformat(),
        closed=record.closed,
        data=_data(record.plan, record.catalogue),
        guarantee=_guarantee(history, record),
        not_covered=NOT_COVERED,
        heads=tuple(
            _head(record, table, head, cutoffs[head.category])
            for table, head in zip(scorecard_tables(model, record.catalogue), evaluate(record.run), strict=True)
        ),
        stability=stability_card(record),
        fairness=fairness_card(record),
        drift=drift_card(history.public, record),
        outcomes=outcomes_card(record),
        policies=tuple(_policy(policy) for policy in policies),
        flags_raised=sum(
            skeleton.kind == "flag" and skeleton.belongs_to == commitment(plan) for skeleton in history.skeletons
        ),
        not_measured=not_measured(record),
        limits=limits(record),
        proof=_proof(history, record, policies),
    )


def _data(plan: TrainingPlan, catalogue: FeatureCatalogue) -> DataCard:
    heads = [catalogue.head(category) for category in plan.categories]
    used = {name for head in heads for name in head.features}
    return DataCard(
        train_from=plan.train_from,
        train_until=plan.train_until,
        evaluation_cutoff=plan.evaluation_cutoff,
        rows_per_person=plan.privacy.rows_per_person,
        people=plan.people,
        boroughs=tuple(Borough(borough=entry.borough, people=entry.people) for entry in plan.boroughs),
        catalogue=catalogue.catalogue_id,
        catalogue_version=catalogue.version,
        catalogue_digest=plan.catalogue,
        features=tuple(
            FeatureCard(
                **dict(feature), categories=tuple(head.category for head in heads if feature.name in head.features)
            )
            for feature in catalogue.features
            if feature.name in used
        ),
        protected=tuple(ProtectedCard(**dict(attribute)) for attribute in catalogue.protected),
    )


def _guarantee(history: History, record: PlanRecord) -> GuaranteeCard:
    plan, privacy = record.plan, record.plan.privacy
    account = next(one for one in spending(history.public, on=record.day) if one.purpose == plan.purpose)
    return GuaranteeCard(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        unit=privacy.unit,
        adjacency=privacy.adjacency,
        min_boroughs=privacy.min_boroughs,
        colluding=privacy.colluding,
        spares=privacy.spares,
        burnt=len(record.burnt),
        statements=tuple(
            StatementCard(
                adversary=statement.adversary,
                meaning=meaning,
                epsilon=statement.epsilon,
                delta=statement.delta,
                mu=statement.mu,
                right_guesses=right_guesses(mu=statement.mu),
            )
            for statement, meaning in zip(plan.statements, MEANINGS, strict=True)
        ),
        shares=tuple(
            ShareCard(function=function, title=title, share=share)
            for (function, title), (_, share) in zip(TITLES.items(), privacy.shares, strict=True)
            if share
        ),
        releases=tuple(
            ReleaseCard(
                index=release.request.index,
                function=release.request.function,
                numbers=numbers.spec.length,
                sigma=numbers.sigma,
                boroughs=len(release.boroughs),
            )
            for release, numbers in zip(record.releases, record.run.releases, strict=True)
        ),
        budget=BudgetCard(
            purpose=account.purpose,
            budget=account.budget,
            spent=account.spent,
            this_plan=plan_rho(plan),
            plans=len(account.plans),
        ),
        second_moment_of=plan.second_moment_of,
    )


def _head(record: PlanRecord, table: ScorecardTable, head: HeadEvaluation, threshold: float) -> HeadCard:
    described, fitted = record.catalogue.head(head.category), recalibration(head)
    return HeadCard(
        category=head.category,
        title=described.title,
        label=described.label,
        eligible=described.eligible,
        prior=described.prior,
        auc=estimate(area_under_curve(head)),
        average_precision=estimate(average_precision(head)),
        curve=tuple(
            CurveCard(
                score=point.score,
                false_positive_rate=estimate(point.false_positive_rate),
                recall=estimate(point.recall),
                precision=estimate(point.precision),
            )
            for point in curve(head)
        ),
        calibration=tuple(
            CalibrationCard(
                low=one.low,
                high=one.high,
                people=one.people,
                predicted=one.predicted,
                recalibrated=one.recalibrated,
                observed=estimate(one.observed),
            )
            for one in calibration(head)
        ),
        recalibration=None if fitted is None else RecalibrationCard(intercept=fitted.intercept, slope=fitted.slope),
        noise_people=head.sigma,
        threshold=threshold,
        capacity=next(one.flags for one in record.plan.capacities if one.category == head.category),
        people_above=estimate(people_above(head, threshold)),
        intercept=table.intercept,
        mean_score=table.mean_score,
        weights=tuple(WeightCard(**asdict(row)) for row in table.rows),
    )


def _policy(policy: FlagPolicy) -> PolicyCard:
    shown = policy.model_dump(mode="json")
    return PolicyCard(
        digest=policy.digest(),
        scoring_cutoff=policy.scoring_cutoff,
        valid_from=shown["valid_from"],
        valid_until=shown["valid_until"],
        rules=tuple(RuleCard(**dict(rule)) for rule in policy.rules),
        min_population=policy.min_population,
        max_reasons=policy.max_reasons,
        retention_days=policy.retention_days,
        control_rate=policy.control_rate,
        waivers=tuple(WaiverCard(**dict(waiver)) for waiver in policy.waivers),
    )


def _proof(history: History, record: PlanRecord, policies: list[FlagPolicy]) -> ProofCard:
    """Return the entries that the card rests on: all documents of the plan, and what the plan names by digest."""
    public = history.public
    roots = {public.genesis, record.plan.roster, record.plan.catalogue, record.plan.digest()}
    named = roots | {record.plan.second_moment_of, record.plan.outcomes_of}
    names = {key_id(party.signing_key): party.id for roster in public.rosters for party in roster.parties}
    entries = []
    for index, (leaf, skeleton) in enumerate(zip(history.leaves, history.skeletons, strict=True)):
        if skeleton.document is None:
            continue
        document = Envelope.decode(skeleton.document.encode()).document(PUBLIC[skeleton.kind]).digest()
        if document in named or skeleton.belongs_to == commitment(record.plan.digest()):
            entries.append(
                EntryCard(
                    index=index,
                    kind=skeleton.kind,
                    day=skeleton.day,
                    document=document,
                    entry=leaf.entry().hex(),
                    signers=tuple(names.get(key, key) for key in skeleton.signers),
                )
            )
    return ProofCard(
        origin=log_origin(record.roster.force),
        genesis=public.genesis,
        size=history.tree.size,
        root=history.tree.root().hex(),
        entries=tuple(entries),
        command=COMMAND.format(genesis=public.genesis),
    )
