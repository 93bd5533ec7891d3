"""The page: made from the JSON alone, whole, readable by everybody, and harmless whatever the catalogue says."""

import itertools
import json
import re

import numpy as np
import pytest

from oversight.reports import charts
from oversight.reports.card import ModelCard
from oversight.reports.formats import FORMATS
from oversight.reports.page import render_html
from tests.oversight.reports.markup import parse
from tests.oversight.reports.test_model_card import HOSTILE

FLAGS_OUTSIDE = "A flag is a deliberate disclosure about one person, outside epsilon"
SAID = {"95", "50", "100", "0.5", "1", "20", "365", "0", "0.25"}
"""Numerals of sentences that stand on every card."""


@pytest.fixture(params=["measured", "bare", "filled"])
def card(request):
    if request.param == "bare":
        return request.getfixturevalue("bare")
    card = request.getfixturevalue("measured")[1]
    return card if request.param == "measured" else filled(card)


def filled(card):
    """Return a card with every part and every kind of figure, whatever the noise of the run left."""
    told, hidden, open_ended = (
        {"value": 0.1234, "low": 0.0456, "high": 0.4321},
        {"value": None, "low": 0.0, "high": 1.0},
        {"value": None, "low": 0.0, "high": None},
    )
    fields = json.loads(card.encode())
    for head in fields["heads"]:
        for place, point in enumerate(head["curve"]):
            share = 0.9 - 0.1 * place
            near = {"value": share, "low": max(0.0, share - 0.1), "high": min(1.0, share + 0.1)}
            point |= {"false_positive_rate": near, "recall": near, "precision": told}
    fields["drift"] = {
        "against": card.plan,
        "features": [
            {"feature": name, "definition": "Made up.", "index": index}
            for name, index in (("alpha", told), ("beta", open_ended))
        ],
    }
    fields["outcomes"] = {
        "policy": card.model,
        "heads": [
            {"category": head.category, "precision": told, "missed_rate": hidden}
            | {"flags_reviewed": 103.2, "controls_reviewed": -3.4}
            for head in card.heads
        ],
    }
    rows = [{"band": band, "predicted": 0.81, "seen": 0.78, "people": 12.5} for band in ("high", "low")]
    fields["stability"]["heads"][0] |= {"rows": rows, "error": 0.031, "shown": True}
    fields["stability"]["heads"][1] |= {"rows": [], "error": 1.0, "shown": False}
    gate = {"minimum": 0.8, "when_hidden": "allow", "needs_waiver": False}
    for attribute, outcome in zip(fields["fairness"]["attributes"], ("passed", "missed", "hidden"), strict=False):
        attribute |= {"ratio": told, "gate": gate | {"outcome": outcome}}
        attribute["groups"][0] |= {"selection_rate": told, "true_positive_rate": None, "false_positive_rate": hidden}
    return ModelCard.decode(json.dumps(fields))


@pytest.fixture
def page(card):
    return parse(render_html(card))


def leaves(value):
    """Yield every value of a JSON document, and how many entries its lists have."""
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        yield len(value)
        for one in value:
            yield from leaves(one)
    else:
        yield value


def numbers_of(card):
    return {value for value in leaves(json.loads(card.encode())) if isinstance(value, int | float)}


def test_same_json_is_the_same_page(card):
    assert render_html(ModelCard.decode(card.encode())) == render_html(card)


ALWAYS = [
    "purpose", "data", "guarantee", "not-covered", "accuracy", "curves", "stability", "scorecards", "use", "limits",
    "features", "proof",
]  # fmt: skip


def test_every_section_is_there_in_order_and_in_the_contents(card, page):
    sections = [one.attributes["id"] for one in page.all("section")]
    parts = {"fairness": card.fairness, "drift": card.drift, "outcomes": card.outcomes}
    measured = [name for name, part in parts.items() if part is not None]
    place = ALWAYS.index("scorecards")
    assert sections == [*ALWAYS[:place], *measured, *ALWAYS[place:]]
    links = [one.attributes["href"] for one in page.one("nav").all("a")]
    assert links == [f"#{one}" for one in sections]


def test_every_section_is_named_by_its_heading(page):
    for section in page.all("section"):
        (heading,) = section.all("h2")
        assert section.attributes["aria-labelledby"] == heading.attributes["id"]
        assert heading.text().strip()


def test_headings_go_down_one_level_at_a_time(page):
    levels = [int(one.tag[1]) for one in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))


