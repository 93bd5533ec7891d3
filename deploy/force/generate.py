"""The synthetic force: personnel tables at feature level, with planted misconduct of known size.

Rules this module keeps: one seed, one force; what was planted is returned apart from the table, so that nothing that
reads the table can learn it; no value resembles a person. Every distribution is stated in the README beside this
file. The generator is seeded and not cryptographic: it makes test data, never privacy noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from deploy.force.population import (
    CUTOFFS,
    DETECTIVE_SHARE,
    ETHNICITY_SHARES,
    FRONTLINE_SHARE,
    SENIORS,
    SENIORS_ONLY,
    SEX_SHARES,
    STANDARD,
    Float64Array,
    postings,
    scaled_size,
    service_columns,
    standard_columns,
    tally_columns,
)
from protocol.errors import ConfigurationError

EFFECT = 2.0
"""The planted shift of every planted feature, in standard deviations over the eligible population."""

LOOKALIKES_PER_CASE = 2
LEAST_PEOPLE = 40


@dataclass(frozen=True, slots=True)
class Offence:
    """One misconduct category as it is planted; sizes are those of the reference force, per cutoff."""

    category: str
    label: str
    features: tuple[str, ...]
    offenders: int
    """Shifted on every feature; the label is 1."""
    lesser: int
    """Shifted on all features but one, drawn per person; the label is 1 too."""
    seniors_only: bool


OFFENCES = (
    Offence(
        "roster_manipulation",
        "y_roster",
        ("own_entries_amended", "self_authorised_overtime", "overtime_without_presence", "premium_swaps"),
        offenders=98,
        lesser=500,
        seniors_only=False,
    ),
    Offence("attendance", "y_attendance", SENIORS_ONLY, offenders=42, lesser=0, seniors_only=True),
    Offence(
        "fraud",
        "y_fraud",
        ("duplicate_expenses", "round_sum_claims", "below_limit_claims", "claims_on_leave"),
        offenders=60,
        lesser=0,
        seniors_only=False,
    ),
    Offence(
        "abuse_of_position",
        "y_abuse",
        ("lookups_without_case", "repeat_lookups_one_subject", "off_duty_lookups", "vulnerable_subject_lookups"),
        offenders=60,
        lesser=0,
        seniors_only=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Force:
    """The personnel table of all boroughs, and what was planted in it."""

    table: pa.Table
    """One row per (person, cutoff): ``person, borough, cutoff``, protected, features, labels."""
    truth: pa.Table
    """One row per planted (person, cutoff, category): its ``kind`` is offender, lesser or lookalike."""


def generate(*, people: int, boroughs: int, seed: int) -> Force:
    """Return the force of this seed; the same arguments give the same tables.

    Args:
        people: The same at both cutoffs; offences scale with it, at least two offenders per category.
    Raises: ConfigurationError for fewer than 40 people, or fewer people than boroughs.
    """
    if people < LEAST_PEOPLE:
        raise ConfigurationError(f"people: {people}; the offences need at least {LEAST_PEOPLE}")
    rng = np.random.default_rng(seed)
    posted = postings(rng, people, boroughs)
    senior = np.zeros(people, dtype=bool)
    senior[rng.choice(people, size=scaled_size(SENIORS, people, least=12), replace=False)] = True
    z = standard_columns(rng, people)
    for name in SENIORS_ONLY:
        z[name][:, ~senior] = 0.0
    labels: dict[str, NDArray[np.int8]] = {}
    truths: list[pa.Table] = []
    ids = np.char.add("P-", np.char.zfill(np.arange(1, people + 1).astype(str), max(6, len(str(people)))))
    for offence in OFFENCES:
        labels[offence.label], planted = _plant(rng, offence, z, senior)
        truths += [_truth(offence, ids, year, kind, chosen) for year, kind, chosen in planted]
    both: dict[str, NDArray[Any]] = {
        **{name: STANDARD[name].center + STANDARD[name].scale * values for name, values in z.items()},
        **tally_columns(rng, people),
        **service_columns(rng, people),
        **_grades(rng, people, senior),
        **labels,
    }
    digits = max(2, len(str(boroughs)))
    names = np.char.add("borough-", np.char.zfill(np.arange(1, boroughs + 1).astype(str), digits))
    table = {
        "person": np.tile(ids, len(CUTOFFS)),
        "borough": names[posted.ravel()],
        "cutoff": np.repeat(np.array(CUTOFFS, dtype=np.int64), people),
        "sex": np.tile(_drawn(rng, SEX_SHARES, people), len(CUTOFFS)),
        "ethnicity_group": np.tile(_drawn(rng, ETHNICITY_SHARES, people), len(CUTOFFS)),
        **{name: values.ravel() for name, values in both.items()},
    }
    return Force(pa.table({name: _column(values) for name, values in table.items()}), pa.concat_tables(truths))


def _plant(
    rng: np.random.Generator, offence: Offence, z: dict[str, Float64Array], senior: NDArray[np.bool_]
) -> tuple[NDArray[np.int8], list[tuple[int, str, NDArray[np.int64]]]]:
    """Shift ``z`` in place; return the label, shape (cutoffs, people), and who was drawn as what in each year."""
    people = len(senior)
    pool = np.flatnonzero(senior) if offence.seniors_only else np.arange(people)
    offenders = scaled_size(offence.offenders, people, least=2)
    lesser = scaled_size(offence.lesser, people, least=2) if offence.lesser else 0
    width = len(offence.features)
    kinds = (
        ("offender", offenders, width),
        ("lesser", lesser, width - 1),
        ("lookalike", LOOKALIKES_PER_CASE * (offenders + lesser), width // 2),
    )
    label = np.zeros((len(CUTOFFS), people), dtype=np.int8)
    planted = []
    for year in range(len(CUTOFFS)):
        drawn = rng.permutation(pool)
        for kind, size, shifted in kinds:
            chosen, drawn = drawn[:size], drawn[size:]
            which = rng.permuted(np.tile(np.arange(width) < shifted, (len(chosen), 1)), axis=1)
            for column, name in enumerate(offence.features):
                z[name][year, chosen[which[:, column]]] += EFFECT
            if kind != "lookalike":
                label[year, chosen] = 1
            planted.append((year, kind, np.sort(chosen)))
    return label, planted


def _truth(offence: Offence, ids: NDArray[np.str_], year: int, kind: str, chosen: NDArray[np.int64]) -> pa.Table:
    return pa.table(
        {
            "person": pa.array(ids[chosen].tolist(), pa.string()),
            "cutoff": pa.array([CUTOFFS[year]] * len(chosen), pa.int64()),
            "category": pa.array([offence.category] * len(chosen), pa.string()),
            "kind": pa.array([kind] * len(chosen), pa.string()),
        }
    )


def _grades(rng: np.random.Generator, people: int, senior: NDArray[np.bool_]) -> dict[str, NDArray[np.int8]]:
    role = rng.random(people)
    frontline = (role < FRONTLINE_SHARE) & ~senior
    detective = (role >= FRONTLINE_SHARE) & (role < FRONTLINE_SHARE + DETECTIVE_SHARE) & ~senior
    flags = {"senior_grade": senior, "frontline": frontline, "detective": detective}
    return {name: np.tile(flag.astype(np.int8), (len(CUTOFFS), 1)) for name, flag in flags.items()}


def _drawn(rng: np.random.Generator, shares: dict[str, float], people: int) -> NDArray[np.str_]:
    return rng.choice(list(shares), size=people, p=list(shares.values()))


def _column(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "U":
        return pa.array(values.tolist(), pa.string())
    # Only the vetting age is ever unknown; a null says so in every file format, a NaN does not.
    return pa.array(values, from_pandas=True)
