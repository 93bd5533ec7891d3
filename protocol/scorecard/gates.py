"""Fairness gates: what a plan asks of the selection rates of protected groups before a policy may raise flags.

The rule, for each category and each attribute that has a gate:

``missed``: the interval of the ratio lies wholly below the gate's minimum. Groups that are suppressed cannot mend it:
they could only lower the ratio.
``passed``: every group is shown, and the interval lies wholly at or above the minimum.
``hidden``: neither: noise leaves both possible.

A missed gate, and a hidden one where the gate says ``refuse``, needs a waiver in the policy, which the quorum signs with
it. A waiver that nothing needs is refused: it would train custodians to sign reasons unread. Judged from
correctly rounded sums and with IEEE operations only, so every reader of the log comes to the same verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from protocol.documents.flags import FlagPolicy
from protocol.documents.plan import FairnessGate
from protocol.errors import FairnessGateMissed, WaiverUnfounded
from protocol.scorecard.fairness import AttributeFairness, fairness_figures
from protocol.scorecard.intervals import Interval
from protocol.scorecard.run import Run


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What a plan's gate says about one category."""

    category: str
    attribute: str
    minimum: float
    ratio: Interval | None
    """Lowest over highest selection rate; None: fewer than two groups are shown."""
    outcome: Literal["passed", "missed", "hidden"]
    needs_waiver: bool
    """Whether a policy may flag this category only with a reason."""

    def __str__(self) -> str:
        """Say it in one line."""
        if self.ratio is None:
            seen = "fewer than two groups are large enough to be shown"
        else:
            value = "not told from noise" if self.ratio.value is None else f"{self.ratio.value:.2f}"
            seen = f"{value} ({self.ratio.low:.2f} to {self.ratio.high:.2f})"
        return (
            f"{self.category} by {self.attribute}: {self.outcome}; lowest over highest selection rate {seen}, "
            f"asked for at least {self.minimum:.2f}"
        )


def gate_verdicts(run: Run) -> tuple[GateVerdict, ...]:
    """Return the verdict of each category and gate, in plan order. Raises: StateError while the release is missing."""
    gates = {} if run.plan.fairness is None else {gate.attribute: gate for gate in run.plan.fairness.gates}
    return tuple(
        _judge(figures, gates[figures.attribute])
        for figures in (fairness_figures(run) if gates else ())
        if figures.attribute in gates
    )


def check_waivers(run: Run, policy: FlagPolicy) -> None:
    """Return if the policy gives a reason for each gate that needs one, and none besides.

    Raises: FairnessGateMissed, WaiverUnfounded.
    """
    flagged = {rule.category for rule in policy.rules}
    needed = {
        (verdict.category, verdict.attribute): verdict
        for verdict in gate_verdicts(run)
        if verdict.needs_waiver and verdict.category in flagged
    }
    given = {(waiver.category, waiver.attribute) for waiver in policy.waivers}
    if missing := [str(verdict) for place, verdict in needed.items() if place not in given]:
        raise FairnessGateMissed(". ".join(missing))
    if unfounded := sorted(given - set(needed)):
        raise WaiverUnfounded(f"field waivers: {' by '.join(unfounded[0])} needs none")


def _judge(figures: AttributeFairness, gate: FairnessGate) -> GateVerdict:
    ratio = figures.ratio
    outcome: Literal["passed", "missed", "hidden"] = "hidden"
    if ratio is not None and ratio.high < gate.minimum:
        outcome = "missed"
    elif ratio is not None and figures.complete and ratio.low >= gate.minimum:
        outcome = "passed"
    return GateVerdict(
        category=figures.category,
        attribute=figures.attribute,
        minimum=gate.minimum,
        ratio=ratio,
        outcome=outcome,
        needs_waiver=outcome == "missed" or (outcome == "hidden" and gate.when_hidden == "refuse"),
    )
