"""The transparency log beside pymerkle, in one run: ``python -m benchmarks.log [--entries N] [--appends N] [--json]``.

Both append to SQLite on disk, in batches of the same size, each batch one synced transaction. pymerkle hashes and stores
32-byte entries. Ours does what the register does for every case document: reads the signed envelope, derives the public
skeleton, salts and hashes the body, applies the log's rules, adds to the tree, stores leaf, salt and body.

Proofs are inclusion proofs of random entries, made and verified, in a tree of ``--entries`` entries: ours is kept in
memory, pymerkle's is read from its database, in the state in which the last append left its cache.

pymerkle is under the GPL: the product never imports it; ``pip install -e '.[bench]'`` brings it. Without it, its row is
missing and stderr says so. Seconds are this process's CPU seconds, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.made_up import NOW, made_up_roster
from coordinator.log.appender import Appender
from coordinator.store.database import Database
from protocol.clock import FixedClock
from protocol.documents.cases import Warrant, WarrantFlag
from protocol.ids import digest_of, random_id
from protocol.log.merkle import MerkleTree, leaf_hash, verify_inclusion
from protocol.signing.dsse import Envelope, sign
from protocol.signing.keys import SigningKey

ENTRIES, APPENDS, BATCH, PROOFS = 1_000_000, 20_000, 500, 200
SYSTEMS = ("custodes", "pymerkle")


def batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the items in batches."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def per_second(items: Sequence[Any], append: Callable[[Sequence[Any]], object]) -> float:
    """Return how many items a second of CPU time appends."""
    start = time.process_time()
    for batch in batches(items):
        append(batch)
    return len(items) / (time.process_time() - start)


def milliseconds(entries: int, prove: Callable[[int], object]) -> float:
    """Return the mean CPU milliseconds of a proof of a random entry."""
    chosen = [secrets.randbelow(entries) for _ in range(PROOFS)]
    start = time.process_time()
    for index in chosen:
        prove(index)
    return 1000 * (time.process_time() - start) / PROOFS


def warrants(count: int, key: SigningKey) -> list[Envelope]:
    """Return signed made-up warrants: documents of a case, of which only the skeleton is public."""
    return [
        sign(
            Warrant(
                warrant_id=random_id(),
                issuer="issuer",
                investigator="investigator",
                flags=(WarrantFlag(flag_id=random_id(), header=digest_of(str(number).encode())),),
                purpose="a made-up purpose of sufficient length",
                regime="UK GDPR",
                legal_basis="a made-up legal basis of sufficient length",
                necessity="a made-up reason of sufficient length",
                proportionality="a made-up reason of sufficient length",
                recipient_key="aa" * 32,
                issued_at=NOW,
                valid_from=NOW,
                valid_until=NOW + timedelta(days=7),
                disclosure_on=NOW + timedelta(days=90),
            ),
            key,
        )
        for number in range(count)
    ]


def custodes(folder: Path, *, entries: int, appends: int) -> dict[str, Any]:
    """Return the row of ours."""
    keys = {
        name: SigningKey(secrets.token_bytes(32)) for name in ("coordinator", "issuer", "custodian-1", "custodian-2")
    }
    roster = made_up_roster(keys, ("borough-1", "borough-2"))
    database = Database(folder / "coordinator.sqlite")
    appender = Appender(database, genesis=roster.digest(), clock=FixedClock(NOW))
    appender.append("roster", sign(roster, keys["custodian-1"], keys["custodian-2"]))
    signed = warrants(appends, keys["issuer"])
    rate = per_second(signed, lambda batch: appender.append_all([("warrant", one, None) for one in batch]))
    assert appender.history.tree.size == appends + 1
    database.close()
    tree = MerkleTree()
    for number in range(entries):
        tree.append(number.to_bytes(32, "big"))
    root = tree.root()

    def prove(index: int) -> None:
        verify_inclusion(
            leaf_hash=leaf_hash(index.to_bytes(32, "big")),
            index=index,
            size=entries,
            proof=tree.inclusion_proof(index, entries),
            root=root,
        )

    return row("custodes", entries, rate, milliseconds(entries, prove))


def pymerkle(folder: Path, *, entries: int, appends: int) -> dict[str, Any]:
    """Return the row of pymerkle. Raises: ImportError if it is not installed."""
    from pymerkle import SqliteTree, verify_inclusion  # GPL, so for this comparison only

    with SqliteTree(str(folder / "appends.sqlite")) as tree:
        rate = per_second([secrets.token_bytes(32) for _ in range(appends)], tree.append_entries)
    with SqliteTree(str(folder / "proofs.sqlite")) as tree:
        tree.append_entries(number.to_bytes(32, "big") for number in range(entries))
        root = tree.get_root()

        def prove(index: int) -> None:
            verify_inclusion(tree.get_leaf(index + 1), root, tree.prove_inclusion(index + 1))

        return row("pymerkle", entries, rate, milliseconds(entries, prove))


def row(system: str, entries: int, appends_per_s: float, proof_ms: float) -> dict[str, Any]:
    """Return a row of the answer."""
    return {"system": system, "entries": entries, "appends_per_s": appends_per_s, "proof_ms": proof_ms}


def measure(*, entries: int, appends: int) -> list[dict[str, Any]]:
    """Return a row a system."""
    rows = []
    for system in (custodes, pymerkle):
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows.append(system(Path(folder), entries=entries, appends=appends))
            except ImportError:
                sys.stderr.write("pymerkle is not installed and not measured: pip install -e '.[bench]'\n")
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="of the tree in which entries are proved")
    parser.add_argument("--appends", type=int, default=APPENDS, help="documents that are appended")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if min(options.entries, options.appends) < 1:
        parser.error("--entries and --appends: at least 1")
    rows = measure(entries=options.entries, appends=options.appends)
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    for one in rows:
        sys.stdout.write(
            f"{one['system']:10} {one['appends_per_s']:10,.0f} appends a second, "
            f"{one['proof_ms']:8.3f} ms a proof among {one['entries']:,} entries\n"
        )


if __name__ == "__main__":
    main()
