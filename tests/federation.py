"""A small force in memory: keys of every party, signed documents, and a log that grows without a network.

Nothing here is random from one run to the next except salts, mask keys and envelope keys. Time is one fixed clock.
Noise comes from a seeded generator and can be turned off. The vector functions are written anew from the formulas, so
that a test compares two implementations.

Every builder takes ``**changes`` for the fields of the document that it returns: that is how a test lies.

    force = Federation()
    force.begin()                                    # roster and catalogue are logged
    record = force.run(force.plan())                 # plan, receipts, releases are logged
    policy = force.policy(record)
    force.log("policy", policy)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.aggregation import masks, planning, tags
from protocol.aggregation.encoding import quantised_sum
from protocol.aggregation.exchange import mask_contribution, reveal_sum, sum_of_masks
from protocol.aggregation.masks import MaskPrivateKey
from protocol.clock import FixedClock
from protocol.documents.arrays import Array
from protocol.documents.base import Document
from protocol.documents.cases import Approval, Opening, Warrant, WarrantFlag, Withdrawal
from protocol.documents.catalogue import (
    Bounded,
    Count,
    Feature,
    FeatureCatalogue,
    Head,
    ProtectedAttribute,
    Scaled,
)
from protocol.documents.flags import CategoryRule, FlagHeader, FlagPolicy, SealedFlag
from protocol.documents.plan import (
    Burn,
    Capacity,
    Closure,
    Descent,
    Establishment,
    Histogram,
    Privacy,
    Receipt,
    Release,
    ReleaseRequest,
    ReleaseSpec,
    Shares,
    Statement,
    TrainingPlan,
)
from protocol.documents.roster import Budget, Party, Roster
from protocol.history.anchors import GENESIS, chain
from protocol.history.leaves import LoggedLeaf, leaf_for
from protocol.history.mirror import History, log_origin
from protocol.history.public import PlanRecord
from protocol.ids import Digest, HexKey, PartyId, RandomId, Role, digest_of, random_id
from protocol.log.note import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from protocol.scorecard.capacity import thresholds
from protocol.scorecard.columns import Columns, columns_of
from protocol.scorecard.evaluation import bin_edges
from protocol.scorecard.inputs import next_inputs
from protocol.scorecard.reliability import reliability
from protocol.sealing.envelope import (
    ReleaseContext,
    ShareContext,
    deal,
    open_share,
    reseal_share,
    seal_identity,
    seal_share,
)
from protocol.sealing.hpke import PRIVATE_KEY_BYTES, HPKEPrivateKey, HPKEPublicKey
from protocol.sealing.secret import Secret
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

FORCE = "exampleshire"
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
PURPOSE = "misconduct_detection"
BUDGET_RHO = 0.04
"""Enough for one plan of ``PRIVACY`` in a year and not for two."""

PEOPLE_PER_BOROUGH = 200
TRAINING_CUTOFFS = (2022, 2023)
EVALUATION_CUTOFF = 2024

PRIVACY = Privacy(
    epsilon=1.0,
    delta=1e-6,
    unit="one person in one plan",
    adjacency="add or remove one person's rows",
    spares=0,
    shares=Shares(
        second_moment=0.12, gradients=0.68, evaluation=0.20, group_moments=0.0, fairness=0.0, drift=0.0, outcomes=0.0
    ),
    rows_per_person=2,
    min_boroughs=5,
    colluding=1,
)
DESCENT = Descent(steps=2, learning_rate=4.0, momentum=0.5, row_norm=6.0, ridge_factor=0.5, clip_factor=0.8)
HISTOGRAM = Histogram(bins=16, low=-3.0, high=4.0)
SCALE = 2**20
FLAGS_FORCE_CAN_REVIEW = 24

TRUE_WEIGHTS = ((-2.0, 0.9, 0.6, 0.4), (-2.5, 1.0, 0.8))
"""Log-odds of the two labels in the generated records, per head over its own columns."""


def catalogue(**changes: Any) -> FeatureCatalogue:
    """Return a catalogue of three features, one of each transform, and two heads."""
    fields: dict[str, Any] = {
        "catalogue_id": "synthetic-small",
        "version": 1,
        "features": (
            feature("entries_amended", Count(kind="count", cap=3.0)),
            feature("overtime_hours", Scaled(kind="scaled", center=10.0, scale=5.0, limit=3.0)),
            feature("senior_grade", Bounded(kind="bounded", low=0.0, high=1.0)),
        ),
        "heads": (
            head("roster_manipulation", "y_roster", ("entries_amended", "overtime_hours", "senior_grade"), prior=0.2),
            head("attendance", "y_attendance", ("entries_amended", "senior_grade"), prior=0.1, eligible="senior_grade"),
        ),
        "protected": (attribute("sex", "f", "m"), attribute("ethnicity_group", "a", "b", "c")),
    }
    return FeatureCatalogue(**(fields | changes))


def attribute(name: str, *groups: str) -> ProtectedAttribute:
    """Return a protected attribute of synthetic groups."""
    return ProtectedAttribute(name=name, title=f"Synthetic {name}", groups=groups)


def feature(name: str, transform: Count | Scaled | Bounded, /, **changes: Any) -> Feature:
    """Return a feature with synthetic texts."""
    fields: dict[str, Any] = {
        "name": name,
        "definition": f"Synthetic column {name}.",
        "unit": "per year",
        "transform": transform,
        "missing": None,
        "direction": 1,
        "reason": f"Synthetic reason {name}.",
        "legal_note": "",
    }
    return Feature(**(fields | changes))


def head(category: str, label: str, features: tuple[str, ...], *, prior: float, eligible: str | None = None) -> Head:
    """Return a head with a synthetic title."""
    return Head(
        category=category,
        title=f"Synthetic {category}",
        label=label,
        features=features,
        prior=prior,
        eligible=eligible,
        start={},
    )


@cache
def signing_key(name: str) -> SigningKey:
    """Return the same signing key for the same name in every run."""
    return SigningKey(hashlib.sha256(f"signing {name}".encode()).digest())


@cache
def envelope_key(name: str) -> HPKEPrivateKey:
    """Return the same HPKE key for the same name in every run."""
    return HPKEPrivateKey.decode(Secret(hashlib.shake_256(f"envelope {name}".encode()).digest(PRIVATE_KEY_BYTES)))


@cache
def plan_key(plan_id: RandomId) -> MaskPrivateKey:
    """Return the unmasker's key for a plan."""
    return MaskPrivateKey(hashlib.sha256(f"plan key {plan_id}".encode()).digest())


