"""Looking at one explanation: check the request, write the journal, and only then compute and show."""

from __future__ import annotations

import numpy as np

from borough_node.explaining.explanation import Explanation, explain
from borough_node.explaining.request import Operators, verify_agreed
from borough_node.ledger import Ledger
from borough_node.ledger.chain import instant_text
from borough_node.ledger.journal import Consultation, Journal
from borough_node.records import Records
from protocol.clock import Clock
from protocol.errors import ExplanationOutOfPolicy, PersonNotScored
from protocol.history.public import PublicRecord
from protocol.ids import PartyId, key_id
from protocol.sealing.pseudonym import pseudonym
from protocol.signing.dsse import Envelope


class Consulting:
    """What answers an agreed request inside a borough. Reads a copy of the log: nothing is asked of anybody."""

    def __init__(
        self,
        *,
        borough: PartyId,
        operators: Operators,
        public: PublicRecord,
        records: Records,
        ledger: Ledger,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._borough = borough
        self._operators = operators
        self._public = public
        self._records = records
        self._ledger = ledger
        self._journal = journal
        self._clock = clock

    def show(self, envelope: Envelope) -> Explanation:
        """Return the explanation that two operators asked for; the journal has its row before.

        Raises: what ``verify_agreed`` refuses; ExplanationOutOfPolicy, PersonNotScored, ExplanationReplayed, TableInvalid.
        """
        now = self._clock.now()
        agreed = verify_agreed(envelope, self._operators, now=now)
        request = agreed.request
        if request.borough != self._borough:
            raise ExplanationOutOfPolicy(f"the request is for {request.borough}, this is {self._borough}")
        if request.policy not in self._public.policies:
            raise ExplanationOutOfPolicy("the log holds no approved policy of this digest")
        policy = self._public.policy(request.policy)
        record = self._public.plan(policy.plan)
        if self._borough not in record.plan.borough_ids():
            raise ExplanationOutOfPolicy("this borough is not part of the policy's plan")
        if request.category not in {rule.category for rule in policy.rules}:
            raise ExplanationOutOfPolicy(f"the policy has no rule for category {request.category}")
        cutoff = policy.scoring_cutoff
        _, cohort = self._records.cohort(record.plan, record.catalogue, first_cutoff=cutoff, last_cutoff=cutoff)
        found = np.nonzero(cohort.persons == request.person)[0]
        if found.size != 1:
            raise PersonNotScored(f"the table has no such row at cutoff {cutoff}")
        self._journal.record(
            Consultation(
                at=instant_text(now),
                request=request.digest(),
                policy=request.policy,
                category=request.category,
                pseudonym=pseudonym(
                    self._ledger.pseudonym_key(policy.plan),
                    borough=self._borough,
                    plan_digest=policy.plan,
                    person=request.person,
                ),
                asked_by=request.asked_by,
                asked_key=key_id(agreed.asked_key),
                agreed_by=agreed.agreed_by,
                agreed_key=key_id(agreed.agreed_key),
                reason=request.reason,
            )
        )
        values = self._records.values(record.catalogue, person=request.person, cutoff=cutoff)
        return explain(policy, record, request.category, cohort.rows[found[0]], values)
