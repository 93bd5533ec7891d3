"""Searches in police systems: without a case, of one person again and again, off duty, of the vulnerable."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
from polars import col

from borough_node.features.events import Facts
from borough_node.features.indicator import SHARE, Indicator, Subject, counted, rows, workload

_NOTE = (
    "Audit trail of law-enforcement systems (DPA 2018 s.62), kept to check that searches were lawful. The subjects' "
    "identities are not read, only that two searches were of the same person."
)


def _by_subject(facts: Facts) -> pl.LazyFrame:
    """One row per person and subject who was searched for without a case."""
    caseless = facts.lookups.lazy().filter("caseless", col("subject_ref").is_not_null())
    return caseless.group_by("person", "subject_ref").agg(
        vulnerable=col("subject_vulnerable").any(),
        times=pl.len().cast(pl.Int64),
        weeks=col("at").dt.truncate("1w").n_unique().cast(pl.Int64),
    )


_VULNERABLE = col("subject_vulnerable")

SEARCHES = Subject(
    name="lookups",
    sensitivity="personal",
    legal_note=_NOTE,
    rows=lambda facts: facts.lookups.lazy(),
    indicators=(
        Indicator(
            name="lookups_without_case",
            value=counted(col("caseless")),
            definition="Searches without a case by the cutoff; times at which cases could not be linked excused.",
            unit="searches",
            reason="You made searches for which no case is stated.",
        ),
        Indicator(
            name="lookups_without_case_share",
            value=counted(col("caseless")) / (rows() + 20.0),
            definition="Share of searches without a case, 20 searches added.",
            unit="share",
            transform=SHARE,
            reason="A large share of your searches states no case.",
        ),
        Indicator(
            name="off_duty_lookups",
            value=counted(col("off_duty")),
            definition="Searches more than an hour before or after any duty.",
            unit="searches",
            reason="You made searches while you were off duty.",
        ),
        Indicator(
            name="off_duty_lookups_without_case",
            value=counted(col("off_duty") & col("caseless")),
            definition="Of these, searches without a case.",
            unit="searches",
            reason="You made searches off duty for which no case is stated.",
        ),
        Indicator(
            name="vulnerable_lookups_without_case",
            value=counted(col("caseless") & _VULNERABLE),
            definition="Searches for vulnerable people without a case.",
            unit="searches",
            reason="You searched for vulnerable people without a stated case.",
        ),
        Indicator(
            name="off_duty_vulnerable_lookups",
            value=counted(col("off_duty") & _VULNERABLE),
            definition="Searches for vulnerable people off duty.",
            unit="searches",
            reason="You searched for vulnerable people while you were off duty.",
        ),
        Indicator(
            name="lookups_linked_late",
            value=counted(col("case_linked_at") > col("at") + timedelta(days=3)),
            definition="Searches whose case was stated more than three days later.",
            unit="searches",
            direction=0,
            reason="Cases that were stated late for your searches were taken into account.",
        ),
        Indicator(
            name="vulnerable_lookups",
            value=counted(_VULNERABLE),
            definition="Searches for vulnerable people.",
            unit="searches",
            direction=0,
            reason="How often your work concerns vulnerable people was taken into account.",
        ),
        workload(
            "lookups",
            rows(),
            "All searches.",
            "searches",
            center=60.0,
            scale=60.0,
            reason="The number of your searches was taken into account.",
        ),
    ),
)

ONE_SUBJECT = Subject(
    name="one_subject",
    sensitivity="personal",
    legal_note=_NOTE,
    rows=_by_subject,
    indicators=(
        Indicator(
            name="repeat_lookups_one_subject",
            value=col("times").max(),
            definition="Most searches without a case for one and the same person.",
            unit="searches",
            reason="You searched for one and the same person again and again without a stated case.",
        ),
        Indicator(
            name="repeat_lookups_vulnerable",
            value=pl.when("vulnerable").then("times").otherwise(0).max(),
            definition="Most searches without a case for one and the same vulnerable person.",
            unit="searches",
            reason="You searched for one vulnerable person again and again without a stated case.",
        ),
        Indicator(
            name="subject_weeks",
            value=col("weeks").max(),
            definition="Most weeks in which one and the same person was searched for without a case.",
            unit="weeks",
            reason="Over many weeks you searched for one and the same person without a stated case.",
        ),
        Indicator(
            name="subjects_repeated",
            value=counted(col("times") >= 3),
            definition="People searched for three times or more without a case.",
            unit="people",
            reason="You searched for several people repeatedly without a stated case.",
        ),
    ),
)

SUBJECTS = (SEARCHES, ONE_SUBJECT)
