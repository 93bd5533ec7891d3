"""Conduct history: complaints and confidential reports up to the cutoff, findings up to the window.

A finding about the window is what a head learns to expect, so no finding made within it is a feature.
"""

from __future__ import annotations

import polars as pl
from polars import col

from borough_node.features.indicator import Indicator, Subject, counted, rows

_MONEY = ("roster_or_overtime", "expenses_or_theft", "dishonesty")

COMPLAINTS = Subject(
    name="complaints",
    sensitivity="criminal",
    legal_note="A complaint is an allegation. An open or rejected one weighs like any other here, so a head's weight shows "
    "how little it tells. Use is limited to standards (Police Reform Act 2002).",
    rows=lambda facts: facts.known.tables["complaints"],
    indicators=(
        Indicator(
            name="complaints",
            value=rows(),
            definition="Complaints and referrals ever received.",
            unit="complaints",
            direction=0,
            reason="Complaints about you were taken into account.",
        ),
        Indicator(
            name="complaints_internal",
            value=counted(col("source") == "internal"),
            definition="Of these, from colleagues.",
            unit="complaints",
            reason="Colleagues had referred your conduct.",
        ),
        Indicator(
            name="complaints_money",
            value=counted(col("allegation").is_in(_MONEY)),
            definition="Complaints about rosters, overtime, expenses, theft or dishonesty.",
            unit="complaints",
            reason="There were complaints about rosters, money or honesty.",
        ),
        Indicator(
            name="complaints_attendance",
            value=counted(col("allegation") == "attendance"),
            definition="Complaints about attendance.",
            unit="complaints",
            reason="There were complaints about your attendance.",
        ),
        Indicator(
            name="complaints_sexual",
            value=counted(col("allegation") == "sexual_conduct"),
            definition="Complaints about sexual conduct.",
            unit="complaints",
            reason="There were complaints about sexual conduct.",
        ),
        Indicator(
            name="complaints_data",
            value=counted(col("allegation") == "data_misuse"),
            definition="Complaints about misuse of data.",
            unit="complaints",
            reason="There were complaints about misuse of data.",
        ),
        Indicator(
            name="complaints_association",
            value=counted(col("allegation") == "undeclared_association"),
            definition="Complaints about undeclared associations.",
            unit="complaints",
            reason="There were complaints about undeclared associations.",
        ),
        Indicator(
            name="complaints_upheld",
            value=counted(col("outcome").is_in(("learning", "referred_to_misconduct"))),
            definition="Complaints that led to learning or a referral, by the cutoff.",
            unit="complaints",
            reason="Complaints about you had been upheld.",
        ),
    ),
)

FINDINGS = Subject(
    name="findings",
    sensitivity="criminal",
    legal_note="Proven and expired matters must leave the source as the force's retention schedule says.",
    rows=lambda facts: facts.known.findings_before,
    indicators=(
        Indicator(
            name="findings_before",
            value=rows(),
            definition="Findings of any kind made before the window.",
            unit="findings",
            reason="There were earlier findings.",
        ),
        Indicator(
            name="grave_findings_before",
            value=counted(
                (col("level") == "gross_misconduct")
                | col("outcome").is_in(("final_written_warning", "reduction_in_rank"))
            ),
            definition="Of these, gross misconduct, final warnings and reductions in rank.",
            unit="findings",
            reason="There were earlier grave findings.",
        ),
    ),
)

REPORTS = Subject(
    name="reports",
    sensitivity="confidential",
    legal_note="A report in confidence. With few reporters a weight could tell somebody who reported: reasons from these "
    "features must be withheld wherever a header is.",
    rows=lambda facts: facts.known.tables["confidential_reports"].filter(
        col("assessment").ne_missing(pl.lit("no_substance"))
    ),
    indicators=(
        Indicator(
            name="confidential_reports",
            value=rows(),
            definition="Confidential reports not assessed as without substance.",
            unit="reports",
            reason="There were reports in confidence.",
        ),
        Indicator(
            name="reports_money",
            value=counted(col("theme").is_in((*_MONEY, "attendance"))),
            definition="Of these, about rosters, attendance, money or honesty.",
            unit="reports",
            reason="There were reports in confidence about rosters, attendance or money.",
        ),
        Indicator(
            name="reports_sexual",
            value=counted(col("theme") == "sexual_conduct"),
            definition="Of these, about sexual conduct.",
            unit="reports",
            reason="There were reports in confidence about sexual conduct.",
        ),
        Indicator(
            name="reports_association",
            value=counted(col("theme") == "undeclared_association"),
            definition="Of these, about undeclared associations.",
            unit="reports",
            reason="There were reports in confidence about associations.",
        ),
    ),
)

SUBJECTS = (COMPLAINTS, FINDINGS, REPORTS)
