"""What the law and the government ask to be written down about the tool, filled as far as the public log knows.

Two texts in Markdown: the record of the Algorithmic Transparency Recording Standard (ATRS, version 3.0) and a DPIA. What
only the force can say stays marked, so that nobody takes a gap for an answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import jinja2

from oversight.reports.card import ModelCard
from oversight.reports.formats import FORMATS, words
from oversight.reports.model_card import model_card
from oversight.reports.page import render_report
from oversight.reports.period import PeriodReport
from protocol.history.mirror import History

TO_FILL: Final = "*to be completed by the force*"
TEXTS: Final = {"atrs.md": "transparency-record.md", "dpia.md": "dpia.md"}
"""Template, and the file that it becomes."""


def write_report(report: PeriodReport, history: History, directory: Path) -> tuple[Path, ...]:
    """Write the report as a page and as JSON, and both records, into a folder; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    contents = {"report.json": report.encode(), "report.html": render_report(report)}
    card = latest_card(report, history)
    contents |= {name: render_record(template, report, card) for template, name in TEXTS.items()}
    paths = []
    for name, text in contents.items():
        path = directory / name
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return tuple(paths)


def latest_card(report: PeriodReport, history: History) -> ModelCard | None:
    """Return the card of the model that was finished last among plans up to the period's end, or None."""
    finished = [
        digest
        for digest, record in history.public.plans.items()
        if record.complete and record.day.isoformat() <= report.last_day
    ]
    return model_card(history, finished[-1]) if finished else None


def render_record(template: str, report: PeriodReport | None, card: ModelCard | None) -> str:
    """Return one record; without report and card it is the blank form."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oversight", "reports"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown, from documents that a quorum signed
    )
    environment.filters.update(FORMATS)
    environment.filters["estimate"] = lambda figure, name: words(figure, FORMATS[name])
    return environment.get_template(template).render(
        report=report, card=card, to_fill=TO_FILL, blank="" if report is None else TO_FILL
    )
