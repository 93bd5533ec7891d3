"""The card's page: one self-contained HTML file, made from the card's JSON and nothing else.

Rules this module keeps: no script, nothing fetched, every text escaped; every figure is a ``<data>`` element that carries
the JSON's own number and shows it in one of ``formats``, so that page and JSON cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable

import jinja2
from markupsafe import Markup

from oversight.reports import figures
from oversight.reports.card import ModelCard
from oversight.reports.formats import FORMATS


def render_html(card: ModelCard) -> str:
    """Return the card as one self-contained HTML page without JavaScript."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oversight", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = {name: _data(text) for name, text in FORMATS.items()}
    environment.filters.update(shown)
    environment.filters["name"] = lambda name: Markup("_<wbr/>").join(name.split("_"))
    environment.filters["apply"] = lambda value, name: shown[name](value)
    environment.globals["figures"] = figures
    return environment.get_template("model_card.html").render(card=card)


def _data(text: Callable[[float], str]) -> Callable[[float], Markup]:
    return lambda value: Markup('<data value="{}">{}</data>').format(repr(value), text(value))
