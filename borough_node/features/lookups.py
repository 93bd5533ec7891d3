"""Searches in police systems: without a case, of one person again and again, off duty, of the vulnerable."""

from __future__ import annotations

from borough_node.features.indicator import SHARE, Indicator, Subject, counted, workload

_NOTE = (
    "Audit trail of law-enforcement systems (DPA 2018 s.62), kept to check that searches were lawful. The subjects' "
    "identities are not read, only that two searches were of the same person."
)

SEARCHES = Subject(
    name="lookups",
    sensitivity="personal",
    legal_note=_NOTE,
    rows="SELECT * FROM lookup_facts",
    indicators=(
        Indicator(
            name="lookups_without_case",
            sql=counted("caseless"),
            definition="Searches without a case by the cutoff; times at which cases could not be linked excused.",
            unit="searches",
            reason="You made searches for which no case is stated.",
        ),
        Indicator(
            name="lookups_without_case_share",
            sql=f"{counted('caseless')} / (count(*) + 20.0)",
            definition="Share of searches without a case, 20 searches added.",
            unit="share",
            transform=SHARE,
            reason="A large share of your searches states no case.",
        ),
        Indicator(
            name="off_duty_lookups",
            sql=counted("off_duty"),
            definition="Searches more than an hour before or after any duty.",
            unit="searches",
            reason="You made searches while you were off duty.",
        ),
        Indicator(
            name="off_duty_lookups_without_case",
            sql=counted("off_duty AND caseless"),
            definition="Of these, searches without a case.",
            unit="searches",
            reason="You made searches off duty for which no case is stated.",
        ),
        Indicator(
            name="vulnerable_lookups_without_case",
            sql=counted("caseless AND subject_vulnerable"),
            definition="Searches for vulnerable people without a case.",
            unit="searches",
            reason="You searched for vulnerable people without a stated case.",
        ),
        Indicator(
            name="off_duty_vulnerable_lookups",
            sql=counted("off_duty AND subject_vulnerable"),
            definition="Searches for vulnerable people off duty.",
            unit="searches",
            reason="You searched for vulnerable people while you were off duty.",
        ),
        Indicator(
            name="lookups_linked_late",
            sql=counted('case_linked_at > "at" + INTERVAL 3 DAY'),
            definition="Searches whose case was stated more than three days later.",
            unit="searches",
            direction=0,
            reason="Cases that were stated late for your searches were taken into account.",
        ),
        Indicator(
            name="vulnerable_lookups",
            sql=counted("subject_vulnerable"),
            definition="Searches for vulnerable people.",
            unit="searches",
            direction=0,
            reason="How often your work concerns vulnerable people was taken into account.",
        ),
        workload(
            "lookups",
            "count(*)",
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
    rows="SELECT person, subject_ref, bool_or(subject_vulnerable) AS vulnerable, count(*) AS times,"
    " count(DISTINCT date_trunc('week', lookup_facts.at)) AS weeks FROM lookup_facts"
    " WHERE caseless AND subject_ref IS NOT NULL GROUP BY person, subject_ref",
    indicators=(
        Indicator(
            name="repeat_lookups_one_subject",
            sql="max(times)",
            definition="Most searches without a case for one and the same person.",
            unit="searches",
            reason="You searched for one and the same person again and again without a stated case.",
        ),
        Indicator(
            name="repeat_lookups_vulnerable",
            sql="coalesce(max(times) FILTER (vulnerable), 0)",
            definition="Most searches without a case for one and the same vulnerable person.",
            unit="searches",
            reason="You searched for one vulnerable person again and again without a stated case.",
        ),
        Indicator(
            name="subject_weeks",
            sql="max(weeks)",
            definition="Most weeks in which one and the same person was searched for without a case.",
            unit="weeks",
            reason="Over many weeks you searched for one and the same person without a stated case.",
        ),
        Indicator(
            name="subjects_repeated",
            sql=counted("times >= 3"),
            definition="People searched for three times or more without a case.",
            unit="people",
            reason="You searched for several people repeatedly without a stated case.",
        ),
    ),
)

SUBJECTS = (SEARCHES, ONE_SUBJECT)
