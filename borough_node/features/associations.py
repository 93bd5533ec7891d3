"""Undeclared associations, as far as declarations and searches allow: who is searched for, and who is declared when.

An association that is neither declared nor searched for is not to be seen here at all.
"""

from __future__ import annotations

from borough_node.features.indicator import Indicator, Subject, counted

_NOTE = (
    "Declarations are a duty of the post; a declared association is no misconduct. Read only beside searches and only "
    "within the borough."
)

DECLARED = Subject(
    name="declarations",
    sensitivity="personal",
    legal_note=_NOTE,
    rows="SELECT d.*, f.searches, f.first_search FROM declarations_known AS d LEFT JOIN"
    " (SELECT person, subject_ref, count(*) FILTER (caseless) AS searches, min(lookup_facts.at) AS first_search FROM lookup_facts"
    " WHERE subject_ref IS NOT NULL GROUP BY person, subject_ref) AS f"
    " ON f.person = d.person AND f.subject_ref = d.subject_ref AND d.kind = 'association'",
    indicators=(
        Indicator(
            name="declarations",
            sql="count(*)",
            definition="Declarations ever made.",
            unit="declarations",
            direction=0,
            reason="What you declared was taken into account.",
        ),
        Indicator(
            name="declared_associations",
            sql=counted("kind = 'association'"),
            definition="Associations declared.",
            unit="declarations",
            direction=0,
            reason="The associations that you declared were taken into account.",
        ),
        Indicator(
            name="refused_interests",
            sql=counted("decision = 'refused'"),
            definition="Interests or associations that the force refused.",
            unit="declarations",
            reason="The force had refused an interest that you declared.",
        ),
        Indicator(
            name="late_declarations",
            sql=counted("CAST(since AS TIMESTAMP) < declared_at - INTERVAL 90 DAY"),
            definition="Interests or associations declared more than 90 days after they began.",
            unit="declarations",
            reason="You declared an interest or association long after it began.",
        ),
        Indicator(
            name="gifts_declared",
            sql=counted("kind = 'gift'"),
            definition="Gifts declared.",
            unit="declarations",
            direction=0,
            reason="Gifts that you declared were taken into account.",
        ),
        Indicator(
            name="associates_searched",
            sql="coalesce(sum(searches), 0)",
            definition="Searches without a case for a person whom one has declared as an associate.",
            unit="searches",
            reason="You searched for somebody whom you know privately, without a stated case.",
        ),
        Indicator(
            name="searched_before_declared",
            sql=counted("first_search < declared_at"),
            definition="Associates who were searched for before they were declared.",
            unit="people",
            reason="You searched for somebody before you declared that you know them.",
        ),
    ),
)

UNDECLARED = Subject(
    name="undeclared",
    sensitivity="personal",
    legal_note=_NOTE,
    rows="SELECT f.person, count(*) AS times, count(DISTINCT date_trunc('month', f.at)) AS months FROM lookup_facts AS f"
    " ANTI JOIN declarations_known AS d ON d.person = f.person AND d.subject_ref = f.subject_ref"
    " WHERE f.caseless AND f.subject_ref IS NOT NULL AND NOT f.subject_vulnerable GROUP BY f.person, f.subject_ref",
    indicators=(
        Indicator(
            name="undeclared_subject_months",
            sql="max(months)",
            definition="Most months in which one person, neither vulnerable nor declared, was searched for without a case.",
            unit="months",
            reason="Over months you searched for one and the same person whom you had not declared.",
        ),
        Indicator(
            name="undeclared_subject_lookups",
            sql="max(times)",
            definition="Most searches without a case for one person who is neither vulnerable nor declared.",
            unit="searches",
            reason="You searched often for one person whom you had not declared.",
        ),
    ),
)

SUBJECTS = (DECLARED, UNDECLARED)
