"""What nobody in a real federation could compute: accuracy against the planted truth, over all boroughs' rows at once.

The demo may, because it wrote every table. Nothing here flows back into the federation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from borough_node.features.matrix import design_matrix
from borough_node.features.rules import rule_scores
from borough_node.sources.table import PersonnelTable, rows_at
from deploy.demo.scenario import Scenario
from deploy.force.truth import NOBODY, figures, highest, kinds, open_cases
from protocol.documents.flags import FlagHeader
from protocol.ids import PartyId
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.model import Model, contributions
from protocol.sealing.pseudonym import PseudonymKey, pseudonym


@dataclass(frozen=True, slots=True)
class CategoryTruth:
    """One category's figures at the evaluation cutoff.

    Positives are people with an open case as it was planted; in a real table, those with the label.
    """

    auc: float | None
    """None without both kinds of people."""
    average_precision: float | None
    precision_top: float
    """Share of positives among the capacity's highest scores."""
    positives: int
    flags: int
    precision: float | None
    """Share of positives among the flags; None without flags."""
    flagged_kinds: dict[str, int]
    """How many of the flagged are what in truth; empty for a real table."""
    planted_kinds: dict[str, int]
    """How many people of each kind could be flagged; empty for a real table."""
    against_planted: dict[str, dict[str, float | None]]
    """`deploy.force.truth.FIGURES` of the flags, and of as many flags by the public rules; empty for a real table."""


def roc_auc(scores: Float64Array, labels: Float64Array) -> float:
    """Return the area under the ROC curve by ranks, ties counted half."""
    order, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    del order
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = labels.sum()
    negatives = labels.size - positives
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: Float64Array, labels: Float64Array) -> float:
    """Return the average precision: mean over positives of the precision at their rank."""
    ranked = labels[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(ranked)
    return float((hits / np.arange(1, ranked.size + 1))[ranked == 1].mean())


class Truth:
    """All rows at the evaluation cutoff, and who is behind a pseudonym."""

    def __init__(self, scenario: Scenario, tables: Mapping[PartyId, PersonnelTable]) -> None:
        """Take the rows that the boroughs' nodes computed."""
        cutoff = scenario.evaluation_cutoff
        self._scenario = scenario
        self._tables = {
            borough: rows_at(table, first_cutoff=cutoff, last_cutoff=cutoff) for borough, table in tables.items()
        }
        truth = scenario.truth
        self._kinds = {
            head.category: {} if truth is None else kinds(head.category, truth) for head in scenario.catalogue.heads
        }

    def kind(self, person: str, category: str) -> str | None:
        """Return what somebody is in truth, in a category; None for a real table."""
        return None if self._scenario.truth is None else self._kinds[category].get(person, NOBODY)

    def name_flags(
        self, headers: Sequence[FlagHeader], key_of: Callable[[PartyId, str], PseudonymKey]
    ) -> dict[str, str]:
        """Return the person behind each flag id, by trying every person of the borough under the borough's own key."""
        plans = {(header.borough, header.plan) for header in headers}
        people = {
            (borough, plan, pseudonym(key, borough=borough, plan_digest=plan, person=person)): person
            for borough, plan in plans
            for key in [key_of(borough, plan)]
            for person in self._tables[borough].person.tolist()
        }
        return {header.flag_id: people[header.borough, header.plan, header.pseudonym] for header in headers}

    def measure(self, model: Model, headers: Sequence[FlagHeader], named: dict[str, str]) -> dict[str, CategoryTruth]:
        """Return each category's figures."""
        scenario, tables = self._scenario, self._tables.values()
        matrix = np.concatenate([design_matrix(table, scenario.catalogue) for table in tables])
        persons = np.concatenate([table.person for table in tables]).astype(str)
        features = {
            feature.name: matrix[:, place] for place, feature in enumerate(scenario.catalogue.features, start=1)
        }
        people = sum(scenario.establishment.values())
        result = {}
        for head in scenario.catalogue.heads:
            category = head.category
            if scenario.truth is None:
                positive = np.concatenate([table.labels[head.label] for table in tables]) == 1
            else:
                positive = open_cases(category, persons, scenario.truth)
            scores, _ = contributions(model.scorecard(category), features)
            eligible = np.ones(len(persons), bool) if head.eligible is None else features[head.eligible] >= 1
            flagged = np.isin(persons, [named[header.flag_id] for header in headers if header.category == category])
            top = highest(scores, eligible, scenario.choices.capacity(category, people))
            own, labels = scores[eligible], positive[eligible].astype(np.float64)
            both = 0 < labels.sum() < labels.size
            against = {}
            if scenario.truth is not None:
                raw = {name: np.concatenate([table.features[name] for table in tables]) for name in features}
                by_rules = highest(rule_scores(category, raw), eligible, int(flagged.sum()))
                against = {
                    name: _without_nan(figures(category, persons, eligible, who, scenario.truth))
                    for name, who in (("custodes", flagged), ("rules", by_rules))
                }
            result[category] = CategoryTruth(
                auc=roc_auc(own, labels) if both else None,
                average_precision=average_precision(own, labels) if both else None,
                precision_top=float(positive[top].mean()),
                positives=int(labels.sum()),
                flags=int(flagged.sum()),
                precision=float(positive[flagged].mean()) if flagged.any() else None,
                flagged_kinds=self._counted(category, persons[flagged].tolist()),
                planted_kinds=self._counted(category, persons[eligible].tolist()),
                against_planted=against,
            )
        return result

    def _counted(self, category: str, persons: Sequence[str]) -> dict[str, int]:
        found = Counter(self.kind(person, category) for person in persons)
        return {kind: count for kind, count in sorted(found.items(), key=str) if kind is not None}


def _without_nan(shares: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(share) else share for name, share in shares.items()}
