"""Conduct history: complaints and confidential reports up to the cutoff, findings up to the window.

A finding about the window is what a head learns to expect, so no finding made within it is a feature.
"""

from __future__ import annotations

from borough_node.features.indicator import Indicator, Subject, counted

_SEXUAL = "('sexual_conduct')"
_MONEY = "('roster_or_overtime', 'expenses_or_theft', 'dishonesty')"

COMPLAINTS = Subject(
    name="complaints",
    sensitivity="criminal",
    legal_note="A complaint is an allegation. An open or rejected one weighs like any other here, so a head's weight shows "
    "how little it tells. Use is limited to standards (Police Reform Act 2002).",
    rows="SELECT * FROM complaints_known",
    indicators=(
        Indicator(
            name="complaints",
            sql="count(*)",
            definition="Complaints and referrals ever received.",
            unit="complaints",
            direction=0,
            reason="Complaints about you were taken into account.",
        ),
        Indicator(
            name="complaints_internal",
            sql=counted("source = 'internal'"),
            definition="Of these, from colleagues.",
            unit="complaints",
            reason="Colleagues had referred your conduct.",
        ),
        Indicator(
            name="complaints_money",
            sql=counted(f"allegation IN {_MONEY}"),
            definition="Complaints about rosters, overtime, expenses, theft or dishonesty.",
            unit="complaints",
            reason="There were complaints about rosters, money or honesty.",
        ),
        Indicator(
            name="complaints_attendance",
            sql=counted("allegation = 'attendance'"),
            definition="Complaints about attendance.",
            unit="complaints",
            reason="There were complaints about your attendance.",
        ),
        Indicator(
            name="complaints_sexual",
            sql=counted(f"allegation IN {_SEXUAL}"),
            definition="Complaints about sexual conduct.",
            unit="complaints",
            reason="There were complaints about sexual conduct.",
        ),
        Indicator(
            name="complaints_data",
            sql=counted("allegation = 'data_misuse'"),
            definition="Complaints about misuse of data.",
            unit="complaints",
            reason="There were complaints about misuse of data.",
        ),
        Indicator(
            name="complaints_association",
            sql=counted("allegation = 'undeclared_association'"),
            definition="Complaints about undeclared associations.",
            unit="complaints",
            reason="There were complaints about undeclared associations.",
        ),
        Indicator(
            name="complaints_upheld",
            sql=counted("outcome IN ('learning', 'referred_to_misconduct')"),
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
    rows="SELECT * FROM findings_before",
    indicators=(
        Indicator(
            name="findings_before",
            sql="count(*)",
            definition="Findings of any kind made before the window.",
            unit="findings",
            reason="There were earlier findings.",
        ),
        Indicator(
            name="grave_findings_before",
            sql=counted("level = 'gross_misconduct' OR outcome IN ('final_written_warning', 'reduction_in_rank')"),
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
    rows="SELECT * FROM confidential_reports_known WHERE coalesce(assessment, '') <> 'no_substance'",
    indicators=(
        Indicator(
            name="confidential_reports",
            sql="count(*)",
            definition="Confidential reports not assessed as without substance.",
            unit="reports",
            reason="There were reports in confidence.",
        ),
        Indicator(
            name="reports_money",
            sql=counted(f"theme IN {_MONEY} OR theme = 'attendance'"),
            definition="Of these, about rosters, attendance, money or honesty.",
            unit="reports",
            reason="There were reports in confidence about rosters, attendance or money.",
        ),
        Indicator(
            name="reports_sexual",
            sql=counted(f"theme IN {_SEXUAL}"),
            definition="Of these, about sexual conduct.",
            unit="reports",
            reason="There were reports in confidence about sexual conduct.",
        ),
        Indicator(
            name="reports_association",
            sql=counted("theme = 'undeclared_association'"),
            definition="Of these, about undeclared associations.",
            unit="reports",
            reason="There were reports in confidence about associations.",
        ),
    ),
)

SUBJECTS = (COMPLAINTS, FINDINGS, REPORTS)
