"""The two doors of a borough. Everything that leaves, leaves here, after a signed document was checked and the ledger
row about it is durable.

Door 1, ``release``: the private sum. Door 2, ``flags``: sealed flags. There is no third.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from borough_node.features.cohort import Cohort
from borough_node.flags.sealing import seal_candidate
from borough_node.ledger import Answer, Ledger, StoredFlag
from borough_node.ledger.reviews import Reviews
from borough_node.records import Records
from borough_node.reviewing.outcomes import reviewed_cohort
from borough_node.reviewing.sampling import control_sample
from borough_node.scoring.candidates import candidates
from borough_node.training.vectors import FUNCTIONS
from protocol.aggregation.accounting import rho_of
from protocol.aggregation.encoding import Int64Array, quantised_sum
from protocol.aggregation.exchange import mask_contribution
from protocol.aggregation.noise import SYSTEM_ENTROPY
from protocol.aggregation.planning import events, local_sigma_ring, rows_per_person
from protocol.aggregation.tags import check_seed
from protocol.clock import Clock
from protocol.documents.flags import SealedFlag
from protocol.documents.plan import ReleaseFunction, ReleaseRequest, ReleaseSpec, Statement, TrainingPlan
from protocol.errors import (
    AlreadyAnswered,
    BehindLog,
    BudgetExceeded,
    EpochEnded,
    Expired,
    ForkDetected,
    PlanClosed,
    ReleaseRefused,
)
from protocol.history.leaves import commitment
from protocol.history.public import PlanRecord
from protocol.history.signers import keys_of
from protocol.ids import Digest, PartyId, digest_of
from protocol.rpc.log_reader import LogReader
from protocol.scorecard.columns import Columns
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey

Noise = Callable[[int, float], Int64Array]
"""(length, sigma in ring units) to discrete Gaussian samples from the system's cryptographic source."""


