"""One request to each node and one reply from each, ours against Flower's SuperLink: ``python -m benchmarks.exchange``.

Both run here, on loopback, one node a process, and carry the same Flower messages through TLS. Ours besides asks callers
for certificates and has messages and replies on disk before it counts them; see ``exchange_custodes`` and ``superlink``
for how each is set up, and ``measured`` for what the figures mean. ``--json`` prints a list of objects with ``system``,
``nodes``, ``median_s`` and ``cpu_per_message_s``. Progress goes to standard error; whatever ends the benchmark early, the
results until then are printed and every process is ended.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import exchange_custodes, superlink
from benchmarks.measured import Failed, Measured

LEAST_EXCHANGES = 5
EXCHANGES = {"ours": 50, "flower": 8}
"""Ours takes milliseconds and is disturbed by whatever else runs; Flower's takes ten seconds and moves in steps of three."""
NAMES = {"ours": "custodes", "flower": "flower-superlink"}
MEASURES = {"ours": exchange_custodes.measure, "flower": superlink.measure}


def row(system: str, measured: Measured) -> dict[str, Any]:
    """Return one object of the result."""
    return {
        "system": NAMES[system],
        "nodes": measured.nodes,
        "median_s": round(measured.median_s, 5),
        "cpu_per_message_s": round(measured.cpu_per_message_s, 6),
    }


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _systems(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(MEASURES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(MEASURES)}")
    return chosen


def _exchanges(text: str) -> int:
    if int(text) < LEAST_EXCHANGES:
        raise argparse.ArgumentTypeError(f"a median of fewer than {LEAST_EXCHANGES} says little")
    return int(text)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size of every system and print; exits with 1 if one failed, after the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=_numbers, default=[3, 8, 32], help="sizes, default 3,8,32")
    parser.add_argument("--systems", type=_systems, default=list(MEASURES), help="default ours,flower")
    parser.add_argument("--exchanges", type=_exchanges, help=f"after the warm-up, default {EXCHANGES}")
    parser.add_argument("--payload-bytes", type=int, default=64, help="random bytes each way, default 64")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    failures = 0
    try:
        for system in options.systems:
            for nodes in options.nodes:
                _say(f"{NAMES[system]}, {nodes} nodes")
                try:
                    with tempfile.TemporaryDirectory(prefix="exchange-") as root:
                        measured = MEASURES[system](
                            Path(root),
                            nodes=nodes,
                            exchanges=options.exchanges or EXCHANGES[system],
                            payload_bytes=options.payload_bytes,
                            say=_say,
                        )
                except Failed as error:
                    failures += 1
                    _say(f"{NAMES[system]}, {nodes} nodes, failed: {error}")
                else:
                    rows.append(row(system, measured))
                    times = sorted(measured.seconds)
                    _say(f"{json.dumps(rows[-1])} fastest {times[0]:.4f} s, slowest {times[-1]:.4f} s of {len(times)}")
    finally:
        _print(rows, as_json=options.json)
    if failures:
        raise SystemExit(1)


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    sys.stdout.write(f"{'system':<18}{'nodes':>6}{'median, s':>12}{'CPU a message, s':>18}\n")
    for one in rows:
        sys.stdout.write(
            f"{one['system']:<18}{one['nodes']:>6}{one['median_s']:>12.4f}{one['cpu_per_message_s']:>18.5f}\n"
        )


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    main()
