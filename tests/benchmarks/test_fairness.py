"""The mitigation measured by group: same sums before and after, figures as fairlearn computes them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_ratio,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)

from benchmarks import fairness
from benchmarks.reading import read_measured
from benchmarks.simulated import no_noise
from benchmarks.utility import SAMPLE_PLAN
from coordinator.registry.drafting import PlanChoices
from protocol.errors import ConfigurationError
from protocol.scorecard.descent import replay
from protocol.scorecard.final import final_weights
from tests.benchmarks.small_table import CUTOFFS, write_catalogue, write_table


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fairness")
    return write_table(folder / "force.parquet"), write_catalogue(folder / "catalogue.toml")


def command(files, *more):
    words = ["--table", str(files[0]), "--catalogue", str(files[1]), "--labels", "y_many,y_sust"]
    return [*words, "--train-until", str(CUTOFFS[-2]), "--test", str(CUTOFFS[-1]), "--attribute", "sex", *more]


def test_rates_are_those_of_fairlearn():
    rng = np.random.default_rng(3)
    selected, labels = rng.random(500) < 0.2, (rng.random(500) < 0.3).astype(float)
    codes = rng.integers(3, size=500)
    ours = [fairness.group_rates(selected, labels, codes == code) for code in range(3)]
    metrics = {
        "selection_rate": selection_rate,
        "true_positive_rate": true_positive_rate,
        "false_positive_rate": false_positive_rate,
    }
    frame = MetricFrame(metrics=metrics, y_true=labels, y_pred=selected.astype(int), sensitive_features=codes)
    for name in fairness.RATES:
        assert [one[name] for one in ours] == pytest.approx(frame.by_group[name].tolist())
    rows = [{"group": code, **one} for code, one in enumerate(ours)]
    reference = demographic_parity_ratio(labels, selected.astype(int), sensitive_features=codes)
    assert fairness.lowest_over_highest(rows, "selection_rate") == pytest.approx(reference)


def test_before_and_after_follow_from_the_same_sums(files):
    choices = PlanChoices.load(SAMPLE_PLAN).model_copy(update={"epsilon": 20.0})
    measured = read_measured(
        train=files[0],
        test=files[0],
        catalogue=files[1],
        labels="y_many,y_sust",
        choices=fairness.mitigating(choices, ["sex"], group_share=0.06),
        train_from=None,
        train_until=CUTOFFS[-2],
        test_cutoff=CUTOFFS[-1],
        skip_missing_features=False,
        say=lambda text: None,
    )
    task = measured.task
    run = task.force.train(task.plan, noise=no_noise)
    before, half, after = (fairness.weights_at(run, strength) for strength in (0.0, 0.5, 1.0))
    assert all(np.array_equal(a, b) for a, b in zip(before, replay(run).weights, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(after, final_weights(run), strict=True))
    cohort = task.force.everybody("gradient", task.plan)
    means = [cohort.rows[cohort.groups[:, 0] == code].mean(axis=0) for code in (0, 1)]
    for head, where in enumerate(run.columns.heads):
        gap = (means[0] - means[1])[list(where)]
        # Rows are shortened to the plan's norm in the sums and not here; the stated noise, though none was drawn, shrinks.
        assert gap @ before[head] < -0.05
        assert gap @ half[head] / (gap @ before[head]) == pytest.approx(0.5, abs=0.1)
        assert gap @ after[head] / (gap @ before[head]) == pytest.approx(0.0, abs=0.1)


def test_the_share_for_groups_leaves_training_as_it_was():
    choices = PlanChoices.load(SAMPLE_PLAN)
    changed = fairness.mitigating(choices, ["sex"], group_share=0.06)
    assert changed.shares.second_moment == choices.shares.second_moment
    assert changed.shares.gradients == choices.shares.gradients
    assert changed.shares.group_moments == pytest.approx(0.06)
    assert sum(dict(changed.shares).values()) == pytest.approx(1.0)
    with pytest.raises(ConfigurationError, match="--group-share"):
        fairness.mitigating(choices, ["sex"], group_share=0.5)


def test_it_prints_one_object_a_group_and_run(files, capsys):
    assert fairness.main(command(files, "--runs", "2", "--strengths", "1", "--epsilon", "8", "--json")) == 0
    rows = json.loads(capsys.readouterr().out)
    keys = [(row["strength"], row["run"], row["label"], row["group"]) for row in rows]
    expected = {(s, r, lab, g) for s in (0.0, 1.0) for r in (0, 1) for lab in ("y_many", "y_sust") for g in ("f", "m")}
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    for row in rows:
        assert set(row) == {
            *("mitigated", "strength", "run", "label", "auc", "attribute", "group", "people", "positives"),
            *fairness.RATES,
        }
    for key in {key[:3] for key in keys}:
        own = [row for row in rows if (row["strength"], row["run"], row["label"]) == key]
        # 1.3 % of 600 people are 8, whichever groups they are of.
        assert sum(row["people"] * row["selection_rate"] for row in own) == pytest.approx(8)


def test_the_table_has_a_line_before_and_one_a_strength(files, capsys):
    fairness.main(command(files, "--runs", "1", "--strengths", "0.5,1", "--epsilon", "8", "--json"))
    rows = json.loads(capsys.readouterr().out)
    assert fairness.table(rows).row_count == 2 * 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--attribute", "height"), "option --attribute: height is no protected column of catalogue and table: sex"),
        (("--strengths", "2"), "strengths are at most 1"),
        (("--group-share", "0.9"), "option --group-share"),
        (("--epsilon", "-1"), "option --epsilon"),
    ],
)
def test_what_is_off_is_named(files, capsys, more, said):
    with pytest.raises(SystemExit):
        fairness.main(command(files, *more))
    assert said in capsys.readouterr().err.replace("\n", " ")
