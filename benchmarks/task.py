"""What every method of ``benchmarks.utility`` is given and what it gives back.

Every method sees the same rows and the same columns with the catalogue's public transforms (column 0 is the intercept);
the public start of each head is there for those who use it. Every private one is held to the same guarantee: epsilon and
delta for one person, all of whose training rows are added or removed, over **all labels together**.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.simulated import SimulatedForce
from borough_node.features.cohort import Cohort
from coordinator.registry.drafting import PlanChoices
from protocol.documents.plan import TrainingPlan
from protocol.ids import PartyId
from protocol.scorecard.columns import Columns, Float64Array, columns_of
from protocol.scorecard.descent import start
from protocol.scorecard.run import Run

TOP_SHARE = 0.013
"""The share of the cohort that a force could look at; p13 is the precision among them."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What a private method promises for one person."""

    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Noise that was added ``count`` times, for an accountant that does not know the method.

    Each time a person is drawn with ``sampling_rate`` (1: always), independently of everybody else (Poisson), moves a
    sum by at most some L2 norm, and Gaussian noise of ``noise_multiplier`` times that norm is added.
    """

    noise_multiplier: float
    sampling_rate: float
    count: int


Score = Callable[[Float64Array], Float64Array]
"""(rows, width) to (rows, heads)."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained method."""

    score: Score
    rounds: int | None
    """Times that the boroughs (or the curator) were asked for something; None without privacy."""
    mechanisms: tuple[Mechanism, ...]
    """All that was released; empty without privacy."""


@dataclass(frozen=True, eq=False)
class Task:
    """Training rows by silo, and what is public about them."""

    force: SimulatedForce
    choices: PlanChoices
    plan: TrainingPlan
    """Of the choices, for the public constants: epsilon in it is replaced by each method's."""
    columns: Columns
    silos: dict[PartyId, Cohort]
    starts: tuple[Float64Array, ...]
    """Public starting weights of each head, intercept first."""

    @classmethod
    def of(cls, force: SimulatedForce, choices: PlanChoices, *, train_until: int, evaluation_cutoff: int) -> Task:
        """Return the task of a force. Raises: ConfigurationError, PlanInvalid, TableInvalid."""
        plan = force.plan(choices, train_until=train_until, evaluation_cutoff=evaluation_cutoff)
        silos = {borough: force.cohort(borough, "gradient", plan) for borough in plan.borough_ids()}
        begun = Run.begin(plan, force.catalogue)
        return cls(force, choices, plan, columns_of(plan, force.catalogue), silos, start(begun).weights)

    @property
    def rows(self) -> Float64Array:
        """All silos' design matrix, shape (rows, width)."""
        return np.concatenate([cohort.rows for cohort in self.silos.values()])

    @property
    def labels(self) -> Float64Array:
        """All silos' labels, shape (rows, heads)."""
        return np.concatenate([cohort.labels for cohort in self.silos.values()])

    @property
    def persons(self) -> npt.NDArray[np.object_]:
        """Whose row it is, shape (rows,)."""
        return np.concatenate([cohort.persons for cohort in self.silos.values()])

    @property
    def rows_per_person(self) -> int:
        """m, the most rows of one person."""
        return self.plan.privacy.rows_per_person

    @property
    def people(self) -> int:
        """The published establishment."""
        return self.plan.people

    def plan_for(self, guarantee: Guarantee) -> TrainingPlan:
        """Return the plan that the choices make with another epsilon and delta."""
        choices = self.choices.model_copy(update={"epsilon": guarantee.epsilon, "delta": guarantee.delta})
        return self.force.plan(
            choices, train_until=self.plan.train_until, evaluation_cutoff=self.plan.evaluation_cutoff
        )

    def split(self, *, share: float, seed: int) -> tuple[Task, Cohort]:
        """Return the task without a random share of its people, and these people's rows: for choosing settings."""
        everybody = np.unique(self.persons.astype(str))
        held = set(np.random.default_rng(seed).permutation(everybody)[: max(1, round(share * everybody.size))].tolist())
        kept, out = {}, []
        for borough, cohort in self.silos.items():
            away = np.array([str(person) in held for person in cohort.persons], dtype=bool)
            kept[borough] = _chosen(cohort, ~away)
            out.append(_chosen(cohort, away))
        return replace(self, silos=kept), joined(out)


def _chosen(cohort: Cohort, which: npt.NDArray[np.bool_]) -> Cohort:
    return Cohort(cohort.rows[which], cohort.labels[which], cohort.persons[which], cohort.groups[which])


def joined(parts: Sequence[Cohort]) -> Cohort:
    """Return several cohorts as one."""
    return Cohort(
        rows=np.concatenate([part.rows for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        persons=np.concatenate([part.persons for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
    )


def linear(columns: Columns, weights: Sequence[Float64Array]) -> Score:
    """Return the score of one weight vector a head."""
    kept = [np.asarray(values, dtype=np.float64) for values in weights]
    return lambda rows: np.column_stack(
        [rows[:, list(where)] @ values for where, values in zip(columns.heads, kept, strict=True)]
    )


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well a score finds the positives among people who can be flagged."""

    auc: float
    ap: float
    p13: float


def accuracy(score: Float64Array, labels: Float64Array) -> Accuracy:
    """Return the figures of one head; both labels must occur.

    ``p13``: precision among the highest 1.3 %, at least one person; ties are broken by the order of rows.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    top = np.argsort(-score, kind="stable")[: max(1, math.ceil(TOP_SHARE * score.size))]
    return Accuracy(
        auc=float(roc_auc_score(labels, score)),
        ap=float(average_precision_score(labels, score)),
        p13=float(labels[top].mean()),
    )
