"""Ours: the plan's training releases with every silo's own quantisation and noise (benchmarks/simulated.py).

Joint epsilon: the plan's, over all heads and releases, those after training included. Training therefore gets only its
shares of mu^2 (sample plans: 0.80), while the other private methods spend all on training: in their favour. The noise is
the operating system's, so a seed only numbers the run.
"""

from __future__ import annotations

from benchmarks.simulated import TRAINING
from benchmarks.task import Fitted, Guarantee, Mechanism, Task, linear
from protocol.aggregation.planning import budgeted
from protocol.scorecard.final import final_weights


def fit(task: Task, guarantee: Guarantee, *, seed: int) -> Fitted:
    """Return the model of one run of the plan."""
    del seed
    plan = task.plan_for(guarantee)
    run = task.force.train(plan)
    return Fitted(
        score=linear(task.columns, final_weights(run)),
        rounds=sum(spec.function in TRAINING for spec in plan.releases),
        mechanisms=tuple(
            Mechanism(noise_multiplier=1 / event.mu, sampling_rate=1.0, count=1)
            for event in budgeted(plan.releases, privacy=plan.privacy, scale=plan.scale)
        ),
    )
