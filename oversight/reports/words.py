"""What the card says in words: sentences that do not depend on figures, in one place for page and JSON."""

from __future__ import annotations

from typing import Final

from protocol.documents.plan import ReleaseFunction
from protocol.history.public import PlanRecord

COMMAND: Final = "custodes audit verify DIRECTORY --genesis {genesis}"

MEANINGS: Final = (
    "Anybody who reads the public log, and knows no borough's noise.",
    "The same reader, helped by boroughs that give away their own noise. This is the figure that the plan promises. It "
    "holds for the coordinator alone and for the unmasker alone, too.",
    "The two servers, if they break their promise and put together what they hold. They then see every borough's sum "
    "with that one borough's noise.",
)
"""What each adversary sees, in the order of the plan's statements."""

TITLES: Final[dict[ReleaseFunction, str]] = {
    "second_moment": "Which features vary, and which vary together",
    "gradient": "Training steps",
    "group_moments": "Mean features by protected group, for the mitigation",
    "evaluation": "Scores by label: accuracy, calibration, threshold",
    "fairness": "Scores by protected group",
    "drift": "How features are spread, to compare with other years",
    "outcomes": "Outcomes of human review",
}
"""Releases in the order of the plan's shares."""

NOT_COVERED: Final = (
    "A flag is a deliberate disclosure about one person, outside epsilon; it is bounded by the policy's cap and header.",
    "A flag is never a decision: a person reviews every one, with reasons.",
    "A borough that lies about its own numbers is not detected; its statement is signed, so the lie is attributable.",
    "The coordinator together with a quorum of custodians could open an envelope without a log entry.",
    "A coordinator that makes a sum up is believed, if the sum is in range. Epsilon still holds; what bounds the harm is "
    "the policy: its quorum, thresholds, caps and header.",
    "How many flags a plan raised, on which day and by which borough, stands in the public log without noise.",
)


NOT_MEASURED: Final[dict[ReleaseFunction, str]] = {
    "fairness": "Differences between protected groups: the plan measured nothing by group.",
    "drift": "Drift: the plan did not measure how features are spread.",
    "outcomes": "Outcomes: the plan counted no results of human review.",
}
"""What a plan without such a release does not know."""


def not_measured(record: PlanRecord) -> tuple[str, ...]:
    """Return what the plan has no release for."""
    planned = {spec.function for spec in record.plan.releases}
    return tuple(text for function, text in NOT_MEASURED.items() if function not in planned)


def limits(record: PlanRecord) -> tuple[str, ...]:
    """Return what a reader of this plan's figures must keep in mind."""
    plan = record.plan
    found = [
        "The model learned from recorded misconduct. What was never found or never recorded, it cannot learn; whom past "
        "investigations looked at more often, it may score higher.",
        "Correlation is not cause: a weight says what went together in the records, not why.",
        "The sums are noised. Two runs of this plan would not flag exactly the same people.",
        "Thresholds of rare categories are smoothed: how many people they catch may differ from what the force can review.",
        "Figures describe the cohort of the evaluation. They say nothing of another force or another year.",
    ]
    if record.burnt:
        found.append("Some sums failed their checks and were repeated. What they cost stays charged.")
    if plan.second_moment_of is not None:
        found.append("The second moment is an earlier plan's: what changed since then does not show in it.")
    return tuple(found)
