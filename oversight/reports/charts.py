"""Small charts as SVG text: values in, markup out, nothing else.

Rules this module keeps: every chart carries its name, and a line chart a description in words too; every text from
outside is escaped; colours, fonts and line styles come from the page's style sheet by class, so that paper and dark
screens restyle them and nothing is said by colour alone; a value beyond an axis is drawn at its end, never outside.

Line charts have a drawing area of fixed size, which the page scales. Row charts stand in table cells and are drawn in
per cent of the cell, so that they fit any width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

WIDTH: Final = 360
HEIGHT: Final = 290
LEFT: Final = 48
RIGHT: Final = 340
TOP: Final = 30
BOTTOM: Final = 244
"""Of a line chart, in drawing units: its size, and where the axes begin and end."""

ROW_INSET: Final = 6.0
"""Per cent of a row chart's width left free at both ends, so that a dot at the end of the axis is whole."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The range of one direction, and where it is labelled."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """Value and label, from low to high."""

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at the low end, 1 at the high end, never beyond."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval at a place."""

    x: float
    y: float
    low: float
    high: float


def line_chart(
    key: str,
    *,
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    points: Sequence[Point],
    reference: Sequence[tuple[float, float]],
) -> Markup:
    """Return a line with the band of its intervals.

    Args:
        key: Unique within the page; letters, digits, hyphens.
        points: In order of x.
        reference: Ends of a dashed line to compare with, such as that of a coin; none: no line.
    """
    upper = [(_right(x, point.x), _up(y, point.high)) for point in points]
    lower = [(_right(x, point.x), _up(y, point.low)) for point in points]
    middle = [(_right(x, point.x), _up(y, point.y)) for point in points]
    parts = [_grid(x, y)]
    if reference:
        parts.append(_polyline("reference", [(_right(x, one), _up(y, other)) for one, other in reference]))
    if points:
        parts.append(Markup('<polygon class="band" points="{}"/>').format(_path(upper + lower[::-1])))
        parts.append(_polyline("line", middle))
    return _chart(key, title, description, parts)


def dot_chart(
    key: str,
    *,
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    points: Sequence[Point],
    line: Sequence[tuple[float, float]],
    reference: Sequence[tuple[float, float]],
    upright: tuple[float, str] | None,
) -> Markup:
    """Return dots with their intervals as whiskers, over a line and a dashed line to compare with; see ``line_chart``.

    Args:
        upright: Where an upright line stands, and what is written beside it.
    """
    parts = [_grid(x, y)]
    if upright is not None:
        across = _right(x, upright[0])
        parts.append(
            Markup(
                '<line class="rule" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
                '<text class="tick" text-anchor="end" x="{3}" y="{4}">{5}</text>'
            ).format(_number(across), TOP, BOTTOM, _number(across - 5), TOP + 10, upright[1])
        )
    for kind, ends in (("reference", reference), ("line", line)):
        if ends:
            parts.append(_polyline(kind, [(_right(x, one), _up(y, other)) for one, other in ends]))
    for point in points:
        parts.append(
            Markup(
                '<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/><circle class="dot" cx="{0}" cy="{3}" r="4"/>'
            ).format(_number(_right(x, point.x)), *(_number(_up(y, end)) for end in (point.low, point.high, point.y)))
        )
    return _chart(key, title, description, parts)


def interval_row(title: str, axis: Axis, value: float | None, low: float, high: float, *, reference: float) -> Markup:
    """Return an interval and its dot on one line; without a value the interval alone, hatched.

    Args:
        title: The row in words; the figures stand in the table beside it.
        reference: Where a thin line crosses, such as a gate.
    """
    begin, end = _across(axis, low), _across(axis, high)
    kind = "hidden" if value is None else "whisker"
    parts = [
        Markup('<line class="rule" x1="{0}" x2="{0}" y1="0" y2="100%"/>').format(_across(axis, reference)),
        Markup('<line class="{}" x1="{}" x2="{}" y1="50%" y2="50%"/>').format(kind, begin, end),
    ]
    if value is not None:
        parts.append(Markup('<circle class="dot" cx="{}" cy="50%" r="4.5"/>').format(_across(axis, value)))
    return _row(title, parts)


def pair_row(title: str, axis: Axis, expected: float, found: float) -> Markup:
    """Return two values on one line: what was expected as an open dot, what was found as a full one."""
    begin, end = _across(axis, expected), _across(axis, found)
    return _row(
        title,
        [
            Markup('<line class="rule" x1="{}" x2="{}" y1="50%" y2="50%"/>').format(begin, end),
            Markup('<circle class="open-dot" cx="{}" cy="50%" r="5"/>').format(begin),
            Markup('<circle class="dot" cx="{}" cy="50%" r="4.5"/>').format(end),
        ],
    )


