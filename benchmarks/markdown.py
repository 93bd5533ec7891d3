"""Figures and tables as the report writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def figure(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds."""
    return figure(1e3 * seconds)


def times(theirs: float, ours: float) -> str:
    """Return how many times theirs is ours."""
    return figure(theirs / ours)


def plot(name: str, alternative: str) -> str:
    """Return a plot of docs/plots with its text alternative, or nothing without one."""
    return f"![{alternative}](plots/{name}.svg)\n\n*{alternative}*" if alternative else ""
