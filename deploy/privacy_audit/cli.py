"""``custodes audit privacy``: does a federation of this software add the noise that its plans state?"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from scipy.special import ndtr

from oversight.audit_cli import audit_app
from protocol.aggregation.accounting import epsilon_of
from protocol.errors import ProtocolError
from protocol.rpc.process import explained_errors, print_json

if TYPE_CHECKING:
    from oversight.audit.privacy import PrivacyFinding

FEWEST, MOST = 200, 1900
"""Canaries of one release: with fewer a borough might have nobody in, with more their contributions are dependent."""


# Here and not with the other audits: this one runs a whole federation, which no party alone can.
@audit_app.command()
def privacy(
    canaries: Annotated[int, typer.Option(min=FEWEST, max=MOST, help="Made-up people in one release.")] = 1000,
    runs: Annotated[int, typer.Option(min=1, help="Releases, each with fresh noise; more of them sharpen.")] = 1,
    confidence: Annotated[float, typer.Option(min=0.51, max=0.999999999, help="Of the lower bound.")] = 0.95,
    noise_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of their noise that the boroughs add: 0.5 must fail.")
    ] = 1.0,
    seed: Annotated[int | None, typer.Option(min=0, help="Repeats canaries and coins; noise and keys never.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Attack the released sums of a test federation, and say whether more can be learned than is stated.

    A federation of four boroughs is made in a temporary folder, with made-up people only, and is removed again.
    """
    # torch and Flower take seconds to load; `custodes audit verify` does without.
    from coordinator.registry.drafting import PlanChoices
    from deploy.privacy_audit.canaries import Canaries
    from deploy.privacy_audit.federation import PLAN, finding, run_plans, scaled_noise, stated_mu

    started = time.monotonic()
    reports: list[str] = []
    with explained_errors(), tempfile.TemporaryDirectory(prefix="custodes-audit-") as temporary:
        drawn = Canaries.toss(canaries, seed=seed)
        with _progress() as bar:
            task = bar.add_task("Releasing sums over canaries", total=1.0)
            try:
                records = run_plans(
                    Path(temporary) / "audit",
                    drawn,
                    PlanChoices.load(PLAN),
                    runs=runs,
                    noise=scaled_noise(noise_share),
                    report=lambda *said: reports.append(": ".join(said)),
                    on_progress=lambda share: bar.update(task, completed=share),
                )
            except ProtocolError:
                # What the parties said to their operators is of interest only when the audit could not be made.
                bar.console.print("\n".join(reports), markup=False)
                raise
        found = finding(records, drawn, confidence=confidence)
        delta = records[0].plan.privacy.delta
        answer = {
            "mu_lower": found.mu_lower,
            "mu_estimate": found.mu_estimate,
            "mu_stated": found.mu_stated,
            "mu_stated_colluding": stated_mu(records[0])[1],
            "mu_expected": found.mu_expected,
            "epsilon_lower": epsilon_of(mu=max(found.mu_lower, 0.0), delta=delta),
            "delta": delta,
            "canaries": canaries,
            "runs": runs,
            "confidence": confidence,
            "noise_share": noise_share,
            "holds": found.holds,
            "blind": found.is_blind,
            "false_alarm": found.chance_of_failing(found.mu_expected),
            "power_at_half_noise": found.chance_of_failing(2 * found.mu_expected),
            "seconds": round(time.monotonic() - started, 2),
        }
        if as_json:
            print_json(answer)
        else:
            _tell(answer, found)
        found.verify()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), console=Console(stderr=True)
    )


def _tell(answer: dict[str, Any], found: PrivacyFinding) -> None:
    """Write what a data-protection officer reads."""
    console = Console(highlight=False)
    releases = "one release" if answer["runs"] == 1 else f"each of {answer['runs']} releases"
    console.print(
        f"What was tried: {answer['canaries']:,} made-up people, canaries, were each put into a borough's table by the "
        f"toss of a coin, or left out. An attacker who knows everything but one canary's coin looked at the noised sum "
        f"of {releases}, as the public log shows it, and guessed that coin; so for every canary."
    )
    if answer["noise_share"] < 1:
        console.print(
            f"The boroughs added {answer['noise_share']:g} of their noise, on purpose: this audit should fail."
        )
    table = Table()
    table.add_column("what the attacker can learn of one person from one release")
    table.add_column("mu", justify="right")
    table.add_column("guesses right", justify="right")
    for name, mu in (
        ("stated, of somebody who sees the sum", found.mu_stated),
        ("stated, if a borough also reveals its noise", answer["mu_stated_colluding"]),
        ("measured", found.mu_estimate),
        (f"at least, with {found.confidence:.7g} confidence", found.mu_lower),
    ):
        # Whoever tells two Gaussians mu apart, equally likely, is right with probability Phi(mu / 2).
        table.add_row(name, f"{mu:.3f}", f"{ndtr(max(mu, 0.0) / 2):.1%}")
    console.print(table)
    console.print(
        "The log shows sums, so the last line is held against the first. At least epsilon "
        f"{answer['epsilon_lower']:.2f} at delta {answer['delta']:g}. An honest federation fails this audit with "
        f"probability {answer['false_alarm']:.0e}; with half of the noise it would pass with probability "
        f"{max(1 - answer['power_at_half_noise'], 1e-12):.0e} or less. Time: {answer['seconds']:.0f} s."
    )
    if not found.holds:
        console.print("[bold]Fails:[/] more can be learned than is stated.")
    elif found.is_blind:
        console.print("[bold]Proves nothing:[/] the attack did not see what the stated noise lets through.")
    else:
        console.print("[bold]Holds:[/] the attack learns no more than is stated.")
