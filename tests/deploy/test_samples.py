"""Every file under deploy/samples is what its name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from borough_node.sources.layout import load_catalogue
from coordinator.registry.drafting import PlanChoices
from coordinator.registry.rosters import Terms
from deploy.demo.scenario import SAMPLES
from protocol.errors import ConfigurationError

PLANS = sorted(SAMPLES.glob("*.plan.toml"))
TERMS = SAMPLES / "example.roster.toml"
CATALOGUES = sorted(SAMPLES.glob("*.catalogue.toml"))


def test_every_sample_is_a_plan_a_catalogue_or_a_rosters_terms() -> None:
    assert set(PLANS) | set(CATALOGUES) | {TERMS} == {path for path in SAMPLES.iterdir() if path.suffix == ".toml"}
    assert PLANS
    assert CATALOGUES


def test_the_sample_of_terms_loads_and_a_field_that_is_wrong_is_named() -> None:
    content = TERMS.read_bytes()
    terms = Terms.read(content)
    assert terms.approval_threshold == 2
    assert terms.conflicts == {"custodian-1": ("borough-02",)}
    for wrong, field in ((b"approval_threshold = 1", "approval_threshold"), (b"approval = 2", "approval_threshold")):
        with pytest.raises(ConfigurationError, match=field):
            Terms.read(content.replace(b"approval_threshold = 2", wrong))
    with pytest.raises(ConfigurationError, match="budgets"):
        Terms.read(content.replace(b"rho = 10.0", b"rho = -1.0"))
    for junk in (b"\xff", b"[", b"budgets = 7", content + b"budgets = 7"):
        with pytest.raises(ConfigurationError, match="terms: "):
            Terms.read(junk)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.name)
def test_a_sample_plan_loads_and_states_its_privacy(path: Path) -> None:
    choices = PlanChoices.load(path)
    assert choices.epsilon == 1.0
    assert choices.delta == 1e-6


@pytest.mark.parametrize("field", ["epsilon", "delta", "colluding", "shares", "min_boroughs_share"])
def test_a_plan_without_a_privacy_parameter_is_refused_by_name(tmp_path: Path, field: str) -> None:
    lines = PLANS[0].read_text()
    spoiled = tmp_path / "spoiled.plan.toml"
    spoiled.write_text(lines.replace(f"{field} =", f"not_{field} =").replace(f"[{field}]", f"[not_{field}]"))
    with pytest.raises(ConfigurationError, match=field):
        PlanChoices.load(spoiled)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.name)
def test_a_sample_catalogue_loads_and_keeps_protected_attributes_out(path: Path) -> None:
    _, catalogue = load_catalogue(path)
    assert catalogue.protected
    assert not set(catalogue.protected) & {feature.name for feature in catalogue.features}
