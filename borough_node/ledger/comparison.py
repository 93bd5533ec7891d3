"""The ledger beside the public log: what this borough said there is in here, and was paid for here.

A ledger that was rewritten as a whole is whole in itself; the log has seen the head and length of the true one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from borough_node.ledger.chain import Charge, charges_of, total_rho
from borough_node.ledger.store import Ledger
from protocol.aggregation.accounting import rho_of
from protocol.aggregation.planning import events, plan_rho
from protocol.documents.flags import SealedFlag
from protocol.errors import BehindLog, StorageError
from protocol.history.leaves import commitment
from protocol.history.mirror import History
from protocol.history.public import PlanRecord
from protocol.history.signers import keys_of
from protocol.ids import Digest, PartyId, digest_of
from protocol.signing.dsse import Envelope

TOLERANCE = 1e-9
"""Relative: a rho is computed from the plan again, perhaps on another machine."""


@dataclass(frozen=True, slots=True)
class PurposeTotals:
    """All charges ever made for a purpose.

    ``logged_rho`` is what the log proves of them: those whose statement it shows. ``approved_rho`` is what the logged
    plans of the purpose that name this borough may cost it together.
    """

    purpose: str
    charged_rho: float
    logged_rho: float
    approved_rho: float


@dataclass(frozen=True, slots=True)
class LogComparison:
    """What the log shows of a ledger; it exists only if nothing contradicts."""

    leaves: int
    statements: int
    """This borough's in the log: each is in the ledger, with the head and length that it carries."""
    charges_without_statement: int
    """Paid for and not in a logged sum: asked too late, left out, burnt, or newer than this copy of the log."""
    flags: int
    """This borough's in the log: each is in the ledger."""
    flags_not_logged: int
    purposes: tuple[PurposeTotals, ...]


def compare(ledger: Ledger, history: History, *, borough: PartyId) -> LogComparison:
    """Return what the log shows of a ledger.

    Raises: BehindLog if the log shows a statement or a flag that the ledger lacks, or a statement that counted other
        rows; StorageError if a charge is not what its plan costs.
    """
    entries = ledger.entries()
    charges = charges_of(entries)
    logged = _logged_statements(ledger, history, borough)
    for charge in charges:
        if charge.plan in history.public.plans:
            _check_charge(charge, history.public.plans[charge.plan], borough)
    raised, flags = _flags(ledger, history, borough)
    return LogComparison(
        leaves=history.tree.size,
        statements=len(logged),
        charges_without_statement=sum((charge.plan, charge.index) not in logged for charge in charges),
        flags=flags,
        flags_not_logged=raised - flags,
        purposes=tuple(
            PurposeTotals(
                purpose=purpose,
                charged_rho=total_rho([charge for charge in charges if charge.purpose == purpose]),
                logged_rho=total_rho(
                    [c for c in charges if c.purpose == purpose and (c.plan, c.index) in logged],
                ),
                approved_rho=math.fsum(
                    plan_rho(record.plan)
                    for record in history.public.plans.values()
                    if record.plan.purpose == purpose and borough in record.plan.borough_ids()
                ),
            )
            for purpose in sorted({charge.purpose for charge in charges})
        ),
    )


def _logged_statements(ledger: Ledger, history: History, borough: PartyId) -> set[tuple[Digest, int]]:
    found = set()
    for digest, record in history.public.plans.items():
        for index, (receipt, statements) in record.receipts.items():
            for statement, envelope in zip(statements, receipt.statements, strict=True):
                if statement.borough == borough:
                    ledger.require_answered(digest, index, digest_of(envelope.encode()))
                    found.add((digest, index))
    return found


def _check_charge(charge: Charge, record: PlanRecord, borough: PartyId) -> None:
    plan, what = record.plan, f"the charge for index {charge.index} of plan {charge.plan[:16]}"
    if borough not in plan.borough_ids() or charge.purpose != plan.purpose:
        raise StorageError(f"{what} is for another borough or purpose than the plan's")
    # Every burnt index before this one was asked for a release that this one, or a later one, asks for again.
    step = charge.index - sum(burnt < charge.index for burnt in record.burnt)
    if step >= len(plan.releases):
        raise StorageError(f"{what} is for no release of the plan")
    (event,) = events((plan.releases[step],), privacy=plan.privacy, scale=plan.scale)
    if not math.isclose(charge.rho, rho_of(event.mu), rel_tol=TOLERANCE):
        raise StorageError(f"{what} is rho {charge.rho:.6g}, the release costs {rho_of(event.mu):.6g}")


def _flags(ledger: Ledger, history: History, borough: PartyId) -> tuple[int, int]:
    """Return how many flags the ledger holds, and how many the log shows. Raises: BehindLog."""
    own = keys_of(history.public.rosters, "borough", borough)
    raised = {
        commitment(Envelope.decode(envelope).document(SealedFlag).header.digest())
        for envelope in ledger.flag_envelopes()
    }
    logged = {subject for subject, signer in history.cases.flags.items() if signer in own}
    if logged - raised:
        raise BehindLog(f"the log shows {len(logged - raised)} flags of this borough that the ledger lacks")
    return len(raised), len(logged)
