"""Facts about single duties, searches and days that several subjects share, as of a cutoff.

Rules this module keeps: where a badge could not have been read (no reader, an outage, nothing recorded yet), its absence
proves nothing. Sickness hides behind `other_absence`; no indicator asks who was absent for that.
"""

from __future__ import annotations

from borough_node.sources.contract.cutoffs import date_of, window_start
from borough_node.sources.contract.work import WORKED_TYPES
from borough_node.sources.file import literal
from borough_node.sources.personnel.asof import local_time
from borough_node.sources.personnel.staging import Staged

WORKED = ", ".join(map(literal, WORKED_TYPES))
LEAVE = "'annual_leave', 'rest_day'"

MACROS = (
    # Minutes of [s, e) within [a, b); everything in minutes since 1970, local time.
    "CREATE OR REPLACE TEMP MACRO within(s, e, a, b) AS greatest(0, least(e, b) - greatest(s, a))",
    # Nights are 20:00 to 06:00 local; a duty begins on day d, and ends on it or on one of the two days after.
    "CREATE OR REPLACE TEMP MACRO night_minutes(s, e) AS within(s, e, s // 1440 * 1440 - 240, s // 1440 * 1440 + 360)"
    " + within(s, e, s // 1440 * 1440 + 1200, s // 1440 * 1440 + 1800)"
    " + within(s, e, s // 1440 * 1440 + 2640, s // 1440 * 1440 + 3240)",
    # The first of January 1970 was a Thursday: day d is (d + 3) mod 7 days after a Monday.
    "CREATE OR REPLACE TEMP MACRO weekend_minutes(s, e) AS within(s, e,"
    " (s // 1440 - (s // 1440 + 3) % 7 + 5) * 1440, (s // 1440 - (s // 1440 + 3) % 7 + 7) * 1440)",
    "CREATE OR REPLACE TEMP MACRO premium_minutes(s, e) AS night_minutes(s, e) + weekend_minutes(s, e)",
)


