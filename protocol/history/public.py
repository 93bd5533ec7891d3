"""What the log's public documents add up to, and the rules that every reader of the log applies to them.

The coordinator, every node, the unmasker, custodians, witnesses of fact and the auditor run this same code over the
same leaves. A leaf that breaks a rule raises: the coordinator must not have logged it, so whoever reads it stops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from protocol.aggregation.encoding import check_range
from protocol.aggregation.exchange import check_request, check_statements, plan_range
from protocol.aggregation.planning import check_plan, plan_rho
from protocol.aggregation.tags import check_seed
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.destruction import KeyDestruction
from protocol.documents.flags import FlagPolicy
from protocol.documents.plan import (
    Burn,
    Closure,
    Receipt,
    Release,
    ReleaseRequest,
    ReleaseSpec,
    Statement,
    TrainingPlan,
)
from protocol.documents.reseal import ShareReseal
from protocol.documents.roster import Roster
from protocol.errors import (
    AlreadyAnswered,
    BudgetExceeded,
    DigestMismatch,
    EpochEnded,
    Expired,
    IndexOutOfTurn,
    ModelMismatch,
    PlanClosed,
    PlanInvalid,
    PlanNotApproved,
    PlanOutsideValidity,
    RosterChanged,
    RosterInvalid,
    ShapeMismatch,
    SparesSpent,
    StateError,
    UnknownSigner,
)
from protocol.history.anchors import LedgerAnchors
from protocol.history.leaves import commitment
from protocol.history.succession import check_begun, check_succession
from protocol.ids import Digest, PartyId, digest_of
from protocol.scorecard.capacity import thresholds
from protocol.scorecard.columns import columns_of
from protocol.scorecard.gates import check_waivers
from protocol.scorecard.inputs import THRESHOLD_TOLERANCE, check_inputs
from protocol.scorecard.model import Model, model_of
from protocol.scorecard.reliability import ERROR_TOLERANCE, reliability
from protocol.scorecard.run import Published, Run, published
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import custodian_quorum, verify_signed_by_role

BUDGET_WINDOW = timedelta(days=365)


@dataclass(slots=True)
class PlanRecord:
    """An approved plan and what the log shows of its run."""

    run: Run
    roster: Roster
    day: date
    receipts: dict[int, tuple[Receipt, tuple[Statement, ...]]] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    burnt: list[int] = field(default_factory=list)
    closed: bool = False
    checked: tuple[int, Digest] | None = None
    """How many releases were published when a request's inputs were last found to follow from them, and its digest."""

    @property
    def plan(self) -> TrainingPlan:
        """The plan itself."""
        return self.run.plan

    @property
    def catalogue(self) -> FeatureCatalogue:
        """The catalogue that the plan names."""
        return self.run.catalogue

    @property
    def complete(self) -> bool:
        """Whether every release of the plan is published."""
        return self.run.complete

    @property
    def next_index(self) -> int:
        """The index that may be asked for next."""
        return len(self.releases) + len(self.burnt)

    @property
    def has_spare(self) -> bool:
        """Whether the plan's spares make up for what is burnt."""
        return len(self.burnt) <= self.plan.privacy.spares

    def require_spare(self) -> None:
        """Return if the plan's spares make up for what is burnt. Raises: SparesSpent."""
        if not self.has_spare:
            raise SparesSpent(f"{len(self.burnt)} indices are burnt, the plan has {self.plan.privacy.spares} spares")

    def check_request(self, request: ReleaseRequest) -> ReleaseSpec:
        """Return the plan's entry for a request if it may be answered next.

        Raises: ReleaseRefused, SparesSpent, IndexOutOfTurn; ModelMismatch if its inputs do not follow.
        """
        self.require_spare()
        spec = check_request(
            request, plan=self.plan, roster=self.roster, index=self.next_index, step=len(self.releases)
        )
        # Whoever answers a request reads it again with its release; its inputs take fits and eigendecompositions.
        if self.checked != (now := (len(self.releases), request.digest())):
            check_inputs(request, self.run)
            self.checked = now
        return spec

    def model(self) -> Model:
        """Return the model that follows from the published sums. Raises: StateError while some are missing."""
        return model_of(self.run)


