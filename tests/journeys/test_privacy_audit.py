"""``custodes audit privacy`` as its users type it: it holds, and it can fail."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.privacy_audit import federation
from protocol.errors import CohortTooSmall

# An honest federation fails at this confidence less than once in a million runs; see tests/adversaries.
CERTAIN = ("--confidence", "0.999999")


def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "audit", "privacy", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_an_audit_of_an_honest_federation_holds_over_several_releases() -> None:
    done = audit(*CERTAIN, "--runs", "2", "--seed", "1", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["holds"]
    assert not answer["blind"]
    assert 0 < answer["mu_lower"] < answer["mu_stated"] < answer["mu_stated_colluding"]
    assert answer["mu_lower"] < answer["mu_estimate"]
    assert 0 < answer["epsilon_lower"] < 6.0
    assert (answer["canaries"], answer["runs"], answer["noise_share"]) == (1000, 2, 1.0)
    assert answer["confidence"] == 0.999999
    assert answer["seconds"] > 0
    assert answer["false_alarm"] < 1e-6
    assert answer["power_at_half_noise"] > 1 - 1e-9


@pytest.mark.slow
def test_an_audit_of_halved_noise_fails_and_says_what_to_do() -> None:
    done = audit(*CERTAIN, "--noise-share", "0.5")
    assert done.returncode == 4
    assert "audit.privacy_failed" in done.stderr
    assert "What to do: Stop all plans." in done.stderr
    assert "Fails: more can be learned than is stated." in done.stdout
    assert "0.5 of their noise, on purpose" in " ".join(done.stdout.split())


def test_an_audit_of_more_noise_than_stated_proves_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = federation.scaled_noise(1.0)
    monkeypatch.setattr(
        federation, "scaled_noise", lambda share: lambda length, sigma: np.array(3 * honest(length, sigma))
    )
    done = CliRunner().invoke(app, ["audit", "privacy"])
    assert done.exit_code == 4
    assert "Proves nothing" in done.stdout
    assert "audit.blind" in done.stderr


def test_an_audit_that_cannot_be_made_says_what_the_parties_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_plans(*_: object, report: federation.Report, **__: object) -> None:
        report("borough-1", "table.invalid", "column sign_01: missing")
        raise CohortTooSmall("3 of 4 boroughs answered index 0")

    monkeypatch.setattr(federation, "run_plans", run_plans)
    done = CliRunner().invoke(app, ["audit", "privacy"])
    assert done.exit_code == 5
    assert "borough-1: table.invalid: column sign_01: missing" in done.stderr
    assert "cohort.too_small" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "option", [("--canaries", "100"), ("--canaries", "5000"), ("--noise-share", "1.1"), ("--runs", "0")]
)
def test_an_option_out_of_range_is_refused_before_anything_runs(option: tuple[str, str]) -> None:
    done = CliRunner().invoke(app, ["audit", "privacy", *option])
    assert done.exit_code == 2
    assert done.stdout == ""
