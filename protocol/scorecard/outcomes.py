"""What became of a policy's flags, and what they missed: figures of the outcomes release.

Reviewed flags say how often a flag was right. What flags miss is measured on the control sample: people without a flag,
drawn at random in each borough and reviewed like the flagged, without anybody being told.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.scorecard.intervals import Interval, share
from protocol.scorecard.run import Run


@dataclass(frozen=True, slots=True)
class OutcomeFigures:
    """One head's outcomes under the policy that the plan names."""

    category: str
    precision: Interval
    """Share of the reviewed flags that were substantiated."""
    missed_rate: Interval
    """Share of the people without a flag whose misconduct a review would substantiate, from the control sample."""
    flags_reviewed: float
    """Noised count; so ``controls_reviewed``."""
    controls_reviewed: float


def outcome_figures(run: Run) -> tuple[OutcomeFigures, ...]:
    """Return the figures of the outcomes release, one a head in plan order; nothing if the plan has none.

    Raises: StateError while the release is missing.
    """
    if run.plan.outcomes_of is None:
        return ()
    release = run.only("outcomes")
    cells = release.values.reshape(run.columns.shape("outcomes"))
    noise = release.sigma**2
    return tuple(
        OutcomeFigures(
            category=category,
            precision=share(flagged, wrongly, part_noise=noise, rest_noise=noise),
            missed_rate=share(missed, clear, part_noise=noise, rest_noise=noise),
            flags_reviewed=flagged + wrongly,
            controls_reviewed=missed + clear,
        )
        for category, (flagged, wrongly, missed, clear) in zip(run.plan.categories, cells.tolist(), strict=True)
    )