def bar_row(title: str, value: float, *, largest: float) -> Markup:
    """Return a bar from the middle, to the right if positive, to the left if negative.

    Args:
        largest: Absolute value of the longest bar of the table.
    """
    half = 50 - ROW_INSET
    length = half * min(1.0, abs(value) / largest) if largest else 0.0
    begin = 50.0 if value >= 0 else 50 - length
    return _row(
        title,
        [
            Markup('<rect class="{}" x="{}%" width="{}%" y="20%" height="60%"/>').format(
                "raises" if value >= 0 else "lowers", _number(begin), _number(length)
            ),
            Markup('<line class="rule" x1="50%" x2="50%" y1="0" y2="100%"/>'),
        ],
    )


def share_row(title: str, value: float, *, largest: float) -> Markup:
    """Return a bar from the left; ``largest`` fills the row."""
    length = 100 * min(1.0, max(0.0, value) / largest) if largest else 0.0
    return _row(title, [Markup('<rect class="share" x="0" width="{}%" y="20%" height="60%"/>').format(_number(length))])


def stacked_bar(title: str, shares: Sequence[float]) -> Markup:
    """Return one bar cut into the shares, numbered from 1 in their order; classes ``part-1``, ``part-2``, ... shade them."""
    total, begin, parts = sum(shares), 0.0, []
    for number, share in enumerate(shares, start=1):
        length = 100 * share / total
        parts.append(
            Markup(
                '<rect class="part-{0}" x="{1}%" width="{2}%" y="0" height="55%"/>'
                '<text class="tick" text-anchor="middle" x="{3}%" y="95%">{0}</text>'
            ).format(number, _number(begin), _number(length), _number(begin + length / 2))
        )
        begin += length
    return _row(title, parts)


def axis_row(title: str, axis: Axis) -> Markup:
    """Return the labels of an axis, for the head of a column of row charts."""
    parts = []
    for place, (value, label) in enumerate(axis.ticks):
        anchor = "start" if place == 0 else "end" if place == len(axis.ticks) - 1 else "middle"
        parts.append(
            Markup('<text class="tick" text-anchor="{}" x="{}" y="75%">{}</text>').format(
                anchor, _across(axis, value), label
            )
        )
    return _row(title, parts)


# --- parts of a line chart ------------------------------------------------------------------------------------------


def _grid(x: Axis, y: Axis) -> Markup:
    parts = []
    for value, label in y.ticks:
        up = _up(y, value)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, RIGHT, *[_number(up)] * 2)
        )
        parts.append(
            Markup('<text class="tick" text-anchor="end" x="{}" y="{}">{}</text>').format(
                LEFT - 6, _number(up + 4), label
            )
        )
    for value, label in x.ticks:
        parts.append(
            Markup('<text class="tick" text-anchor="middle" x="{}" y="{}">{}</text>').format(
                _number(_right(x, value)), BOTTOM + 17, label
            )
        )
    parts.append(Markup('<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(LEFT, RIGHT, BOTTOM))
    parts.append(Markup('<text class="axis-title" x="{}" y="14">{}</text>').format(2, y.title))
    parts.append(
        Markup('<text class="axis-title" text-anchor="end" x="{}" y="{}">{}</text>').format(RIGHT, BOTTOM + 38, x.title)
    )
    return Markup("").join(parts)


def _polyline(kind: str, places: Iterable[tuple[float, float]]) -> Markup:
    return Markup('<polyline class="{}" points="{}"/>').format(kind, _path(places))


def _path(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_number(across)},{_number(up)}" for across, up in places)


def _chart(key: str, title: str, description: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{key}-title {key}-text">'
        '<title id="{key}-title">{}</title><desc id="{key}-text">{}</desc>{}</svg>'
    ).format(WIDTH, HEIGHT, title, description, Markup("").join(parts), key=key)


def _row(title: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="row" role="img"><title>{}</title>{}</svg>').format(title, Markup("").join(parts))


# --- coordinates ----------------------------------------------------------------------------------------------------


def _right(axis: Axis, value: float) -> float:
    return LEFT + (RIGHT - LEFT) * axis.share(value)


def _up(axis: Axis, value: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * axis.share(value)


def _across(axis: Axis, value: float) -> str:
    return f"{_number(ROW_INSET + (100 - 2 * ROW_INSET) * axis.share(value))}%"


def _number(value: float) -> str:
    """Return a coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
