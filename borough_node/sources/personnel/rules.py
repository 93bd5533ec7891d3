"""What must be true within one row, or among the rows, of a table, beyond the types: one line a rule.

A condition is SQL that holds for an offending row. A rule that may have an honest explanation is a warning.
"""

from __future__ import annotations

from dataclasses import dataclass

from borough_node.sources.contract.work import WORKED_TYPES
from borough_node.sources.file import literal
from borough_node.sources.personnel.staging import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule about the rows of a table."""

    table: str
    name: str
    condition: str
    advice: str
    severity: Severity = "error"
    column: str | None = None


ROW_RULES = (
    Rule("staff", "order", "service_end <= service_start", "service ends before it starts; correct the dates"),
    Rule("staff", "untimed", "service_end IS NOT NULL AND service_end_recorded_at IS NULL",
         "an end of service without the time of its entry; fill service_end_recorded_at"),
    Rule("postings", "order", "valid_to <= valid_from", "the posting ends before it starts; correct the dates"),
    Rule("postings", "untimed", "valid_to IS NOT NULL AND end_recorded_at IS NULL",
         "an end without the time of its entry; fill end_recorded_at"),
    Rule("postings", "late_transfer",
         "kind = 'home' AND year(recorded_at) * 2 + CAST(month(recorded_at) > 6 AS INTEGER)"
         " > year(valid_from) * 2 + CAST(month(valid_from) > 6 AS INTEGER)",
         "entered after a cutoff before which it began: the person may count in two boroughs there;"
         " enter transfers on the day",
         "warning"),
    Rule("outages", "order", "ended_at <= started_at", "the outage ends before it starts; correct the times"),
    Rule("duties", "order", "planned_end <= planned_start OR booked_end <= booked_start",
         "the duty ends before it starts; correct the times, or the time zone if it spans a clock change"),
    Rule("duties", "untimed", "(booked_start IS NOT NULL OR booked_end IS NOT NULL) AND booked_at IS NULL",
         "booked times without the time of their entry; fill booked_at"),
    Rule("duties", "half_booked", "(booked_start IS NULL) <> (booked_end IS NULL)",
         "only one of the booked times; fill both or none"),
    Rule("duties", "untimed_overtime", "overtime_minutes > 0 AND booked_at IS NULL",
         "overtime without the time of its entry; fill booked_at"),
    Rule("duties", "half_amended", "(amended_by IS NULL) <> (amended_at IS NULL)",
         "an amendment without its time or without its author; fill both"),
    Rule("duties", "half_authorised", "(authorised_by IS NULL) <> (authorised_at IS NULL)",
         "an authorisation without its time or without its author; fill both"),
    Rule("duties", "half_swapped", "(swapped_with IS NULL) <> (swapped_at IS NULL)",
         "a swap without its time or without the colleague; fill both"),
    Rule("duties", "too_much_overtime", "overtime_minutes > epoch(booked_end - booked_start) / 60 + 1",
         "more overtime than booked time; correct one of them"),
    Rule("duties", "long", "planned_end > planned_start + INTERVAL 48 HOUR",
         "planned for more than 48 hours; check the end", "warning"),
    Rule("sickness", "order", "last_day < first_day", "the absence ends before it starts; correct the dates"),
    Rule("expenses", "order", "CAST(incurred_on AS TIMESTAMP) > submitted_at + INTERVAL 1 DAY",
         "claimed before it was incurred; correct the dates"),
    Rule("expenses", "half_approved", "(approved_by IS NULL) <> (approved_at IS NULL)",
         "an approval without its time or without its author; fill both"),
    Rule("lookups", "order", "case_linked_at < \"at\"", "linked to a case before the search; correct the times"),
    Rule("lookups", "linked_to_nothing", "case_linked_at IS NOT NULL AND case_ref IS NULL",
         "a time of linking without a case; fill case_ref or empty the time"),
    Rule("complaints", "untimed", "outcome IS NOT NULL AND outcome_at IS NULL",
         "an outcome without the time of its entry; fill outcome_at"),
    Rule("complaints", "order", "outcome_at < received_at", "an outcome before the complaint; correct the times"),
    Rule("conduct_findings", "order", "conduct_to < conduct_from OR CAST(conduct_from AS TIMESTAMP) > found_at",
         "the conduct ends before it starts or was found before it began; correct the dates"),
    Rule("declarations", "order", "decided_at < declared_at", "decided before it was declared; correct the times"),
    Rule("declarations", "untimed", "decision IS NOT NULL AND decided_at IS NULL",
         "a decision without its time; fill decided_at"),
    Rule("confidential_reports", "untimed", "assessment IS NOT NULL AND assessed_at IS NULL",
         "an assessment without its time; fill assessed_at"),
    Rule("confidential_reports", "order", "assessed_at < CAST(received_on AS TIMESTAMP)",
         "assessed before it was received; correct the times"),
)  # fmt: skip

_WORKED = ", ".join(literal(kind) for kind in WORKED_TYPES)

OVERLAPS = (
    Rule(
        "postings",
        "overlap",
        "SELECT posting_id, lead(valid_from) OVER (PARTITION BY staff_no ORDER BY valid_from)"
        " < coalesce(valid_to, DATE '9999-12-31') AS collides FROM postings WHERE kind = 'home'",
        "overlaps the person's next home posting; end one before the other starts",
    ),
    Rule(
        "duties",
        "overlap",
        "SELECT duty_id, lead(planned_start) OVER (PARTITION BY person ORDER BY planned_start) < planned_end AS collides"
        f" FROM duties WHERE duty_type IN ({_WORKED}) AND person IS NOT NULL",
        "overlaps the person's next duty; one of them is not worked",
        "warning",
    ),
)
"""Here the condition is a query with the key and the column ``collides``."""