def create_facts(staged: Staged, cutoff: int) -> None:
    """Make, or make anew, ``duty_facts``, ``duty_presence``, ``leave_days``, ``lookup_facts`` and ``claim_facts``."""
    for macro in MACROS:
        staged.run(macro)
    sees_badges = not {"access_events", "sites"} & set(staged.settings.absent)
    zone = staged.settings.time_zone

    def local(instant: str) -> str:
        return local_time(instant, zone=zone, cutoff=cutoff)

    for name, query in (
        ("badge_outages", _badge_outages(cutoff)),
        ("lookup_outages", _outages("lookups", cutoff)),
        ("duty_outages", _outages("duty", cutoff)),
        ("duty_facts", _duty_facts(local("planned_start"), sees_badges=sees_badges)),
        ("duty_presence", _DUTY_PRESENCE),
        ("leave_days", _leave_days(local("planned_start"), local("planned_end"))),
        ("lookup_facts", _LOOKUP_FACTS),
        ("claim_facts", _claim_facts(local("a.at"), zone, cutoff, sees_badges=sees_badges)),
    ):
        staged.run(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")


def minutes(local: str) -> str:
    """Return SQL of the whole minutes since 1970 of a local time."""
    return f"(epoch_us({local}) // 60000000)"


def _outages(system: str, cutoff: int) -> str:
    """Outages in order, each with the end of the longest begun so far: one look back tells whether one runs."""
    end = f"coalesce(ended_at, TIMESTAMP '{date_of(cutoff)}')"
    return (
        f"SELECT started_at, max({end}) OVER (ORDER BY started_at) AS reach"
        f" FROM outages_known WHERE system = '{system}' AND {end} > TIMESTAMP '{window_start(cutoff)}'"
    )


def _badge_outages(cutoff: int) -> str:
    end = f"coalesce(o.ended_at, TIMESTAMP '{date_of(cutoff)}')"
    return (
        f"SELECT s.site, o.started_at, max({end}) OVER (PARTITION BY s.site ORDER BY o.started_at)"
        " AS reach FROM outages_known AS o JOIN sites_known AS s"
        f" ON o.site IS NULL OR o.site = s.site WHERE o.system = 'badge' AND {end} > TIMESTAMP '{window_start(cutoff)}'"
    )


def _duty_facts(local_start: str, *, sees_badges: bool) -> str:
    """One row per duty in the window: what was booked, and whether a badge shows it.

    Names that are only compared become truth values here, so that joins carry few and narrow columns.
    """
    start, end = "coalesce(booked_start, planned_start)", "coalesce(booked_end, planned_end)"
    shift = minutes(local_start)
    duties = (
        f"SELECT person, duty_type, site, {start} AS start_at, {end} AS end_at, booked_at, booked_end IS NOT NULL AS booked,"
        f" duty_type IN ({WORKED}) AS worked, coalesce(overtime_minutes, 0) AS overtime, amended_minutes,"
        f" amended_by = staff_no AND amended_at > {end} AS own_amendment, amended_by <> staff_no AS others_amendment,"
        f" amended_at > {end} + INTERVAL 7 DAY AS amended_late,"
        f" authorised_by IS NOT NULL AS authorised, authorised_by = staff_no AS self_authorised,"
        f" authorised_at > {end} + INTERVAL 3 DAY AS authorised_late,"
        " swapped_at IS NOT NULL AS swapped, swapped_at > planned_start - INTERVAL 1 DAY AS swapped_shortly,"
        f" {shift} AS local_start, {shift} + epoch_us(planned_end - planned_start) // 60000000 AS local_end,"
        f" {shift} + epoch_us({start} - planned_start) // 60000000 AS local_booked_start,"
        f" {shift} + epoch_us({end} - planned_start) // 60000000 AS local_booked_end"
        " FROM duties_known"
    )
    columns = (
        "d.* EXCLUDE (site, local_start, local_end, local_booked_start, local_booked_end),"
        " night_minutes(d.local_booked_start, d.local_booked_end) >= 180 AS night,"
        " premium_minutes(d.local_booked_start, d.local_booked_end) - premium_minutes(d.local_start, d.local_end)"
        " AS premium_gain"
    )
    if not sees_badges:
        return f"SELECT {columns}, false AS watched FROM ({duties}) AS d"
    # A badge is evidence only where every door has a reader, none was out, and readers had begun to record.
    return (
        f"SELECT {columns},"
        " d.worked AND d.booked AND coalesce(s.badge_readers, false) AND NOT EXISTS (SELECT 1 FROM badge_outages AS o"
        " WHERE o.site = d.site AND o.started_at < d.end_at AND o.reach > d.start_at)"
        " AND coalesce(d.start_at >= (SELECT min(a.at) FROM access_events_known AS a), false) AS watched"
        f" FROM ({duties}) AS d LEFT JOIN sites_known AS s ON s.site = d.site"
    )


_DUTY_PRESENCE = (
    # The last badge up to two hours after the end. Narrow rows: this join sorts both sides with all they carry.
    "SELECT f.* EXCLUDE (start_at, end_at, latest), coalesce(a.at >= f.start_at - INTERVAL 2 HOUR, false) AS present,"
    " coalesce(a.at >= f.end_at - f.overtime * INTERVAL 30 SECOND, false) AS present_overtime,"
    " coalesce(a.at >= f.end_at - f.amended_minutes * INTERVAL 30 SECOND, false) AS present_gain"
    " FROM (SELECT person, start_at, end_at, overtime, own_amendment, amended_minutes, self_authorised,"
    " end_at + INTERVAL 2 HOUR AS latest FROM duty_facts WHERE watched)"
    " AS f ASOF LEFT JOIN (SELECT person, e.at FROM access_events_known AS e) AS a"
    " ON a.person = f.person AND a.at <= f.latest"
)
"""One row per duty that a badge could show: whether one does."""


def _leave_days(local_start: str, local_end: str) -> str:
    """One row per person and whole day of leave or rest on which no worked duty begins."""
    days = (
        f"SELECT DISTINCT person, CAST(unnest(generate_series(date_trunc('day', {local_start}),"
        f" date_trunc('day', {local_end} - INTERVAL 1 SECOND), INTERVAL 1 DAY)) AS DATE) AS day, {{kind}}"
        " FROM duties_known WHERE {where}"
    )
    off = days.format(kind="duty_type = 'annual_leave' AS annual", where=f"duty_type IN ({LEAVE})")
    worked = f"SELECT person, CAST({local_start} AS DATE) AS day FROM duties_known WHERE duty_type IN ({WORKED})"
    return (
        f"SELECT person, day, bool_or(annual) AS annual FROM ({off}) AS off"
        f" ANTI JOIN ({worked}) AS worked USING (person, day) GROUP BY person, day"
    )


_LOOKUP_FACTS = (
    # Whether a duty runs at the search, an hour around it allowed: the end of the longest duty begun so far.
    "WITH searches AS (SELECT row_number() OVER () AS number, person, l.at, subject_ref, subject_vulnerable,"
    " case_linked_at, case_ref IS NULL AS no_case FROM lookups_known AS l),"
    " on_duty AS (SELECT l.number FROM (SELECT number, person, s.at FROM searches AS s) AS l"
    " ASOF JOIN (SELECT person, start_at - INTERVAL 1 HOUR AS begins, max(end_at + INTERVAL 1 HOUR)"
    " OVER (PARTITION BY person ORDER BY start_at) AS reach FROM duty_facts WHERE worked) AS d"
    " ON d.person = l.person AND d.begins <= l.at WHERE d.reach >= l.at),"
    " excused AS (SELECT l.number FROM (SELECT number, s.at FROM searches AS s WHERE no_case) AS l"
    " ASOF JOIN lookup_outages AS o ON o.started_at <= l.at WHERE o.reach > l.at)"
    " SELECT s.* EXCLUDE (number, no_case), on_duty.number IS NULL AS off_duty,"
    " no_case AND excused.number IS NULL AS caseless"
    " FROM searches AS s LEFT JOIN on_duty USING (number) LEFT JOIN excused USING (number)"
)
"""One row per search: without a case (outages of the linking excused), off duty."""


def _claim_facts(local_at: str, zone: str, cutoff: int, *, sees_badges: bool) -> str:
    """One row per attendance claim: what a badge shows on that day."""
    day_end = local_to_utc("c.claim_date + INTERVAL 20 HOUR", zone, cutoff)
    day_start = local_to_utc("c.claim_date + INTERVAL 6 HOUR", zone, cutoff)
    columns = (
        "c.*, c.claimed_location = 'office' AS office, coalesce(l.annual, false) AS on_leave,"
        " isodow(c.claim_date) IN (1, 5) AS edge_of_week"
    )
    leave = "LEFT JOIN leave_days AS l ON l.person = c.person AND l.day = c.claim_date"
    if not sees_badges:
        return (
            f"SELECT {columns}, false AS watched, false AS badged, 0 AS badge_hours"
            f" FROM attendance_claims_known AS c {leave}"
        )
    badges = (
        f"SELECT a.person, CAST({local_at} AS DATE) AS day, epoch(max(a.at) - min(a.at)) / 3600 AS hours"
        " FROM access_events_known AS a SEMI JOIN attendance_claims_known AS c ON c.person = a.person"
        " GROUP BY ALL"
    )
    return (
        f"SELECT {columns}, coalesce(s.badge_readers, false) AND NOT coalesce(o.reach > {day_start}, false)"
        f" AND coalesce({day_start} >= (SELECT min(a.at) FROM access_events_known AS a), false) AS watched,"
        " b.person IS NOT NULL AS badged, coalesce(b.hours, 0) AS badge_hours"
        f" FROM (SELECT *, {day_end.replace('c.', '')} AS day_end FROM attendance_claims_known) AS c {leave}"
        f" LEFT JOIN ({badges}) AS b ON b.person = c.person AND b.day = c.claim_date"
        " LEFT JOIN sites_known AS s ON s.site = c.site"
        " ASOF LEFT JOIN badge_outages AS o ON o.site = c.site AND o.started_at < c.day_end"
    )


def local_to_utc(local: str, zone: str, cutoff: int) -> str:
    """Return SQL of the instant of a local time by day; no clock changes between six in the morning and midnight."""
    as_if = f"({local})"
    return f"({as_if} - ({local_time(as_if, zone=zone, cutoff=cutoff)} - {as_if}))"
