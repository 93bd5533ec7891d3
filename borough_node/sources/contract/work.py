"""When people worked and were there: duties, access events, attendance claims, sickness."""

from __future__ import annotations

from borough_node.sources.contract.column import Column, Table

DUTY_TYPES = (
    "shift",
    "office_day",
    "court",
    "training",
    "mutual_aid",
    "major_incident",
    "rest_day_worked",
    "rest_day",
    "annual_leave",
    "other_absence",
)

WORKED_TYPES = ("shift", "office_day", "court", "training", "mutual_aid", "major_incident", "rest_day_worked")
"""Duties that are work; on the others a claim or a search is out of duty."""

DUTIES = Table(
    name="duties",
    meaning="One row per person and planned duty, leave included. Planned times are those first published; booked "
    "times are what pay goes by. A swap moves the booked times away from the planned ones.",
    key=("duty_id",),
    recorded="created_at",
    dated="planned_start",
    basis="Working time and pay (UK GDPR art. 6(1)(c), (e)); reuse for standards needs its own recorded purpose.",
    retention="roster",
    required=True,
    windowed=True,
    columns=(
        Column(name="duty_id", kind="text", meaning="The row.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="Whose duty.", refers="staff"),
        Column(
            name="duty_type",
            kind="text",
            meaning="Kind of duty. Sickness is `other_absence` here, like any other absence: why somebody was absent "
            "stands in `sickness` only.",
            allowed=DUTY_TYPES,
        ),
        Column(
            name="operation",
            kind="text",
            meaning="Name of the mutual aid or major incident; empty: none.",
            optional=True,
            sensitivity="operational",
        ),
        Column(
            name="site",
            kind="text",
            meaning="Where it starts and ends; empty: elsewhere.",
            optional=True,
            refers="sites",
        ),
        Column(name="planned_start", kind="time", meaning="Planned start.", unit="instant"),
        Column(name="planned_end", kind="time", meaning="Planned end.", unit="instant"),
        Column(
            name="booked_start",
            kind="time",
            meaning="Start as booked; empty: not booked yet, or not worked.",
            unit="instant",
            optional=True,
            known_from=("booked_at", "amended_at"),
        ),
        Column(
            name="booked_end",
            kind="time",
            meaning="End as booked.",
            unit="instant",
            optional=True,
            known_from=("booked_at", "amended_at"),
        ),
        Column(
            name="overtime_minutes",
            kind="whole",
            meaning="Overtime within the booked time, paid or as time off; it is the last part of the booked time. "
            "Empty or 0: none.",
            unit="minutes",
            low=0,
            high=1440,
            optional=True,
            known_from=("booked_at", "amended_at"),
        ),
        Column(name="created_at", kind="time", meaning="When the duty was entered into the plan.", unit="instant"),
        Column(name="created_by", kind="text", meaning="Who entered it.", refers="staff", outsiders=True),
        Column(
            name="booked_at",
            kind="time",
            meaning="When the booked times were entered.",
            unit="instant",
            optional=True,
        ),
        Column(
            name="booked_by",
            kind="text",
            meaning="Who entered the booked times.",
            optional=True,
            known_from=("booked_at",),
            refers="staff",
            outsiders=True,
        ),
        Column(
            name="amended_at",
            kind="time",
            meaning="Last change of the booked times or overtime after they were first entered; empty: never.",
            unit="instant",
            optional=True,
        ),
        Column(
            name="amended_by",
            kind="text",
            meaning="Who made that change.",
            optional=True,
            known_from=("amended_at",),
            refers="staff",
            outsiders=True,
        ),
        Column(
            name="amended_minutes",
            kind="whole",
            meaning="By how much that change lengthened (+) or shortened (-) the paid time.",
            unit="minutes",
            low=-1440,
            high=1440,
            optional=True,
            known_from=("amended_at",),
        ),
        Column(
            name="authorised_at",
            kind="time",
            meaning="When the overtime was authorised; empty: not.",
            unit="instant",
            optional=True,
        ),
        Column(
            name="authorised_by",
            kind="text",
            meaning="Who authorised it.",
            optional=True,
            known_from=("authorised_at",),
            refers="staff",
            outsiders=True,
        ),
        Column(
            name="swapped_at",
            kind="time",
            meaning="When the duty was swapped with a colleague's; empty: not.",
            unit="instant",
            optional=True,
        ),
        Column(
            name="swapped_with",
            kind="text",
            meaning="The colleague.",
            optional=True,
            known_from=("swapped_at",),
            refers="staff",
            outsiders=True,
        ),
    ),
)

ACCESS_EVENTS = Table(
    name="access_events",
    meaning="One row per badge read at a door. The reader's time is also the time of recording.",
    key=("staff_no", "at", "reader"),
    recorded="at",
    dated="at",
    basis="Security of premises (UK GDPR art. 6(1)(e)); reuse against the people it protects needs its own purpose.",
    retention="access",
    windowed=True,
    columns=(
        Column(name="staff_no", kind="text", meaning="Whose badge.", refers="staff"),
        Column(name="at", kind="time", meaning="When it was read.", unit="instant"),
        Column(name="site", kind="text", meaning="Building.", refers="sites"),
        Column(name="reader", kind="text", meaning="The reader within the building.", sensitivity="operational"),
        Column(name="direction", kind="text", meaning="Which way.", allowed=("in", "out", "unknown")),
    ),
)

ATTENDANCE_CLAIMS = Table(
    name="attendance_claims",
    meaning="Where a person under an attendance policy says to have worked, one row per person and day.",
    key=("staff_no", "claim_date"),
    recorded="entered_at",
    dated="claim_date",
    basis="Attendance policy (UK GDPR art. 6(1)(e)).",
    retention="roster",
    windowed=True,
    columns=(
        Column(name="staff_no", kind="text", meaning="The person.", refers="staff"),
        Column(name="claim_date", kind="date", meaning="The day claimed for.", unit="day"),
        Column(
            name="claimed_location",
            kind="text",
            meaning="Where: the office, home, on duty elsewhere (court, partner, operation), or not working.",
            allowed=("office", "home", "off_site_duty", "not_working"),
            known_from=("amended_at",),
        ),
        Column(
            name="site",
            kind="text",
            meaning="Building, for the office.",
            optional=True,
            known_from=("amended_at",),
            refers="sites",
        ),
        Column(
            name="policy_office_share",
            kind="number",
            meaning="Share of working days that the policy of the grade wanted in the office on that day.",
            unit="share",
            low=0.0,
            high=1.0,
            sensitivity="operational",
        ),
        Column(name="entered_at", kind="time", meaning="When the claim was entered.", unit="instant"),
        Column(name="entered_by", kind="text", meaning="Who entered it.", refers="staff", outsiders=True),
        Column(
            name="amended_at",
            kind="time",
            meaning="Last change of the location; empty: never.",
            unit="instant",
            optional=True,
        ),
    ),
)

SICKNESS = Table(
    name="sickness",
    meaning="Absences for sickness, without any reason or diagnosis. No default feature reads this table: treating "
    "people by their sickness discriminates by disability and pregnancy (Equality Act 2010 ss.15, 18, 19), so using "
    "it needs a catalogue and a plan that the custodians' quorum approves.",
    key=("absence_id",),
    recorded="recorded_at",
    dated="first_day",
    basis="Sick pay and duty of care (UK GDPR art. 9(2)(b)); no basis for standards without a plan that says so.",
    retention="health",
    windowed=True,
    columns=(
        Column(name="absence_id", kind="text", meaning="The row.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="The person.", refers="staff", sensitivity="special"),
        Column(name="first_day", kind="date", meaning="First day.", unit="day", sensitivity="special"),
        Column(
            name="last_day",
            kind="date",
            meaning="Last day; empty: open.",
            unit="day",
            optional=True,
            known_from=("closed_at",),
            sensitivity="special",
        ),
        Column(
            name="certified",
            kind="flag",
            meaning="True: a doctor's certificate, else the person's own.",
            sensitivity="special",
        ),
        Column(name="recorded_at", kind="time", meaning="When reported.", unit="instant", sensitivity="special"),
        Column(
            name="closed_at",
            kind="time",
            meaning="When the end was entered.",
            unit="instant",
            optional=True,
            sensitivity="special",
        ),
    ),
)