class Gate:
    """One borough's doors."""

    def __init__(
        self,
        *,
        borough: PartyId,
        signing_key: SigningKey,
        ledger: Ledger,
        records: Records,
        reviews: Reviews,
        reader: LogReader,
        clock: Clock,
        noise: Noise,
    ) -> None:
        self._borough = borough
        self._signing_key = signing_key
        self._ledger = ledger
        self._records = records
        self._reviews = reviews
        self._reader = reader
        self._clock = clock
        self._noise = noise
        self._lock = threading.Lock()

    def check_state(self) -> None:
        """Return if the ledger holds everything that the log says this node once stated.

        Raises: BehindLog for a restored backup; ForkDetected if evidence of a fork is kept here.
        """
        if self._ledger.has_evidence():
            raise ForkDetected("this node keeps two contradicting checkpoints and does not start")
        self._sync()
        for digest, record in self._reader.public.plans.items():
            for index, (receipt, statements) in record.receipts.items():
                for statement, envelope in zip(statements, receipt.statements, strict=True):
                    if statement.borough == self._borough:
                        self._ledger.require_answered(digest, index, digest_of(envelope.encode()))
        own = keys_of(self._reader.public.rosters, "borough", self._borough)
        raised = {_subject(envelope) for envelope in self._ledger.flag_envelopes()}
        for subject, signer in self._reader.history.cases.flags.items():
            if signer in own and subject not in raised:
                raise BehindLog("the log shows a flag of this borough that the ledger lacks")

    def _sync(self) -> None:
        """Read the log; answers die with their plan."""
        self._reader.sync()
        for digest, record in self._reader.public.plans.items():
            if record.closed:
                self._ledger.forget_vectors(digest)

    # --- door 1 -------------------------------------------------------------------------------------------------

    def release(self, request_bytes: bytes, tag_seed: Digest) -> Answer:
        """Return this borough's signed statement and masked vector for a release.

        Asked again for the same (plan, index) it returns the same bytes. Order: check, charge, draw, store, return.
        Raises: a RefusalError, VerificationError or StateError; nothing has left the borough then.
        """
        with self._lock:
            request = ReleaseRequest.decode(request_bytes)
            check_seed(tag_seed, request.tag_commitment)
            stored = self._ledger.answer(request.plan, request.index)
            if stored is not None:
                return self._repeat(stored, request)
            self._sync()
            record = self._reader.public.plan(request.plan)
            spec = self._check(request, record)
            self._charge(request, record.plan, spec)
            return self._ledger.store_answer(request.plan, request.index, self._answer(request, tag_seed, record, spec))

    def _repeat(self, stored: Answer, request: ReleaseRequest) -> Answer:
        if stored.request != request.digest():
            raise AlreadyAnswered(f"index {request.index} was answered for another request")
        if stored.vector is None:
            raise PlanClosed(f"index {request.index} belongs to a closed plan")
        return stored

    def _check(self, request: ReleaseRequest, record: PlanRecord) -> ReleaseSpec:
        if self._borough not in record.plan.members:
            raise ReleaseRefused("this borough is not part of the plan")
        self._reader.public.require_live(record, now=self._clock.now())
        return record.check_request(request)

    def _charge(self, request: ReleaseRequest, plan: TrainingPlan, spec: ReleaseSpec) -> None:
        if self._ledger.is_charged(request.plan, request.index, request.digest()):
            # Killed after the charge and before the answer: paid for, and nothing has left.
            return
        now = self._clock.now()
        rho = rho_of(events((spec,), privacy=plan.privacy, scale=plan.scale)[0].mu)
        spent = self._ledger.spent(plan.purpose, now=now)
        budget = self._reader.public.roster.budget(plan.purpose)
        if spent + rho > budget * (1 + 1e-12):
            raise BudgetExceeded(f"purpose {plan.purpose}: rho {rho:.4g} on top of {spent:.4g} exceeds {budget:.4g}")
        self._ledger.charge(
            plan=request.plan,
            index=request.index,
            request=request.digest(),
            purpose=plan.purpose,
            rho=rho,
            at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _answer(self, request: ReleaseRequest, tag_seed: Digest, record: PlanRecord, spec: ReleaseSpec) -> Answer:
        plan = record.plan
        columns, cohort = self._cohort(spec.function, record)
        inputs = {name: array.floats() for name, array in request.inputs.items()}
        values = quantised_sum(
            FUNCTIONS[spec.function](plan, columns, inputs, cohort),
            length=spec.length,
            l2=spec.l2,
            scale=plan.scale,
            rows_per_person=rows_per_person(spec, plan.privacy),
        )
        noised = values + self._noise(spec.length, local_sigma_ring(plan, spec))
        masked = mask_contribution(
            noised,
            request=request.digest(),
            tag_seed=tag_seed,
            borough=self._borough,
            unmasker_key=plan.unmasker_key,
        )
        length, head = self._ledger.head()
        anchored = self._reader.public.ledgers.length(self._signing_key.public)
        if anchored > length:
            raise BehindLog(f"the log anchors {anchored} rows of this node's ledger, which has {length}")
        statement = Statement(
            borough=self._borough,
            plan=request.plan,
            index=request.index,
            request=request.digest(),
            public_key=masked.public_key,
            vector=digest_of(masked.vector),
            ledger_head=head,
            ledger_length=length,
            ledger_rows=self._ledger.row_digests(after=anchored),
        )
        return Answer(request.digest(), sign(statement, self._signing_key).encode(), masked.vector)

    def _cohort(self, function: ReleaseFunction, record: PlanRecord) -> tuple[Columns, Cohort]:
        if function != "outcomes" or record.plan.outcomes_of is None:
            return self._records.cohort_for(function, record.plan, record.catalogue)
        reviewed = reviewed_cohort(
            record,
            borough=self._borough,
            scored=self._reader.public.policy(record.plan.outcomes_of).plan,
            reviews=self._reviews,
            ledger=self._ledger,
        )
        return record.run.columns, reviewed

    # --- door 2 -------------------------------------------------------------------------------------------------

    def flags(self, policy_digest: Digest) -> tuple[StoredFlag, ...]:
        """Return this borough's sealed flags under a policy: made once, stored, the same ones ever after.

        Raises: PlanNotApproved if the quorum has not signed the policy; Expired; TableInvalid.
        """
        with self._lock:
            stored = self._ledger.flags(policy_digest)
            if stored is not None:
                return stored
            self._sync()
            public = self._reader.public
            policy, now = public.policy(policy_digest), self._clock.now()
            if not policy.valid_from <= now < policy.valid_until:
                raise Expired("the policy is outside its validity")
            if now >= public.roster.epoch_until:
                raise EpochEnded(f"epoch {public.roster.epoch} ended at {public.roster.epoch_until}")
            record = public.plan(policy.plan)
            if self._borough not in record.plan.members:
                raise ReleaseRefused("this borough is not part of the plan")
            columns, cohort = self._records.cohort(
                record.plan,
                record.catalogue,
                first_cutoff=policy.scoring_cutoff,
                last_cutoff=policy.scoring_cutoff,
            )
            found = list(candidates(policy, record, record.catalogue, columns, cohort))
            # Before the flags: a node killed between the two scores again and finds the sample drawn.
            self._reviews.store_sample(
                policy_digest,
                control_sample(
                    policy,
                    record,
                    cohort,
                    flagged={(candidate.category, candidate.person) for candidate in found},
                    today=now.date(),
                    entropy=SYSTEM_ENTROPY,
                ),
                cutoff=policy.scoring_cutoff,
            )
            key = self._ledger.pseudonym_key(policy.plan)
            sealed = [
                seal_candidate(
                    candidate,
                    borough=self._borough,
                    policy=policy,
                    roster=public.roster,
                    pseudonym_key=key,
                    signing_key=self._signing_key,
                    now=now,
                )
                for candidate in found
            ]
            self._ledger.store_flags(policy_digest, sealed, at=now.strftime("%Y-%m-%dT%H:%M:%SZ"))
            return self._ledger.flags(policy_digest) or ()

    def confirm_flags(self, policy_digest: Digest, positions: tuple[int, ...]) -> None:
        """Return once the log, as this node mirrors it, holds every flag of the policy where the register said.

        So the coordinator cannot lose a flag quietly. Raises: NotLogged, BehindLog.
        """
        stored = self._ledger.flags(policy_digest) or ()
        self._reader.sync()
        if len(positions) != len(stored):
            raise BehindLog(f"{len(stored)} flags were raised, the register placed {len(positions)}")
        for flag, index in zip(stored, positions, strict=True):
            self._reader.mirror.require_subject(index, "flag", _subject(flag.envelope))
        self._ledger.locate_flags({flag.flag_id: index for flag, index in zip(stored, positions, strict=True)})


def _subject(envelope: bytes) -> Digest:
    """Return the log's commitment to a flag's header."""
    return commitment(Envelope.decode(envelope).document(SealedFlag).header.digest())
