from __future__ import annotations

import pytest

from benchmarks import drops as drops_module
from benchmarks.custodes_sum import Force
from benchmarks.drops import OUR_STAGES, drops, our_outcome, their_outcome
from benchmarks.round import vectors

INPUTS = vectors(8, 30)


@pytest.fixture
def force(tmp_path):
    made = Force(8, root=tmp_path)
    yield made
    made.close()


def test_ours_gives_the_right_sum_whenever_a_borough_dies(force):
    outcomes = [our_outcome(force, INPUTS, moment) for moment in OUR_STAGES.values()]
    assert outcomes == ["correct sum of 7 of 8"] * 2 + ["correct sum of 8 of 8"] * 3


def test_ours_gives_no_sum_without_enough_boroughs(force):
    force.boroughs["borough-0008"].gone = True
    outcome = our_outcome(force, INPUTS, None)
    assert outcome.startswith("no sum: ")
    assert "6 of 7 boroughs answered" in outcome


def test_a_sum_that_is_not_of_those_in_it_is_called_wrong(force, monkeypatch):
    monkeypatch.setattr(force, "is_exact", lambda record: False)
    assert our_outcome(force, INPUTS, None) == "wrong sum"


@pytest.mark.parametrize("stage", ["setup", "share_keys"])
def test_secaggplus_gives_no_sum_if_a_client_dies_before_its_shares_are_out(stage):
    outcome = their_outcome(INPUTS, stage, graph="complete")
    assert outcome.startswith("no sum: client raised KeyError; Not enough shares")


def test_secaggplus_gives_the_right_sum_if_a_client_dies_later():
    assert their_outcome(INPUTS, "collect_masked_vectors", graph="complete") == "correct sum of 7 of 8"
    assert their_outcome(INPUTS, "unmask", graph="complete") == "correct sum of 8 of 8"


def test_outcomes_have_the_fields_that_are_promised(monkeypatch):
    monkeypatch.setattr(drops_module, "their_outcome", lambda *args, **kwargs: "theirs")
    monkeypatch.setattr(drops_module, "our_outcome", lambda *args: "ours")
    outcomes = list(drops(graph="complete"))
    assert [set(one) for one in outcomes] == [{"system", "stage", "outcome"}] * 9
    assert [one["outcome"] for one in outcomes] == ["theirs"] * 4 + ["ours"] * 5
