"""Pages of the card and of the period's report: one self-contained HTML file, made from the JSON and nothing else.

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
from oversight.reports.period import PeriodReport
from protocol.documents.base import Value


def render_html(card: ModelCard) -> str:
    """Return the card as one self-contained HTML page without JavaScript."""
    return _render("model_card.html", card=card)


def render_report(report: PeriodReport) -> str:
    """Return the report as one self-contained HTML page without JavaScript."""
    return _render("period_report.html", report=report)


def _render(template: str, **shown: Value) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oversight", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = {name: _data(text) for name, text in FORMATS.items()}
    environment.filters.update(formats)
    environment.filters["name"] = lambda name: Markup("_<wbr/>").join(name.split("_"))
    environment.filters["apply"] = lambda value, name: formats[name](value)
    environment.globals["figures"] = figures
    return environment.get_template(template).render(**shown)


def _data(text: Callable[[float], str]) -> Callable[[float], Markup]:
    return lambda value: Markup('<data value="{}">{}</data>').format(repr(value), text(value))
