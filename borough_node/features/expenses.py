"""Fraud with expenses: the same item twice, round sums, just below a limit, on days of leave."""

from __future__ import annotations

from borough_node.features.indicator import Indicator, Subject, counted, workload

_ROWS = (
    "SELECT e.*, l.day IS NOT NULL AS on_leave,"
    " row_number() OVER (PARTITION BY e.person, e.incurred_on, e.category, e.amount_pence ORDER BY e.expense_id) > 1"
    " AS again, coalesce(e.incurred_on - lag(e.incurred_on) OVER (PARTITION BY e.person, e.category, e.amount_pence"
    " ORDER BY e.incurred_on, e.expense_id) BETWEEN 1 AND 7, false) AS soon_again"
    " FROM expenses_known AS e LEFT JOIN leave_days AS l ON l.person = e.person AND l.day = e.incurred_on"
)

EXPENSES = Subject(
    name="expenses",
    sensitivity="personal",
    legal_note="Expense claims are audited as public money. A pattern is a question to the claimant, never a finding.",
    rows=_ROWS,
    indicators=(
        Indicator(
            name="duplicate_expenses",
            sql=counted("again"),
            definition="Items with the same day, kind and amount as another of the person's.",
            unit="items",
            reason="You claimed items with the same day, kind and amount more than once.",
        ),
        Indicator(
            name="repeated_expenses",
            sql=counted("soon_again AND amount_pence >= 1000 AND category <> 'mileage'"),
            definition="Items of ten pounds or more with the same kind and amount within a week, mileage left out.",
            unit="items",
            reason="You claimed the same amount again within a week.",
        ),
        Indicator(
            name="round_sum_expenses",
            sql=counted("amount_pence % 500 = 0"),
            definition="Items of a multiple of five pounds.",
            unit="items",
            reason="Many of your claims are round sums.",
        ),
        Indicator(
            name="below_limit_expenses",
            sql=counted("amount_pence <= limit_pence AND amount_pence >= 0.95 * limit_pence"),
            definition="Items between 95 and 100 per cent of the limit.",
            unit="items",
            reason="Many of your claims lie just below the limit.",
        ),
        Indicator(
            name="expenses_on_leave",
            sql=counted("on_leave"),
            definition="Items incurred on days of annual leave or rest without a duty.",
            unit="items",
            reason="You claimed expenses of days on which you were on leave.",
        ),
        Indicator(
            name="expenses_without_receipt",
            sql=counted("NOT receipt AND category <> 'mileage'"),
            definition="Items without a receipt, mileage left out.",
            unit="items",
            reason="Receipts are missing for many of your claims.",
        ),
        Indicator(
            name="self_approved_expenses",
            sql=counted("approved_by = staff_no"),
            definition="Items that the person approved for themselves.",
            unit="items",
            reason="You approved your own expenses.",
        ),
        Indicator(
            name="expenses_late",
            sql=counted("submitted_at > CAST(incurred_on AS TIMESTAMP) + INTERVAL 60 DAY"),
            definition="Items claimed more than 60 days afterwards.",
            unit="items",
            reason="You claimed expenses more than two months afterwards.",
        ),
        workload(
            "expense_items",
            "count(*)",
            "All items claimed.",
            "items",
            center=4.0,
            scale=6.0,
            reason="The number of your claims was taken into account.",
        ),
        workload(
            "expense_pounds",
            "sum(amount_pence) / 100",
            "Sum of all items.",
            "pounds",
            center=80.0,
            scale=120.0,
            reason="The sum of your claims was taken into account.",
        ),
    ),
)

SUBJECTS = (EXPENSES,)
