"""A borough's ledger, as far as the log can follow it: continued, or refused for ever."""

from __future__ import annotations

import pytest

from protocol.errors import LedgerRewound
from protocol.history.anchors import GENESIS, LedgerAnchors, chain
from protocol.ids import digest_of
from tests.federation import PRIVACY, Federation, ledger


def running() -> tuple[Federation, object, object]:
    """A force with two plans; the first release of the first anchored one row of every ledger."""
    force = Federation()
    force.begin()
    first = force.plan()
    other = force.plan(2, privacy=PRIVACY.model_copy(update={"epsilon": 0.1}))
    force.log("plan", first)
    force.log("plan", other)
    force.release_next(first)
    return force, first, other


def receipt(force, plan, **of_borough_1):
    """A receipt for the next index; ledgers of all boroughs have three rows, unless told otherwise of the first."""
    request, seed = force.ask(plan)
    answers = [
        force.answer(name, plan, request, seed, **(ledger(name, 3) | (of_borough_1 if name == "borough-1" else {})))
        for name in force.boroughs
    ]
    return force.receipt(plan, request, answers)


def test_a_ledger_that_grew_is_anchored_anew():
    force, first, _ = running()
    key = force.roster.party("borough-1", "borough").signing_key
    assert force.history.public.ledgers.length(key) == 1
    force.log("receipt", receipt(force, first))
    assert force.history.public.ledgers.length(key) == 3


def test_rows_since_the_anchored_length_suffice():
    force, first, _ = running()
    full = ledger("borough-1", 3)
    force.log("receipt", receipt(force, first, **(full | {"ledger_rows": full["ledger_rows"][1:]})))


def test_a_statement_without_new_rows_holds_if_another_plan_has_anchored_them():
    """Killed after a charge, a node answers after the other plan's statement has already counted that row."""
    force, first, other = running()
    force.log("receipt", receipt(force, first))
    force.log("receipt", receipt(force, other, **(ledger("borough-1", 3) | {"ledger_rows": ()})))


@pytest.mark.parametrize(
    "lie",
    [
        ledger("borough-1", 1),
        ledger("borough-1", 3, edited=1),
        ledger("borough-1", 3) | {"ledger_rows": ledger("borough-1", 3)["ledger_rows"][2:]},
        ledger("borough-1", 3) | {"ledger_rows": ledger("borough-1", 3)["ledger_rows"][:2]},
        ledger("borough-1", 3) | {"ledger_head": digest_of(b"another head")},
        ledger("borough-1", 3) | {"ledger_rows": (*ledger("borough-1", 3)["ledger_rows"], digest_of(b"more"))},
        ledger("borough-1", 3) | {"ledger_rows": ()},
    ],
    ids=["not grown", "row edited", "unanchored start", "rows missing", "other head", "negative start", "no rows"],
)
def test_a_ledger_that_does_not_continue_the_anchored_one_is_refused_by_every_reader(lie):
    """A node restored from a backup has forgotten what it spent since; its next statement shows it."""
    force, first, _ = running()
    with pytest.raises(LedgerRewound, match="borough-1"):
        force.log("receipt", receipt(force, first, **lie))
    force.log("receipt", receipt(force, first))


def test_a_restored_ledger_stays_refused_however_much_it_grows():
    force, first, other = running()
    force.log("receipt", receipt(force, first))
    for length in range(1, 9):
        with pytest.raises(LedgerRewound):
            force.log("receipt", receipt(force, other, **ledger("borough-1", length, edited=1)))


def test_nothing_is_anchored_of_a_set_in_which_one_ledger_is_rewound():
    force, first, _ = running()
    statements = [force.answer("borough-2", first, *force.ask(first), **ledger("borough-2", 2)).statement]
    statements.append(force.answer("borough-1", first, *force.ask(first), **ledger("borough-1", 1)).statement)
    anchors: LedgerAnchors = force.history.public.ledgers
    with pytest.raises(LedgerRewound):
        anchors.add(statements, force.roster)
    assert anchors.length(force.roster.party("borough-2", "borough").signing_key) == 1


def test_a_chain_hash_covers_what_came_before():
    row = digest_of(b"row")
    assert chain(GENESIS, row) != chain(chain(GENESIS, row), row)