class PublicRecord:
    """Rosters, catalogues, plans with their runs, and policies, as far as the log has been read."""

    def __init__(self, *, genesis: Digest) -> None:
        self.genesis = genesis
        self.rosters: list[Roster] = []
        self.roster_envelopes: list[Envelope] = []
        """The same versions as they were signed, for whoever has to be shown that."""
        self.catalogues: dict[Digest, FeatureCatalogue] = {}
        self.plans: dict[Digest, PlanRecord] = {}
        self.policies: dict[Digest, FlagPolicy] = {}
        self.ledgers = LedgerAnchors()
        self.destructions: dict[tuple[PartyId, Digest], KeyDestruction] = {}
        """By custodian and digest of its envelope key."""
        self.reseals: dict[tuple[PartyId, Digest], ShareReseal] = {}
        """The latest by custodian and the log's subject of the flag."""

    @property
    def roster(self) -> Roster:
        """The current roster. Raises: UnknownSigner while the log shows none."""
        if not self.rosters:
            raise UnknownSigner("the log does not begin with a roster")
        return self.rosters[-1]

    def plan(self, digest: Digest) -> PlanRecord:
        """Return an approved plan. Raises: PlanNotApproved if the log shows none of this digest."""
        if digest not in self.plans:
            raise PlanNotApproved(f"plan {digest[:16]} is not in the witnessed log")
        return self.plans[digest]

    def before(self, record: PlanRecord) -> Run | None:
        """Return the run that a plan's drift is held against, or None.

        The latest complete plan before it in the log that has the same catalogue and columns and measured drift: with
        the public bounds of another catalogue the bins would not be the same.
        """
        found = None
        for other in self.plans.values():
            if other is record:
                break
            run = other.run
            same = other.plan.catalogue == record.plan.catalogue and run.columns.names == record.run.columns.names
            if same and other.complete and run.of("drift"):
                found = run
        return found

    def require_live(self, record: PlanRecord, *, now: datetime) -> None:
        """Return if the plan may be acted on now.

        Raises: PlanClosed, PlanOutsideValidity; RosterChanged: otherwise a party could be asked under one roster and
            checked under another.
        """
        plan = record.plan
        if record.closed:
            raise PlanClosed(f"plan {plan.plan_id}")
        if not plan.valid_from <= now < plan.valid_until:
            raise PlanOutsideValidity(f"valid from {plan.valid_from} until {plan.valid_until}, here it is {now}")
        self._require_current(record)

    def _require_current(self, record: PlanRecord) -> None:
        if record.roster != self.roster:
            raise RosterChanged(f"approved under roster {record.roster.version}, now it is {self.roster.version}")

    def policy(self, digest: Digest) -> FlagPolicy:
        """Return an approved policy. Raises: PlanNotApproved."""
        if digest not in self.policies:
            raise PlanNotApproved(f"policy {digest[:16]} is not in the witnessed log")
        return self.policies[digest]

    def flag_cap(self, plan_commitment: Digest) -> int:
        """Return how many flags one borough may raise under all policies of the plan behind a commitment."""
        return sum(
            rule.cap_per_borough
            for policy in self.policies.values()
            if commitment(policy.plan) == plan_commitment
            for rule in policy.rules
        )

    def spent(self, purpose: str, *, on: date) -> float:
        """Return the rho of all plans of a purpose approved in the 365 days up to and including ``on``."""
        return math.fsum(
            plan_rho(record.plan)
            for record in self.plans.values()
            if record.plan.purpose == purpose and on - BUDGET_WINDOW < record.day <= on
        )

    def apply(self, kind: str, envelope: Envelope, day: date) -> None:
        """Add one public document, if the rules allow it.

        Raises: a VerificationError, RefusalError or PlanInvalid saying which rule it breaks; nothing is added then.
        """
        getattr(self, f"_apply_{kind}")(envelope, day)

    def _apply_roster(self, envelope: Envelope, day: date) -> None:
        roster = self.check_new_roster(envelope, day)
        custodian_quorum(envelope, self.rosters[-1] if self.rosters else roster).require()
        self.rosters.append(roster)
        self.roster_envelopes.append(envelope)

    def check_new_roster(self, envelope: Envelope, day: date) -> Roster:
        """Return the roster in an envelope if the rules allow it to be the next; its quorum is not looked at.

        Raises: MalformedDocument, DigestMismatch, RosterInvalid, KeyReused.
        """
        roster = envelope.document(Roster)
        if self.rosters:
            check_succession(roster, self.rosters)
        elif roster.digest() != self.genesis:
            raise DigestMismatch("the first roster is not the one in this party's configuration")
        check_begun(roster, day)
        return roster

    def _apply_catalogue(self, envelope: Envelope, day: date) -> None:
        catalogue, _ = verify_signed_by_role(envelope, FeatureCatalogue, self.roster, "coordinator")
        self.catalogues[catalogue.digest()] = catalogue

    def check_new_plan(self, plan: TrainingPlan, day: date) -> Run:
        """Return the run of a plan that the rules allow; its quorum is not looked at.

        Raises: PlanInvalid, DigestMismatch, PlanNotApproved, Expired, BudgetExceeded.
        """
        if plan.roster != self.roster.digest():
            raise DigestMismatch("field roster: the plan was drafted under another roster version")
        if plan.catalogue not in self.catalogues:
            raise PlanNotApproved("field catalogue: the log shows no catalogue of this digest")
        catalogue = self.catalogues[plan.catalogue]
        check_plan(plan, catalogue)
        for borough in plan.borough_ids():
            self.roster.party(borough, "borough")
        if not plan.valid_from.date() <= day <= plan.valid_until.date():
            raise Expired("field valid_from or valid_until: the plan is not valid on this day")
        if plan.digest() not in self.plans:
            for other in self.plans.values():
                if plan.plan_id == other.plan.plan_id or plan.unmasker_key == other.plan.unmasker_key:
                    raise AlreadyAnswered("field plan_id or unmasker_key: another plan has it; each plan has its own")
            budget, spent, cost = self.roster.budget(plan.purpose), self.spent(plan.purpose, on=day), plan_rho(plan)
            if spent + cost > budget * (1 + 1e-12):
                raise BudgetExceeded(
                    f"purpose {plan.purpose}: rho {cost:.4g} on top of {spent:.4g} exceeds {budget:.4g}"
                )
        if plan.outcomes_of is not None and plan.outcomes_of not in self.policies:
            raise PlanNotApproved("field outcomes_of: the log shows no policy of this digest")
        return Run.begin(plan, catalogue, reused=self._reused(plan, catalogue))

    def _reused(self, plan: TrainingPlan, catalogue: FeatureCatalogue) -> Published | None:
        """Return the earlier second moment that a plan names, which must have the plan's own columns."""
        if plan.second_moment_of is None:
            return None
        for record in self.plans.values():
            for release, numbers in zip(record.releases, record.run.releases, strict=True):
                if release.digest() == plan.second_moment_of:
                    same = record.plan.catalogue == plan.catalogue
                    if not same or record.run.columns.names != columns_of(plan, catalogue).names:
                        raise PlanInvalid("field second_moment_of: that release has other columns than this plan")
                    if numbers.spec.function != "second_moment":
                        raise PlanInvalid(f"field second_moment_of: that release is of {numbers.spec.function}")
                    return numbers
        raise PlanInvalid("field second_moment_of: the log shows no release of this digest")

    def _apply_plan(self, envelope: Envelope, day: date) -> None:
        plan = envelope.document(TrainingPlan)
        if plan.digest() in self.plans:
            raise AlreadyAnswered("the plan is already in the log")
        run = self.check_new_plan(plan, day)
        _require_quorum(envelope, self.roster)
        self.plans[plan.digest()] = PlanRecord(run, self.roster, day)

    def _apply_receipt(self, envelope: Envelope, day: date) -> None:
        receipt, _ = verify_signed_by_role(envelope, Receipt, self.roster, "unmasker")
        record = self.plan(receipt.plan)
        if record.closed:
            raise PlanClosed(f"plan {receipt.plan[:16]}")
        if receipt.index in record.receipts:
            raise AlreadyAnswered(f"index {receipt.index} has a receipt")
        if receipt.index != record.next_index:
            raise IndexOutOfTurn(f"index {receipt.index} is not the next one, {record.next_index}")
        record.require_spare()
        self._require_current(record)
        if not record.plan.valid_from.date() <= day <= record.plan.valid_until.date():
            raise PlanOutsideValidity("the plan was unmasked outside its validity")
        statements = check_statements(
            [Envelope.decode(text.encode()) for text in receipt.statements],
            request=receipt.request,
            index=receipt.index,
            plan=record.plan,
            roster=record.roster,
        )
        self.ledgers.add(statements, record.roster)
        record.receipts[receipt.index] = (receipt, statements)

    def _apply_burn(self, envelope: Envelope, day: date) -> None:
        burn, _ = verify_signed_by_role(envelope, Burn, self.roster, "coordinator")
        record = self.plan(burn.plan)
        if record.closed:
            raise PlanClosed(f"plan {burn.plan[:16]}")
        if burn.index != record.next_index:
            raise IndexOutOfTurn(f"index {burn.index} is not the open one, {record.next_index}")
        if burn.index not in record.receipts or record.receipts[burn.index][0].digest() != burn.receipt:
            raise DigestMismatch(f"index {burn.index} has no such receipt: nothing of it was unmasked")
        record.burnt.append(burn.index)

    def _apply_release(self, envelope: Envelope, day: date) -> None:
        release, _ = verify_signed_by_role(envelope, Release, self.roster, "coordinator")
        record = self.plan(release.request.plan)
        spec, index = record.check_request(release.request), release.request.index
        if index not in record.receipts:
            raise PlanNotApproved(f"index {index} has no receipt of the unmasker")
        receipt, statements = record.receipts[index]
        if (receipt.digest(), receipt.request) != (release.receipt, release.request.digest()):
            raise DigestMismatch(f"index {index} is not what its receipt speaks of")
        if release.boroughs != tuple(statement.borough for statement in statements):
            raise DigestMismatch(f"index {index} names other boroughs than its receipt")
        check_seed(release.tag_seed, release.request.tag_commitment)
        sums = release.sums.integers()
        if sums.shape != (spec.length,):
            raise ShapeMismatch(f"index {index} has {sums.shape} sums instead of {spec.length}")
        check_range(sums, bound=plan_range(record.plan, spec))
        record.releases.append(release)
        record.run = record.run.then(published(release, spec, record.plan))

    def _apply_closure(self, envelope: Envelope, day: date) -> None:
        closure, _ = verify_signed_by_role(envelope, Closure, self.roster, "unmasker")
        record = self.plan(closure.plan)
        if record.closed:
            raise AlreadyAnswered("the plan is closed already")
        if closure.unmasker_key != record.plan.unmasker_key:
            raise DigestMismatch("field unmasker_key: another key than the plan's was destroyed")
        record.closed = True

    def check_new_policy(self, policy: FlagPolicy, day: date) -> None:
        """Return if the policy follows from the published sums; its quorum is not looked at.

        Raises: ModelMismatch, DigestMismatch, Expired, StateError; FairnessGateMissed, WaiverUnfounded.
        """
        record = self.plan(policy.plan)
        if not record.complete:
            raise StateError(f"{len(record.releases)} of {len(record.plan.releases)} releases are published")
        if policy.roster != self.roster.digest():
            raise DigestMismatch("field roster: the policy was drafted under another roster version")
        if record.model().digest() != policy.model:
            raise ModelMismatch("field model: the published sums give another model")
        expected = thresholds(record.run)
        for rule in policy.rules:
            if rule.category not in expected:
                raise ModelMismatch(f"field rules: {rule.category} is not a category of the plan")
            if abs(rule.threshold - expected[rule.category]) > THRESHOLD_TOLERANCE:
                raise ModelMismatch(
                    f"field rules: the threshold of {rule.category} does not follow from the evaluation"
                )
        errors = {head.category: head.error for head in reliability(record.run)}
        for rule in policy.rules:
            if abs(rule.stability_error - errors[rule.category]) > ERROR_TOLERANCE:
                raise ModelMismatch(f"field rules: the stability error of {rule.category} is not what simulation finds")
        check_waivers(record.run, policy)
        if policy.scoring_cutoff < record.plan.evaluation_cutoff:
            raise PlanInvalid("field scoring_cutoff: the model is not evaluated before the plan's evaluation cutoff")
        if not policy.valid_from.date() <= day <= policy.valid_until.date():
            raise Expired("field valid_from or valid_until: the policy is not valid on this day")

    def _apply_policy(self, envelope: Envelope, day: date) -> None:
        policy = envelope.document(FlagPolicy)
        if policy.digest() in self.policies:
            raise AlreadyAnswered("the policy is already in the log")
        self.check_new_policy(policy, day)
        _require_quorum(envelope, self.roster)
        self.policies[policy.digest()] = policy

    def _apply_destruction(self, envelope: Envelope, day: date) -> None:
        word, signer = verify_signed_by_role(envelope, KeyDestruction, self.roster, "custodian")
        if word.custodian != signer.id:
            raise UnknownSigner(f"{signer.id} speaks of a key of {word.custodian}")
        if (signer.id, word.hpke_key) in self.destructions:
            raise AlreadyAnswered("the destruction of this key is already in the log")
        epochs = {
            roster.epoch: roster.epoch_until
            for roster in self.rosters
            if (entry := roster.by_id["custodian"].get(signer.id)) is not None
            and digest_of(bytes.fromhex(entry.hpke_key or "")) == word.hpke_key
        }
        if word.epoch not in epochs:
            raise DigestMismatch(f"no roster names this key for {signer.id} in epoch {word.epoch}")
        present = self.roster.party(signer.id, "custodian").hpke_key or ""
        replaced = self.roster.epoch == word.epoch and digest_of(bytes.fromhex(present)) != word.hpke_key
        if not replaced and day < epochs[word.epoch].date():
            raise RosterInvalid(f"epoch {word.epoch} lasts until {epochs[word.epoch]}: what is sealed in it must open")
        self.destructions[signer.id, word.hpke_key] = word

    def _apply_reseal(self, envelope: Envelope, day: date) -> None:
        word, signer = verify_signed_by_role(envelope, ShareReseal, self.roster, "custodian")
        if word.custodian != signer.id:
            raise UnknownSigner(f"{signer.id} speaks of a share of {word.custodian}")
        if (word.roster_version, word.epoch) != (self.roster.version, self.roster.epoch):
            raise EpochEnded(f"a share of epoch {word.epoch} is not sealed to a key of epoch {self.roster.epoch}")
        self.reseals[signer.id, word.flag] = word


def _require_quorum(envelope: Envelope, roster: Roster) -> None:
    result = custodian_quorum(envelope, roster)
    if not result.met:
        raise PlanNotApproved(
            f"{len(result.approved)} of {result.required} custodians signed; undecided: {', '.join(result.undecided)}"
        )
