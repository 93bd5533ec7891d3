"""The report's section on private sums: every ratio and verdict is computed here from the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import custodes_sum, secagg
from benchmarks.goals import CLIENTS, FLAT, find, goals, per_borough
from benchmarks.markdown import figure, markdown_table, milliseconds, plot, times
from benchmarks.private_sum import REPEATS, SCALING_DIMENSION

Row = dict[str, Any]

OURS, THEIRS = custodes_sum.SYSTEM, secagg.SYSTEM
GRAPHS = {
    "complete": "complete graph, as in Flower's `SecAggWorkflow`",
    "log": "2 ceil(log2 N) neighbours",
    "example": "2 neighbours, as in Flower's example",
}


def private_sum(rows: Sequence[Row], others: Sequence[Row], drops: Sequence[dict[str, str]]) -> str:
    """Return the section on private sums.

    Args:
        rows: Of ``private_sum --json`` or, with more to tell, ``--details``; SecAgg+ over the complete graph.
        others: Details of SecAgg+ over other graphs.
    """
    parts = [
        "## Private sums: ours and Flower's SecAgg+",
        "One harness, one process, real code of both: Flower's `SecAggPlusWorkflow` with `secaggplus_mod` and FedAvg; our "
        "coordinator, gate, ledger and unmasker. CPU time is user and system time of whoever's turn it is. Every round's "
        "sum was compared with the plain sum: ours is equal to the last bit, noise included, SecAgg+'s within its "
        "quantisation. What is inside and outside of the figures stands in `benchmarks/custodes_sum.py` and "
        "`benchmarks/secagg.py`.",
        _rounds(rows),
        "### CPU",
        "Milliseconds a round; one client, and all servers together (ours: coordinator and unmasker). Noise is what "
        "differential privacy costs one client on top; SecAgg+ adds none.",
        _cpu_table(rows),
        plot("private-sum-cpu", _cpu_text(rows)),
        "### Traffic",
        "Bytes per client, serialised Flower messages of all exchanges of a round. An entry of a vector travels in 8 "
        "bytes in both: ours is an element of Z/2^64, SecAgg+'s a residue modulo 2^32 in an int64.",
        _traffic_table(rows),
        "### Goals",
        _goals_table(rows),
        "### Other graphs of SecAgg+",
        _graphs(rows, others),
        "### One client gone, at each stage",
        _deaths(drops),
        "### Mask entropy",
        _entropy(rows),
        "### More boroughs",
        _scaling(rows),
        "### Beside the figures",
        _beside(rows),
        "### What this does not compare",
        _caveats(),
    ]
    return "\n\n".join(part for part in parts if part)


def _rounds(rows: Sequence[Row]) -> str:
    counts = {row["repeats"] for row in rows if "repeats" in row}
    if not counts:
        return f"Figures are medians, by default of {REPEATS} rounds."
    spread = max(row["spread"] for row in rows)
    text = f"Figures are medians of {' or '.join(map(str, sorted(counts)))} rounds"
    short = f"; fewer than {REPEATS}, so this is a preliminary run" if min(counts) < REPEATS else ""
    return f"{text}{short}. Between the rounds of a cell, all parties' CPU seconds lay up to {spread:.0%} apart."


def _pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return (ours, theirs) of every cell where both ran."""
    pairs = [(find(rows, OURS, row["clients"], row["dimension"]), row) for row in rows if row["system"] == THEIRS]
    return [(ours, theirs) for ours, theirs in pairs if ours is not None]


def _cpu_table(rows: Sequence[Row]) -> str:
    header = [
        "clients",
        "entries",
        "client: ours",
        "SecAgg+",
        "times",
        "servers: ours",
        "SecAgg+",
        "times",
        "noise: ours",
    ]
    body = [
        [
            f"{ours['clients']}",
            f"{ours['dimension']:,}",
            milliseconds(ours["client_cpu_s"]),
            milliseconds(theirs["client_cpu_s"]),
            times(theirs["client_cpu_s"], ours["client_cpu_s"]),
            milliseconds(ours["server_cpu_s"]),
            milliseconds(theirs["server_cpu_s"]),
            times(theirs["server_cpu_s"], ours["server_cpu_s"]),
            milliseconds(ours["noise_cpu_s"]),
        ]
        for ours, theirs in _pairs(rows)
    ]
    return markdown_table(header, body)