def test_ids_are_unique_and_every_reference_has_its_target(page):
    ids = [one.attributes["id"] for one in page.all() if "id" in one.attributes]
    assert len(set(ids)) == len(ids)
    targets = [one.attributes["href"][1:] for one in page.all("a")]
    for one in page.all():
        targets += one.attributes.get("aria-labelledby", "").split()
    assert set(targets) <= set(ids)


def test_every_picture_has_a_name(page):
    pictures = list(page.all("svg"))
    assert len(pictures) > 10
    for one in pictures:
        assert one.attributes["role"] == "img"
        assert next(one.all("title")).text().strip()


def test_every_table_has_headers_with_a_scope(page):
    for table in page.all("table"):
        headers = list(table.all("th"))
        assert headers
        assert {one.attributes.get("scope") for one in headers} <= {"col", "row", "rowgroup"}
        assert len(set(widths(table))) == 1


def widths(table):
    """Yield how many columns each row has, with the cells that rows above reach down."""
    reaching = []
    for row in table.all("tr"):
        cells = [one for one in row.content if not isinstance(one, str)]
        yield sum(int(one.attributes.get("colspan", "1")) for one in cells) + len(reaching)
        reaching = [left - 1 for left in reaching] + [int(one.attributes.get("rowspan", "1")) - 1 for one in cells]
        reaching = [left for left in reaching if left > 0]


def test_region_that_scrolls_can_be_reached_by_keyboard_and_has_a_name(page):
    regions = page.of_class("wide")
    assert len(regions) == len(list(page.all("table")))
    assert all(one.attributes["tabindex"] == "0" and one.attributes["aria-label"] for one in regions)
    assert len({one.attributes["aria-label"] for one in regions}) == len(regions)


def test_nothing_runs_and_nothing_is_fetched(card, page):
    assert not list(page.all("script", "link", "img", "iframe", "object", "embed", "form", "input", "base"))
    for one in page.all():
        assert not [name for name in one.attributes if name.startswith("on")]
        for name in ("href", "src", "action", "xlink:href", "data"):
            assert one.attributes.get(name, "#").startswith("#")
        assert "style" not in one.attributes
    text = render_html(card)
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_every_figure_is_a_number_of_the_json_in_a_known_format(card, page):
    numbers = numbers_of(card)
    shown = list(page.all("data"))
    assert len(shown) > 100
    for one in shown:
        value = json.loads(one.attributes["value"])
        assert value in numbers
        assert one.text() in {text(value) for text in FORMATS.values()}


def test_no_numeral_stands_on_the_page_but_figures_and_the_words_of_the_json(card, page):
    text = page.one("body").text(without=("data", "code", "time", "svg"))
    strings = {value for value in leaves(json.loads(card.encode())) if isinstance(value, str)}
    for string in sorted(strings, key=len, reverse=True):
        text = text.replace(string, " ").replace(string.capitalize(), " ")
    text = re.sub(r"(?m)^\s*\d\. ", " ", text)  # parts of the budget bar, counted in the legend
    assert set(re.findall(r"\d[\d.,]*(?<![.,])", text)) <= SAID


def test_numerals_in_the_words_of_a_picture_are_figures_of_the_json(card, page):
    known = {text(number) for number in numbers_of(card) for text in FORMATS.values()}
    strings = {value for value in leaves(json.loads(card.encode())) if isinstance(value, str)}
    for picture in page.all("svg"):
        for element in picture.all("title", "desc"):
            text = element.text()
            for string in sorted(strings, key=len, reverse=True):
                text = text.replace(string, " ")
            found = set(re.findall(r"[+−]?\d[\d.,]*(?<![.,])(?:\u202f%)?", text))
            assert found <= known | SAID | {str(number) for number in range(1, 8)}, text


def test_flags_are_said_to_be_outside_epsilon_at_the_top_and_with_the_guarantee(page):
    assert FLAGS_OUTSIDE in page.one("header").text()
    (section,) = (one for one in page.all("section") if one.attributes["id"] == "not-covered")
    assert FLAGS_OUTSIDE in section.text()


def test_hidden_figure_is_called_hidden(card):
    blind = json.loads(card.encode())
    blind["heads"][0]["auc"] = {"value": None, "low": 0.0, "high": 1.0}
    page = parse(render_html(ModelCard.decode(json.dumps(blind))))
    assert next(one.text() for one in page.of_class("hidden-figure")) == "hidden by the noise"


