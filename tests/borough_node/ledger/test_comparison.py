"""The ledger beside the log: a ledger that is whole in itself and not the one that the log has seen."""

import dataclasses
import json
import shutil

import pytest

from borough_node.ledger import GENESIS, Ledger, chain
from borough_node.ledger.comparison import compare
from protocol.aggregation.planning import plan_rho
from protocol.documents.canonical import canonical_bytes
from protocol.errors import BehindLog, StorageError
from tests.borough_node.ledger.rows import rows_of, tamper
from tests.world import CHOICES, PURPOSE, one_by_one

BOROUGH = "borough-1"


@pytest.fixture
def path(world, finished, tmp_path):
    """A copy of a borough's ledger whose plan has run."""
    copy = tmp_path / "copy" / "ledger.sqlite"
    shutil.copytree(world.ledger_path(BOROUGH).parent, copy.parent)
    Ledger(copy).close()
    return copy


def compared(world, path, *, borough=BOROUGH):
    ledger = Ledger(path)
    try:
        return compare(ledger, world.appender.history, borough=borough)
    finally:
        ledger.close()


def rewritten(path, change):
    """Change rows and recompute the whole chain: what is left is whole in itself."""
    previous, rows = GENESIS, []
    for number, content, _ in change(rows_of(path)):
        previous = chain(previous, content)
        rows.append((number, content, previous))
    tamper(
        path,
        ("DELETE FROM entries",),
        *(("INSERT INTO entries (number, content, hash) VALUES (?, ?, ?)", *r) for r in rows),
    )
    Ledger(path).close()


def with_content(rows, number, **fields):
    return [
        (n, canonical_bytes({**json.loads(content), **fields}) if n == number else content, hash_)
        for n, content, hash_ in rows
    ]


def test_ledger_of_a_run_plan_agrees_with_the_log(world, finished, path):
    found = compared(world, path)
    (one,) = found.purposes
    assert (found.statements, found.charges_without_statement, found.leaves) == (4, 0, world.appender.history.tree.size)
    assert one.purpose == PURPOSE
    assert one.charged_rho == one.logged_rho == pytest.approx(plan_rho(world.record(finished).plan), rel=1e-9)
    assert one.approved_rho == plan_rho(world.record(finished).plan)


def test_flags_are_compared_by_their_subjects(flagged):
    world = flagged.world
    own = sum(header.borough == BOROUGH for header in flagged.headers)
    ledger = world.ledger(BOROUGH)
    found = compare(ledger, world.appender.history, borough=BOROUGH)
    assert (found.flags, found.flags_not_logged) == (own, 0)
    assert own > 0
    ledger.close()
    tamper(world.ledger_path(BOROUGH), ("DELETE FROM flags",), ("DELETE FROM entries WHERE number = 5",))
    with pytest.raises(BehindLog, match=f"{own} flags"):
        compared(world, world.ledger_path(BOROUGH))


def test_charge_whose_answer_came_too_late_is_named_and_no_contradiction(world, plan):
    request, seed = world.begun(plan)
    world.gate(BOROUGH).release(request, seed)
    found = compared(world, world.ledger_path(BOROUGH))
    assert (found.statements, found.charges_without_statement) == (0, 1)
    assert found.purposes[0].logged_rho == 0.0 < found.purposes[0].charged_rho


def test_charge_for_a_plan_that_this_copy_of_the_log_lacks_is_counted(world, finished, path):
    ledger = Ledger(path)
    ledger.charge(plan="f" * 64, index=0, request="f" * 64, purpose=PURPOSE, rho=0.1, at="2031-03-04T12:00:00Z")
    ledger.close()
    assert compared(world, path).charges_without_statement == 1


def test_last_rows_cut_off_with_their_answers_are_missed_by_log_and_gate_alone(world, finished, path):
    """The file is whole in itself: verify is content, the log is not."""
    tamper(path, ('DELETE FROM answers WHERE "index" = 3',), ("DELETE FROM entries WHERE number = 4",))
    ledger = Ledger(path)
    assert (ledger.head()[0], ledger.verify_statements()) == (3, 3)
    with pytest.raises(BehindLog, match="index 3"):
        compare(ledger, world.appender.history, borough=BOROUGH)
    with pytest.raises(BehindLog, match="index 3"):
        world.new_gate(BOROUGH, ledger=ledger).check_state()
    ledger.close()


def test_spending_that_was_made_smaller_is_found_by_statements_log_and_gate(world, finished, path):
    """All rows rewritten, all hashes recomputed, all answers in place."""
    rewritten(path, lambda rows: with_content(rows, 2, rho=0.0))
    ledger = Ledger(path)
    with pytest.raises(StorageError, match=r"index 1 .* fewer, or other ones"):
        ledger.verify_statements()
    with pytest.raises(BehindLog, match=r"index 1 .* fewer, or other ones"):
        compare(ledger, world.appender.history, borough=BOROUGH)
    with pytest.raises(BehindLog, match=r"index 1 .* fewer, or other ones"):
        world.new_gate(BOROUGH, ledger=ledger).check_state()
    ledger.close()


def test_answer_that_is_not_what_its_statement_says_is_found(world, finished, path):
    tamper(path, ('UPDATE answers SET vector = zeroblob(length(vector)) WHERE "index" = 2',))
    ledger = Ledger(path)
    with pytest.raises(StorageError, match=r"index 2 .* not what its statement says"):
        ledger.verify_statements()
    ledger.close()


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"rho": 0.0}, "the release costs"),
        ({"rho": 7.0}, "the release costs"),
        ({"purpose": "another"}, "another borough or purpose"),
        ({"index": 9}, "no release of the plan"),
    ],
)
def test_charge_that_is_not_what_the_plan_costs_is_found(world, plan, fields, refusal):
    """Of an index that no sum used: no statement in the log counts its row, the plan's own numbers do."""
    request, seed = world.begun(plan)
    world.gate(BOROUGH).release(request, seed)
    path = world.ledger_path(BOROUGH)
    tamper(path, ("DELETE FROM answers",))
    rewritten(path, lambda rows: with_content(rows, 1, **fields))
    with pytest.raises(StorageError, match=refusal):
        compared(world, path)


def test_ledger_of_another_borough_is_not_this_ones(world, finished, path):
    with pytest.raises(BehindLog):
        compared(world, path, borough="borough-2")


@pytest.mark.parametrize("index", [0, 2])
def test_charges_of_a_burnt_index_and_of_its_spare_are_both_what_the_plan_costs(world, index):
    plan = world.approve(CHOICES.model_copy(update={"spares": 1}))
    real, failed = world.unmasker_client(), []

    def reveal(digest, asked):
        content = bytearray(real.reveal(digest, asked))
        if asked == index and not failed:
            failed.append(asked)
            content[0] ^= 1
        return bytes(content)

    runner = world.runner(dataclasses.replace(real, reveal=reveal))
    runner.run(plan, one_by_one(world.ask), forget=lambda index: None)
    found = compared(world, world.ledger_path(BOROUGH))
    assert (found.statements, found.charges_without_statement) == (5, 0)
    assert found.purposes[0].charged_rho <= found.purposes[0].approved_rho
