"""A synthetic force on loopback, and how a plan is proposed and approved on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from borough_node.sources.layout import load_catalogue
from borough_node.sources.table import split_table
from coordinator.registry.drafting import PlanChoices
from deploy.force.generate import generate
from deploy.local import Layout, LocalFederation, create
from protocol.clock import Clock, SystemClock
from protocol.documents.plan import Descent
from protocol.documents.roster import Budget
from protocol.ids import Digest, PartyId

SAMPLES = Path(__file__).parents[2] / "deploy" / "samples"
CATALOGUE = SAMPLES / "synthetic.catalogue.toml"
TRAINING, EVALUATION = 2024, 2025


def choices(*, slot_seconds: float = 0.2, deadline_seconds: float = 60.0, steps: int = 2) -> PlanChoices:
    """Return the sample's choices with short times; one of six boroughs may be absent."""
    sample = PlanChoices.load(SAMPLES / "synthetic.plan.toml")
    descent = Descent.model_validate(sample.descent.model_dump() | {"steps": steps})
    return sample.model_copy(
        update={
            "reply_slot_seconds": slot_seconds,
            "deadline_seconds": deadline_seconds,
            "min_boroughs_share": 0.7,
            "descent": descent,
        }
    )


@dataclass
class Loopback:
    """One federation's folders, its force, and what its parties reported."""

    layout: Layout
    clock: Clock
    establishment: dict[PartyId, int]
    reports: list[tuple[str, str, str]] = field(default_factory=list)

    @classmethod
    def create(cls, root: Path, *, boroughs: int = 6, people: int = 600, slot_seconds: float = 0.2) -> Loopback:
        """Generate a force and lay out its parties under ``root``."""
        root.mkdir(parents=True, exist_ok=True)
        records = generate(people=people, boroughs=boroughs, seed=1).table
        pq.write_table(records, root / "force.parquet")
        layout, _ = load_catalogue(CATALOGUE)
        tables = {path.stem: path for path in split_table(root / "force.parquet", layout, root / "tables").values()}
        clock = SystemClock()
        plan = choices()
        budget = Budget(purpose=plan.purpose, rho=50.0)
        made = create(
            root / "federation",
            force="testforce",
            tables=tables,
            catalogue=CATALOGUE,
            budgets=[budget],
            reply_slot_seconds=slot_seconds,
            clock=clock,
        )
        posted = records.filter(pc.equal(records["cutoff"], TRAINING))["borough"].value_counts().to_pylist()
        return cls(made, clock, {row["values"]: row["counts"] for row in posted})

    @property
    def boroughs(self) -> tuple[PartyId, ...]:
        """All boroughs, in order."""
        return tuple(sorted(self.establishment))

    def federation(self, on_progress: Callable[[Digest, int, int, int], None] = lambda *_: None) -> LocalFederation:
        """Return the federation in threads of this process; enter it to start it."""
        return LocalFederation(self.layout, self.clock, lambda *said: self.reports.append(said), on_progress)

    def approve(self, running: LocalFederation, wanted: PlanChoices) -> Digest:
        """Propose a plan, have two custodians recompute and sign it, and return its digest once it is logged."""
        _, catalogue = load_catalogue(CATALOGUE)
        plan = running.propose_plan(
            wanted,
            catalogue,
            establishment=self.establishment,
            train_from=TRAINING,
            train_until=TRAINING,
            evaluation_cutoff=EVALUATION,
        )
        digest = plan.digest()
        running.endorse(digest, running.custodian(1), running.custodian(2))
        return digest
