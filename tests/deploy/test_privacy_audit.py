"""Canaries: nobody, as long as a row may be, and in by the toss of a coin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from borough_node.app import system_noise
from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import read_table
from coordinator.registry.drafting import PlanChoices
from deploy.privacy_audit.canaries import BOROUGHS, FEATURES, Canaries, catalogue_text
from deploy.privacy_audit.cli import FEWEST, MOST
from deploy.privacy_audit.federation import PLAN, scaled_noise
from protocol.scorecard.transforms import apply


def test_the_plan_of_the_audit_loads_and_spends_nearly_all_on_the_audited_release() -> None:
    choices = PlanChoices.load(PLAN)
    assert (choices.epsilon, choices.delta, choices.shares.second_moment) == (6.0, 1e-6, 0.9)
    assert choices.purpose == "noise_audit"


def test_canaries_lie_on_the_catalogues_bounds_and_beyond_the_clip(tmp_path: Path) -> None:
    path = tmp_path / "canaries.catalogue.toml"
    path.write_text(catalogue_text())
    _, catalogue = load_catalogue(path)
    assert tuple(feature.name for feature in catalogue.features) == catalogue.heads[0].features == FEATURES
    canaries = Canaries.toss(FEWEST, seed=1)
    assert {apply(catalogue.features[0].transform, np.array([sign]))[0] for sign in (-5.0, 5.0)} == {-1.0, 1.0}
    assert set(np.unique(canaries.signs)) == {-1.0, 1.0}
    assert PlanChoices.load(PLAN).descent.row_norm < np.sqrt(1 + len(FEATURES))


def test_coins_are_fair_independent_and_repeated_by_a_seed_only() -> None:
    tossed = Canaries.toss(MOST, seed=3)
    # Five standard errors: a seed in a million.
    assert abs(tossed.included.mean() - 0.5) < 5 * 0.5 / np.sqrt(MOST)
    assert abs(np.corrcoef(tossed.included, tossed.signs[:, 0])[0, 1]) < 5 / np.sqrt(MOST)
    assert np.array_equal(tossed.included, Canaries.toss(MOST, seed=3).included)
    assert not np.array_equal(tossed.included, Canaries.toss(MOST, seed=4).included)
    assert not np.array_equal(Canaries.toss(MOST, seed=None).included, Canaries.toss(MOST, seed=None).included)


def test_tables_hold_who_is_in_and_nobody_else(tmp_path: Path) -> None:
    canaries = Canaries.toss(FEWEST, seed=5)
    (tmp_path / "canaries.catalogue.toml").write_text(catalogue_text())
    layout, catalogue = load_catalogue(tmp_path / "canaries.catalogue.toml")
    files = canaries.write_tables(tmp_path / "tables")
    assert tuple(files) == BOROUGHS
    seen: list[str] = []
    for borough, path in files.items():
        read = read_table(path, layout=layout, catalogue=catalogue, with_silo=False)
        made = canaries.table(borough)
        assert read.person.tolist() == made.person.tolist()
        for name in FEATURES:
            np.testing.assert_array_equal(read.features[name], made.features[name])
        seen += sorted(set(read.person.tolist()))
    assert sorted(seen) == [f"CANARY-{place:04d}" for place in np.flatnonzero(canaries.included)]
    assert sum(canaries.establishment().values()) == FEWEST


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_scaled_noise_has_the_share_of_the_sd(share: float) -> None:
    # 40,000 samples: 0.35 % standard error of the sd, five of them allowed.
    sigma = 2.0**16
    drawn = scaled_noise(share)(40_000, sigma)
    assert drawn.dtype == np.int64
    assert np.std(drawn) == pytest.approx(share * sigma, rel=0.018)


def test_an_honest_audit_draws_the_nodes_own_noise() -> None:
    assert scaled_noise(1.0) is system_noise
