"""Charts: known values lie at known places, every chart has a name, and a text from outside stays a text."""

import pytest

from oversight.reports import charts
from oversight.reports.charts import Axis, Point
from tests.oversight.reports.markup import parse

UNIT = Axis("Share", 0.0, 1.0, ((0.0, "0"), (1.0, "1")))
HOSTILE = """</title><script>alert(1)</script>"'><svg onload=alert(2)>&amp;"""
MIDDLE = ((charts.LEFT + charts.RIGHT) / 2, (charts.TOP + charts.BOTTOM) / 2)


def places(element):
    return [tuple(map(float, pair.split(","))) for pair in element.attributes["points"].split()]


def line(points, *, reference=(), **changes):
    fields = {"title": "Title", "description": "Words.", "x": UNIT, "y": UNIT} | changes
    return parse(charts.line_chart("key", points=points, reference=reference, **fields))


def test_line_runs_through_its_points():
    drawn = line([Point(0.0, 0.0, 0.0, 0.5), Point(0.5, 0.5, 0.25, 0.75), Point(1.0, 1.0, 0.5, 1.0)])
    (middle,) = drawn.of_class("line")
    assert places(middle) == [(charts.LEFT, charts.BOTTOM), MIDDLE, (charts.RIGHT, charts.TOP)]


def test_band_runs_along_the_upper_ends_and_back_along_the_lower_ones():
    drawn = line([Point(0.0, 0.5, 0.0, 1.0), Point(1.0, 0.5, 0.5, 0.5)])
    (band,) = drawn.of_class("band")
    assert places(band) == [
        (charts.LEFT, charts.TOP),
        (charts.RIGHT, MIDDLE[1]),
        (charts.RIGHT, MIDDLE[1]),
        (charts.LEFT, charts.BOTTOM),
    ]


def test_value_beyond_an_axis_is_drawn_at_its_end():
    (middle,) = line([Point(-3.0, 7.0, 0.0, 9.0), Point(5.0, -1.0, -2.0, 0.0)]).of_class("line")
    assert places(middle) == [(charts.LEFT, charts.TOP), (charts.RIGHT, charts.BOTTOM)]


def test_chart_without_points_is_axes_alone():
    drawn = line([])
    assert not drawn.of_class("line")
    assert not drawn.of_class("band")
    assert len(drawn.of_class("grid")) == len(UNIT.ticks)


def test_reference_runs_between_its_ends():
    (reference,) = line([], reference=[(0.0, 0.0), (1.0, 1.0)]).of_class("reference")
    assert places(reference) == [(charts.LEFT, charts.BOTTOM), (charts.RIGHT, charts.TOP)]


def dots(points, **changes):
    fields = {"title": "Title", "description": "Words.", "x": UNIT, "y": UNIT, "line": (), "reference": ()}
    return parse(charts.dot_chart("key", points=points, **(fields | {"upright": None} | changes)))


def test_whisker_spans_the_interval_of_its_dot():
    drawn = dots([Point(0.5, 0.5, 0.0, 1.0)])
    (whisker,), (dot,) = drawn.of_class("whisker"), drawn.of_class("dot")
    assert (float(whisker.attributes["y1"]), float(whisker.attributes["y2"])) == (charts.BOTTOM, charts.TOP)
    assert (float(dot.attributes["cx"]), float(dot.attributes["cy"])) == MIDDLE


def test_lines_and_upright_stand_where_they_should():
    ends = [(0.0, 0.0), (1.0, 1.0)]
    drawn = dots([], line=ends, reference=ends[::-1], upright=(0.5, "here"))
    corners = [(charts.LEFT, charts.BOTTOM), (charts.RIGHT, charts.TOP)]
    assert [places(one) for one in drawn.of_class("line")] == [corners]
    assert [places(one) for one in drawn.of_class("reference")] == [corners[::-1]]
    (rule,) = drawn.of_class("rule")
    assert float(rule.attributes["x1"]) == float(rule.attributes["x2"]) == MIDDLE[0]
    assert "here" in [one.text() for one in drawn.all("text")]


def test_name_and_description_of_a_chart_are_tied_to_it():
    drawn = line([])
    assert drawn.attributes["role"] == "img"
    named = [next(one for one in drawn.all() if one.attributes.get("id") == key) for key in labels(drawn)]
    assert [one.text() for one in named] == ["Title", "Words."]


def labels(drawn):
    return drawn.attributes["aria-labelledby"].split()


def test_interval_row_is_in_per_cent_of_its_cell():
    drawn = parse(charts.interval_row("A row", UNIT, 0.5, 0.0, 1.0, reference=0.5))
    (whisker,), (dot,), (rule,) = drawn.of_class("whisker"), drawn.of_class("dot"), drawn.of_class("rule")
    assert (whisker.attributes["x1"], whisker.attributes["x2"]) == ("6%", "94%")
    assert (dot.attributes["cx"], rule.attributes["x1"]) == ("50%", "50%")
    assert drawn.one("title").text() == "A row"


def test_hidden_value_has_an_interval_and_no_dot():
    drawn = parse(charts.interval_row("A row", UNIT, None, 0.25, 0.75, reference=0.0))
    assert not drawn.of_class("dot")
    (hidden,) = drawn.of_class("hidden")
    assert (hidden.attributes["x1"], hidden.attributes["x2"]) == ("28%", "72%")


@pytest.mark.parametrize(
    ("value", "kind", "begin", "length"),
    [(2.0, "raises", "50%", "44%"), (-1.0, "lowers", "28%", "22%"), (0.0, "raises", "50%", "0%")],
)
def test_bar_goes_right_if_it_raises_and_left_if_it_lowers(value, kind, begin, length):
    (bar,) = parse(charts.bar_row("A bar", value, largest=2.0)).all("rect")
    assert (bar.attributes["class"], bar.attributes["x"], bar.attributes["width"]) == (kind, begin, length)


def test_table_of_zero_weights_has_bars_of_no_length():
    (bar,) = parse(charts.bar_row("A bar", 0.0, largest=0.0)).all("rect")
    assert bar.attributes["width"] == "0%"


def test_stacked_bar_fills_its_width_in_order_and_numbers_its_parts():
    drawn = parse(charts.stacked_bar("Parts", [1.0, 2.0, 1.0]))
    assert [(one.attributes["x"], one.attributes["width"]) for one in drawn.all("rect")] == [
        ("0%", "25%"),
        ("25%", "50%"),
        ("75%", "25%"),
    ]
    assert [one.text() for one in drawn.all("text")] == ["1", "2", "3"]


def test_hostile_text_stays_text_in_every_chart():
    axis = Axis(HOSTILE, 0.0, 1.0, ((0.0, HOSTILE), (1.0, "1")))
    drawn = [
        line([], title=HOSTILE, description=HOSTILE, x=axis, y=axis),
        dots([], title=HOSTILE, description=HOSTILE, x=axis, y=axis, upright=(0.5, HOSTILE)),
        parse(charts.interval_row(HOSTILE, axis, 0.5, 0.0, 1.0, reference=0.0)),
        parse(charts.axis_row(HOSTILE, axis)),
        parse(charts.bar_row(HOSTILE, 1.0, largest=1.0)),
        parse(charts.share_row(HOSTILE, 1.0, largest=1.0)),
        parse(charts.stacked_bar(HOSTILE, [1.0])),
    ]
    for one in drawn:
        assert not list(one.all("script", "svg"))
        assert one.one("title").text() == HOSTILE
        assert not any(name.startswith("on") for element in one.all() for name in element.attributes)
