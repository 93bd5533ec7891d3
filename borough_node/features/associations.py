"""Undeclared associations, as far as declarations and searches allow: who is searched for, and who is declared when.

An association that is neither declared nor searched for is not to be seen here at all.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl
from polars import col

from borough_node.features.events import Facts
from borough_node.features.indicator import Indicator, Subject, counted, rows
from borough_node.sources.contract.column import DTYPES

_NOTE = (
    "Declarations are a duty of the post; a declared association is no misconduct. Read only beside searches and only "
    "within the borough."
)


def _declared(facts: Facts) -> pl.LazyFrame:
    """Declarations, those of associations with the searches for the associate."""
    declarations, both = facts.known.tables["declarations"], ["person", "subject_ref"]
    searched = facts.lookups.lazy().join(declarations.filter(col("kind") == "association"), on=both, how="semi")
    found = searched.group_by(both).agg(searches=col("caseless").sum().cast(pl.Int64), first_search=col("at").min())
    return declarations.join(found.with_columns(kind=pl.lit("association")), on=[*both, "kind"], how="left")


def _undeclared(facts: Facts) -> pl.LazyFrame:
    """One row per person and subject, neither vulnerable nor declared, who was searched for without a case."""
    strangers = facts.lookups.lazy().filter("caseless", col("subject_ref").is_not_null(), ~col("subject_vulnerable"))
    declared = facts.known.tables["declarations"]
    return (
        strangers.join(declared, on=["person", "subject_ref"], how="anti")
        .group_by("person", "subject_ref")
        .agg(times=pl.len(), months=col("at").dt.truncate("1mo").n_unique())
    )


DECLARED = Subject(
    name="declarations",
    sensitivity="personal",
    legal_note=_NOTE,
    rows=_declared,
    indicators=(
        Indicator(
            name="declarations",
            value=rows(),
            definition="Declarations ever made.",
            unit="declarations",
            direction=0,
            reason="What you declared was taken into account.",
        ),
        Indicator(
            name="declared_associations",
            value=counted(col("kind") == "association"),
            definition="Associations declared.",
            unit="declarations",
            direction=0,
            reason="The associations that you declared were taken into account.",
        ),
        Indicator(
            name="refused_interests",
            value=counted(col("decision") == "refused"),
            definition="Interests or associations that the force refused.",
            unit="declarations",
            reason="The force had refused an interest that you declared.",
        ),
        Indicator(
            name="late_declarations",
            value=counted(col("since").cast(DTYPES["time"]) < col("declared_at") - timedelta(days=90)),
            definition="Interests or associations declared more than 90 days after they began.",
            unit="declarations",
            reason="You declared an interest or association long after it began.",
        ),
        Indicator(
            name="gifts_declared",
            value=counted(col("kind") == "gift"),
            definition="Gifts declared.",
            unit="declarations",
            direction=0,
            reason="Gifts that you declared were taken into account.",
        ),
        Indicator(
            name="associates_searched",
            value=col("searches").sum(),
            definition="Searches without a case for a person whom one has declared as an associate.",
            unit="searches",
            reason="You searched for somebody whom you know privately, without a stated case.",
        ),
        Indicator(
            name="searched_before_declared",
            value=counted(col("first_search") < col("declared_at")),
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
    rows=_undeclared,
    indicators=(
        Indicator(
            name="undeclared_subject_months",
            value=col("months").max(),
            definition="Most months in which one person, neither vulnerable nor declared, was searched for without a case.",
            unit="months",
            reason="Over months you searched for one and the same person whom you had not declared.",
        ),
        Indicator(
            name="undeclared_subject_lookups",
            value=col("times").max(),
            definition="Most searches without a case for one person who is neither vulnerable nor declared.",
            unit="searches",
            reason="You searched often for one person whom you had not declared.",
        ),
    ),
)

SUBJECTS = (DECLARED, UNDECLARED)
