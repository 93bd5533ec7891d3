"""Attendance of senior grades under the hybrid policy: what is claimed, against what badges show.

Leave is left out of working days, duty elsewhere too; a site without readers, or in an outage, proves nothing.
"""

from __future__ import annotations

from datetime import timedelta

from polars import col

from borough_node.features.indicator import COUNT, SHARE, Indicator, Subject, counted
from borough_node.sources.contract.column import DTYPES

_THERE = col("office") & ~col("on_leave")
_WORKING = col("claimed_location").is_in(("office", "home")) & ~col("on_leave")
_UNBADGED = _THERE & col("watched") & ~col("badged")
_SHOWN = _THERE & (col("badged") | ~col("watched"))
_DAY = col("claim_date").cast(DTYPES["time"])

ATTENDANCE = Subject(
    name="attendance",
    sensitivity="personal",
    legal_note="Attendance claims and badge logs of people under a written attendance policy. Badge logs protect premises; "
    "comparing them with claims needs its own recorded purpose and a notice to staff.",
    rows=lambda facts: facts.claims.lazy(),
    indicators=(
        Indicator(
            name="unbadged_office_claims",
            value=counted(_UNBADGED),
            definition="Days claimed in an office whose every door has a reader, without any badge anywhere that day; "
            "leave and outages excused.",
            unit="days",
            reason="On days that you claimed in the office no badge shows you there.",
        ),
        Indicator(
            name="unbadged_office_share",
            value=counted(_UNBADGED) / (counted(_THERE & col("watched")) + 5.0),
            definition="Share of the claimed office days that badges could show and do not, five days added.",
            unit="share",
            transform=SHARE,
            reason="A large share of your claimed office days shows no badge.",
        ),
        Indicator(
            name="office_shortfall",
            value=(col("policy_office_share").max() - counted(_SHOWN) / (counted(_WORKING) + 5.0)).clip(
                lower_bound=0.0
            ),
            definition="How far the shown share of office days lies below the policy's; days that badges could not show "
            "count as shown, five working days are added.",
            unit="share",
            transform=SHARE,
            reason="Your shown office days lie below what the policy asks.",
        ),
        Indicator(
            name="claimed_office_share",
            value=counted(_THERE) / (counted(_WORKING) + 5.0),
            definition="Share of working days claimed in the office, five days added.",
            unit="share",
            transform=SHARE,
            direction=0,
            reason="The share of office days that you claimed was taken into account.",
        ),
        Indicator(
            name="unbadged_edge_days",
            value=counted(_UNBADGED & col("edge_of_week")),
            definition="Of the unbadged office days, Mondays and Fridays.",
            unit="days",
            reason="Claimed office days without a badge fall on Mondays and Fridays.",
        ),
        Indicator(
            name="short_office_days",
            value=counted(_THERE & col("watched") & col("badged") & (col("badge_hours") < 4)),
            definition="Claimed office days with less than four hours between the first and the last badge.",
            unit="days",
            transform=COUNT,
            reason="On days that you claimed in the office badges show only a few hours.",
        ),
        Indicator(
            name="office_claims_on_leave",
            value=counted(col("office") & col("on_leave")),
            definition="Office days claimed on days of annual leave without a duty.",
            unit="days",
            reason="You claimed office days on days of leave.",
        ),
        Indicator(
            name="attendance_claims_late",
            value=counted(col("office") & (col("entered_at") > _DAY + timedelta(days=7))),
            definition="Office days claimed more than a week afterwards.",
            unit="days",
            reason="You claimed office days more than a week afterwards.",
        ),
        Indicator(
            name="attendance_claims_amended",
            value=counted(col("amended_at").is_not_null()),
            definition="Claims changed after they were entered.",
            unit="days",
            direction=0,
            reason="Changes of your attendance claims were taken into account.",
        ),
        Indicator(
            name="attendance_claims_by_others",
            value=counted(col("entered_by") != col("staff_no")),
            definition="Claims that somebody else entered.",
            unit="days",
            direction=0,
            reason="Claims that others entered for you were taken into account.",
        ),
        Indicator(
            name="office_days_unwatched",
            value=counted(col("office") & ~col("watched")),
            definition="Claimed office days that no badge could show: a site without readers, an outage.",
            unit="days",
            direction=0,
            reason="Office days at places without badge readers were taken into account.",
        ),
        Indicator(
            name="home_days",
            value=counted(col("claimed_location") == "home"),
            definition="Days claimed at home.",
            unit="days",
            direction=0,
            reason="The number of your days at home was taken into account.",
        ),
        Indicator(
            name="off_site_duty_days",
            value=counted(col("claimed_location") == "off_site_duty"),
            definition="Days claimed on duty elsewhere.",
            unit="days",
            direction=0,
            reason="Your days of duty elsewhere were taken into account.",
        ),
    ),
)

SUBJECTS = (ATTENDANCE,)
