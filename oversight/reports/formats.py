"""How the card writes numbers: one format for each kind of figure, the same in tables, sentences and chart texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from oversight.reports.card import Estimate

MINUS: Final = "\u2212"
NARROW: Final = "\u202f"
"""A narrow space at which no line breaks, between a number and its unit."""
HIDDEN: Final = "hidden by the noise"


def decimal(value: float) -> str:
    """Return a number with three decimals."""
    return _with_minus(f"{value:,.3f}")


def signed(value: float) -> str:
    """Return a number with three decimals and its sign."""
    return _with_minus(f"{value:+.3f}")


def epsilon(value: float) -> str:
    """Return an epsilon with two decimals."""
    return f"{value:.2f}"


def percent(value: float) -> str:
    """Return a share in per cent, one decimal."""
    return _with_minus(f"{100 * value:.1f}") + NARROW + "%"


def people(value: float) -> str:
    """Return a count, rounded; noised counts may be below zero."""
    return _with_minus(f"{value:,.0f}")


def plain(value: float) -> str:
    """Return an integer or a public constant as it is, without separators: years, indices, bounds."""
    return _with_minus(f"{value:g}" if isinstance(value, float) else str(value))


def points(value: float) -> str:
    """Return points with two significant digits and their sign."""
    return _with_minus(f"{value:+.{_decimals(value, 2)}f}")


def short(value: float) -> str:
    """Return a value of a feature with three significant digits."""
    decimals = _decimals(value, 3)
    text = f"{value:,.{decimals}f}"
    return _with_minus(text.rstrip("0").rstrip(".") if decimals else text)


def scientific(value: float) -> str:
    """Return a small number as a power of ten."""
    mantissa, exponent = f"{value:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}{NARROW}×{NARROW}10{raised}"


def of_hundred(value: float) -> str:
    """Return a share as how many of 100, one decimal, rounded up: a bound stays one."""
    return f"{math.ceil(1000 * value - 1e-9) / 10:.1f}"


FORMATS: Final[dict[str, Callable[[float], str]]] = {
    one.__name__: one
    for one in (decimal, signed, epsilon, percent, people, plain, points, short, scientific, of_hundred)
}


def words(estimate: Estimate, text: Callable[[float], str]) -> str:
    """Return an estimate with its interval as one phrase, for chart titles."""
    reach = (
        f"{text(estimate.low)} or more" if estimate.high is None else f"{text(estimate.low)} to {text(estimate.high)}"
    )
    return f"{HIDDEN if estimate.value is None else text(estimate.value)} ({reach})"


def _decimals(value: float, digits: int) -> int:
    """Return how many decimals show so many significant digits: none for large numbers, at most four for small ones."""
    size = math.floor(math.log10(abs(value))) if value else digits - 1
    return min(4, max(0, digits - 1 - size))


def _with_minus(text: str) -> str:
    """Return the text with a true minus sign, and with no sign where what is shown is zero."""
    bare = text.lstrip("-+")
    return text.replace("-", MINUS) if bare.strip("0.,") else bare
