"""The audited federation: every party's own code over mutual TLS on loopback, with canaries for people.

What is audited is the second moment, as the verified public log shows it. The noise source, the sampler, its scale,
each borough's share of it, quantisation, masks, unmasking and the sum are the same code for every release; the vector
functions of the others, and their clips, are not audited here. The plan runs to its end, as every plan does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from borough_node.app import system_noise
from borough_node.gate import Noise
from borough_node.sources.layout import load_catalogue
from coordinator.registry.drafting import PlanChoices
from deploy.local import LocalFederation, Report, create
from deploy.privacy_audit.canaries import EVALUATION, TRAINING, Canaries, catalogue_text
from oversight.audit.privacy import PrivacyFinding, attack, examine
from oversight.audit.verify import read_mirror
from protocol.aggregation.accounting import mu_of, rho_of
from protocol.aggregation.encoding import Int64Array
from protocol.aggregation.planning import events
from protocol.clock import SystemClock
from protocol.documents.roster import Budget
from protocol.history.public import PlanRecord
from protocol.ids import Digest

PLAN = Path(__file__).parent / "audit.plan.toml"

Progress = Callable[[float], None]
"""Called with the share of all work that is done."""


def scaled_noise(share: float) -> Noise:
    """Return the system's noise times ``share``: what an audit that must fail is given; 1 is honest."""
    if share == 1.0:
        return system_noise

    def noise(length: int, sigma: float) -> Int64Array:
        scaled: Int64Array = np.rint(share * system_noise(length, sigma)).astype(np.int64)
        return scaled

    return noise


def run_plans(
    directory: Path,
    canaries: Canaries,
    choices: PlanChoices,
    *,
    runs: int,
    noise: Noise,
    report: Report,
    on_progress: Progress,
) -> list[PlanRecord]:
    """Run the audit's plan ``runs`` times over the canaries, and return what the verified public log shows of each.

    Args:
        directory: For keys, tables, state and log; must not exist.
    Raises: what any party refuses.
    """
    directory.mkdir(parents=True)
    clock, catalogue_path = SystemClock(), directory / "canaries.catalogue.toml"
    catalogue_path.write_text(catalogue_text())
    _, catalogue = load_catalogue(catalogue_path)
    tables = canaries.write_tables(directory / "tables")
    rho = rho_of(mu_of(epsilon=choices.epsilon, delta=choices.delta))
    layout = create(
        directory / "federation",
        force="test-federation",
        tables=tables,
        catalogue=catalogue_path,
        budgets=[Budget(purpose=choices.purpose, rho=runs * rho)],
        reply_slot_seconds=choices.reply_slot_seconds,
        clock=clock,
    )
    answers = runs * (choices.descent.steps + 2) * len(tables)
    plans: list[Digest] = []

    def answered(plan: Digest, index: int, done: int, asked: int) -> None:
        before = plans.index(plan) * (choices.descent.steps + 2) + index
        on_progress((before * asked + done) / answers)

    with LocalFederation(layout, clock, report, answered) as federation:
        for borough in tables:
            federation.start_node(borough, noise=noise)
        desks = [federation.custodian(number) for number in (1, 2)]
        for _ in range(runs):
            plan = federation.propose_plan(
                choices,
                catalogue,
                establishment=canaries.establishment(),
                train_from=TRAINING,
                train_until=TRAINING,
                evaluation_cutoff=EVALUATION,
            )
            plans.append(plan.digest())
            federation.endorse(plans[-1], *desks)
            federation.coordinator.run_plan(plans[-1])
    public = read_mirror(layout.log, genesis=layout.genesis).history.public
    return [public.plan(plan) for plan in plans]


def stated_mu(record: PlanRecord) -> tuple[float, float]:
    """Return what is stated of the second moment: mu against who sees the sum, and with the colluding boroughs."""
    published, plan = record.run.releases[0], record.plan
    (event,) = events((published.spec,), privacy=plan.privacy, scale=plan.scale)
    return event.sensitivity / plan.scale / published.sigma, event.mu


def finding(records: Sequence[PlanRecord], canaries: Canaries, *, confidence: float) -> PrivacyFinding:
    """Return what the published second moments of equal plans over the same canaries say of mu.

    The log shows sums, so they are held against what is stated of an adversary who sees sums.

    Raises: ConfigurationError if there are too few canaries or ``confidence`` is out of range.
    """
    first = records[0]
    contributions = canaries.contributions(first, first.run.releases[0].spec) / first.plan.scale
    sums = np.array([record.run.releases[0].values for record in records])
    return examine(
        attack(sums, contributions, canaries.included),
        sigma=first.run.releases[0].sigma,
        mu_stated=stated_mu(first)[0],
        confidence=confidence,
    )
