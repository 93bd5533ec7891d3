"""A whole force on disk: one folder a borough, and the truth apart from them.

    OUT/force.json                         what was generated, and the two cutoffs
    OUT/boroughs/borough-01/duties.parquet one file per table of docs/spec/personnel.md
    OUT/boroughs/borough-01/personnel.toml settings that say so, for the borough's node
    OUT/truth/planted.parquet              who was planted as what: for evaluation, never for a borough

Rules this module keeps: a force appears whole or not at all (written beside, renamed at the end); boroughs draw from
streams of their own, so the number of processes changes nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deploy.force.events.cases import LOOKALIKES, NEVER, OFFENCES, draw_cases
from deploy.force.events.columns import Staff, dates, flags, words
from deploy.force.events.crew import World
from deploy.force.events.habits import draw_habits
from deploy.force.events.people import draw_people, without_the_gone
from deploy.force.events.period import FIRST_DAY, Period, date_of_day
from deploy.force.events.records import NO_TIME, Records, draw_records
from deploy.force.events.tables import borough_name, write_borough
from protocol.errors import ConfigurationError

LEAST_PEOPLE = 200
MOST_PEOPLE = 100_000
PEOPLE_WORTH_A_PROCESS = 4_000
MOST_PROCESSES = 2
Told = Callable[[int, int], None]
"""Is told how many boroughs of how many are done."""


def generate_events(
    out: Path,
    *,
    people: int,
    months: int,
    boroughs: int,
    seed: int,
    processes: int | None = None,
    told: Told | None = None,
) -> dict[str, Any]:
    """Write the force of this seed to the new folder ``out``; return what `OUT/force.json` holds.

    Args:
        processes: 1 or 2; None: two for a force that is worth it. The bytes are the same.
    Raises: ConfigurationError if ``out`` exists, or for sizes that make no force.
    """
    _check(out, people, boroughs, seed, processes)
    period = Period.of(months)
    world, records, seeds = draw_world(period, people=people, boroughs=boroughs, seed=seed)
    with _whole(out) as directory:
        rows: dict[str, int] = {}
        jobs = [(directory / "boroughs" / borough_name(number), seeds[number]) for number in range(boroughs)]
        count = processes or (MOST_PROCESSES if people >= PEOPLE_WORTH_A_PROCESS else 1)
        for done, written in enumerate(_written(world, records, jobs, count), start=1):
            for table, some in written.items():
                rows[table] = rows.get(table, 0) + some
            if told is not None:
                told(done, boroughs)
        (directory / "truth").mkdir()
        pq.write_table(truth_table(world), directory / "truth" / "planted.parquet", store_schema=False)
        summary = {
            "people": people,
            "months": months,
            "boroughs": boroughs,
            "seed": seed,
            "first_day": str(FIRST_DAY),
            "training_cutoff": str(date_of_day(period.training_day)),
            "evaluation_cutoff": str(date_of_day(period.days)),
            "findings_until": str(date_of_day(period.extract_day)),
            "establishment": _establishment(world),
            "planted": _planted(world),
            "rows": dict(sorted(rows.items())),
        }
        (directory / "force.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def draw_world(
    period: Period, *, people: int, boroughs: int, seed: int
) -> tuple[World, Records, list[np.random.SeedSequence]]:
    """Return the force before its events, its conduct file, and the seed of each borough."""
    everybody, planted, habitual, filed, places = np.random.SeedSequence(seed).spawn(5)
    force = draw_people(everybody, period, people=people, boroughs=boroughs)
    cases, alikes = draw_cases(np.random.default_rng(planted), force, period)
    force = without_the_gone(force)
    habits = draw_habits(np.random.default_rng(habitual), force, cases, alikes)
    world = World(period, force, habits, cases, alikes)
    return world, draw_records(np.random.default_rng(filed), world), places.spawn(boroughs)


def truth_table(world: World) -> pa.Table:
    """Return one row per planted person and category, and one per look-alike.

    `open_at_training` and `open_at_evaluation` say whether the conduct was going on, unreported, at that cutoff.
    """
    cases, alikes = world.cases, world.alikes
    person = np.r_[cases.person, alikes.person]
    planted = np.arange(len(person)) < len(cases.person)
    blank = np.full(len(alikes.person), NEVER)
    never = np.zeros(len(alikes.person), dtype=bool)
    undated = np.full(len(alikes.person), NO_TIME)
    kinds = sorted({kind for some in LOOKALIKES.values() for kind in some})
    kind = [kinds.index(LOOKALIKES[o][k]) for o, k in zip(alikes.offence.tolist(), alikes.kind.tolist(), strict=True)]
    columns = {
        "staff_no": Staff(world.people.number)(person),
        "category": words(np.r_[cases.offence, alikes.offence], [offence.category for offence in OFFENCES]),
        "role": words(np.where(planted, np.r_[~cases.serious, never], 2), ("serious", "lesser", "lookalike")),
        "kind": words(np.r_[np.full(len(cases.person), NEVER), np.array(kind, dtype=np.int64)], kinds, NEVER),
        "conduct_from": dates(np.r_[cases.start, undated], NO_TIME),
        "reported_on": dates(np.r_[cases.reported, blank], NEVER),
        "found_on": dates(np.r_[cases.found, blank], NEVER),
        "open_at_training": flags(np.r_[cases.is_open_at(world.period.training_day), never]),
        "open_at_evaluation": flags(np.r_[cases.is_open_at(world.period.days), never]),
    }
    return pa.table(columns)


def peak_mb() -> int:
    """Return the most memory that this process and its finished generators can have held together, in MiB."""
    own, largest = (resource.getrusage(whose).ru_maxrss for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round((own + MOST_PROCESSES * largest) / 1024)


def _planted(world: World) -> dict[str, dict[str, int]]:
    cases, alikes = world.cases, world.alikes
    counts = {}
    for number, offence in enumerate(OFFENCES):
        mine = cases.offence == number
        now = mine & cases.is_open_at(world.period.days)
        counts[offence.category] = {
            "serious_open": int((now & cases.serious).sum()),
            "lesser_open": int((now & ~cases.serious).sum()),
            "planted": int(mine.sum()),
            "found": int((mine & (cases.found != NEVER)).sum()),
            "lookalikes": int((alikes.offence == number).sum()),
        }
    return counts


def _establishment(world: World) -> dict[str, int]:
    """Return how many people each borough had at the training cutoff: stands for published figures."""
    stints, day = world.people.stints, world.period.training_day
    there = stints.borough[(stints.first_day < day) & (stints.last_day >= day)]
    counts = np.bincount(there, minlength=world.people.boroughs)
    return {borough_name(number): int(count) for number, count in enumerate(counts)}


def _check(out: Path, people: int, boroughs: int, seed: int, processes: int | None) -> None:
    if out.exists():
        raise ConfigurationError(f"{out} exists; name a new folder or remove it")
    if not out.absolute().parent.is_dir():
        raise ConfigurationError(f"{out.absolute().parent} is no folder; create it first")
    if not LEAST_PEOPLE <= people <= MOST_PEOPLE:
        raise ConfigurationError(f"people: {people}; from {LEAST_PEOPLE} to {MOST_PEOPLE}")
    if not 1 <= boroughs <= min(99, people // 20):
        raise ConfigurationError(f"boroughs: {boroughs}; at most 99, and 20 people in each")
    if seed < 0:
        raise ConfigurationError(f"seed: {seed}; not negative")
    if processes is not None and not 1 <= processes <= MOST_PROCESSES:
        raise ConfigurationError(f"processes: {processes}; 1 or {MOST_PROCESSES}")


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` that becomes ``out`` if all goes well, and disappears otherwise."""
    directory = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.absolute().parent))
    try:
        yield directory
        directory.chmod(0o755)
        directory.rename(out)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _written(
    world: World, records: Records, jobs: list[tuple[Path, np.random.SeedSequence]], processes: int
) -> Iterator[dict[str, int]]:
    if processes == 1:
        for directory, seed in jobs:
            yield write_borough(world, records, seed, directory)
        return
    # Spawned, not forked: Arrow's threads do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: list[Future[dict[str, int]]] = [
            pool.submit(write_borough, world, records, seed, folder) for folder, seed in jobs
        ]
        try:
            for future in as_completed(running):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