def number(value: int) -> str:
    """Return a readable 128-bit id."""
    return f"{value:032x}"


# --- what a borough computes, from the formulas -----------------------------------------------------------------


def masked_sum(vectors: Iterable[bytes]) -> bytes:
    """Return the sum of one or more vectors in wire form."""
    contents = list(vectors)
    total = np.zeros(len(contents[0]) // 8, dtype=np.uint64)
    for content in contents:
        masks.add_vector(content, total, digest=digest_of(content))
    return masks.vector_bytes(total)


@dataclass(frozen=True, slots=True)
class Rows:
    """Transformed rows of one borough at some cutoffs: intercept first, then the catalogue's features."""

    matrix: Float64Array
    labels: Float64Array


def vector_rows(plan: TrainingPlan, columns: Columns, request: ReleaseRequest, rows: Rows) -> Float64Array:
    """Return every row's contribution to a release, in units of the clip, shape (rows, length)."""
    x, y = rows.matrix, rows.labels
    inputs = {name: array.floats() for name, array in request.inputs.items()}
    if request.function == "second_moment":
        first, second = np.triu_indices(columns.width)
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        x = x * np.minimum(1, plan.descent.row_norm / norms)
        return x[:, first] * x[:, second] * np.where(first == second, 1, math.sqrt(2)) / plan.descent.row_norm**2
    weights = columns.split(inputs["weights"])
    if request.function == "gradient":
        parts = []
        for k, (where, w, matrix) in enumerate(
            zip(columns.heads, weights, columns.split_square(inputs["whitening"]), strict=True)
        ):
            own = x[:, list(where)]
            gradient = ((1 / (1 + np.exp(-own @ w))) - y[:, k])[:, None] * (own @ matrix)
            clip = inputs["clips"][k]
            norms = np.linalg.norm(gradient, axis=1, keepdims=True)
            parts.append(gradient / clip * np.minimum(1, clip / np.maximum(norms, 1e-12)))
        return np.concatenate(parts, axis=1)
    cells = np.zeros((x.shape[0], len(weights), 2, plan.histogram.bins))
    for k, (where, w) in enumerate(zip(columns.heads, weights, strict=True)):
        edges = bin_edges(plan, float(inputs["center"][k]), float(inputs["spread"][k]))
        place = (x[:, list(where)] @ w)[:, None] >= edges
        rule = columns.eligible[k]
        counted = np.arange(x.shape[0]) if rule is None else np.flatnonzero(x[:, rule] >= 1)
        cells[counted, k, y[counted, k].astype(int), place.sum(axis=1)[counted]] = 1
    return cells.reshape(x.shape[0], -1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one borough sends for one release."""

    borough: PartyId
    envelope: Envelope
    vector: bytes

    @property
    def statement(self) -> Statement:
        """The signed statement, unverified."""
        return self.envelope.document(Statement)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One release from request to published sum; signed, not logged."""

    request: ReleaseRequest
    tag_seed: Digest
    answers: tuple[Answer, ...]
    mask_sum: bytes
    receipt: Receipt
    release: Release


@dataclass(frozen=True, slots=True)
class RaisedFlag:
    """A flag with its sealed parts."""

    sealed: SealedFlag
    ciphertext: bytes
    shares: tuple[bytes, ...]
    identity: bytes

    @property
    def header(self) -> FlagHeader:
        """The flag's header."""
        return self.sealed.header


SIGNERS: dict[str, Role] = {
    "receipt": "unmasker",
    "burn": "coordinator",
    "closure": "unmasker",
    "catalogue": "coordinator",
    "release": "coordinator",
}
"""Kinds that one party signs; rosters, plans and policies are signed by the quorum."""


def ledger(borough: PartyId, length: int, *, edited: int | None = None) -> dict[str, Any]:
    """Return a statement's fields about a ledger of this many rows; in an edited one, one row is another."""
    head, rows = GENESIS, []
    for number in range(1, length + 1):
        rows.append(digest_of(f"{borough} row {number}{' edited' if number == edited else ''}".encode()))
        head = chain(head, rows[-1])
    return {"ledger_head": head, "ledger_length": length, "ledger_rows": tuple(rows)}


class Federation:
    """Every party of a small force, their records, and the coordinator's log."""

    def __init__(
        self,
        *,
        boroughs: int = 6,
        custodians: int = 3,
        witnesses: int = 3,
        approval_threshold: int = 2,
        budget_rho: float = BUDGET_RHO,
        noise: float = 1.0,
        seed: int = 20260105,
    ) -> None:
        """Make keys, the first roster, the catalogue and records; nothing is logged yet.

        Args:
            noise: Factor on the plan's noise; 0 gives exact sums.
            seed: Of records and noise.
        """
        self.clock = FixedClock(START)
        self.boroughs = tuple(f"borough-{place}" for place in range(1, boroughs + 1))
        self.custodians = tuple(f"custodian-{place}" for place in range(1, custodians + 1))
        self.witnesses = tuple(f"witness-{place}" for place in range(1, witnesses + 1))
        self._noise = noise
        self._random = np.random.default_rng(seed)
        self.approval_threshold = approval_threshold
        self.budget_rho = budget_rho
        self.roster = self.first_roster()
        self.catalogue = catalogue()
        self.records = {name: self._records() for name in self.boroughs}
        self.history = History(genesis=self.roster.digest())
        self.logged: list[LoggedLeaf] = []

    # --- roster -------------------------------------------------------------------------------------------------

    def parties(self) -> tuple[Party, ...]:
        """Return every party of the force."""
        roles: dict[str, Role] = {"coordinator": "coordinator", "unmasker": "unmasker"}
        roles |= dict.fromkeys(self.boroughs, "borough")
        roles |= dict.fromkeys(self.custodians, "custodian")
        roles |= dict.fromkeys(self.witnesses, "witness")
        roles |= {"issuer": "issuer", "investigator": "investigator", "auditor": "auditor"}
        return tuple(party(name, role) for name, role in roles.items())

    def first_roster(self, **changes: Any) -> Roster:
        """Return version 1 of the roster."""
        fields: dict[str, Any] = {
            "force": FORCE,
            "version": 1,
            "previous": None,
            "valid_from": START,
            "epoch": 1,
            "epoch_until": START + timedelta(days=730),
            "approval_threshold": self.approval_threshold,
            "parties": self.parties(),
            "budgets": (Budget(purpose=PURPOSE, rho=self.budget_rho),),
        }
        return Roster(**(fields | changes))

    def next_roster(self, **changes: Any) -> Roster:
        """Return the version after the current one."""
        fields = {name: getattr(self.roster, name) for name in Roster.model_fields}
        fields |= {"version": self.roster.version + 1, "previous": self.roster.digest()}
        return Roster(**(fields | changes))

    def sign(self, document: Document, *names: str) -> Envelope:
        """Return the document signed by these parties."""
        return sign(document, *(signing_key(name) for name in names))

    def quorum(self) -> tuple[str, ...]:
        """Return just enough custodians."""
        return self.custodians[: self.approval_threshold]

    # --- the log ------------------------------------------------------------------------------------------------

    def log(self, kind: str, document: Document, *signers: str) -> int:
        """Sign (by the party or quorum that the kind needs, unless told otherwise), log, and return the index."""
        if not signers:
            signers = (SIGNERS[kind],) if kind in SIGNERS else self._case_signer(kind, document)
        return self.log_envelope(kind, self.sign(document, *signers))

    def log_envelope(self, kind: str, envelope: Envelope) -> int:
        """Log a signed document. Raises: the rule that it breaks."""
        logged = leaf_for(kind, envelope, now=self.clock.now())
        index = self.history.apply(logged.leaf)
        self.logged.append(logged)
        if kind == "roster":
            self.roster = self.history.public.roster
        return index

    def _case_signer(self, kind: str, document: Document) -> tuple[str, ...]:
        match document:
            case SealedFlag():
                return (document.header.borough,)
            case Warrant() | Withdrawal():
                return (document.issuer,)
            case Approval():
                return (document.custodian,)
            case Opening():
                return (document.investigator,)
            case _:
                return self.quorum()

    def begin(self) -> None:
        """Log the roster and the catalogue."""
        self.log("roster", self.roster)
        self.log("catalogue", self.catalogue)

    def checkpoint(
        self, *, size: int | None = None, witnesses: Iterable[str] | None = None, history: History | None = None
    ) -> SignedCheckpoint:
        """Return a checkpoint over the first ``size`` leaves, signed by the coordinator and these witnesses."""
        tree = (history or self.history).tree
        size = tree.size if size is None else size
        origin = log_origin(FORCE)
        signed = sign_checkpoint(
            Checkpoint(origin, size, tree.root(size)), origin, private_key=signing_key("coordinator").private
        )
        for name in self.witnesses if witnesses is None else witnesses:
            signed = cosign(
                signed, name, private_key=signing_key(name).private, time_seconds=int(self.clock.now().timestamp())
            )
        return signed

    # --- plans --------------------------------------------------------------------------------------------------

    def plan(
        self,
        plan_number: int = 1,
        *,
        privacy: Privacy = PRIVACY,
        descent: Descent = DESCENT,
        histogram: Histogram = HISTOGRAM,
        scale: int = SCALE,
        categories: tuple[str, ...] | None = None,
        **changes: Any,
    ) -> TrainingPlan:
        """Return a plan with the noise and statements that follow from its numbers; then change fields."""
        categories = categories or tuple(entry.category for entry in self.catalogue.heads)
        fields: dict[str, Any] = {
            "plan_id": number(plan_number),
            "purpose": PURPOSE,
            "roster": self.roster.digest(),
            "catalogue": self.catalogue.digest(),
            "categories": categories,
            "boroughs": tuple(Establishment(borough=name, people=PEOPLE_PER_BOROUGH) for name in self.boroughs),
            "train_from": TRAINING_CUTOFFS[0],
            "train_until": TRAINING_CUTOFFS[-1],
            "evaluation_cutoff": EVALUATION_CUTOFF,
            "privacy": privacy,
            "descent": descent,
            "histogram": histogram,
            "second_moment_of": None,
            "outcomes_of": None,
            "fairness": None,
            "capacities": tuple(Capacity(category=name, flags=FLAGS_FORCE_CAN_REVIEW) for name in categories),
            "scale": scale,
            "unmasker_key": plan_key(number(plan_number)).public,
            "reply_slot_seconds": 1.0,
            "deadline_seconds": 60.0,
            "valid_from": self.clock.now(),
            "valid_until": self.clock.now() + timedelta(days=90),
        }
        fields |= changes
        columns = columns_of(TrainingPlan.model_construct(**fields), self.catalogue)
        releases = planning.schedule(privacy=privacy, descent=descent, columns=columns, scale=scale)
        statements = planning.statements(releases, privacy=privacy, scale=scale, boroughs=len(fields["boroughs"]))
        return TrainingPlan(**({"releases": releases, "statements": statements} | fields))

    def columns(self, plan: TrainingPlan) -> Columns:
        """Return the plan's columns."""
        return columns_of(plan, self.catalogue)

    def _records(self) -> dict[int, Rows]:
        return {cutoff: self._rows(PEOPLE_PER_BOROUGH) for cutoff in (*TRAINING_CUTOFFS, EVALUATION_CUTOFF)}

    def _rows(self, people: int) -> Rows:
        random = self._random
        matrix = np.column_stack(
            [
                np.ones(people),
                np.minimum(np.log1p(random.poisson(2.0, people)), 3.0),
                np.clip(random.normal(size=people), -3, 3),
                random.random(people) < 0.3,
            ]
        ).astype(np.float64)
        odds = np.column_stack([matrix @ np.array(TRUE_WEIGHTS[0]), matrix[:, [0, 1, 3]] @ np.array(TRUE_WEIGHTS[1])])
        return Rows(matrix, (random.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(np.float64))

    def rows(self, borough: PartyId, plan: TrainingPlan, spec: ReleaseSpec) -> Rows:
        """Return the rows that a borough reads for a release."""
        if spec.function == "evaluation":
            return self.records[borough][plan.evaluation_cutoff]
        parts = [self.records[borough][cutoff] for cutoff in range(plan.train_from, plan.train_until + 1)]
        return Rows(np.concatenate([part.matrix for part in parts]), np.concatenate([part.labels for part in parts]))

    # --- one private sum ----------------------------------------------------------------------------------------

    def next_spec(self, plan: TrainingPlan) -> ReleaseSpec:
        """Return the first entry of a logged plan that is not published."""
        return plan.releases[len(self.history.public.plan(plan.digest()).releases)]

    def ask(self, plan: TrainingPlan, /, **changes: Any) -> tuple[ReleaseRequest, Digest]:
        """Return the next request of a logged plan and its tag seed."""
        record, spec = self.history.public.plan(plan.digest()), self.next_spec(plan)
        index = record.next_index
        seed = digest_of(f"tag seed {plan.plan_id} {index}".encode())
        inputs = next_inputs(record.run)
        fields: dict[str, Any] = {
            "roster": self.roster.digest(),
            "plan": plan.digest(),
            "index": index,
            "function": spec.function,
            "length": spec.length,
            "inputs": {name: Array.of(values) for name, values in inputs.items()},
            "tag_commitment": tags.commit(seed),
        }
        return ReleaseRequest(**(fields | changes)), seed

    def encoded(self, borough: PartyId, plan: TrainingPlan, request: ReleaseRequest) -> Int64Array:
        """Return a borough's noised integer sum, unmasked."""
        spec = self.next_spec(plan)
        block = vector_rows(plan, self.columns(plan), request, self.rows(borough, plan, spec))
        total = quantised_sum(
            [block],
            length=spec.length,
            l2=spec.l2,
            scale=plan.scale,
            rows_per_person=planning.rows_per_person(spec, plan.privacy),
        )
        sigma = self._noise * planning.local_sigma_ring(plan, spec)
        return total + np.rint(self._random.normal(scale=sigma, size=spec.length)).astype(np.int64)

    def answer(
        self,
        borough: PartyId,
        plan: TrainingPlan,
        request: ReleaseRequest,
        tag_seed: Digest,
        /,
        *,
        values: Int64Array | None = None,
        signer: str | None = None,
        **changes: Any,
    ) -> Answer:
        """Return a borough's answer; ``values`` replaces its honest sum, ``changes`` lie in the statement."""
        masked = mask_contribution(
            self.encoded(borough, plan, request) if values is None else values,
            request=request.digest(),
            tag_seed=tag_seed,
            borough=borough,
            unmasker_key=plan.unmasker_key,
        )
        fields: dict[str, Any] = {
            "borough": borough,
            "plan": plan.digest(),
            "index": request.index,
            "request": request.digest(),
            "public_key": masked.public_key,
            "vector": digest_of(masked.vector),
        }
        fields |= ledger(borough, request.index + 1)
        statement = Statement(**(fields | changes))
        return Answer(borough, self.sign(statement, signer or borough), masked.vector)

    def mask_sum(self, plan: TrainingPlan, request: ReleaseRequest, answers: Sequence[Answer]) -> bytes:
        """Return what the unmasker computes for these statements."""
        statements = [answer.statement for answer in answers]
        return masks.vector_bytes(sum_of_masks(statements, key=plan_key(plan.plan_id), length=request.length))

    def receipt(
        self, plan: TrainingPlan, request: ReleaseRequest, answers: Sequence[Answer], /, **changes: Any
    ) -> Receipt:
        """Return the unmasker's receipt for these statements."""
        fields: dict[str, Any] = {
            "plan": plan.digest(),
            "index": request.index,
            "request": request.digest(),
            "statements": tuple(answer.envelope.encode().decode() for answer in answers),
            "mask_sum": digest_of(self.mask_sum(plan, request, answers)),
        }
        return Receipt(**(fields | changes))

    def exchange(
        self,
        plan: TrainingPlan,
        /,
        *,
        answering: Sequence[PartyId] | None = None,
        request_changes: Mapping[str, Any] | None = None,
        receipt_changes: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Exchange:
        """Return the next release of a logged plan, from request to sum; ``changes`` lie in the release."""
        request, seed = self.ask(plan, **(request_changes or {}))
        names = sorted(self.boroughs if answering is None else answering)
        answers = tuple(self.answer(name, plan, request, seed) for name in names)
        mask_sum = self.mask_sum(plan, request, answers)
        receipt = self.receipt(plan, request, answers, **(receipt_changes or {}))
        sums = reveal_sum(
            masked_sum(answer.vector for answer in answers),
            mask_sum,
            spec=self.next_spec(plan),
            plan=plan,
            tag_seed=seed,
        )
        fields: dict[str, Any] = {
            "request": request,
            "tag_seed": seed,
            "receipt": receipt.digest(),
            "boroughs": tuple(names),
            "sums": Array.of(sums),
        }
        return Exchange(request, seed, answers, mask_sum, receipt, Release(**(fields | changes)))

    def release_next(self, plan: TrainingPlan, **arguments: Any) -> Exchange:
        """Log the receipt and the release of the next index and return both; arguments as ``exchange``."""
        exchange = self.exchange(plan, **arguments)
        self.log("receipt", exchange.receipt)
        self.log("release", exchange.release)
        return exchange

    def run(self, plan: TrainingPlan, *, answering: Sequence[PartyId] | None = None) -> PlanRecord:
        """Log a plan, all its releases and its closure; return its record."""
        self.log("plan", plan)
        for _ in plan.releases:
            self.release_next(plan, answering=answering)
        self.log("closure", self.closure(plan))
        return self.history.public.plan(plan.digest())

    def burn(self, plan: TrainingPlan, receipt: Receipt, /, **changes: Any) -> Burn:
        """Return the coordinator's word that the sum of a receipt failed its checks."""
        fields: dict[str, Any] = {"plan": plan.digest(), "index": receipt.index, "receipt": receipt.digest()}
        return Burn(**(fields | changes))

    def closure(self, plan: TrainingPlan, /, **changes: Any) -> Closure:
        """Return the unmasker's word that the plan's key is gone."""
        fields: dict[str, Any] = {
            "plan": plan.digest(),
            "unmasker_key": plan.unmasker_key,
            "closed_at": self.clock.now(),
        }
        return Closure(**(fields | changes))

    # --- from a model to a name ---------------------------------------------------------------------------------

    def policy(self, record: PlanRecord, /, **changes: Any) -> FlagPolicy:
        """Return the policy that a finished plan implies."""
        fields: dict[str, Any] = {
            "policy_id": number(1000),
            "roster": self.roster.digest(),
            "plan": record.plan.digest(),
            "model": record.model().digest(),
            "scoring_cutoff": record.plan.evaluation_cutoff,
            "rules": tuple(
                CategoryRule(
                    category=head.category,
                    threshold=threshold,
                    cap_per_borough=8,
                    stability_error=head.error,
                    minimum_band=None,
                )
                for head, threshold in zip(reliability(record.run), thresholds(record.run).values(), strict=True)
            ),
            "min_population": 20,
            "max_reasons": 2,
            "retention_days": 180,
            "control_rate": 0.0,
            "waivers": (),
            "valid_from": self.clock.now(),
            "valid_until": self.clock.now() + timedelta(days=60),
        }
        return FlagPolicy(**(fields | changes))

    def flag(
        self, policy: FlagPolicy, borough: PartyId, /, *, identity: bytes = b'{"staff_number":"X-0001"}', **changes: Any
    ) -> RaisedFlag:
        """Return a sealed flag about a synthetic person; ``changes`` are for its header."""
        custodians = self.roster.deciding_custodians(borough)
        dealing = deal(threshold=self.roster.approval_threshold, custodians=len(custodians))
        fields: dict[str, Any] = {
            "flag_id": random_id(),
            "borough": borough,
            "plan": policy.plan,
            "policy": policy.digest(),
            "model": policy.model,
            "category": policy.rules[0].category,
            "pseudonym": digest_of(b"pseudonym " + identity),
            "score_band": "high",
            "stability_band": "medium",
            "reasons": ("entries_amended",),
            "raised_on": self.clock.now().strftime("%Y-%m-%d"),
            "retain_until": self.clock.now() + timedelta(days=policy.retention_days),
            "roster_version": self.roster.version,
            "epoch": self.roster.epoch,
            "threshold": self.roster.approval_threshold,
            "custodians": tuple(one.id for one in custodians),
            "key_commitment": dealing.key_commitment,
            "share_commitments": dealing.share_commitments,
        }
        header = FlagHeader(**(fields | changes))
        ciphertext = seal_identity(dealing, identity, header_digest=header.digest())
        shares = tuple(
            seal_share(share, HPKEPublicKey.decode(bytes.fromhex(one.hpke_key or "")), share_context(header, one.id))
            for one, share in zip(custodians, dealing.shares, strict=True)
        )
        sealed = SealedFlag(
            header=header, ciphertext=digest_of(ciphertext), sealed_shares=tuple(digest_of(share) for share in shares)
        )
        return RaisedFlag(sealed, ciphertext, shares, identity)

    def warrant(self, flags: Sequence[RaisedFlag], /, **changes: Any) -> Warrant:
        """Return a warrant for these flags, valid from now for 30 days; changes as ``warrant_for``."""
        named = (WarrantFlag(flag_id=one.header.flag_id, header=one.header.digest()) for one in flags)
        return self.warrant_for(tuple(named), **changes)

    def warrant_for(self, named: tuple[WarrantFlag, ...], /, *, warrant_number: int = 2000, **changes: Any) -> Warrant:
        """Return a warrant that names flags by id and header."""
        text = "Synthetic text for a test, long enough."
        fields: dict[str, Any] = {
            "warrant_id": number(warrant_number),
            "issuer": "issuer",
            "investigator": "investigator",
            "flags": named,
            "purpose": text,
            "regime": "DPA 2018 Part 3",
            "legal_basis": text,
            "necessity": text,
            "proportionality": text,
            "recipient_key": recipient_key(warrant_number).public_key().encode().hex(),
            "issued_at": self.clock.now(),
            "valid_from": self.clock.now(),
            "valid_until": self.clock.now() + timedelta(days=30),
            "disclosure_on": self.clock.now() + timedelta(days=365),
        }
        return Warrant(**(fields | changes))

    def withdrawal(self, warrant: Warrant, /, **changes: Any) -> Withdrawal:
        """Return the issuer's withdrawal."""
        fields: dict[str, Any] = {
            "warrant": warrant.digest(),
            "issuer": warrant.issuer,
            "reason": "Synthetic reason for a test.",
            "withdrawn_at": self.clock.now(),
        }
        return Withdrawal(**(fields | changes))

    def decision(
        self, warrant: Warrant, flag: RaisedFlag, custodian: PartyId, /, *, approve: bool = True, **changes: Any
    ) -> Approval:
        """Return a custodian's decision; an approval carries the share, sealed again to the recipient."""
        header, index = flag.header, flag.header.custodians.index(custodian) + 1
        resealed = None
        if approve:
            share = open_share(
                flag.shares[index - 1],
                envelope_key(custodian),
                share_context(header, custodian),
                commitment=header.share_commitments[index - 1],
            )
            context = ReleaseContext(warrant.digest(), header.digest(), custodian, index, self.roster.version)
            resealed = reseal_share(share, HPKEPublicKey.decode(bytes.fromhex(warrant.recipient_key)), context).hex()
        fields: dict[str, Any] = {
            "warrant": warrant.digest(),
            "flag_id": header.flag_id,
            "header": header.digest(),
            "custodian": custodian,
            "roster_version": self.roster.version,
            "decision": "approve" if approve else "refuse",
            "reasons": "Synthetic reasons for a test.",
            "share_index": index,
            "sealed_share": resealed,
            "decided_at": self.clock.now(),
        }
        return Approval(**(fields | changes))

    def opening(self, warrant: Warrant, flag: RaisedFlag, approvals: Sequence[Approval], /, **changes: Any) -> Opening:
        """Return the investigator's opening of one flag."""
        fields: dict[str, Any] = {
            "warrant": warrant.digest(),
            "flag_id": flag.header.flag_id,
            "header": flag.header.digest(),
            "investigator": warrant.investigator,
            "approvals": tuple(approval.digest() for approval in approvals),
            "opened_at": self.clock.now(),
        }
        return Opening(**(fields | changes))


def party(name: PartyId, role: Role, /, **changes: Any) -> Party:
    """Return a roster entry with the keys that belong to this name."""
    fields: dict[str, Any] = {
        "id": name,
        "role": role,
        "signing_key": signing_key(name).public,
        "tls_key": digest_of(f"tls {name}".encode()),
        "hpke_key": envelope_key(name).public_key().encode().hex() if role == "custodian" else None,
        "conflicts": (),
    }
    return Party(**(fields | changes))


def share_context(header: FlagHeader, custodian: PartyId) -> ShareContext:
    """Return where a custodian's share of a flag belongs."""
    index = header.custodians.index(custodian) + 1
    return ShareContext(header.digest(), custodian, index, header.roster_version, header.epoch)


@cache
def recipient_key(warrant_number: int) -> HPKEPrivateKey:
    """Return the investigator's key for one warrant."""
    return envelope_key(f"recipient {warrant_number}")


def low_order_points() -> tuple[HexKey, ...]:
    """Return X25519 public keys that agree on zero with everybody (RFC 7748 section 6.1; Bernstein's list)."""
    return (
        bytes(32).hex(),
        (1).to_bytes(32, "little").hex(),
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        (2**255 - 20).to_bytes(32, "little").hex(),
        (2**255 - 19).to_bytes(32, "little").hex(),
        (2**255 - 18).to_bytes(32, "little").hex(),
    )
