"""The benchmark of stability measures what it says, on a small table."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from benchmarks import stability
from benchmarks.simulated import SimulatedForce
from tests.world import CATALOGUE, CHOICES, SCORING, TRAINING, table


@pytest.fixture(scope="module")
def found():
    force = SimulatedForce(CATALOGUE, {f"borough-{n}": table(f"borough-{n}", 60) for n in range(1, 5)})
    plan = force.plan(CHOICES, train_until=TRAINING, evaluation_cutoff=SCORING)
    return stability.measure(force, plan, reruns=4, models=1)


def test_every_flag_of_every_rerun_is_in_a_band_and_in_a_decile(found):
    assert [head["category"] for head in found] == ["first", "second"]
    for head in found:
        people = sum(row["people"] for row in head["rows"])
        assert people == pytest.approx(head["flags"]["mean"])
        assert sum(part["people"] for part in head["deciles"]) == pytest.approx(people)
        mean = sum(row["people"] * row["seen"] for row in head["rows"]) / people
        assert head["seen"] == pytest.approx(mean)
        assert len(head["carried_errors"]) == 1


def test_what_is_seen_is_a_share_of_the_other_reruns(found):
    for head in found:
        # Of three others: the mean over a person's flags is a third of whole numbers only if nobody counts itself.
        for part in head["deciles"]:
            assert 0 <= part["seen"] <= 1
            assert part["predicted"] <= 1
        predictions = [part["predicted"] for part in head["deciles"]]
        assert np.all(np.diff(predictions) >= 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--epsilon", "1", "--reruns", "2"], "--synthetic"),
        (["--synthetic", "--epsilon", "1", "--reruns", "1"], "at least 2"),
    ],
)
def test_options_that_do_not_suffice_are_named(options, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stability", *options])
    with pytest.raises(SystemExit):
        stability.main()
    assert said in capsys.readouterr().err


def test_the_answer_is_json(found):
    assert json.loads(json.dumps(found)) == found
