"""What nobody in a real federation could compute: accuracy against the planted truth, over all boroughs' rows at once.

The demo may, because it wrote every table. Nothing here flows back into the federation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from borough_node.features.matrix import design_matrix
from borough_node.sources.table import PersonnelTable, read_table, rows_at
from deploy.demo.scenario import Scenario
from protocol.documents.flags import FlagHeader
from protocol.ids import PartyId
from protocol.scorecard.columns import Float64Array
from protocol.scorecard.model import Model, contributions
from protocol.sealing.pseudonym import PseudonymKey, pseudonym


@dataclass(frozen=True, slots=True)
class CategoryTruth:
    """One category's figures at the evaluation cutoff."""

    auc: float
    average_precision: float
    precision_top: float
    """Share of positives among the capacity's highest scores."""
    positives: int
    flags: int
    precision: float | None
    """Share of positives among the flags; None without flags."""
    flagged_kinds: dict[str, int]


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

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._tables: dict[PartyId, PersonnelTable] = {}
        for borough, path in scenario.tables.items():
            table = read_table(path, layout=scenario.layout, catalogue=scenario.catalogue, with_silo=False)
            cutoff = scenario.evaluation_cutoff
            self._tables[borough] = rows_at(table, first_cutoff=cutoff, last_cutoff=cutoff)

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
        scenario = self._scenario
        matrix = np.concatenate([design_matrix(table, scenario.catalogue) for table in self._tables.values()])
        persons = np.concatenate([table.person for table in self._tables.values()])
        features = {
            feature.name: matrix[:, place] for place, feature in enumerate(scenario.catalogue.features, start=1)
        }
        people = sum(scenario.establishment.values())
        result = {}
        for head in scenario.catalogue.heads:
            labels = np.concatenate([table.labels[head.label] for table in self._tables.values()])
            scores, _ = contributions(model.scorecard(head.category), features)
            eligible = np.ones(labels.size, bool) if head.eligible is None else features[head.eligible] >= 1
            scores, own = scores[eligible], labels[eligible]
            flagged = [named[header.flag_id] for header in headers if header.category == head.category]
            truth = dict(zip(persons.tolist(), labels.tolist(), strict=True))
            kinds = Counter(scenario.planted.get((person, head.category), "nobody") for person in flagged)
            top = np.argsort(-scores, kind="stable")[: scenario.choices.capacity(head.category, people)]
            result[head.category] = CategoryTruth(
                auc=roc_auc(scores, own),
                average_precision=average_precision(scores, own),
                precision_top=float(own[top].mean()),
                positives=int(own.sum()),
                flags=len(flagged),
                precision=float(np.mean([truth[person] for person in flagged])) if flagged else None,
                flagged_kinds=dict(kinds) if scenario.planted else {},
            )
        return result
