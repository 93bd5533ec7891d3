"""The sample catalogue of the personnel contract, written from the indicators: ``python -m borough_node.features.catalogue``.

Rules this module keeps: a definition stands once, beside its query; a head names the ten or so features that an
investigator of its category would ask for, and the workload that explains them honestly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from borough_node.features.extract import SUBJECTS
from borough_node.features.indicator import Indicator, Subject
from borough_node.features.rules import RULES
from protocol.documents.catalogue import Bounded, Count, Scaled

INTRODUCTION = """\
# The catalogue of the personnel contract (docs/spec/personnel.md): features of events in the half-year before a cutoff.
#
# Written from borough_node/features by `python -m borough_node.features.catalogue`; edit the definitions there.
# Bounds are public round figures. Counts: min(log1p(v), cap); scaled: clip((v - center)/scale, -limit, limit).
# Sickness is in the contract and in no feature here: treating people by their sickness discriminates by disability and
# pregnancy (Equality Act 2010 ss.15, 18, 19). A feature of it needs a catalogue of its own and a plan that the quorum
# approves with that in view. Age is protected and left out too.
# The legal notes are examples: the force's own lawyers write the real ones.
# The points beside each head are the rules of borough_node/features/rules.py: the baseline that a model has to beat.

[table]
person = "staff_no"
silo = "borough"
cutoff = "cutoff"
ignored = []

[catalogue]
catalogue_id = "personnel-contract"
version = 1

[[catalogue.protected]]
name = "sex"
title = "Sex, as recorded"
groups = ["f", "m"]

[[catalogue.protected]]
name = "ethnicity_group"
title = "Ethnic group, as stated"
groups = ["asian", "black", "mixed", "white", "other"]

[[catalogue.protected]]
name = "age_band"
title = "Age, in bands"
groups = ["under_30", "30_44", "45_plus"]
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a head of the sample catalogue looks at."""

    category: str
    title: str
    prior: float
    features: tuple[str, ...]
    eligible: str | None = None


HEADS = (
    Choice(
        "roster_manipulation",
        "Manipulation of the duty roster",
        0.01,
        (
            "own_amendment_hours",
            "own_amendments_gaining",
            "own_amendments_late",
            "self_authorised_overtime",
            "overtime_without_presence",
            "swaps_gaining_premium",
            "swap_premium_hours",
            "reciprocal_authorisations",
            "own_gains_unseen",
            "self_authorised_unseen",
            "overtime_unseen_excess",
            "overtime_duties",
        ),
    ),
    Choice(
        "false_attendance",
        "False office attendance, senior grades",
        0.002,
        (
            "senior_grade",
            "unbadged_office_claims",
            "unbadged_office_share",
            "office_shortfall",
            "unbadged_edge_days",
            "short_office_days",
            "off_site_duty_days",
            "office_days_unwatched",
        ),
        "senior_grade",
    ),
    Choice(
        "fraud",
        "Fraud with expenses",
        0.002,
        (
            "duplicate_expenses",
            "repeated_expenses",
            "round_sum_expenses",
            "below_limit_expenses",
            "expenses_on_leave",
            "expenses_without_receipt",
            "expense_items",
            "complaints_money",
            "reports_money",
        ),
    ),
    Choice(
        "abuse_of_position",
        "Abuse of position for a sexual purpose",
        0.002,
        (
            "repeat_lookups_vulnerable",
            "vulnerable_lookups_without_case",
            "off_duty_lookups_without_case",
            "off_duty_vulnerable_lookups",
            "lookups_without_case_share",
            "complaints_sexual",
            "reports_sexual",
            "vulnerable_lookups",
            "lookups",
            "public_protection",
        ),
    ),
    Choice(
        "undeclared_association",
        "Undeclared associations",
        0.002,
        (
            "undeclared_subject_lookups",
            "undeclared_subject_months",
            "associates_searched",
            "searched_before_declared",
            "late_declarations",
            "complaints_association",
            "reports_association",
            "lookups_without_case",
            "lookups",
        ),
    ),
)


def render() -> str:
    """Return the TOML file."""
    parts = [INTRODUCTION]
    parts += ["\n".join(_head(choice)) + "\n" for choice in HEADS]
    parts += ["\n".join(_feature(subject, one)) + "\n" for subject in SUBJECTS for one in subject.indicators]
    return "\n".join(parts)


def _head(choice: Choice) -> Iterator[str]:
    yield "[[catalogue.heads]]"
    for rule in RULES[choice.category]:
        yield f"# {rule.points} points from {rule.at_least:g}: {rule.feature}"
    yield f"category = {_text(choice.category)}"
    yield f"title = {_text(choice.title)}"
    yield f"label = {_text('y_' + choice.category)}"
    yield f"prior = {choice.prior}"
    if choice.eligible is not None:
        yield f"eligible = {_text(choice.eligible)}"
    yield "features = ["
    yield from (f"  {_text(name)}," for name in choice.features)
    yield "]"


def _feature(subject: Subject, one: Indicator) -> Iterator[str]:
    yield "[[catalogue.features]]"
    yield f"name = {_text(one.name)}"
    yield f"definition = {_text(one.definition)}"
    yield f"unit = {_text(one.unit)}"
    yield f"transform = {_transform(one.transform)}"
    yield f"direction = {one.direction}"
    yield f"reason = {_text(one.reason)}"
    yield f"legal_note = {_text(subject.legal_note)}"
    yield f"sensitivity = {_text(subject.sensitivity)}"


def _transform(transform: Count | Scaled | Bounded) -> str:
    fields = ", ".join(f"{name} = {_text(value) if name == 'kind' else value}" for name, value in transform)
    return f"{{ {fields} }}"


def _text(text: object) -> str:
    # A JSON string of printable ASCII is a TOML basic string.
    return json.dumps(text)


if __name__ == "__main__":
    from pathlib import Path

    Path("deploy/samples/personnel.catalogue.toml").write_text(render(), encoding="utf-8")
