"""Numbers are written one way each, and never say more than they should."""

import pytest

from oversight.reports import formats
from oversight.reports.card import Estimate


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        (formats.decimal, 0.83449, "0.834"),
        (formats.decimal, -0.0001, "0.000"),
        (formats.signed, 0.5, "+0.500"),
        (formats.signed, -1.25, "−1.250"),
        (formats.signed, -0.0001, "0.000"),
        (formats.epsilon, 1.0, "1.00"),
        (formats.percent, 0.1234, "12.3\u202f%"),
        (formats.percent, -0.001, "−0.1\u202f%"),
        (formats.people, 45999.6, "46,000"),
        (formats.people, -12.4, "−12"),
        (formats.plain, 2025, "2025"),
        (formats.plain, -0.5, "−0.5"),
        (formats.points, 123.4, "+123"),
        (formats.points, -0.0473, "−0.047"),
        (formats.points, 0.0, "0"),
        (formats.short, 1234.5, "1,234"),
        (formats.short, 0.02649, "0.0265"),
        (formats.short, 18.0, "18"),
        (formats.short, 120.0, "120"),
        (formats.short, 1e-9, "0"),
        (formats.scientific, 9.99e-7, "1.0\u202f×\u202f10⁻⁶"),
    ],
)
def test_number_is_written_like_this(text, value, shown):
    assert text(value) == shown


@pytest.mark.parametrize(("share", "shown"), [(0.5, "50.0"), (0.54701, "54.8"), (0.547, "54.7"), (1.0, "100.0")])
def test_bound_on_guesses_is_rounded_up(share, shown):
    assert formats.of_hundred(share) == shown


def test_estimate_in_words_says_when_it_is_hidden_and_when_it_has_no_bound():
    assert formats.words(Estimate(value=0.5, low=0.25, high=0.75), formats.decimal) == "0.500 (0.250 to 0.750)"
    assert formats.words(Estimate(value=None, low=0.0, high=1.0), formats.decimal) == (
        "hidden by the noise (0.000 to 1.000)"
    )
    assert formats.words(Estimate(value=2.0, low=1.0, high=None), formats.decimal) == "2.000 (1.000 or more)"
