"""docs/spec/personnel.md, written from the contract: ``python -m borough_node.sources.contract.render``."""

from __future__ import annotations

from collections.abc import Iterator

from borough_node.sources.contract import TABLES, Column, Table
from borough_node.sources.contract.column import RETENTIONS, SENSITIVITIES

INTRODUCTION = """# The personnel contract

The tables that a borough's own systems fill, and from which features are computed inside the borough. Written from
`borough_node/sources/contract/__init__.py` and its neighbours by `python -m borough_node.sources.contract.render`; do
not edit it by hand.

## Rules

- **Names and types.** A source may call its columns anything; the node's settings map them. A *time* is an instant, in
  UTC; a source without time zone names one in its settings. A *date* is a calendar day where the force is. *text*,
  *whole* (integer), *number* and *flag* (true or false) are what they say. "May be empty" means NULL, or nothing between
  two commas.
- **Extracts.** A borough's extract holds its own people: everybody with a home posting in it within the window, with
  their rows while they were there. References to staff marked "or outside" may name somebody elsewhere.
- **As of a cutoff.** A cutoff is the start of a day in UTC. A row counts if its *recorded* column is before the cutoff.
  A value that is filled in or overwritten later counts if all the times under "known from" that are filled in are before
  the cutoff; otherwise it is empty as of the cutoff. So no value that was entered or amended on or after the cutoff
  changes what a cutoff sees. That an overwritten value is empty does show that it was overwritten later: a source that
  keeps only the last amendment cannot say what stood there before.
- **Sickness** is in the contract so that a plan *could* be asked for it in the open; no default feature reads it.
- **Labels** come from `conduct_findings` only: concluded cases, as a force really has them.
- **Cutoffs in plans** are whole numbers: twice the year is 1 January, one more is 1 July (4051 is 1 July 2025, 4052 is
  1 January 2026). Consecutive numbers are consecutive cutoffs, so a plan's count of rows per person holds. The *window* of
  a cutoff is the six months before it. A person's label in a category is 1 at a cutoff if a finding in that category, of
  any level and whenever made, is about conduct (`conduct_from` to `conduct_to`) that touches the window. What was found or
  decided before the window starts is history and may be a feature; a finding about the window never is. A node trains on
  what was known: a finding made, or a review ended, on or after the day of a plan's evaluation cutoff labels none of the
  rows before that cutoff, because conduct that goes on through both windows may be found only then, and a model trained on
  that would have seen whom its evaluation looks for. A label is complete only when cases have had time to be concluded:
  choose training cutoffs that lie far enough back.
- **Membership.** A person is in the borough at a cutoff if the latest home posting known then, begun before the cutoff, is
  in the borough and has not ended before it. Enter transfers in both boroughs by the day they happen: until then a person
  could be counted in both.
- **Never in the contract:** names, addresses, diagnoses, the source of a confidential report, what a search found.
"""


def render() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    parts.append("## Sensitivity\n\n" + "\n".join(f"- *{name}*: {text}" for name, text in SENSITIVITIES.items()) + "\n")
    parts.append(
        "## Retention classes\n\nWhat a class usually means; the force's own schedule takes precedence.\n\n"
        + "\n".join(f"- *{name}*: {text}" for name, text in RETENTIONS.items())
        + "\n"
    )
    parts.extend("\n".join(_table(table)) + "\n" for table in TABLES.values())
    return "\n".join(parts)


def _table(table: Table) -> Iterator[str]:
    yield f"## `{table.name}`\n"
    yield table.meaning + "\n"
    keys = ", ".join(f"`{name}`" for name in table.key)
    presence = "must be there" if table.required else "may be declared absent"
    yield f"Key {keys}; recorded `{table.recorded}`; dated by `{table.dated}`; {presence}."
    yield f"Lawful basis: {table.basis} Retention: *{table.retention}*.\n"
    yield "| column | type | meaning | allowed | known from | sensitivity |"
    yield "|---|---|---|---|---|---|"
    for column in table.columns:
        kind = f"{column.kind}, {column.unit}" if column.unit else column.kind
        empty = "; may be empty" if column.optional else ""
        known = ", ".join(f"`{name}`" for name in column.known_from)
        cells = (f"`{column.name}`", kind + empty, _meaning(table, column), _allowed(column), known, column.sensitivity)
        yield f"| {' | '.join(cells)} |"


def _meaning(table: Table, column: Column) -> str:
    notes = [column.meaning]
    if column.basis:
        notes.append(f"Basis: {column.basis}")
    if column.retention and column.retention != table.retention:
        notes.append(f"Retention: *{column.retention}*.")
    return " ".join(notes)


def _allowed(column: Column) -> str:
    if column.allowed:
        return ", ".join(f"`{value}`" for value in column.allowed)
    if column.refers:
        return f"a key of `{column.refers}`" + (", or outside" if column.outsiders else "")
    if column.low is not None and column.high is not None:
        return f"{column.low:g} to {column.high:g}"
    return ""


if __name__ == "__main__":
    from pathlib import Path

    Path("docs/spec/personnel.md").write_text(render(), encoding="utf-8")
