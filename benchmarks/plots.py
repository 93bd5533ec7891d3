"""Plots of the report, as SVG: log axes where figures span decades, and colours that colour-blind readers tell apart.

Colours are Okabe and Ito's (2008); series also differ by mark and dash. Each plot has its numbers in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

Point = dict[str, Any]

BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE)
WIDTH, WIDE, HEIGHT, FONT = 320, 520, 260, "DejaVu Sans, Verdana, sans-serif"


def _finished(chart: alt.TopLevelMixin, path: Path) -> None:
    styled = (
        chart.configure(font=FONT, background="white")
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#e6e6e6")
        .configure_header(labelFontSize=13, titleFontSize=13)
        .configure_legend(labelFontSize=12, symbolSize=90, symbolStrokeWidth=0, labelLimit=420)
        .configure_title(fontSize=13, anchor="start")
        .configure_view(stroke="#cccccc")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    styled.save(str(path))


def _lines(
    points: Sequence[Point],
    *,
    x: alt.X,
    y: alt.Y,
    series: Sequence[str],
    colours: Sequence[str],
    title: str,
    width: float = WIDTH,
) -> alt.LayerChart | alt.FacetChart:
    shapes = ["circle", "square", "triangle-up", "diamond", "cross"]
    dashes = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [1, 3]]
    legend = alt.Legend(title=None, orient="bottom", columns=2)
    base = alt.Chart(alt.InlineData(values=list(points)), title=title, width=width, height=HEIGHT).encode(
        x=x,
        y=y,
        color=alt.Color(
            "series:N", scale=alt.Scale(domain=list(series), range=list(colours)[: len(series)]), legend=legend
        ),
    )
    many = len(series)
    line = base.mark_line(strokeWidth=2).encode(
        strokeDash=alt.StrokeDash("series:N", scale=alt.Scale(domain=list(series), range=dashes[:many]), legend=None)
    )
    mark = base.mark_point(size=70, filled=True, opacity=1).encode(
        shape=alt.Shape("series:N", scale=alt.Scale(domain=list(series), range=shapes[:many]), legend=legend)
    )
    return alt.layer(line, mark)


def _log_x(field: str, title: str, values: Sequence[float], *, form: str = ",d") -> alt.X:
    # The marks would touch the frame without a margin; a log scale has no padding of its own that ends at the values.
    domain = [min(values) / 1.3, max(values) * 1.3]
    axis = alt.Axis(values=sorted(set(values)), format=form, labelOverlap=False)
    return alt.X(f"{field}:Q", title=title, scale=alt.Scale(type="log", domain=domain, nice=False), axis=axis)


def _log_y(field: str, title: str, values: Sequence[float]) -> alt.Y:
    # Lines at powers of ten and at 2 and 5 between them; every one of them is labelled.
    decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    low = max(tick for tick in ticks if tick <= min(values))
    high = min(tick for tick in ticks if tick >= max(values))
    axis = alt.Axis(values=[tick for tick in ticks if low <= tick <= high], format=",~g", labelOverlap=False)
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=axis)


def plot_cpu(client: Sequence[Point], servers: Sequence[Point], path: Path, *, clients: int) -> None:
    """Draw CPU milliseconds of one client and of all servers against the dimension.

    Args:
        client: Points with series, dimension and milliseconds; ``servers`` likewise.
    """
    colours = [BLUE, VERMILION, ORANGE, GREEN]
    series = list(dict.fromkeys(point["series"] for point in (*servers, *client)))
    x = _log_x("dimension", "entries of a vector", [point["dimension"] for point in client])
    y = _log_y("milliseconds", "CPU milliseconds a round", [point["milliseconds"] for point in (*client, *servers)])
    panels = [
        _lines(points, x=x, y=y, series=series, colours=colours[: len(series)], title=title)
        for points, title in ((client, f"One of {clients} clients"), (servers, "All servers together"))
    ]
    _finished(alt.hconcat(*panels).resolve_scale(y="shared"), path)


def plot_scaling(points: Sequence[Point], path: Path, *, flat: float) -> None:
    """Draw CPU a borough, relative to the fewest boroughs, against their number, and the band that counts as flat."""
    series = list(dict.fromkeys(point["series"] for point in points))
    boroughs = [point["boroughs"] for point in points]
    x = _log_x("boroughs", "boroughs", boroughs)
    y = alt.Y("relative:Q", title=f"CPU a borough, times that at {min(boroughs)}", scale=alt.Scale(zero=True))
    lines = _lines(points, x=x, y=y, series=series, colours=[BLUE, VERMILION], title="", width=WIDE)
    edges = [{"boroughs": edge, "low": 1 - flat, "high": 1 + flat} for edge in (min(boroughs), max(boroughs))]
    band = (
        alt.Chart(alt.InlineData(values=edges), width=WIDE, height=HEIGHT)
        .mark_area(color="#bbbbbb", opacity=0.45)
        .encode(x=x, y=alt.Y("low:Q"), y2="high:Q")
    )
    _finished(alt.layer(band, lines), path)


def plot_exchange(points: Sequence[Point], path: Path) -> None:
    """Draw seconds of one exchange against the number of nodes."""
    series = list(dict.fromkeys(point["series"] for point in points))
    x = _log_x("nodes", "nodes", [point["nodes"] for point in points])
    y = _log_y("seconds", "seconds an exchange", [point["seconds"] for point in points])
    _finished(
        _lines(points, x=x, y=y, series=series, colours=[BLUE, VERMILION, ORANGE, GREEN], title="", width=WIDE), path
    )


def plot_utility(points: Sequence[Point], ceilings: Sequence[Point], path: Path) -> None:
    """Draw AUC against the joint epsilon, one panel a label, and the best figure without privacy as a line.

    Args:
        points: With label, series, epsilon and auc.
        ceilings: With label, auc and the text that says whose it is.
    """
    series = list(dict.fromkeys(point["series"] for point in points))
    x = _log_x("epsilon", "epsilon, of all labels together", [point["epsilon"] for point in points], form="~g")
    panels = []
    for label in dict.fromkeys(point["label"] for point in points):
        own = [point for point in points if point["label"] == label]
        ceiling = [point for point in ceilings if point["label"] == label]
        y = alt.Y("auc:Q", title="AUC", scale=alt.Scale(zero=False, padding=12))
        lines = _lines(own, x=x, y=y, series=series, colours=COLOURS, title=label, width=230)
        rule = alt.Chart(alt.InlineData(values=ceiling)).mark_rule(strokeDash=[2, 3], color="#555555").encode(y="auc:Q")
        text = (
            alt.Chart(
                alt.InlineData(values=[{**point, "epsilon": min(p["epsilon"] for p in own)} for point in ceiling])
            )
            .mark_text(align="left", dy=-7, fontSize=11, color="#333333")
            .encode(x=x, y="auc:Q", text="text:N")
        )
        panels.append(alt.layer(lines, rule, text))
    _finished(alt.hconcat(*panels), path)
