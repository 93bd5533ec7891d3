"""The comparison of methods: what it prints, what it refuses, and that each private method keeps the joint epsilon."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant

from benchmarks import utility
from benchmarks.methods import adassp, dp_sgd, local_fedavg
from benchmarks.methods.heads import Heads, PrivateTrainer
from benchmarks.reading import read_measured
from benchmarks.task import Guarantee, accuracy
from coordinator.registry.drafting import PlanChoices
from deploy.demo.truth import average_precision, roc_auc
from tests.benchmarks.small_table import CUTOFFS, write_catalogue, write_table

DELTA = 1e-6
LOCAL = local_fedavg.Setting(2, 3, 1.0, 0.1)
SETTINGS = {"dp-sgd": dp_sgd.Setting(1.0, 0.1, 0.2, 5), "local-dp-fedavg": LOCAL, "local-dp-fedavg-prior": LOCAL}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("utility")
    return write_table(folder / "force.parquet"), write_catalogue(folder / "catalogue.toml")


@pytest.fixture(scope="module")
def measured(files):
    return read_measured(
        train=files[0],
        test=files[0],
        catalogue=files[1],
        labels="y_many,sustained_complaint",
        choices=PlanChoices.load(utility.SAMPLE_PLAN),
        train_from=None,
        train_until=CUTOFFS[-2],
        test_cutoff=CUTOFFS[-1],
        skip_missing_features=False,
        say=lambda text: None,
    )


def command(files, *more, table=None, labels="y_many,y_sust"):
    words = ["--train", str(table or files[0]), "--catalogue", str(files[1]), "--labels", labels, "--epsilon", "2"]
    words += ["--train-until", str(CUTOFFS[-2]), "--test", str(CUTOFFS[-1])]
    return [*words, *more]


def fitted(measured, name, guarantee, *, seed=0):
    given = {"setting": SETTINGS[name]} if name in SETTINGS else {}
    return utility.METHODS[name].fit(measured.task, guarantee, seed=seed, **given)


# --- the joint epsilon --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, method in utility.METHODS.items() if method.is_private])
@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_what_a_private_method_released_costs_its_epsilon_by_another_accountant(measured, name, epsilon):
    accountant = PLDAccountant()
    for mechanism in fitted(measured, name, Guarantee(epsilon, DELTA)).mechanisms:
        event = dp_event.GaussianDpEvent(mechanism.noise_multiplier)
        if mechanism.sampling_rate < 1:
            event = dp_event.PoissonSampledDpEvent(mechanism.sampling_rate, event)
        accountant.compose(event, mechanism.count)
    # PLD is rounded up by some 1e-4; Opacus' calibration stops within a hundredth below, ours keeps delta / 1000.
    assert 0.97 * epsilon < accountant.get_epsilon(DELTA) < 1.002 * epsilon


def test_one_person_moves_adassps_sums_by_no_more_than_its_noise_is_for(measured):
    kept, _ = measured.task.split(share=1e-9, seed=3)
    assert np.unique(kept.persons).size == np.unique(measured.task.persons).size - 1
    norm, heads = measured.task.plan.descent.row_norm, len(measured.labels)
    with_person, without = adassp.sums(measured.task), adassp.sums(kept)
    assert 0 < np.linalg.norm(with_person[0] - without[0]) <= norm**2
    assert np.linalg.norm(with_person[1] - without[1]) <= norm * math.sqrt(heads)


def test_one_sample_moves_a_private_step_by_at_most_its_clip_in_every_head():
    def step(samples, noise):
        model = Heads(((0, 1), (0, 2)), [np.zeros(2), np.zeros(2)])
        trainer = PrivateTrainer(model, learning_rate=1.0, momentum=0.0, clip=0.5, noise_multiplier=noise, seed=1)
        rows = torch.full((samples, 1, 3), 100.0)
        trainer.step(rows, torch.ones(samples, 1, 2), torch.ones(samples, 1), expected=1.0)
        trainer.close()
        return np.concatenate(model.weights())

    moved = [np.linalg.norm(step(2, 0.0)[part] - step(1, 0.0)[part]) for part in (slice(0, 2), slice(2, 4))]
    assert moved == pytest.approx([0.5, 0.5], rel=1e-4)
    assert not np.array_equal(step(1, 1.0), step(1, 0.0))


def test_a_private_steps_noise_has_the_sd_that_the_accountant_was_told():
    width, clip, noise = 2000, 0.5, 3.0
    model = Heads((range(width), range(width)), [np.zeros(width), np.zeros(width)])
    trainer = PrivateTrainer(model, learning_rate=1.0, momentum=0.0, clip=clip, noise_multiplier=noise, seed=1)
    trainer.step(torch.zeros(1, width), torch.ones(1, 2), torch.zeros(1), expected=1.0)
    trainer.close()
    # Sensitivity clip sqrt(2); the seed is fixed, and 6 % is 5 sd of an sd of 4,000 draws.
    assert np.std(np.concatenate(model.weights())) == pytest.approx(noise * clip * math.sqrt(2), rel=0.06)


def test_dp_sgd_draws_people_and_gives_each_of_their_rows_an_mth(measured):
    rows, labels, weights = dp_sgd.by_person(measured.task)
    m = measured.task.rows_per_person
    assert rows.shape[:2] == labels.shape[:2] == (np.unique(measured.task.persons).size, m)
    assert weights.sum(axis=1).max() == pytest.approx(1.0)
    assert weights.sum() * m == pytest.approx(measured.task.rows.shape[0])
    assert rows.sum() == pytest.approx(measured.task.rows.sum())


# --- figures and rows ---------------------------------------------------------------------------------------------


def test_every_method_yields_exactly_the_promised_fields(files, capsys, monkeypatch):
    for name, setting in SETTINGS.items():
        short = utility.Method(utility.METHODS[name].fit, is_private=True, grid=(setting,))
        monkeypatch.setitem(utility.METHODS, name, short)
    assert utility.main(command(files, "--seeds", "2", "--json")) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(tuple(row) == utility.FIELDS for row in rows)
    seen = {(row["method"], row["epsilon"], row["label"], row["seed"]) for row in rows}
    labels = ("y_many", "y_sust")
    private = {name for name in utility.DEFAULT if utility.METHODS[name].is_private}
    expected = {(name, 2.0, label, seed) for name in private for label in labels for seed in (0, 1)}
    expected |= {(name, None, label, 0) for name in utility.DEFAULT if name not in private for label in labels}
    assert seen == expected
    assert len(rows) == len(expected)
    assert {row["rounds"] for row in rows if row["method"] == "custodes"} == {3}
    assert {row["rounds"] for row in rows if row["epsilon"] is None} == {None}
    # Complaints decide the labels: chance would be .5, and 600 people hold 60 positives.
    assert all(row["auc"] > 0.8 for row in rows if row["method"] in ("logistic", "lightgbm", "ebm"))
    assert all(0 <= row[name] <= 1 for row in rows for name in ("auc", "ap", "p13"))


def test_the_naive_federation_starts_at_zero_and_its_variant_at_the_public_prior(measured):
    still = local_fedavg.Setting(1, 1, 1.0, 1e-12)
    row, score = np.eye(1, measured.task.columns.width), {}
    for name in ("local-dp-fedavg", "local-dp-fedavg-prior"):
        fit = utility.METHODS[name].fit(measured.task, Guarantee(1.0, DELTA), seed=0, setting=still)
        score[name] = fit.score(row)[0]
    assert score["local-dp-fedavg"] == pytest.approx(0.0, abs=1e-6)
    assert score["local-dp-fedavg-prior"] == pytest.approx(math.log(0.1 / 0.9), abs=1e-6)


def test_figures_equal_those_of_another_implementation():
    rng = np.random.default_rng(5)
    labels, score = (rng.random(1000) < 0.1).astype(float), rng.normal(size=1000)
    found = accuracy(score, labels)
    assert found.auc == pytest.approx(roc_auc(score, labels))
    assert found.ap == pytest.approx(average_precision(score, labels))
    assert found.p13 == labels[np.argsort(-score)[:13]].mean()


def test_the_table_shows_means_over_the_seeds(files, capsys):
    utility.main(command(files, "--seeds", "2", "--methods", "adassp", "--json"))
    rows = json.loads(capsys.readouterr().out)
    utility.Console(width=120).print(utility.table(rows))
    shown = capsys.readouterr().out
    for label in ("y_many", "y_sust"):
        assert f"{np.mean([row['auc'] for row in rows if row['label'] == label]):.3f}" in shown


def test_tuning_never_looks_at_the_test_cohort(measured, monkeypatch):
    seen = []

    def spy(task, guarantee, *, seed, setting):
        seen.append((task, setting))
        return fitted(measured, "adassp", guarantee)

    method = utility.Method(spy, is_private=True, grid=(1, 2, 3))
    assert utility.tuned(measured.task, method, Guarantee(1.0, DELTA), tell=lambda: None) in (1, 2, 3)
    assert [setting for _, setting in seen] == [1, 2, 3]
    everybody = set(measured.task.persons.tolist())
    for task, _ in seen:
        assert len(set(task.persons.tolist())) == pytest.approx(0.8 * len(everybody), abs=1)
        assert all(cohort.rows.shape[0] for cohort in task.silos.values())


# --- other tables -------------------------------------------------------------------------------------------------


def test_a_test_file_may_be_another_force_with_other_silos(files, tmp_path, capsys):
    other = write_table(tmp_path / "other.parquet", without=("stray", "sex"), people=300, seed=8)
    words = command(files, "--test-file", str(other), "--methods", "adassp,custodes", "--seeds", "1", "--json")
    assert utility.main(words) == 0
    assert {row["method"] for row in json.loads(capsys.readouterr().out)} == {"adassp", "custodes"}


def test_a_table_without_protected_columns_is_measured_at_the_same_training_noise(files, tmp_path, measured):
    bare = write_table(tmp_path / "bare.parquet", without=("sex",))
    said = []
    found = read_measured(
        train=bare,
        test=bare,
        catalogue=files[1],
        labels="y_many,y_sust",
        choices=PlanChoices.load(utility.SAMPLE_PLAN),
        train_from=None,
        train_until=CUTOFFS[-2],
        test_cutoff=CUTOFFS[-1],
        skip_missing_features=False,
        say=said.append,
    )
    assert "protected" in said[0]
    ours, theirs = found.task.plan.releases, measured.task.plan.releases
    assert [one.sigma for one in ours[:3]] == [one.sigma for one in theirs[:3]]
    assert [one.function for one in ours[:3]] == ["second_moment", "gradient", "gradient"]


@pytest.mark.parametrize(
    ("more", "labels", "said"),
    [
        ((), "y_nowhere", "y_nowhere is no label of the catalogue, which has y_many (many_complaints)"),
        ((), "y_many,many_complaints", "a label stands twice"),
        ((), "y_absent", "missing columns: absent_feature, y_absent"),
        (("--train-until", "2040"), "y_many", "option --train-until: force.parquet has no rows at cutoff 2040"),
        (("--test", "2050"), "y_many", "option --test: force.parquet has no rows at cutoff 2050; it has 2030 to 2033"),
        (("--test", "2031"), "y_many", "evaluation_cutoff"),
        (("--epsilon", "one"), "y_many", "option --epsilon: one is not a list of numbers"),
        (("--epsilon", "0"), "y_many", "option --epsilon: every number must be above 0"),
        (("--methods", "magic"), "y_many", "option --methods: magic is none of custodes"),
        (("--seeds", "0"), "y_many", "option --seeds: at least 1"),
        (("--min-boroughs-share", "2"), "y_many", "min_boroughs_share"),
    ],
)
def test_what_is_off_is_named(files, capsys, more, labels, said):
    with pytest.raises(SystemExit) as ended:
        utility.main(command(files, *more, labels=labels))
    assert ended.value.code in (3, 4, 5)
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_missing_features_can_be_left_out(files, tmp_path, capsys):
    table = write_table(tmp_path / "narrow.parquet", without=("tenure",))
    words = command(files, "--methods", "adassp", "--seeds", "1", "--json", table=table)
    with pytest.raises(SystemExit):
        utility.main(words)
    assert "missing columns: tenure" in capsys.readouterr().err
    assert utility.main([*words, "--skip-missing-features"]) == 0
    assert "many_complaints: left out tenure." in capsys.readouterr().err


def test_a_label_without_positives_is_refused_by_name(files, tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(files[0])
    place = table.column_names.index("y_sust")
    pq.write_table(table.set_column(place, "y_sust", pa.array([0] * table.num_rows)), tmp_path / "none.parquet")
    with pytest.raises(SystemExit):
        utility.main(command(files, "--methods", "adassp", table=tmp_path / "none.parquet"))
    assert "y_sust is the same for everybody trained on up to 2032; leave it out" in capsys.readouterr().err
