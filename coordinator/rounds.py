"""One plan, release by release: ask, fix the set, commit, log, reveal, check, publish. Every step survives a kill.

Rules this module keeps: a request is made once and resent unchanged; the set of boroughs is fixed on disk before the
unmasker hears of it; a sum that fails its checks burns its index, in the log, and a spare takes its place if the plan
has one; a vector is added up when it arrives, and what is stored of the set is its sum; replies and masked sum are
deleted once the sum is published or burnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from coordinator.log.appender import Appender
from coordinator.store.runs import Round, Runs
from protocol.aggregation import masks, tags
from protocol.aggregation.exchange import reveal_sum
from protocol.documents.arrays import Array
from protocol.documents.plan import Burn, Closure, Receipt, Release, ReleaseRequest, Statement, TrainingPlan
from protocol.errors import (
    CohortTooSmall,
    Expired,
    ModelMismatch,
    ProtocolError,
    ShapeMismatch,
    SparesSpent,
    StateError,
    SumInvalid,
)
from protocol.history.public import PlanRecord
from protocol.ids import Digest, PartyId, digest_of
from protocol.log.note import SignedCheckpoint
from protocol.scorecard.inputs import next_inputs
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey
from protocol.signing.quorum import verify_signed_by_role


@dataclass(frozen=True, slots=True)
class Reply:
    """What one borough sent: a signed statement and the masked vector that it speaks of."""

    statement: bytes
    vector: bytes | memoryview


Ask = Callable[[TrainingPlan, int, bytes, Digest], Iterable[tuple[PartyId, Reply]]]
"""Sends (plan, index, request, tag seed) to the boroughs and yields what each answers, until all have or the deadline.

Whoever iterates keeps no reply: with many boroughs and long vectors they do not fit into memory together.
"""


@dataclass(frozen=True, slots=True)
class UnmaskerClient:
    """The unmasker's calls, as functions."""

    commit: Callable[[bytes, Sequence[bytes]], bytes]
    reveal: Callable[[Digest, int], bytes]
    close: Callable[[Digest], bytes]


