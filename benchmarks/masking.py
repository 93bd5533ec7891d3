"""Masking and noise against their raw cost: ``python -m benchmarks.masking [--json]``.

Raw is what AES-256-CTR and an addition of uint64 cost with nothing around them, in the faster of two ways: over the
whole array at once, and in chunks that stay in the cache. Everything is measured in turn in one process, as CPU seconds
of its one thread, and each figure is the median of the repetitions. Noise comes from the operating system's source, ours
and OpenDP's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import opendp.prelude as dp
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol.aggregation import masks, tags
from protocol.aggregation.noise import SYSTEM_ENTROPY, discrete_gaussian

DIMENSIONS = (10_000, 100_000, 1_000_000)
KEY = bytes(range(32))
SEED = tags.new_seed()
SIGMA = 2.0**25
"""In ring units: about what one borough of a force adds at epsilon 1."""
NOISE_SAMPLES = 1_000_000
OPENDP_SAMPLES = 10_000
RAW = ("raw, whole array", "raw, in chunks")

Operation = Callable[[], object]


def raw_whole(values: masks.UInt64Array) -> Operation:
    """Return keystream and addition over whole arrays, every array made before."""
    zeros, out, total = bytes(values.nbytes), bytearray(values.nbytes + 15), np.empty_like(values)

    def run() -> masks.UInt64Array:
        Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor().update_into(zeros, out)
        return np.add(values, np.frombuffer(out, dtype="<u8", count=values.size), out=total)

    return run


def raw_chunks(values: masks.UInt64Array) -> Operation:
    """Return keystream and addition in place, 128 KiB at a time."""
    step = 1 << 14
    zeros, out = memoryview(bytes(8 * step)), bytearray(8 * step + 15)
    stream = np.frombuffer(out, dtype="<u8", count=step)

    def run() -> masks.UInt64Array:
        encryptor = Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor()
        for start in range(0, values.size, step):
            part = values[start : start + step]
            encryptor.update_into(zeros[: part.nbytes], out)
            np.add(part, stream[: part.size], out=part)
        return values

    return run


def masking(values: masks.UInt64Array) -> dict[str, Operation]:
    """Return the operations whose ratio to raw is wanted; they do what a borough does after its noise."""

    masked = values.copy()

    def contribution() -> None:
        vector = tags.with_tags(values, SEED)
        masks.add_keystreams(vector, KEY)
        masks.vector_digest(masks.vector_bytes(vector))

    return {
        RAW[0]: raw_whole(values.copy()),
        RAW[1]: raw_chunks(values.copy()),
        "mask": lambda: masks.add_keystreams(masked, KEY),
        "tags": lambda: tags.tags_of(values, SEED),
        "mask, tags, wire form, SHA-256": contribution,
    }


def noise() -> dict[str, tuple[int, Operation]]:
    """Return both samplers with the samples they draw."""
    dp.enable_features("contrib")
    domain, metric = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    add_noise = dp.m.make_gaussian(domain, metric, scale=SIGMA)
    zeros = [0] * OPENDP_SAMPLES
    return {
        "noise": (NOISE_SAMPLES, lambda: discrete_gaussian(NOISE_SAMPLES, sigma=SIGMA, entropy=SYSTEM_ENTROPY)),
        "noise, OpenDP": (OPENDP_SAMPLES, lambda: add_noise(zeros)),
    }


def seconds_of(operations: dict[str, Operation], *, repeats: int, calls: int) -> dict[str, float]:
    """Return the median CPU seconds of one call of each; repetitions of all take turns, so that drift hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in operations}
    for _ in range(repeats):
        for name, operation in operations.items():
            start = time.thread_time()
            for _ in range(calls):
                operation()
            taken[name].append((time.thread_time() - start) / calls)
    return {name: statistics.median(values) for name, values in taken.items()}


def measure(*, dimensions: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """Return one row for each operation and dimension; ``ratio_to_raw`` is None for noise, which has no raw cost."""
    rows: list[dict[str, Any]] = []
    for dimension in dimensions:
        values = np.random.default_rng(1).integers(0, 2**64, size=dimension, dtype=np.uint64)
        calls = max(1, 1_000_000 // dimension)
        taken = seconds_of(masking(values), repeats=repeats, calls=calls)
        raw = min(taken[name] for name in RAW)
        rows += [
            {"operation": name, "dimension": dimension, "seconds": seconds, "ratio_to_raw": seconds / raw}
            for name, seconds in taken.items()
        ]
    sampled = noise()
    taken = seconds_of({name: run for name, (_, run) in sampled.items()}, repeats=repeats, calls=1)
    rows += [
        {
            "operation": name,
            "dimension": size,
            "seconds": taken[name],
            "ratio_to_raw": None,
            "noise_ns_per_sample": 1e9 * taken[name] / size,
        }
        for name, (size, _) in sampled.items()
    ]
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: a median of fewer than 5 says little")
    rows = measure(dimensions=DIMENSIONS, repeats=options.repeats)
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    for row in rows:
        rest = (
            f"{row['ratio_to_raw']:5.2f} x raw"
            if row["ratio_to_raw"] is not None
            else f"{row['noise_ns_per_sample']:.0f} ns a sample"
        )
        sys.stdout.write(f"{row['operation']:32} {row['dimension']:>9,} {1e3 * row['seconds']:10.3f} ms  {rest}\n")


if __name__ == "__main__":
    main()
