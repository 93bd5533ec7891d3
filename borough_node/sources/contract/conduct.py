"""What was alleged, found, declared and told in confidence."""

from __future__ import annotations

from borough_node.sources.contract.column import Column, Table

ALLEGATIONS = (
    "roster_or_overtime",
    "attendance",
    "expenses_or_theft",
    "sexual_conduct",
    "data_misuse",
    "undeclared_association",
    "dishonesty",
    "use_of_force",
    "incivility",
    "discrimination",
    "neglect_of_duty",
    "other",
)
"""What a complaint or a confidential report is about."""

CATEGORIES = (
    "roster_manipulation",
    "false_attendance",
    "fraud",
    "abuse_of_position",
    "undeclared_association",
    "other",
)
"""What a panel or a hearing found: the categories that heads are trained on, and everything else."""

CRIMINAL_BASIS = "Conduct and complaints (Police Reform Act 2002; Police (Conduct) Regulations 2020)."

COMPLAINTS = Table(
    name="complaints",
    meaning="One row per complaint or internal referral and person it is about.",
    key=("complaint_id", "staff_no"),
    recorded="received_at",
    dated="received_at",
    basis=CRIMINAL_BASIS,
    retention="conduct",
    columns=(
        Column(name="complaint_id", kind="text", meaning="The complaint.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="Whom it is about.", refers="staff", sensitivity="criminal"),
        Column(name="received_at", kind="time", meaning="When received.", unit="instant", sensitivity="criminal"),
        Column(
            name="source", kind="text", meaning="From whom.", allowed=("public", "internal"), sensitivity="criminal"
        ),
        Column(
            name="allegation", kind="text", meaning="What it is about.", allowed=ALLEGATIONS, sensitivity="criminal"
        ),
        Column(
            name="outcome",
            kind="text",
            meaning="Result; empty: open.",
            allowed=("no_further_action", "acceptable", "learning", "referred_to_misconduct"),
            optional=True,
            known_from=("outcome_at",),
            sensitivity="criminal",
        ),
        Column(
            name="outcome_at",
            kind="time",
            meaning="When that was recorded.",
            unit="instant",
            optional=True,
            sensitivity="criminal",
        ),
    ),
)

CONDUCT_FINDINGS = Table(
    name="conduct_findings",
    meaning="One row per proven breach. Labels come from here and from nowhere else: the row is written when the case "
    "is concluded, long after the conduct.",
    key=("finding_id",),
    recorded="found_at",
    dated="found_at",
    basis=CRIMINAL_BASIS,
    retention="conduct",
    columns=(
        Column(name="finding_id", kind="text", meaning="The finding.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="Against whom.", refers="staff", sensitivity="criminal"),
        Column(name="category", kind="text", meaning="Of what.", allowed=CATEGORIES, sensitivity="criminal"),
        Column(
            name="level",
            kind="text",
            meaning="How grave. `reflective_practice` is the lesser kind that needs no hearing.",
            allowed=("reflective_practice", "misconduct", "gross_misconduct"),
            sensitivity="criminal",
        ),
        Column(
            name="outcome",
            kind="text",
            meaning="What followed.",
            allowed=("learning", "written_warning", "final_written_warning", "reduction_in_rank", "dismissal"),
            sensitivity="criminal",
        ),
        Column(
            name="conduct_from", kind="date", meaning="First day of the conduct.", unit="day", sensitivity="criminal"
        ),
        Column(name="conduct_to", kind="date", meaning="Last day of it.", unit="day", sensitivity="criminal"),
        Column(name="found_at", kind="time", meaning="When it was found.", unit="instant", sensitivity="criminal"),
    ),
)

DECLARATIONS = Table(
    name="declarations",
    meaning="One row per interest, association or gift that a person declared.",
    key=("declaration_id",),
    recorded="declared_at",
    dated="declared_at",
    basis="Duty to declare (Police Regulations 2003 regs 7 to 9; vetting code of practice).",
    retention="service",
    columns=(
        Column(name="declaration_id", kind="text", meaning="The declaration.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="Who declared.", refers="staff"),
        Column(
            name="kind",
            kind="text",
            meaning="What was declared.",
            allowed=("business_interest", "secondary_employment", "association", "gift"),
        ),
        Column(name="declared_at", kind="time", meaning="When.", unit="instant"),
        Column(
            name="since",
            kind="date",
            meaning="Since when the interest or association has existed; empty: not stated.",
            unit="day",
            optional=True,
        ),
        Column(
            name="subject_ref",
            kind="text",
            meaning="The associate, by the same key as in `lookups`; empty: unknown to police systems, or not a person.",
            optional=True,
            sensitivity="criminal",
        ),
        Column(
            name="decision",
            kind="text",
            meaning="The force's decision; empty: pending.",
            allowed=("approved", "approved_with_conditions", "refused"),
            optional=True,
            known_from=("decided_at",),
        ),
        Column(name="decided_at", kind="time", meaning="When decided.", unit="instant", optional=True),
    ),
)

CONFIDENTIAL_REPORTS = Table(
    name="confidential_reports",
    meaning="One row per report in confidence and person it is about. Who reported is not in this contract: neither a "
    "name nor a unit nor a channel that few people use. The time is the day, so that it identifies nobody.",
    key=("report_id", "staff_no"),
    recorded="received_on",
    dated="received_on",
    basis="Protected disclosures (ERA 1996 Part IVA; Police (Conduct) Regulations 2020).",
    retention="conduct",
    columns=(
        Column(name="report_id", kind="text", meaning="The report.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="Whom it is about.", refers="staff", sensitivity="confidential"),
        Column(name="received_on", kind="date", meaning="Day of receipt.", unit="day", sensitivity="confidential"),
        Column(name="theme", kind="text", meaning="What it is about.", allowed=ALLEGATIONS, sensitivity="confidential"),
        Column(
            name="assessment",
            kind="text",
            meaning="Assessment; empty: not assessed.",
            allowed=("no_substance", "intelligence_only", "investigated"),
            optional=True,
            known_from=("assessed_at",),
            sensitivity="confidential",
        ),
        Column(
            name="assessed_at",
            kind="time",
            meaning="When assessed.",
            unit="instant",
            optional=True,
            sensitivity="confidential",
        ),
    ),
)