class PlanRunner:
    """Runs approved plans to their end, from wherever they stand."""

    def __init__(
        self,
        *,
        appender: Appender,
        publish: Callable[[], SignedCheckpoint],
        runs: Runs,
        unmasker: UnmaskerClient,
        key: SigningKey,
        report: Callable[[str, str], None],
    ) -> None:
        self._appender = appender
        self._publish = publish
        self._runs = runs
        self._unmasker = unmasker
        self._key = key
        self._report = report

    def _record(self, plan: Digest) -> PlanRecord:
        return self._appender.history.public.plan(plan)

    def run(self, plan: Digest, ask: Ask, *, forget: Callable[[int], None]) -> None:
        """Publish every release that is still missing, then have the plan's key destroyed.

        Args:
            forget: Deletes the replies to one index.
        Raises: CohortTooSmall if too few boroughs answered in time (call again to ask again); SumInvalid or SparesSpent
            if more indices are burnt than the plan has spares, Expired if the plan ended, all three after the plan is
            closed; what the unmasker refuses.
        """
        self._publish()
        for index in range(self._record(plan).next_index):
            # A kill between publishing and deleting left these behind.
            self._forget(plan, index, forget)
        while not (record := self._record(plan)).complete:
            index = record.next_index
            try:
                self._appender.history.public.require_live(record, now=self._appender.now())
                record.require_spare()
                self._release(plan, index, ask)
            except SumInvalid as error:
                self._forget(plan, index, forget)
                if not self._record(plan).has_spare:
                    self._close(plan)
                    raise
                self._report(error.code, f"plan {plan[:16]}, {error.detail}: a spare takes its place")
            except (SparesSpent, Expired):
                # The plan cannot go on; its key must not outlive it.
                self._forget(plan, index, forget)
                self._close(plan)
                raise
            self._forget(plan, index, forget)
        self._close(plan)

    def _close(self, plan: Digest) -> None:
        if not self._record(plan).closed:
            closure = Envelope.decode(self._unmasker.close(plan))
            verify_signed_by_role(closure, Closure, self._appender.history.public.roster, "unmasker")
            self._appender.append("closure", closure)
        self._publish()

    def _forget(self, plan: Digest, index: int, forget: Callable[[int], None]) -> None:
        forget(index)
        self._runs.forget_sum(plan, index)

    def _release(self, plan: Digest, index: int, ask: Ask) -> None:
        current = self._round(plan, index)
        if current.burnt is not None:
            # A kill came between the database's word and the log's.
            self._burn(plan, index, current.burnt)
        if current.statements is None:
            current = self._fix_set(plan, index, current, ask)
        receipt, statements = self._receipt(plan, index, current)
        mask_sum = self._unmasker.reveal(plan, index)
        try:
            release = self._unmask(plan, index, current, receipt, statements, mask_sum)
        except (SumInvalid, ShapeMismatch) as error:
            self._runs.burn(plan, index, reason=error.code)
            self._burn(plan, index, error.detail)
        self._appender.append("release", sign(release, self._key))
        self._publish()

    def _burn(self, plan: Digest, index: int, reason: str) -> NoReturn:
        receipt, _ = self._record(plan).receipts[index]
        self._appender.append("burn", sign(Burn(plan=plan, index=index, receipt=receipt.digest()), self._key))
        self._publish()
        raise SumInvalid(f"index {index} is burnt: {reason}")

    def _round(self, plan: Digest, index: int) -> Round:
        stored = self._runs.get(plan, index)
        if stored is None:
            record = self._record(plan)
            spec, seed = record.plan.releases[len(record.releases)], tags.new_seed()
            inputs = next_inputs(record.run)
            request = ReleaseRequest(
                roster=record.roster.digest(),
                plan=plan,
                index=index,
                function=spec.function,
                length=spec.length,
                inputs={name: Array.of(values) for name, values in inputs.items()},
                tag_commitment=tags.commit(seed),
            )
            self._runs.begin(plan, index, request=request.encode(), tag_seed=seed)
            stored = self._runs.get(plan, index)
        if stored is None:
            raise StateError("a round vanished while it was stored")
        return stored

    def _fix_set(self, plan: Digest, index: int, current: Round, ask: Ask) -> Round:
        record = self._record(plan)
        request = ReleaseRequest.decode(current.request)
        total = np.zeros(request.length + tags.TAGS, dtype=np.uint64)
        statements: dict[PartyId, str] = {}
        for borough, reply in ask(record.plan, index, current.request, current.tag_seed):
            try:
                statement = self._checked(borough, reply.statement, request)
                masks.add_vector(reply.vector, total, digest=statement.vector)
            except ProtocolError as error:
                # A borough that sends nonsense is left out, attributably, and does not stop the others.
                self._report(error.code, f"borough {borough}: {error.detail}")
                continue
            statements[borough] = reply.statement.decode()
        if len(statements) < record.plan.privacy.min_boroughs:
            raise CohortTooSmall(
                f"{len(statements)} of {record.plan.privacy.min_boroughs} boroughs answered index {index}"
            )
        self._runs.fix(plan, index, statements=statements, masked_sum=masks.vector_bytes(total))
        fixed = self._runs.get(plan, index)
        if fixed is None:
            raise StateError("a round vanished while it was stored")
        return fixed

    def _checked(self, borough: PartyId, text: bytes, request: ReleaseRequest) -> Statement:
        public = self._appender.history.public
        statement, signer = verify_signed_by_role(Envelope.decode(text), Statement, public.roster, "borough")
        if signer.id != borough or statement.request != request.digest():
            raise ModelMismatch("the statement is by another borough or about another request")
        public.ledgers.check([statement], public.roster)
        return statement

    def _receipt(self, plan: Digest, index: int, current: Round) -> tuple[Receipt, tuple[Statement, ...]]:
        """Return the logged receipt with its statements, which are then checked: by the log's rules."""
        record = self._record(plan)
        if index not in record.receipts:
            statements = [text.encode() for _, text in sorted((current.statements or {}).items())]
            envelope = Envelope.decode(self._unmasker.commit(current.request, statements))
            self._appender.append("receipt", envelope)
        self._publish()
        return self._record(plan).receipts[index]

    def _unmask(
        self,
        plan: Digest,
        index: int,
        current: Round,
        receipt: Receipt,
        statements: tuple[Statement, ...],
        mask_sum: bytes,
    ) -> Release:
        record = self._record(plan)
        if digest_of(mask_sum) != receipt.mask_sum:
            raise SumInvalid("the mask sum is not the one in the unmasker's receipt")
        request = ReleaseRequest.decode(current.request)
        fixed, masked_sum = current.statements or {}, self._runs.masked_sum(plan, index)
        same = receipt.statements == tuple(fixed[borough] for borough in sorted(fixed))
        if receipt.request != request.digest() or not same or masked_sum is None:
            raise SumInvalid("the receipt speaks of another request or other statements than those of the set")
        sums = reveal_sum(
            masked_sum, mask_sum, spec=record.check_request(request), plan=record.plan, tag_seed=current.tag_seed
        )
        return Release(
            request=request,
            tag_seed=current.tag_seed,
            receipt=receipt.digest(),
            boroughs=tuple(statement.borough for statement in statements),
            sums=Array.of(sums),
        )
