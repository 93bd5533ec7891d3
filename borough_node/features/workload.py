"""What keeps honest people busy: aid to others, major incidents, secondments, nights, posts.

Nothing here is a sign of misconduct. These features are there so that a busy person is compared with busy people.
"""

from __future__ import annotations

import polars as pl
from polars import col

from borough_node.features.events import Facts
from borough_node.features.indicator import FLAG, Indicator, Subject, counted, workload
from protocol.documents.catalogue import Scaled

_NOTE = "Workload and post; used to compare like with like, never as an indication of misconduct by itself."


def _post(name: str, condition: pl.Expr, definition: str, reason: str) -> Indicator:
    return Indicator(
        name=name,
        value=condition.max(),
        definition=definition,
        unit="0 or 1",
        transform=FLAG,
        direction=0,
        reason=reason,
    )


def _years(
    name: str, since: str, definition: str, center: float, scale: float, reason: str, default: float
) -> Indicator:
    return Indicator(
        name=name,
        value=(col("day") - col(since)).dt.total_days().max() / 365.25,
        definition=definition,
        unit="years",
        transform=Scaled(kind="scaled", center=center, scale=scale, limit=3.0),
        direction=0,
        reason=reason,
        default=default,
    )


def _seconded(facts: Facts) -> pl.LazyFrame:
    start, day = pl.lit(facts.known.start), pl.lit(facts.known.day)
    away = (
        facts.known.tables["postings"].filter(col("kind") == "secondment").with_columns(col("valid_to").fill_null(day))
    )
    within = away.filter(col("valid_from") < day, col("valid_to") > start)
    span = pl.min_horizontal(col("valid_to"), day) - pl.max_horizontal(col("valid_from"), start)
    return within.select("person", days=span.dt.total_days())


DUTIES = Subject(
    name="duties",
    sensitivity="personal",
    legal_note=_NOTE,
    rows=lambda facts: facts.duties.lazy(),
    indicators=(
        workload(
            "duties",
            counted(col("worked")),
            "Duties worked.",
            "duties",
            center=100.0,
            scale=20.0,
            reason="How often you worked was taken into account.",
        ),
        workload(
            "mutual_aid_duties",
            counted(col("duty_type") == "mutual_aid"),
            "Duties of mutual aid to other forces.",
            "duties",
            center=0.0,
            scale=5.0,
            reason="Your mutual aid was taken into account.",
        ),
        workload(
            "major_incident_duties",
            counted(col("duty_type") == "major_incident"),
            "Duties at major incidents.",
            "duties",
            center=0.0,
            scale=5.0,
            reason="Your work at major incidents was taken into account.",
        ),
        workload(
            "rest_days_worked",
            counted(col("duty_type") == "rest_day_worked"),
            "Rest days worked.",
            "duties",
            center=0.0,
            scale=5.0,
            reason="Rest days that you worked were taken into account.",
        ),
        workload(
            "night_duties",
            counted(col("worked") & col("night")),
            "Duties with three hours or more between 20:00 and 06:00.",
            "duties",
            center=30.0,
            scale=30.0,
            reason="Your night duties were taken into account.",
        ),
        workload(
            "duties_booked_in_outage",
            counted(col("worked") & col("in_outage")),
            "Duties booked while the duty system was out.",
            "duties",
            center=0.0,
            scale=5.0,
            reason="Outages of the duty system were taken into account.",
        ),
        workload(
            "duties_unwatched",
            counted(col("worked") & col("booked") & ~col("watched")),
            "Booked duties that no badge could show.",
            "duties",
            center=5.0,
            scale=20.0,
            reason="Duties at places without badge readers were taken into account.",
        ),
    ),
)

POST = Subject(
    name="post",
    sensitivity="personal",
    legal_note=_NOTE,
    rows=lambda facts: facts.members.lazy().with_columns(day=pl.lit(facts.known.day)),
    indicators=(
        _post(
            "senior_grade",
            col("senior"),
            "1 for chief inspectors to chief superintendents.",
            "Your grade was taken into account.",
        ),
        _post(
            "supervisor",
            col("rank").is_in(("sergeant", "inspector")),
            "1 for sergeants and inspectors.",
            "Your rank was taken into account.",
        ),
        _post(
            "rotating_shifts",
            col("shift_pattern").is_in(("rotating", "nights")),
            "1 for rotating shifts and nights.",
            "Your shift pattern was taken into account.",
        ),
        _post(
            "public_protection",
            col("role") == "public_protection",
            "1 for posts that protect vulnerable people.",
            "That your post protects vulnerable people was taken into account.",
        ),
        _post(
            "searching_post",
            col("role").is_in(("investigation", "intelligence", "control_room", "custody")),
            "1 for posts that search a lot.",
            "That your post needs many searches was taken into account.",
        ),
        _years(
            "tenure_years",
            "service_start",
            "Years of service.",
            12.0,
            8.0,
            "Length of service was taken into account.",
            12.0,
        ),
        _years(
            "years_in_post",
            "valid_from",
            "Years in the present posting.",
            4.0,
            4.0,
            "Time in post was taken into account.",
            4.0,
        ),
        _years(
            "vetting_age_years",
            "vetting_renewed_on",
            "Years since vetting was last renewed; unknown counts as five.",
            5.0,
            3.0,
            "The age of your vetting was taken into account.",
            5.0,
        ),
    ),
)

SECONDMENTS = Subject(
    name="secondments",
    sensitivity="personal",
    legal_note=_NOTE,
    rows=_seconded,
    indicators=(
        workload(
            "seconded_days",
            col("days").sum(),
            "Days of secondment within the window.",
            "days",
            center=0.0,
            scale=60.0,
            reason="Your secondments were taken into account.",
        ),
    ),
)

SUBJECTS = (DUTIES, POST, SECONDMENTS)
