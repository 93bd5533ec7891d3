"""A plan and the sums that were published of it so far: what everything public is computed from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from protocol.aggregation.accounting import realised_sigma
from protocol.aggregation.encoding import decode
from protocol.documents.catalogue import FeatureCatalogue
from protocol.documents.plan import Release, ReleaseFunction, ReleaseSpec, TrainingPlan
from protocol.errors import StateError
from protocol.ids import Digest
from protocol.scorecard.columns import Columns, Float64Array, columns_of


@dataclass(frozen=True, slots=True)
class Published:
    """One published sum, decoded."""

    plan: TrainingPlan
    """The plan that it was released under: an earlier one's second moment may be used again."""
    spec: ReleaseSpec
    inputs: dict[str, Float64Array]
    values: Float64Array
    """Noised sums in units of the clip, shape (spec.length,)."""
    sigma: float
    """Realised sd of the noise in units of the clip: more boroughs than required answered, so more noise arrived."""


def published(release: Release, spec: ReleaseSpec, plan: TrainingPlan) -> Published:
    """Return a release document as numbers; ``spec`` is the plan's entry that it answers."""
    return Published(
        plan=plan,
        spec=spec,
        inputs={name: array.floats() for name, array in release.request.inputs.items()},
        values=decode(release.sums.integers(), scale=plan.scale),
        sigma=realised_sigma(
            sigma=spec.sigma,
            min_boroughs=plan.privacy.min_boroughs,
            colluding=plan.privacy.colluding,
            answered=len(release.boroughs),
        ),
    )


@dataclass(frozen=True, slots=True)
class Run:
    """A plan, its catalogue, and its releases in order."""

    plan: TrainingPlan
    catalogue: FeatureCatalogue
    columns: Columns
    releases: tuple[Published, ...]
    reused: Published | None
    """The second moment of an earlier plan, if this plan uses it again."""

    @classmethod
    def begin(cls, plan: TrainingPlan, catalogue: FeatureCatalogue, *, reused: Published | None = None) -> Run:
        """Return a plan of which nothing is published. Raises: PlanInvalid if the catalogue lacks what it names."""
        return cls(plan, catalogue, columns_of(plan, catalogue), (), reused)

    def then(self, *releases: Published) -> Run:
        """Return the run after more releases."""
        return replace(self, releases=self.releases + releases)

    def of(self, function: ReleaseFunction) -> tuple[Published, ...]:
        """Return the published releases of a function, in order."""
        return tuple(release for release in self.releases if release.spec.function == function)

    def only(self, function: ReleaseFunction) -> Published:
        """Return the published release of a function that a plan has once. Raises: StateError while it is missing."""
        found = self.of(function)
        if len(found) != 1:
            raise StateError(f"the plan's release of {function} is not published")
        return found[0]

    @property
    def moment(self) -> Published:
        """The second moment that the run goes by. Raises: StateError while it is missing."""
        return self.only("second_moment") if self.reused is None else self.reused

    def digest(self) -> Digest:
        """Return a digest of the plan and of all numbers published of it: two readers of one log have the same."""
        found = hashlib.sha256(self.plan.digest().encode() + (b"own" if self.reused is None else b"reused"))
        for release in (*(() if self.reused is None else (self.reused,)), *self.releases):
            for values in (release.values, *(release.inputs[name] for name in sorted(release.inputs))):
                found.update(values.tobytes())
            found.update(repr(release.sigma).encode())
        return found.hexdigest()

    @property
    def complete(self) -> bool:
        """Whether every release of the plan is published."""
        return len(self.releases) == len(self.plan.releases)


@dataclass(frozen=True, slots=True)
class Released:
    """A run that is told from others by what was published of it: a key under which costly answers are kept."""

    digest: Digest
    run: Run = field(compare=False, repr=False)

    @classmethod
    def of(cls, run: Run) -> Released:
        """Return a run under its digest."""
        return cls(run.digest(), run)
