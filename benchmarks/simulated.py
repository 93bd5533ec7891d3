"""A federation in one process: a plan over a table with silos, as often as a measurement needs, with fresh noise each time.

What runs is what boroughs run: their reading of records, their vector functions, their quantisation to integers, their
discrete Gaussian noise at the plan's local sigma from the operating system, each borough's apart; and what everybody
computes from published sums. What does not run: documents, signatures, ledgers, the wire, and **masks**. Masks cancel in
the sum to the last bit (docs/spec/private-sums.md), so what a plan publishes is the same integers with and without them.
``tests/benchmarks/test_simulated.py`` compares with a federation that has everything.

Sums before noise that do not depend on weights (second moment, group moments, drift) are the same integers in every
rerun and are computed once. Gradients depend on the weights and are computed again, by Opacus row by row, or, with
``closed_form``, by matrix products: rows are then not rounded one by one and float sums are not exact, which moves an
entry by less than a thousandth of the noise's sd; a run then takes a quarter to a third of the time.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy.special import expit

from benchmarks.made_up import NOW, made_up_roster
from borough_node.app import system_noise
from borough_node.features.cohort import Cohort
from borough_node.records import Records
from borough_node.sources.layout import TableLayout
from borough_node.sources.table import PersonnelTable, party_id, read_table, split_by_silo
from borough_node.training.vectors import FUNCTIONS
from coordinator.registry.drafting import PlanChoices, draft_plan
from protocol.aggregation.accounting import realised_sigma
from protocol.aggregation.encoding import Int64Array, decode, quantised_sum
from protocol.aggregation.planning import PER_PERSON, local_sigma_ring, rows_per_person
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import ReleaseFunction, ReleaseSpec, TrainingPlan
from protocol.errors import ConfigurationError, TableInvalid
from protocol.ids import PartyId, random_id
from protocol.scorecard.columns import Columns, Float64Array, columns_of
from protocol.scorecard.inputs import Inputs, next_inputs
from protocol.scorecard.run import Published, Run

Noise = Callable[[int, float], Int64Array]
"""(length, sigma in ring units) to one borough's noise."""

TRAINING: frozenset[ReleaseFunction] = PER_PERSON
"""What the final weights need."""
CONSTANT: frozenset[ReleaseFunction] = frozenset({"second_moment", "group_moments", "drift"})
"""Releases whose sum before noise follows from plan and table alone."""


def no_noise(length: int, sigma: float) -> Int64Array:
    """Return zeros: for comparisons, never for a measurement of privacy or utility."""
    return np.zeros(length, dtype=np.int64)


