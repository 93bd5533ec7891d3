"""Money and information: expenses, searches in police systems."""

from __future__ import annotations

from borough_node.sources.contract.column import Column, Table

EXPENSES = Table(
    name="expenses",
    meaning="One row per item claimed.",
    key=("expense_id",),
    recorded="submitted_at",
    dated="submitted_at",
    basis="Reimbursement (UK GDPR art. 6(1)(b), (c)); audit of public money (art. 6(1)(e)).",
    retention="pay",
    windowed=True,
    columns=(
        Column(name="expense_id", kind="text", meaning="The item.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="Who claims.", refers="staff"),
        Column(name="incurred_on", kind="date", meaning="Day of the expense.", unit="day"),
        Column(name="submitted_at", kind="time", meaning="When claimed.", unit="instant"),
        Column(
            name="category",
            kind="text",
            meaning="Kind of expense.",
            allowed=("mileage", "subsistence", "accommodation", "travel", "equipment", "other"),
        ),
        Column(name="amount_pence", kind="whole", meaning="Amount.", unit="pence", low=1, high=10_000_000),
        Column(
            name="limit_pence",
            kind="whole",
            meaning="Most that the policy pays for such an item without further leave; empty: no limit.",
            unit="pence",
            low=1,
            high=10_000_000,
            optional=True,
            sensitivity="operational",
        ),
        Column(name="receipt", kind="flag", meaning="True: a receipt is there."),
        Column(
            name="approved_at",
            kind="time",
            meaning="When approved; empty: not.",
            unit="instant",
            optional=True,
        ),
        Column(
            name="approved_by",
            kind="text",
            meaning="Who approved it.",
            optional=True,
            known_from=("approved_at",),
            refers="staff",
            outsiders=True,
        ),
    ),
)

LOOKUPS = Table(
    name="lookups",
    meaning="One row per search in a police system, from its audit trail.",
    key=("lookup_id",),
    recorded="at",
    dated="at",
    basis="Audit of law-enforcement systems (DPA 2018 s.62): logs are kept to check that searches were lawful.",
    retention="audit",
    windowed=True,
    columns=(
        Column(name="lookup_id", kind="text", meaning="The search.", sensitivity="operational"),
        Column(name="staff_no", kind="text", meaning="Who searched.", refers="staff"),
        Column(name="at", kind="time", meaning="When.", unit="instant"),
        Column(
            name="system",
            kind="text",
            meaning="In what.",
            allowed=("crime", "intelligence", "custody", "national", "incidents", "vehicles", "public_protection"),
        ),
        Column(
            name="case_ref",
            kind="text",
            meaning="The case it was for; empty: none stated.",
            optional=True,
            known_from=("case_linked_at",),
            sensitivity="criminal",
        ),
        Column(
            name="case_linked_at",
            kind="time",
            meaning="When the case was stated, if later than the search; empty: at once, or never.",
            unit="instant",
            optional=True,
        ),
        Column(
            name="subject_ref",
            kind="text",
            meaning="Who was searched for, by a key that the source system gives; empty: no person (a vehicle, a place).",
            optional=True,
            sensitivity="criminal",
        ),
        Column(
            name="subject_vulnerable",
            kind="flag",
            meaning="True: the subject is flagged as a vulnerable victim, witness or missing person.",
            sensitivity="special",
            basis="Flag of the source system, for protection (DPA 2018 Sch. 8 paras 3, 4).",
        ),
    ),
)
