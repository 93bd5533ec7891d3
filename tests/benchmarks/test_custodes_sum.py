from __future__ import annotations

import pytest

from benchmarks import custodes_sum
from benchmarks.custodes_sum import Force
from benchmarks.round import WrongSum, vectors

INPUTS = vectors(4, 20)


@pytest.fixture
def force(tmp_path):
    made = Force(4, root=tmp_path)
    yield made
    made.close()


def test_a_round_gives_the_exact_sum_in_one_exchange(force):
    done = force.one_round(INPUTS)
    assert done.exchanges == 1
    assert 8 * 23 < done.bytes_up < 8 * 23 + 2_000
    assert 0 < done.bytes_down < 1_000
    assert done.client_cpu_s > 0
    assert done.server_cpu_s == done.parts[custodes_sum.COORDINATOR] + done.parts[custodes_sum.UNMASKER]
    assert all(value > 0 for value in done.parts.values())


def test_noise_is_drawn_and_in_the_sum(force):
    record, _ = force.release(INPUTS)
    assert force.is_exact(record)
    plain = sum(borough.vector for borough in force.boroughs.values())
    assert (record.releases[0].sums.integers() != plain).all()  # an entry's noise is 0 with chance below 10**-6


def test_another_sum_ends_the_run(force, monkeypatch):
    honest = force.release

    def lying(*args, **kwargs):
        record, wire = honest(*args, **kwargs)
        force.boroughs["borough-0002"].drawn[5] += 1
        return record, wire

    monkeypatch.setattr(force, "release", lying)
    with pytest.raises(WrongSum, match="another sum"):
        force.one_round(INPUTS)


def test_a_round_without_one_borough_is_no_round_of_the_benchmark(force):
    force.boroughs["borough-0003"].gone = True
    with pytest.raises(WrongSum, match="another sum"):
        force.one_round(INPUTS)


def test_one_borough_that_fails_ends_the_run_though_the_others_suffice(force):
    force.boroughs["borough-0003"].gate._noise = lambda length, sigma: None
    with pytest.raises(WrongSum, match="bug: TypeError"):
        force.one_round(INPUTS)


def test_rounds_follow_each_other_with_other_masks_and_leave_no_vectors(force):
    first, _ = force.release(INPUTS)
    second, _ = force.release(INPUTS)
    assert first.plan.plan_id != second.plan.plan_id
    keys = [{statement.public_key for statement in record.receipts[0][1]} for record in (first, second)]
    assert not keys[0] & keys[1]
    ledger = force.boroughs["borough-0001"].ledger
    assert ledger.answer(second.plan.digest(), 0).vector is None


def test_masks_come_from_keys_of_256_bits():
    assert custodes_sum.mask_bits() == 256
