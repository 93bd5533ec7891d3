"""The goals that private sums were given, and whether measured rows meet them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import custodes_sum, secagg

Row = dict[str, Any]

CLIENTS = 32
SERVER_RATIOS = {10_000: 50.0, 1_000_000: 10.0}
CLIENT_RATIO = 5.0
FLAT = 0.20


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, what was measured for it, and whether that is enough."""

    text: str
    measured: str
    met: bool


def find(rows: Iterable[Row], system: str, clients: int, dimension: int) -> Row | None:
    """Return the row of a cell, if it was measured."""
    return next(
        (row for row in rows if (row["system"], row["clients"], row["dimension"]) == (system, clients, dimension)), None
    )


def ratio(rows: Sequence[Row], figure: str, clients: int, dimension: int) -> float | None:
    """Return SecAgg+'s figure over ours in one cell, if both were measured."""
    ours = find(rows, custodes_sum.SYSTEM, clients, dimension)
    theirs = find(rows, secagg.SYSTEM, clients, dimension)
    return None if ours is None or theirs is None else theirs[figure] / ours[figure]


def per_borough(rows: Sequence[Row], dimension: int) -> dict[int, tuple[float, float]]:
    """Return, by number of boroughs from 32 on, our (client, server) CPU seconds a borough."""
    ours = [
        row
        for row in rows
        if row["system"] == custodes_sum.SYSTEM and row["dimension"] == dimension and row["clients"] >= CLIENTS
    ]
    return {
        row["clients"]: (row["client_cpu_s"], row["server_cpu_s"] / row["clients"])
        for row in sorted(ours, key=lambda row: row["clients"])
    }


def goals(rows: Sequence[Row]) -> list[Goal]:
    """Return the goals for which there are rows."""
    result = []
    for dimension, wanted in SERVER_RATIOS.items():
        if (times := ratio(rows, "server_cpu_s", CLIENTS, dimension)) is not None:
            text = f"servers' CPU at {CLIENTS} clients, d = {dimension:,}: at least {wanted:.0f} times less"
            result.append(Goal(text, f"{times:.1f} times less", times >= wanted))
    for dimension in sorted({row["dimension"] for row in rows}):
        if (times := ratio(rows, "client_cpu_s", CLIENTS, dimension)) is not None:
            text = f"client's CPU at {CLIENTS} clients, d = {dimension:,}: at least {CLIENT_RATIO:.0f} times less"
            result.append(Goal(text, f"{times:.1f} times less", times >= CLIENT_RATIO))
    ours = [row for row in rows if row["system"] == custodes_sum.SYSTEM]
    if ours:
        most, bits = max(row["exchanges"] for row in ours), min(row["mask_bits"] for row in ours)
        result.append(Goal("one exchange a round", f"{most}", most == 1))
        result.append(Goal("256-bit masks", f"{bits} bits", bits >= 256))
    costs = per_borough(rows, 10_000)
    if len(costs) > 1 and CLIENTS in costs:
        for place, who in enumerate(("client's", "servers'")):
            base = costs[CLIENTS][place]
            low, high = (pick(cost[place] / base for cost in costs.values()) for pick in (min, max))
            result.append(
                Goal(
                    f"{who} CPU a borough within {FLAT:.0%} of that at {CLIENTS}, up to {max(costs):,} boroughs",
                    f"{low:.2f} to {high:.2f} times that at {CLIENTS}",
                    low >= 1 - FLAT and high <= 1 + FLAT,
                )
            )
    return result
