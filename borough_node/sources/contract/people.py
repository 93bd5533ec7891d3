"""Who serves where: staff, postings, and the sites and outages that say where a badge could have been read."""

from __future__ import annotations

from borough_node.sources.contract.column import Column, Table

RANKS = (
    "constable",
    "sergeant",
    "inspector",
    "chief_inspector",
    "superintendent",
    "chief_superintendent",
    "chief_officer",
    "special_constable",
    "pcso",
    "police_staff",
)

SENIOR_RANKS = ("chief_inspector", "superintendent", "chief_superintendent")
"""The grades of the hybrid-working policy."""

ROLES = (
    "response",
    "neighbourhood",
    "investigation",
    "public_protection",
    "custody",
    "roads",
    "public_order",
    "intelligence",
    "control_room",
    "training",
    "command",
    "support",
)

EQUALITY = "Equality monitoring (DPA 2018 Sch. 1 para. 8): for fairness figures under noise only; never a feature."

STAFF = Table(
    name="staff",
    meaning="One row per member of staff whom the borough employs or has employed within the window.",
    key=("staff_no",),
    recorded="recorded_at",
    dated="recorded_at",
    basis="Employment record (UK GDPR art. 6(1)(e)); reuse for professional standards needs a notice to staff.",
    retention="service",
    required=True,
    columns=(
        Column(name="staff_no", kind="text", meaning="The person, by the number that every other table uses."),
        Column(name="service_start", kind="date", meaning="First day of service in any force.", unit="day"),
        Column(
            name="service_end",
            kind="date",
            meaning="First day out of service; empty: serving.",
            unit="day",
            optional=True,
            known_from=("service_end_recorded_at",),
        ),
        Column(
            name="service_end_recorded_at",
            kind="time",
            meaning="When the end of service was entered.",
            unit="instant",
            optional=True,
        ),
        Column(
            name="vetting_renewed_on",
            kind="date",
            meaning="Day of the last vetting renewal; empty: not known.",
            unit="day",
            optional=True,
            known_from=("vetting_renewed_on",),
        ),
        Column(
            name="sex",
            kind="text",
            meaning="Sex as recorded; empty: not stated.",
            allowed=("f", "m"),
            optional=True,
            sensitivity="special",
            basis=EQUALITY,
        ),
        Column(
            name="ethnicity_group",
            kind="text",
            meaning="Ethnic group as stated; empty: not stated.",
            allowed=("asian", "black", "mixed", "white", "other"),
            optional=True,
            sensitivity="special",
            basis=EQUALITY,
        ),
        Column(
            name="age_band",
            kind="text",
            meaning="Age at extraction, in bands; empty: not stated.",
            allowed=("under_30", "30_44", "45_plus"),
            optional=True,
            sensitivity="special",
            basis=EQUALITY,
        ),
        Column(name="recorded_at", kind="time", meaning="When the row was entered.", unit="instant"),
    ),
)

POSTINGS = Table(
    name="postings",
    meaning="Where a person serves, from a day to a day. Home postings of one person never overlap; a secondment may "
    "overlap the home posting. A (person, cutoff) belongs to the borough of the home posting on the cutoff day.",
    key=("posting_id",),
    recorded="recorded_at",
    dated="recorded_at",
    basis="Employment record (UK GDPR art. 6(1)(e)).",
    retention="service",
    required=True,
    columns=(
        Column(name="posting_id", kind="text", meaning="The row.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="The person.", refers="staff"),
        Column(name="kind", kind="text", meaning="Kind of posting.", allowed=("home", "secondment")),
        Column(
            name="borough",
            kind="text",
            meaning="Id of the borough; for a secondment, of the receiving one or `outside`.",
            sensitivity="operational",
        ),
        Column(name="unit", kind="text", meaning="Team or unit: those who share supervisors.", sensitivity="personal"),
        Column(name="role", kind="text", meaning="What the post does.", allowed=ROLES),
        Column(name="rank", kind="text", meaning="Rank or grade in this post.", allowed=RANKS),
        Column(
            name="shift_pattern",
            kind="text",
            meaning="Shift pattern of the post.",
            allowed=("rotating", "days", "nights", "office_hours"),
        ),
        Column(
            name="office_share_due",
            kind="number",
            meaning="Share of working days that the attendance policy of the grade wants in the office; empty: no "
            "policy. The hybrid policy of senior grades is 0.8.",
            unit="share",
            low=0.0,
            high=1.0,
            optional=True,
            sensitivity="operational",
        ),
        Column(name="valid_from", kind="date", meaning="First day of the posting.", unit="day"),
        Column(
            name="valid_to",
            kind="date",
            meaning="First day after it; empty: open.",
            unit="day",
            optional=True,
            known_from=("end_recorded_at",),
        ),
        Column(
            name="end_recorded_at",
            kind="time",
            meaning="When the end was entered; empty while open.",
            unit="instant",
            optional=True,
        ),
        Column(name="recorded_at", kind="time", meaning="When the row was entered.", unit="instant"),
    ),
)

SITES = Table(
    name="sites",
    meaning="Buildings. One without badge readers gives no evidence of presence, and none of absence.",
    key=("site",),
    recorded="recorded_at",
    dated="recorded_at",
    basis="No personal data.",
    retention="estate",
    columns=(
        Column(name="site", kind="text", meaning="The building.", sensitivity="operational"),
        Column(name="borough", kind="text", meaning="Borough, or `outside` (headquarters).", sensitivity="operational"),
        Column(
            name="badge_readers",
            kind="flag",
            meaning="True: every staff entrance has a working reader.",
            sensitivity="operational",
        ),
        Column(
            name="recorded_at",
            kind="time",
            meaning="When the row was entered.",
            unit="instant",
            sensitivity="operational",
        ),
    ),
)

OUTAGES = Table(
    name="outages",
    meaning="Times at which a system recorded nothing or too little, so that silence proves nothing.",
    key=("outage_id",),
    recorded="recorded_at",
    dated="started_at",
    basis="No personal data.",
    retention="estate",
    windowed=True,
    columns=(
        Column(name="outage_id", kind="text", meaning="The row.", sensitivity="operational"),
        Column(
            name="system",
            kind="text",
            meaning="What was out: badge readers, the duty system (entries are then made late, by others or for others), "
            "or the linking of searches to cases.",
            allowed=("badge", "duty", "lookups"),
            sensitivity="operational",
        ),
        Column(
            name="site",
            kind="text",
            meaning="Where; empty: everywhere.",
            optional=True,
            refers="sites",
            sensitivity="operational",
        ),
        Column(name="started_at", kind="time", meaning="Start.", unit="instant", sensitivity="operational"),
        Column(
            name="ended_at",
            kind="time",
            meaning="End; empty: not ended.",
            unit="instant",
            optional=True,
            known_from=("ended_at",),
            sensitivity="operational",
        ),
        Column(
            name="recorded_at",
            kind="time",
            meaning="When the row was entered.",
            unit="instant",
            sensitivity="operational",
        ),
    ),
)
