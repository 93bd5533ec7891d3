"""How flags compare with what was planted in a generated force: for measuring, never for a borough.

Rules this module keeps: what counts is who has an open case at the evaluation cutoff, found or not; honest people are those
without a planted case in the category, and look-alikes are counted apart from everybody else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from protocol.scorecard.columns import Float64Array

FIGURES = ("recall_serious", "recall", "precision", "lookalike_rate", "base_rate")
"""What `figures` returns: share of the open serious cases, and of all open cases, that are flagged; share of the flagged
who have an open case; share of the look-alikes, and of all other honest people who can be flagged, that are flagged."""

NOBODY = "nobody planted"


def read_truth(force: Path) -> pl.DataFrame:
    """Return `truth/planted.parquet` of a force that `custodes force generate` wrote."""
    return pl.read_parquet(force / "truth" / "planted.parquet")


def highest(scores: Float64Array, eligible: npt.NDArray[np.bool_], flags: int) -> npt.NDArray[np.bool_]:
    """Return who is flagged: the highest scores of the eligible, ties in the order of rows."""
    flagged = np.zeros(len(scores), dtype=bool)
    flagged[np.argsort(np.where(eligible, -scores, np.inf), kind="stable")[: min(flags, int(eligible.sum()))]] = True
    return flagged


def open_cases(category: str, persons: npt.NDArray[np.str_], truth: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Say of each person whether a case of the category is open at the evaluation cutoff."""
    return _among(persons, truth.filter(pl.col("category") == category, pl.col("open_at_evaluation")))


def figures(
    category: str,
    persons: npt.NDArray[np.str_],
    eligible: npt.NDArray[np.bool_],
    flagged: npt.NDArray[np.bool_],
    truth: pl.DataFrame,
) -> dict[str, float]:
    """Return the `FIGURES` of one category; a share of nobody is NaN."""
    own = truth.filter(pl.col("category") == category)
    planted = own.filter(pl.col("role") != "lookalike")
    serious = planted.filter(pl.col("open_at_evaluation"), pl.col("role") == "serious")
    cases, ever = open_cases(category, persons, truth), _among(persons, planted)
    alike = _among(persons, own.filter(pl.col("role") == "lookalike")) & eligible
    return {
        "recall_serious": _share(flagged, _among(persons, serious)),
        "recall": _share(flagged, cases),
        "precision": _share(cases, flagged),
        "lookalike_rate": _share(flagged, alike),
        "base_rate": _share(flagged, eligible & ~ever & ~alike),
    }


def kinds(category: str, truth: pl.DataFrame) -> dict[str, str]:
    """Return what each planted person is in a category: ``serious``, ``lesser case, over``, ``lookalike: busy``."""
    found = {}
    for row in truth.filter(pl.col("category") == category).iter_rows(named=True):
        if row["role"] == "lookalike":
            found[row["staff_no"]] = f"lookalike: {row['kind']}"
        else:
            found[row["staff_no"]] = row["role"] + ("" if row["open_at_evaluation"] else ", over")
    return found


def _among(persons: npt.NDArray[np.str_], rows: pl.DataFrame) -> npt.NDArray[np.bool_]:
    return np.isin(persons, rows["staff_no"].to_numpy().astype(str))


def _share(of: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> float:
    return float(of[among].mean()) if among.any() else float("nan")
