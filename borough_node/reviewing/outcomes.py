"""What the reviews of a policy put into a plan's release of outcomes, and who among the reviewed was flagged.

Nothing stores who was flagged beside who was reviewed: the two meet here, by pseudonym, while a vector is made.
"""

from __future__ import annotations

import numpy as np

from borough_node.features.cohort import Cohort
from borough_node.ledger import Ledger
from borough_node.ledger.reviews import Reviews
from protocol.documents.flags import FlagHeader, SealedFlag
from protocol.history.public import PlanRecord
from protocol.ids import Digest, Name, PartyId
from protocol.sealing.pseudonym import pseudonym
from protocol.signing.dsse import Envelope

FLAGGED_SUBSTANTIATED, FLAGGED_NOT, CONTROL_SUBSTANTIATED, CONTROL_NOT = range(4)
"""Cells of a head, in the order of ``protocol.scorecard.columns.OUTCOME_CELLS``."""


def raised_headers(ledger: Ledger, policy: Digest) -> tuple[FlagHeader, ...]:
    """Return the headers of the flags that this borough raised under a policy; none if it never did."""
    return tuple(Envelope.decode(flag.envelope).document(SealedFlag).header for flag in ledger.flags(policy) or ())


def reviewed_cohort(
    record: PlanRecord, *, borough: PartyId, scored: Digest, reviews: Reviews, ledger: Ledger
) -> Cohort:
    """Return one row a person with a finished review under the policy that the plan counts.

    Args:
        record: The plan that counts outcomes.
        scored: The plan of that policy, by whose key its flags are pseudonymised.
    """
    plan, width = record.plan, record.run.columns.width
    place = {category: head for head, category in enumerate(plan.categories)}
    finished = [one for one in reviews.finished() if one.policy == plan.outcomes_of and one.category in place]
    persons = sorted({one.person for one in finished})
    row = {person: number for number, person in enumerate(persons)}
    flagged: set[tuple[Name, Digest]] = set()
    if plan.outcomes_of is not None:
        flagged = {(header.category, header.pseudonym) for header in raised_headers(ledger, plan.outcomes_of)}
    key = ledger.pseudonym_key(scored)
    cells = np.full((len(persons), len(place)), -1, dtype=np.int64)
    for one in finished:
        known_as = pseudonym(key, borough=borough, plan_digest=scored, person=one.person)
        was_flagged, found = (
            (one.category, known_as) in flagged,
            one.outcome is not None and one.outcome.is_substantiated,
        )
        cells[row[one.person], place[one.category]] = (
            (FLAGGED_SUBSTANTIATED if found else FLAGGED_NOT)
            if was_flagged
            else (CONTROL_SUBSTANTIATED if found else CONTROL_NOT)
        )
    return Cohort(
        rows=np.zeros((len(persons), width)),
        labels=np.zeros((len(persons), len(place))),
        persons=np.array(persons, dtype=object),
        groups=np.zeros((len(persons), 0), dtype=np.int64),
        outcomes=cells,
    )
