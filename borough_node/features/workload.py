"""What keeps honest people busy: aid to others, major incidents, secondments, nights, posts.

Nothing here is a sign of misconduct. These features are there so that a busy person is compared with busy people.
"""

from __future__ import annotations

from borough_node.features.indicator import FLAG, Indicator, Subject, counted, workload
from protocol.documents.catalogue import Scaled

_NOTE = "Workload and post; used to compare like with like, never as an indication of misconduct by itself."


def _post(name: str, condition: str, definition: str, reason: str) -> Indicator:
    return Indicator(
        name=name,
        sql=f"max(CAST({condition} AS INTEGER))",
        definition=definition,
        unit="0 or 1",
        transform=FLAG,
        direction=0,
        reason=reason,
    )


def _years(name: str, sql: str, definition: str, center: float, scale: float, reason: str, default: float) -> Indicator:
    return Indicator(
        name=name,
        sql=sql,
        definition=definition,
        unit="years",
        transform=Scaled(kind="scaled", center=center, scale=scale, limit=3.0),
        direction=0,
        reason=reason,
        default=default,
    )


DUTIES = Subject(
    name="duties",
    sensitivity="personal",
    legal_note=_NOTE,
    rows="SELECT d.*, coalesce(o.reach > d.booked_at, false) AS in_outage FROM duty_facts AS d"
    " ASOF LEFT JOIN duty_outages AS o ON o.started_at <= d.booked_at",
    indicators=(
        workload(
            "duties",
            counted("worked"),
            "Duties worked.",
            "duties",
            center=100.0,
            scale=20.0,
            reason="How often you worked was taken into account.",
        ),
        workload(
            "mutual_aid_duties",
            counted("duty_type = 'mutual_aid'"),
            "Duties of mutual aid to other forces.",
            "duties",
            center=0.0,
            scale=5.0,
            reason="Your mutual aid was taken into account.",
        ),
        workload(
            "major_incident_duties",
            counted("duty_type = 'major_incident'"),
            "Duties at major incidents.",
            "duties",
            center=0.0,
            scale=5.0,
            reason="Your work at major incidents was taken into account.",
        ),
        workload(
            "rest_days_worked",
            counted("duty_type = 'rest_day_worked'"),
            "Rest days worked.",
            "duties",
            center=0.0,
            scale=5.0,
            reason="Rest days that you worked were taken into account.",
        ),
        workload(
            "night_duties",
            counted("worked AND night"),
            "Duties with three hours or more between 20:00 and 06:00.",
            "duties",
            center=30.0,
            scale=30.0,
            reason="Your night duties were taken into account.",
        ),
        workload(
            "duties_booked_in_outage",
            counted("worked AND in_outage"),
            "Duties booked while the duty system was out.",
            "duties",
            center=0.0,
            scale=5.0,
            reason="Outages of the duty system were taken into account.",
        ),
        workload(
            "duties_unwatched",
            counted("worked AND booked AND NOT watched"),
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
    rows="SELECT m.*, cutoff.day FROM members AS m CROSS JOIN cutoff",
    indicators=(
        _post(
            "senior_grade",
            "senior",
            "1 for chief inspectors to chief superintendents.",
            "Your grade was taken into account.",
        ),
        _post(
            "supervisor",
            "rank IN ('sergeant', 'inspector')",
            "1 for sergeants and inspectors.",
            "Your rank was taken into account.",
        ),
        _post(
            "rotating_shifts",
            "shift_pattern IN ('rotating', 'nights')",
            "1 for rotating shifts and nights.",
            "Your shift pattern was taken into account.",
        ),
        _post(
            "public_protection",
            "role = 'public_protection'",
            "1 for posts that protect vulnerable people.",
            "That your post protects vulnerable people was taken into account.",
        ),
        _post(
            "searching_post",
            "role IN ('investigation', 'intelligence', 'control_room', 'custody')",
            "1 for posts that search a lot.",
            "That your post needs many searches was taken into account.",
        ),
        _years(
            "tenure_years",
            "max(date_diff('day', service_start, day)) / 365.25",
            "Years of service.",
            12.0,
            8.0,
            "Length of service was taken into account.",
            12.0,
        ),
        _years(
            "years_in_post",
            "max(date_diff('day', valid_from, day)) / 365.25",
            "Years in the present posting.",
            4.0,
            4.0,
            "Time in post was taken into account.",
            4.0,
        ),
        _years(
            "vetting_age_years",
            "max(date_diff('day', vetting_renewed_on, day)) / 365.25",
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
    rows="SELECT p.person, date_diff('day', greatest(valid_from, cutoff.start), least(coalesce(valid_to, day), day)) AS days"
    " FROM postings_known AS p CROSS JOIN cutoff WHERE p.kind = 'secondment' AND valid_from < day"
    " AND coalesce(valid_to, day) > cutoff.start",
    indicators=(
        workload(
            "seconded_days",
            "sum(days)",
            "Days of secondment within the window.",
            "days",
            center=0.0,
            scale=60.0,
            reason="Your secondments were taken into account.",
        ),
    ),
)

SUBJECTS = (DUTIES, POST, SECONDMENTS)
