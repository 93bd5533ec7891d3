"""What a borough's charges add up to, as its operator and a data-protection officer read them.

Rules this module keeps: the window is the one that the gate refuses by (``Ledger.spent``); a delta is given by whoever
asks for an epsilon and has no default; flags are counted apart, because they are outside epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from borough_node.ledger.chain import Charge, LedgerEntry, charges_of, instant_text, total_rho, window_start
from protocol.aggregation.accounting import epsilon_of
from protocol.aggregation.planning import DELTA_RESERVE
from protocol.errors import ConfigurationError
from protocol.history.public import BUDGET_WINDOW
from protocol.ids import Digest


@dataclass(frozen=True, slots=True)
class Loss:
    """What may be learnt of a person whose rows are in every plan of the window.

    Against whoever sees the released sums and has the help of as many boroughs as the plans tolerate. ``epsilon`` is
    None where no delta was given; like a plan's own it leaves a thousandth of delta to what is numerical.
    """

    mu: float
    epsilon: float | None
    delta: float | None


@dataclass(frozen=True, slots=True)
class PlanSpend:
    """What one plan was charged within the window."""

    plan: Digest
    releases: int
    rho: float


@dataclass(frozen=True, slots=True)
class Return:
    """The earliest charge that leaves the window: from ``at`` on, ``rho`` may be spent again."""

    at: str
    rho: float


@dataclass(frozen=True, slots=True)
class PurposeAccount:
    """One purpose's budget; ``remaining_rho`` is negative after a budget was lowered below what is spent."""

    purpose: str
    budget_rho: float
    spent_rho: float
    remaining_rho: float
    next_return: Return | None
    plans: tuple[PlanSpend, ...]
    person: Loss


@dataclass(frozen=True, slots=True)
class Raising:
    """The flags of one policy, counted; they are disclosures and in no budget."""

    policy: Digest
    flags: int
    at: str


@dataclass(frozen=True, slots=True)
class Account:
    """A ledger at one instant. What was charged after ``window_from`` counts."""

    now: str
    window_from: str
    purposes: tuple[PurposeAccount, ...]
    person: Loss
    """In every plan of every purpose listed."""
    raised: tuple[Raising, ...]


def account_of(
    entries: Iterable[LedgerEntry],
    *,
    budgets: Mapping[str, float],
    now: datetime,
    delta: float | None,
    purpose: str | None = None,
) -> Account:
    """Return what the rows add up to.

    Args:
        budgets: rho by purpose, from the roster; a purpose that was charged and is not in it has a budget of 0.
        delta: Of every epsilon, strictly between 0 and 1; without it there are none.
        purpose: The only one to account for; all of them if None.
    Raises: ConfigurationError if delta is out of range.
    """
    if delta is not None and not 0.0 < delta < 1.0:
        raise ConfigurationError(f"delta: {delta} is not strictly between 0 and 1")
    listed = tuple(entries)
    charged = charges_of(listed)
    names = sorted(set(budgets) | {charge.purpose for charge in charged}) if purpose is None else [purpose]
    since = window_start(now)
    windows = {name: [charge for charge in charged if charge.purpose == name and charge.at > since] for name in names}
    return Account(
        now=instant_text(now),
        window_from=since,
        purposes=tuple(
            _purpose_account(name, window, budget=budgets.get(name, 0.0), delta=delta)
            for name, window in windows.items()
        ),
        person=_loss([charge for window in windows.values() for charge in window], delta),
        raised=tuple(
            Raising(entry.content["policy"], entry.content["count"], entry.content["at"])
            for entry in listed
            if entry.content["kind"] == "flags"
        ),
    )


def _purpose_account(purpose: str, window: list[Charge], *, budget: float, delta: float | None) -> PurposeAccount:
    spent = total_rho(window)
    plans = dict.fromkeys(charge.plan for charge in window)
    by_plan = {plan: [charge for charge in window if charge.plan == plan] for plan in plans}
    earliest = min((charge.at for charge in window), default=None)
    return PurposeAccount(
        purpose=purpose,
        budget_rho=budget,
        spent_rho=spent,
        remaining_rho=budget - spent,
        next_return=None
        if earliest is None
        else Return(_leaves_at(earliest), total_rho([charge for charge in window if charge.at == earliest])),
        plans=tuple(PlanSpend(plan, len(charges), total_rho(charges)) for plan, charges in by_plan.items()),
        person=_loss(window, delta),
    )


def _loss(charges: list[Charge], delta: float | None) -> Loss:
    mu = math.sqrt(2.0 * total_rho(charges))
    return Loss(mu, None if delta is None else epsilon_of(mu=mu, delta=delta * (1 - DELTA_RESERVE)), delta)


def _leaves_at(at: str) -> str:
    """Return the first instant at which a charge made at ``at`` no longer counts."""
    return instant_text(datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) + BUDGET_WINDOW)
