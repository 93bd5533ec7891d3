"""The control sample: people without a flag, drawn at random, so that the force learns what the flags miss.

Rules this module keeps: each eligible person without a flag is drawn by a coin of their own, with the policy's rate,
so that whether somebody is drawn depends on nobody else's row; each comes on the list on a day of their own, so that a
late entry is no sign of a flag; coins and days come from the operating system's source.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, timedelta

import numpy as np

from borough_node.features.cohort import Cohort
from borough_node.ledger.reviews import Selected
from protocol.documents.flags import FlagPolicy
from protocol.history.public import PlanRecord
from protocol.ids import Name

Entropy = Callable[[int], bytes]
"""Returns as many uniform bytes as it is asked for."""
COIN_BYTES = 8


def control_sample(
    policy: FlagPolicy,
    record: PlanRecord,
    cohort: Cohort,
    *,
    flagged: Collection[tuple[Name, str]],
    today: date,
    entropy: Entropy,
) -> list[Selected]:
    """Return a fresh sample.

    Args:
        cohort: The borough's rows at the policy's scoring cutoff.
        flagged: (category, person) of every flag that is raised under the policy.
    """
    sample = []
    for rule in policy.rules:
        column = record.run.columns.eligible[record.plan.categories.index(rule.category)]
        eligible = cohort.persons if column is None else cohort.persons[np.nonzero(cohort.rows[:, column] >= 1.0)[0]]
        for person in map(str, eligible.tolist()):
            if (rule.category, person) not in flagged and _is_drawn(policy.control_rate, entropy):
                day = today + timedelta(days=_below(policy.retention_days, entropy))
                sample.append(Selected(rule.category, person, day.isoformat()))
    return sample


def _is_drawn(rate: float, entropy: Entropy) -> bool:
    """Return true with probability ``rate``, to within 2**-64."""
    return int.from_bytes(entropy(COIN_BYTES), "big") < int(rate * 2 ** (8 * COIN_BYTES))


def _below(bound: int, entropy: Entropy) -> int:
    """Return a whole number from 0 and below ``bound``; no two differ in probability by more than 2**-64."""
    return int.from_bytes(entropy(COIN_BYTES), "big") % bound
