"""What one client's death does to a round, at each stage of either system.

A client that is gone answers nothing more; whoever waits for it goes on after the time-out. The sum is then compared
with the plain sum over the clients that are in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import custodes_sum, secagg
from benchmarks.meter import Meter
from benchmarks.round import Float32Array, WrongSum, vectors
from protocol.errors import ProtocolError

CLIENTS, DIMENSION = 8, 100
VICTIM = 0

Outcome = dict[str, str]

OUR_STAGES: dict[str, str | None] = {
    "before the request": None,
    "after the request, before the reply": "answered borough-0001",
    "after the reply, before the set is fixed": "answered borough-0002",
    "after the set is fixed": "set fixed",
    "while the masks are removed": "unmask",
}
"""Each stage and the moment of a round at which the first borough dies; None is before all of it."""


def drops(*, graph: str) -> Iterator[Outcome]:
    """Yield system, stage and outcome of each death."""
    inputs = vectors(CLIENTS, DIMENSION)
    for stage in secagg.STAGES:
        yield {"system": secagg.SYSTEM, "stage": stage, "outcome": their_outcome(inputs, stage, graph=graph)}
    with tempfile.TemporaryDirectory() as root:
        force = custodes_sum.Force(CLIENTS, root=Path(root))
        try:
            for stage, moment in OUR_STAGES.items():
                yield {"system": custodes_sum.SYSTEM, "stage": stage, "outcome": our_outcome(force, inputs, moment)}
        finally:
            force.close()


def their_outcome(inputs: list[Float32Array], stage: str, *, graph: str) -> str:
    """Return what SecAgg+ makes of a client that does not answer a stage's request and nothing after it."""
    result, _ = secagg.aggregate(
        inputs, graph=secagg.graph_of(graph, len(inputs)), meter=Meter(), leaver=VICTIM, leaves_at=stage
    )
    if result.total is None:
        return f"no sum: {result.reason}"
    for counted in (inputs, inputs[:VICTIM] + inputs[VICTIM + 1 :]):
        if secagg.is_sum_of(result.total, counted):
            return f"correct sum of {len(counted)} of {len(inputs)}"
    return "wrong sum"


def our_outcome(force: custodes_sum.Force, inputs: list[Float32Array], moment: str | None) -> str:
    """Return what ours makes of a borough that is gone from a moment on; None is before the request."""
    victim = force.boroughs[force.names[VICTIM]]
    victim.gone = moment is None
    try:
        record, _ = force.release(inputs, moment=_killer(victim, moment))
    except (ProtocolError, WrongSum) as error:
        return f"no sum: {error}"
    finally:
        victim.gone = False
    if not force.is_exact(record):
        return "wrong sum"
    return f"correct sum of {len(record.releases[0].boroughs)} of {len(inputs)}"


def _killer(victim: custodes_sum.Borough, moment: str | None) -> Callable[[str], None]:
    def reached(now: str) -> None:
        victim.gone = victim.gone or now == moment

    return reached