class SimulatedForce:
    """The boroughs of a table, and what they answered before."""

    def __init__(self, catalogue: FeatureCatalogue, tables: Mapping[PartyId, PersonnelTable]) -> None:
        self.catalogue = catalogue
        self.tables = {name: tables[name] for name in sorted(tables)}
        self._records = {name: Records(lambda _, table=table: table) for name, table in self.tables.items()}
        self._cohorts: dict[object, Cohort] = {}
        self._sums: dict[object, Int64Array] = {}

    @classmethod
    def read(cls, path: Path, *, layout: TableLayout, catalogue: FeatureCatalogue) -> SimulatedForce:
        """Return the force of a table that names each row's silo. Raises: TableInvalid, ConfigurationError."""
        whole = read_table(path, layout=layout, catalogue=catalogue, with_silo=True)
        return cls(catalogue, cls.by_party(split_by_silo(whole)))

    @staticmethod
    def by_party(silos: Mapping[str, PersonnelTable]) -> dict[PartyId, PersonnelTable]:
        """Return silos' tables under the names of parties. Raises: TableInvalid if two silos have one."""
        tables = {party_id(silo): table for silo, table in silos.items()}
        if len(tables) != len(silos):
            raise TableInvalid("the silo column: two silos have the same name as a party; rename one of them")
        return tables

    def plan(
        self, choices: PlanChoices, *, train_until: int, evaluation_cutoff: int, train_from: int | None = None
    ) -> TrainingPlan:
        """Return the plan that the choices make of this force, as `custodes demo --table` would draft it.

        The establishment stands for published figures: people on duty at the last training cutoff, at least one a
        borough. ``train_from`` is the table's first cutoff unless it is given.
        Raises: ConfigurationError, PlanInvalid naming the field.
        """
        cutoffs = [table.cutoff for table in self.tables.values()]
        first = min(int(values.min()) for values in cutoffs) if train_from is None else train_from
        return draft_plan(
            choices,
            plan_id=random_id(),
            roster=made_up_roster({}, tuple(self.tables)),
            catalogue=self.catalogue,
            establishment={
                name: max(1, int((table.cutoff == train_until).sum())) for name, table in self.tables.items()
            },
            train_from=first,
            train_until=train_until,
            evaluation_cutoff=evaluation_cutoff,
            unmasker_key=secrets.token_bytes(32).hex(),
            now=NOW,
        )

    def run(
        self,
        plan: TrainingPlan,
        *,
        noise: Noise = system_noise,
        answering: int | None = None,
        releases: frozenset[ReleaseFunction] | None = None,
        closed_form: bool = False,
    ) -> Run:
        """Return a run of the plan as it would be published.

        Args:
            plan: Over boroughs of this force.
            answering: How many boroughs answer each release, drawn anew each time; None: all.
            releases: The run ends before the first release that is not of these; None: it is complete.
            closed_form: Gradients by matrix products, see the module.
        Raises: ConfigurationError if fewer boroughs answer than the plan requires, or a release has no vector function.
        """
        run = Run.begin(plan, self.catalogue)
        boroughs = plan.borough_ids()
        if answering is not None and not plan.privacy.min_boroughs <= answering <= len(boroughs):
            raise ConfigurationError(
                f"answering: {answering} is not from {plan.privacy.min_boroughs} to {len(boroughs)}"
            )
        products = _Products() if closed_form else None
        for spec in plan.releases:
            if releases is not None and spec.function not in releases:
                break
            if spec.function not in FUNCTIONS:
                raise ConfigurationError(f"release {spec.index}: nothing here answers {spec.function}; plan without it")
            answered = boroughs if answering is None else secrets.SystemRandom().sample(boroughs, answering)
            inputs = next_inputs(run)
            total = np.zeros(spec.length, dtype=np.int64)
            for borough in answered:
                if products is not None and spec.function == "gradient":
                    cohort = self.cohort(borough, spec.function, plan, run.columns)
                    total += products.gradient_sum(borough, plan, run.columns, inputs, cohort)
                else:
                    total += self._sum(borough, plan, spec, run.columns, inputs)
                total += noise(spec.length, local_sigma_ring(plan, spec))
            run = run.then(
                Published(
                    plan=plan,
                    spec=spec,
                    inputs=inputs,
                    values=decode(total, scale=plan.scale),
                    sigma=realised_sigma(
                        sigma=spec.sigma,
                        min_boroughs=plan.privacy.min_boroughs,
                        colluding=plan.privacy.colluding,
                        answered=len(answered),
                    ),
                )
            )
        return run

    def train(self, plan: TrainingPlan, *, noise: Noise = system_noise, closed_form: bool = False) -> Run:
        """Return a run that ends where ``final_weights`` can be computed."""
        return self.run(plan, noise=noise, releases=TRAINING, closed_form=closed_form)

    def cohort(
        self, borough: PartyId, function: ReleaseFunction, plan: TrainingPlan, columns: Columns | None = None
    ) -> Cohort:
        """Return the rows of a borough that a release reads. Raises: TableInvalid."""
        key = (borough, function in PER_PERSON, columns or columns_of(plan, self.catalogue), _cutoffs(plan))
        if key not in self._cohorts:
            _, self._cohorts[key] = self._records[borough].cohort_for(function, plan, self.catalogue)
        return self._cohorts[key]

    def everybody(self, function: ReleaseFunction, plan: TrainingPlan) -> Cohort:
        """Return all boroughs' rows together: what nobody in a federation sees, for measuring what came out."""
        parts = [self.cohort(borough, function, plan) for borough in plan.borough_ids()]
        return Cohort(
            rows=np.concatenate([part.rows for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            persons=np.concatenate([part.persons for part in parts]),
            groups=np.concatenate([part.groups for part in parts]),
        )

    def _sum(
        self, borough: PartyId, plan: TrainingPlan, spec: ReleaseSpec, columns: Columns, inputs: Inputs
    ) -> Int64Array:
        key = (borough, spec.function, columns, _cutoffs(plan), plan.descent.row_norm, plan.scale, spec.l2)
        if key in self._sums:
            return self._sums[key]
        found = quantised_sum(
            FUNCTIONS[spec.function](plan, columns, inputs, self.cohort(borough, spec.function, plan, columns)),
            length=spec.length,
            l2=spec.l2,
            scale=plan.scale,
            rows_per_person=rows_per_person(spec, plan.privacy),
        )
        if spec.function in CONSTANT:
            self._sums[key] = found
        return found


def _cutoffs(plan: TrainingPlan) -> tuple[int, int, int]:
    """Return what decides, with the columns, which rows a plan reads and how they are weighted."""
    return plan.train_from, plan.train_until, plan.evaluation_cutoff


class _Products:
    """Gradient sums by matrix products; the whitening, and so the whitened rows' norms, are those of one run."""

    def __init__(self) -> None:
        self._norms: dict[tuple[PartyId, int], Float64Array] = {}

    def gradient_sum(
        self, borough: PartyId, plan: TrainingPlan, columns: Columns, inputs: Inputs, cohort: Cohort
    ) -> Int64Array:
        """Return ``sum clip((p - y) W x)`` of all heads in ring units, rounded at the end."""
        parts = []
        matrices, weights = columns.split_square(inputs["whitening"]), columns.split(inputs["weights"])
        clips = inputs["clips"].tolist()
        for head, (where, matrix, values, clip) in enumerate(zip(columns.heads, matrices, weights, clips, strict=True)):
            rows = cohort.rows if len(where) == columns.width else cohort.rows[:, list(where)]
            if (borough, head) not in self._norms:
                self._norms[borough, head] = np.linalg.norm(rows @ matrix, axis=1)
            residual = expit(rows @ values) - cohort.labels[:, head]
            factors = residual / np.maximum(np.abs(residual) * self._norms[borough, head], clip)
            parts.append(matrix @ (rows.T @ factors))
        total = np.concatenate(parts) * (plan.scale / plan.privacy.rows_per_person)
        assert math.isfinite(float(total.sum()))
        return np.rint(total).astype(np.int64)
