"""From the card to its pictures: what is drawn, what is left out, and where axes end."""

import pytest

from oversight.reports import charts, figures
from oversight.reports.card import CurveCard, Estimate
from tests.oversight.reports.markup import parse


def near(value):
    return Estimate(value=value, low=value / 2, high=(1 + value) / 2)


def test_points_that_noise_put_in_the_wrong_order_are_not_joined(bare):
    rates = [0.8, 0.9, 0.5, 0.5, 0.1]
    curve = tuple(
        CurveCard(score=float(place), false_positive_rate=near(rate), recall=near(rate), precision=near(0.5))
        for place, rate in enumerate(rates)
    )
    drawn = parse(figures.roc_chart("key", bare.heads[0].model_copy(update={"curve": curve})))
    across = [float(pair.split(",")[0]) for pair in drawn.of_class("line")[0].attributes["points"].split()]
    width = charts.RIGHT - charts.LEFT
    assert [round((one - charts.LEFT) / width, 3) for one in across] == [0.8, 0.5, 0.1]


@pytest.mark.parametrize(
    ("highest", "end", "last"), [(0.013, 0.02, "2%"), (0.05, 0.1, "10%"), (0.41, 1.0, "100%"), (1.2, 1.0, "100%")]
)
def test_axis_of_rates_ends_at_a_round_number_above_them(highest, end, last):
    found, ticks = figures._rate_ticks(highest)
    assert (found, ticks[-1]) == (end, (end, last))
    assert len(ticks) == 5