def test_curves_that_noise_hides_are_named_and_not_drawn(card):
    blind = json.loads(card.encode())
    nothing = {"value": None, "low": 0.0, "high": 1.0}
    for point in blind["heads"][0]["curve"]:
        point |= {"recall": nothing, "precision": nothing}
    title = blind["heads"][0]["title"]
    page = parse(render_html(ModelCard.decode(json.dumps(blind))))
    names = [one.one("title").text() for one in page.of_class("chart")]
    assert not [name for name in names if name.startswith(f"{title}: who is found")]
    (section,) = (one for one in page.all("section") if one.attributes["id"] == "curves")
    assert "hidden by the noise: ROC curve, precision against recall" in section.text()


def test_charts_start_where_their_figures_do(measured):
    """The first drawn point of every ROC curve is one of the JSON's, in the units of the drawing.

    Not always the first of them: points that noise put in the wrong order are not joined.
    """
    card = filled(measured[1])
    drawn = {one.one("title").text(): one for one in parse(render_html(card)).of_class("chart")}
    width, height = charts.RIGHT - charts.LEFT, charts.BOTTOM - charts.TOP
    for head in card.heads:
        picture = drawn[f"{head.title}: who is found, against who is flagged by mistake"]
        across, up = map(float, picture.of_class("line")[0].attributes["points"].split()[0].split(","))
        found = np.array([(across - charts.LEFT) / width, (charts.BOTTOM - up) / height])
        stated = [
            (point.false_positive_rate.value, point.recall.value)
            for point in head.curve
            if point.false_positive_rate.value is not None and point.recall.value is not None
        ]
        assert np.abs(np.array(stated) - found).max(axis=1).min() < 1e-4


def test_proof_has_the_command_and_every_hash(card, page):
    (section,) = (one for one in page.all("section") if one.attributes["id"] == "proof")
    assert section.one("pre").text() == f"custodes audit verify DIRECTORY --genesis {card.proof.genesis}"
    shown = {one.text() for one in section.of_class("hash")}
    assert {entry.entry for entry in card.proof.entries} <= shown
    assert {entry.document for entry in card.proof.entries} <= shown


def test_what_was_not_measured_is_said_and_has_no_section(bare):
    page = parse(render_html(bare))
    (section,) = (one for one in page.all("section") if one.attributes["id"] == "limits")
    assert "the plan measured nothing by group" in section.text()
    assert not {"fairness", "drift", "outcomes"} & {one.attributes["id"] for one in page.all("section")}


def poisoned(value, key=""):
    """Return the JSON with a hostile text wherever the catalogue, a policy or a person wrote one."""
    if isinstance(value, dict):
        return {name: poisoned(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one, key) for one in value]
    free = {
        "definition",
        "unit",
        "reason",
        "legal_note",
        "title",
        "groups",
        "meaning",
        "adversary",
        "limits",
        "direction",
    }
    return HOSTILE if isinstance(value, str) and key in free else value


def test_hostile_texts_stay_texts(card):
    spoilt = poisoned(json.loads(card.encode()))
    page = parse(render_html(ModelCard.decode(json.dumps(spoilt))))
    honest = parse(render_html(card))
    assert [one.tag for one in page.all()] == [one.tag for one in honest.all()]
    assert HOSTILE in page.text()
    assert not list(page.all("script"))


def test_colours_of_text_meet_wcag_aa_on_their_grounds(card):
    """Contrast 4.5 for text and 3 for graphics, by the formula of WCAG 2.2; light, dark and paper."""
    style = parse(render_html(card)).one("style").text()
    for block in re.findall(r":root \{([^}]*)\}", style):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))
        for ground in ("page", "box", "warn"):
            for ink in ("ink", "soft", "first"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for mark in ("first", "second"):
            assert contrast(colours[mark], colours["page"]) >= 3


def contrast(one, other):
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_outcome_of_a_gate_is_a_word_and_not_only_a_sign(measured):
    page = parse(render_html(filled(measured[1])))
    (section,) = (one for one in page.all("section") if one.attributes["id"] == "fairness")
    for word in ("✓ passed", "✗ missed", "? hidden"):
        assert word in section.text()


def test_suppressed_figure_is_called_so(measured):
    page = parse(render_html(filled(measured[1])))
    (section,) = (one for one in page.all("section") if one.attributes["id"] == "fairness")
    assert "too few to show" in [one.text() for one in section.of_class("hidden-figure")]


def test_figure_without_an_upper_bound_says_so(measured):
    page = parse(render_html(filled(measured[1])))
    (section,) = (one for one in page.all("section") if one.attributes["id"] == "drift")
    assert "(0.000 or more)" in section.text()