def _cpu_text(rows: Sequence[Row]) -> str:
    pairs = [pair for pair in _pairs(rows) if pair[0]["clients"] == most_clients(rows)]
    if not pairs:
        return ""
    ranges = []
    for who, field in (("one client", "client_cpu_s"), ("all servers", "server_cpu_s")):
        ratios = [theirs[field] / ours[field] for ours, theirs in pairs]
        ranges.append(f"{who}: SecAgg+ takes {figure(min(ratios))} to {figure(max(ratios))} times ours")
    return f"CPU against entries at {most_clients(rows)} clients, both axes logarithmic; {'; '.join(ranges)}."


def most_clients(rows: Sequence[Row]) -> int:
    """Return the most clients at which both systems ran."""
    return max((row["clients"] for row in rows if row["system"] == THEIRS), default=0)


def _traffic_table(rows: Sequence[Row]) -> str:
    header = ["clients", "entries", "up: ours", "SecAgg+", "down: ours", "SecAgg+", "exchanges: ours", "SecAgg+"]
    body = [
        [f"{ours['clients']}", f"{ours['dimension']:,}"]
        + [f"{row[field]:,}" for field in ("bytes_up", "bytes_down", "exchanges") for row in (ours, theirs)]
        for ours, theirs in _pairs(rows)
    ]
    return markdown_table(header, body)


def _goals_table(rows: Sequence[Row]) -> str:
    body = [[goal.text, goal.measured, "met" if goal.met else "**missed**"] for goal in goals(rows)]
    return markdown_table(["goal", "measured", ""], body) if body else ""


def _graphs(rows: Sequence[Row], others: Sequence[Row]) -> str:
    text = (
        "The tables above let SecAgg+ share masks between every two clients. That is its dearest setting and the one that "
        "comes nearest to what two servers give: with it a curious server needs two thirds of all clients to read one "
        "client's vector; with k neighbours it needs about two thirds of those k. Against our coordinator, clients that "
        "collude gain nothing on a mask, however many: it takes the unmasker."
    )
    if not others:
        return text
    header = ["graph", "clients", "entries", "client: SecAgg+", "times ours", "servers: SecAgg+", "times ours"]
    body = []
    for theirs in [
        *(row for row in rows if row["system"] == THEIRS),
        *(row for row in others if row["system"] == THEIRS),
    ]:
        ours = find(rows, OURS, theirs["clients"], theirs["dimension"])
        if ours is None or theirs["clients"] != most_clients(others):
            continue
        body.append(
            [
                GRAPHS[theirs.get("graph") or "complete"],
                f"{theirs['clients']}",
                f"{theirs['dimension']:,}",
                milliseconds(theirs["client_cpu_s"]),
                times(theirs["client_cpu_s"], ours["client_cpu_s"]),
                milliseconds(theirs["server_cpu_s"]),
                times(theirs["server_cpu_s"], ours["server_cpu_s"]),
            ]
        )
    reached = _reached_with_others(rows, others)
    return f"{text}\n\nFewer neighbours cost it less, in milliseconds:\n\n{markdown_table(header, body)}\n\n{reached}"


def _reached_with_others(rows: Sequence[Row], others: Sequence[Row]) -> str:
    """Say which of the goals that compare also hold against the cheaper graphs."""
    ours = [row for row in rows if row["system"] == OURS]
    verdicts = []
    for graph in dict.fromkeys(row["graph"] for row in others if row["system"] == THEIRS):
        theirs = [row for row in others if row["system"] == THEIRS and row["graph"] == graph]
        compared = [goal for goal in goals([*ours, *theirs]) if "times less" in goal.text]
        met = sum(goal.met for goal in compared)
        verdicts.append(f"Against {GRAPHS[graph]}, {met} of the {len(compared)} goals that compare would be met.")
    return " ".join(verdicts)


def _deaths(outcomes: Sequence[dict[str, str]]) -> str:
    if not outcomes:
        return "Not measured for this page: `python -m benchmarks.private_sum --drops`."
    header = ["system", "one client is gone from", "outcome"]
    return markdown_table(header, [[one["system"], one["stage"].replace("_", " "), one["outcome"]] for one in outcomes])


