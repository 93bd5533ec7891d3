"""Fraud with expenses: the same item twice, round sums, just below a limit, on days of leave."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
from polars import col

from borough_node.features.events import Facts
from borough_node.features.indicator import Indicator, Subject, counted, rows, workload
from borough_node.sources.contract.column import DTYPES


def _rows(facts: Facts) -> pl.LazyFrame:
    items = facts.known.tables["expenses"].sort("incurred_on", "expense_id")
    kind = ["person", "category", "amount_pence"]
    before = col("incurred_on") - col("incurred_on").shift().over(kind)
    leave = facts.leave_days.lazy().select("person", incurred_on="day", on_leave=True)
    return items.with_columns(
        again=~pl.struct(*kind, "incurred_on").is_first_distinct(),
        soon_again=before.is_between(timedelta(days=1), timedelta(days=7)),
    ).join(leave, on=["person", "incurred_on"], how="left")


_NO_MILEAGE = col("category") != "mileage"
_DAY = col("incurred_on").cast(DTYPES["time"])

EXPENSES = Subject(
    name="expenses",
    sensitivity="personal",
    legal_note="Expense claims are audited as public money. A pattern is a question to the claimant, never a finding.",
    rows=_rows,
    indicators=(
        Indicator(
            name="duplicate_expenses",
            value=counted(col("again")),
            definition="Items with the same day, kind and amount as another of the person's.",
            unit="items",
            reason="You claimed items with the same day, kind and amount more than once.",
        ),
        Indicator(
            name="repeated_expenses",
            value=counted(col("soon_again") & (col("amount_pence") >= 1000) & _NO_MILEAGE),
            definition="Items of ten pounds or more with the same kind and amount within a week, mileage left out.",
            unit="items",
            reason="You claimed the same amount again within a week.",
        ),
        Indicator(
            name="round_sum_expenses",
            value=counted(col("amount_pence") % 500 == 0),
            definition="Items of a multiple of five pounds.",
            unit="items",
            reason="Many of your claims are round sums.",
        ),
        Indicator(
            name="below_limit_expenses",
            value=counted(col("amount_pence").is_between(0.95 * col("limit_pence"), col("limit_pence"))),
            definition="Items between 95 and 100 per cent of the limit.",
            unit="items",
            reason="Many of your claims lie just below the limit.",
        ),
        Indicator(
            name="expenses_on_leave",
            value=counted(col("on_leave")),
            definition="Items incurred on days of annual leave or rest without a duty.",
            unit="items",
            reason="You claimed expenses of days on which you were on leave.",
        ),
        Indicator(
            name="expenses_without_receipt",
            value=counted(~col("receipt") & _NO_MILEAGE),
            definition="Items without a receipt, mileage left out.",
            unit="items",
            reason="Receipts are missing for many of your claims.",
        ),
        Indicator(
            name="self_approved_expenses",
            value=counted(col("approved_by") == col("staff_no")),
            definition="Items that the person approved for themselves.",
            unit="items",
            reason="You approved your own expenses.",
        ),
        Indicator(
            name="expenses_late",
            value=counted(col("submitted_at") > _DAY + timedelta(days=60)),
            definition="Items claimed more than 60 days afterwards.",
            unit="items",
            reason="You claimed expenses more than two months afterwards.",
        ),
        workload(
            "expense_items",
            rows(),
            "All items claimed.",
            "items",
            center=4.0,
            scale=6.0,
            reason="The number of your claims was taken into account.",
        ),
        workload(
            "expense_pounds",
            col("amount_pence").sum() / 100,
            "Sum of all items.",
            "pounds",
            center=80.0,
            scale=120.0,
            reason="The sum of your claims was taken into account.",
        ),
    ),
)

SUBJECTS = (EXPENSES,)
