"""What must be true within one row, or among the rows, of a table, beyond the types: one line a rule.

A condition holds for an offending row; where it cannot be told (an empty value), it does not. A rule that may have an
honest explanation is a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl
from polars import col

from borough_node.sources.contract.column import DTYPES
from borough_node.sources.contract.work import WORKED_TYPES
from borough_node.sources.personnel.staging import Severity


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule about the rows of a table."""

    table: str
    name: str
    condition: pl.Expr
    advice: str
    severity: Severity = "error"
    column: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """A rule about spans of one person that must not overlap: the next may not start before the last has ended."""

    table: str
    chosen: pl.Expr
    """Rows that it is about."""
    start: str
    end: pl.Expr
    advice: str
    severity: Severity = "error"


def _half(first: str, second: str) -> pl.Expr:
    return col(first).is_null() != col(second).is_null()


def _untimed(value: str, time: str) -> pl.Expr:
    return col(value).is_not_null() & col(time).is_null()


def _half_year(column: str) -> pl.Expr:
    return col(column).dt.year() * 2 + (col(column).dt.month() > 6).cast(pl.Int32)


def _instant(day: str) -> pl.Expr:
    return col(day).cast(DTYPES["time"])


ROW_RULES = (
    Rule("staff", "order", col("service_end") <= col("service_start"),
         "service ends before it starts; correct the dates"),
    Rule("staff", "untimed", _untimed("service_end", "service_end_recorded_at"),
         "an end of service without the time of its entry; fill service_end_recorded_at"),
    Rule("postings", "order", col("valid_to") <= col("valid_from"),
         "the posting ends before it starts; correct the dates"),
    Rule("postings", "untimed", _untimed("valid_to", "end_recorded_at"),
         "an end without the time of its entry; fill end_recorded_at"),
    Rule("postings", "late_transfer", (col("kind") == "home") & (_half_year("recorded_at") > _half_year("valid_from")),
         "entered after a cutoff before which it began: the person may count in two boroughs there;"
         " enter transfers on the day",
         "warning"),
    Rule("outages", "order", col("ended_at") <= col("started_at"), "the outage ends before it starts; correct the times"),
    Rule("duties", "order",
         (col("planned_end") <= col("planned_start")) | (col("booked_end") <= col("booked_start")),
         "the duty ends before it starts; correct the times, or the time zone if it spans a clock change"),
    Rule("duties", "untimed",
         (col("booked_start").is_not_null() | col("booked_end").is_not_null()) & col("booked_at").is_null(),
         "booked times without the time of their entry; fill booked_at"),
    Rule("duties", "half_booked", _half("booked_start", "booked_end"),
         "only one of the booked times; fill both or none"),
    Rule("duties", "untimed_overtime", (col("overtime_minutes") > 0) & col("booked_at").is_null(),
         "overtime without the time of its entry; fill booked_at"),
    Rule("duties", "half_amended", _half("amended_by", "amended_at"),
         "an amendment without its time or without its author; fill both"),
    Rule("duties", "half_authorised", _half("authorised_by", "authorised_at"),
         "an authorisation without its time or without its author; fill both"),
    Rule("duties", "half_swapped", _half("swapped_with", "swapped_at"),
         "a swap without its time or without the colleague; fill both"),
    Rule("duties", "too_much_overtime",
         (col("overtime_minutes") - 1) * 60_000_000 > (col("booked_end") - col("booked_start")).dt.total_microseconds(),
         "more overtime than booked time; correct one of them"),
    Rule("duties", "long", col("planned_end") - col("planned_start") > timedelta(hours=48),
         "planned for more than 48 hours; check the end", "warning"),
    Rule("sickness", "order", col("last_day") < col("first_day"), "the absence ends before it starts; correct the dates"),
    Rule("expenses", "order", _instant("incurred_on") > col("submitted_at") + timedelta(days=1),
         "claimed before it was incurred; correct the dates"),
    Rule("expenses", "half_approved", _half("approved_by", "approved_at"),
         "an approval without its time or without its author; fill both"),
    Rule("lookups", "order", col("case_linked_at") < col("at"), "linked to a case before the search; correct the times"),
    Rule("lookups", "linked_to_nothing", _untimed("case_linked_at", "case_ref"),
         "a time of linking without a case; fill case_ref or empty the time"),
    Rule("complaints", "untimed", _untimed("outcome", "outcome_at"),
         "an outcome without the time of its entry; fill outcome_at"),
    Rule("complaints", "order", col("outcome_at") < col("received_at"),
         "an outcome before the complaint; correct the times"),
    Rule("conduct_findings", "order",
         (col("conduct_to") < col("conduct_from")) | (_instant("conduct_from") > col("found_at")),
         "the conduct ends before it starts or was found before it began; correct the dates"),
    Rule("declarations", "order", col("decided_at") < col("declared_at"),
         "decided before it was declared; correct the times"),
    Rule("declarations", "untimed", _untimed("decision", "decided_at"),
         "a decision without its time; fill decided_at"),
    Rule("confidential_reports", "untimed", _untimed("assessment", "assessed_at"),
         "an assessment without its time; fill assessed_at"),
    Rule("confidential_reports", "order", col("assessed_at") < _instant("received_on"),
         "assessed before it was received; correct the times"),
)  # fmt: skip

OVERLAPS = (
    Overlap(
        "postings",
        col("kind") == "home",
        "valid_from",
        col("valid_to").fill_null(date(9999, 12, 31)),
        "overlaps the person's next home posting; end one before the other starts",
    ),
    Overlap(
        "duties",
        col("duty_type").is_in(WORKED_TYPES),
        "planned_start",
        col("planned_end"),
        "overlaps the person's next duty; one of them is not worked",
        "warning",
    ),
)