def _entropy(rows: Sequence[Row]) -> str:
    bits = {system: {row["mask_bits"] for row in rows if row["system"] == system} for system in (OURS, THEIRS)}
    said = {system: " or ".join(map(str, sorted(found))) or "unmeasured" for system, found in bits.items()}
    return (
        f"A mask of ours is the keystream of AES-256 under a {said[OURS]}-bit key, fresh for each borough and release; the "
        "key comes from X25519, whose own strength is about 128 bits. SecAgg+'s masks are the output of NumPy's Mersenne "
        f"Twister, which is no cryptographic generator, from a seed of {said[THEIRS]} bits: `pseudo_rand_gen` in "
        "`flwr/common/secure_aggregation/secaggplus_utils.py` XORs the words of a 256-bit secret into one. The seeds of "
        "pairwise masks, which alone protect a client once the server has removed its private mask, hold "
        f"{secagg.pairwise_seed_bits():.4f} bits: the secret arrives there as base64 text, whose characters never have "
        "their top bit set. `tests/benchmarks/test_secagg.py` shows both on the installed code."
    )


def _scaling(rows: Sequence[Row]) -> str:
    costs = per_borough(rows, SCALING_DIMENSION)
    if len(costs) < 2 or CLIENTS not in costs:
        return ""
    base = costs[CLIENTS]
    header = ["boroughs", "client", f"times {CLIENTS}", "servers, a borough", f"times {CLIENTS}"]
    body = [
        [
            f"{boroughs:,}",
            milliseconds(client),
            f"{client / base[0]:.2f}",
            milliseconds(server),
            f"{server / base[1]:.2f}",
        ]
        for boroughs, (client, server) in costs.items()
    ]
    text = (
        f"Ours alone, {SCALING_DIMENSION:,} entries, milliseconds of CPU a borough. Flat means within {FLAT:.0%} of the "
        f"figure at {CLIENTS}."
    )
    alternative = f"CPU a borough from {min(costs)} to {max(costs):,} boroughs, with a band for what counts as flat."
    return "\n\n".join([text, markdown_table(header, body), plot("private-sum-scaling", alternative)])


def _beside(rows: Sequence[Row]) -> str:
    """Return what ours costs beside the figures, at the most clients at which both systems ran."""
    ours = [row for row in rows if row["system"] == OURS and "parts" in row and row["clients"] == most_clients(rows)]
    if not ours:
        return "Not measured for this page: `--details` writes them."
    names = list(ours[0]["parts"])
    header = [f"at {most_clients(rows)} clients, entries", *names]
    body = [
        [f"{row['dimension']:,}"]
        + [
            f"{row['parts'][name]:,.0f}" if name == custodes_sum.BETWEEN else milliseconds(row["parts"][name])
            for name in names
        ]
        for row in ours
    ]
    largest = ours[-1]
    beside = sum(largest["parts"][name] for name in (custodes_sum.DISK, custodes_sum.LOG))
    text = (
        "Milliseconds of CPU of ours. Coordinator and unmasker add up to the servers' figure. The ledger of one client, "
        "the servers' SQLite files and the log's rules are **not** in the figures above; SecAgg+ stores and logs nothing. "
        f"With disk and log, our servers take {milliseconds(largest['server_cpu_s'] + beside)} ms at "
        f"{largest['dimension']:,} entries"
    )
    theirs = find(rows, THEIRS, largest["clients"], largest["dimension"])
    if theirs is not None:
        share = theirs["server_cpu_s"] / (largest["server_cpu_s"] + beside)
        text += f", and SecAgg+'s server, which does neither, {figure(share)} times that"
    return f"{text}.\n\n{markdown_table(header, body)}"


def _caveats() -> str:
    return "\n".join(
        [
            "- Trust differs. Ours needs two servers that do not collude; SecAgg+ needs one server and enough clients that "
            "do not. Neither figure says which is right for a federation.",
            "- In SecAgg+'s favour: no model travels down, clients keep their state in memory, its transport is not run, "
            "its server logs, signs and stores nothing, and its quantisation is left out of the client's figure, as our "
            "encoding is.",
            "- In our favour: SecAgg+ is pure Python where Shamir's shares are made and combined, and P-384 in its key "
            "agreement; a faster implementation of the same protocol would cost less. It also weights its clients, which "
            "ours cannot.",
            "- Precision differs: SecAgg+ rounds an entry to 22 bits unless told otherwise; ours sums integers of 64.",
            "- Rounds were measured without network, TLS and the coordinator's queue on disk, and ours without the log's "
            "Merkle tree and its witnesses. What the wire costs is another benchmark's question.",
            "- Ours releases with differential privacy or not at all; SecAgg+ alone gives none.",
        ]
    )
