"""The conduct file and the declarations of a borough's people, written.

Rules this module keeps: the file follows the person, so a row is in the folder of every borough where the person has
served; ids are dealt out anew in each.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np

from deploy.force.events.cases import NEVER, OFFENCES
from deploy.force.events.columns import Staff, dates, ids, instants, keys, words, write
from deploy.force.events.people import BoolArray
from deploy.force.events.period import DAY_SECONDS
from deploy.force.events.records import (
    ALLEGATIONS,
    ASSESSMENTS,
    COMPLAINT_OUTCOMES,
    DECISIONS,
    DECLARATION_KINDS,
    LEVELS,
    NO_TIME,
    OUTCOMES,
    SOURCES,
    Complaints,
    Declarations,
    Findings,
    Records,
    Reports,
)

Rows = TypeVar("Rows", Complaints, Findings, Declarations, Reports)


def write_files(
    rng: np.random.Generator, staff: Staff, here: BoolArray, records: Records, directory: Path, *, prefix: str
) -> dict[str, int]:
    """Write the four files of the people who are ``here``, each in random order; return the rows of each."""
    complaints = _kept(rng, records.complaints, here)
    findings = _kept(rng, records.findings, here)
    declarations = _kept(rng, records.declarations, here)
    reports = _kept(rng, records.reports, here)
    found_at = findings.found_day * DAY_SECONDS + rng.integers(9 * 3_600, 17 * 3_600, len(findings.person))
    categories = (*(offence.category for offence in OFFENCES), "other")
    return {
        "complaints": write(
            directory,
            "complaints",
            {
                "complaint_id": ids(rng, f"C{prefix}", len(complaints.person)),
                "staff_no": staff(complaints.person),
                "received_at": instants(complaints.received_at),
                "source": words(complaints.source, SOURCES),
                "allegation": words(complaints.allegation, ALLEGATIONS),
                "outcome": words(complaints.outcome, COMPLAINT_OUTCOMES, NEVER),
                "outcome_at": instants(complaints.outcome_at, NO_TIME),
            },
        ),
        "conduct_findings": write(
            directory,
            "conduct_findings",
            {
                "finding_id": ids(rng, f"F{prefix}", len(findings.person)),
                "staff_no": staff(findings.person),
                "category": words(findings.category, categories),
                "level": words(findings.level, LEVELS),
                "outcome": words(findings.outcome, OUTCOMES),
                "conduct_from": dates(findings.conduct_from),
                "conduct_to": dates(findings.conduct_to),
                "found_at": instants(found_at),
            },
        ),
        "declarations": write(
            directory,
            "declarations",
            {
                "declaration_id": ids(rng, f"T{prefix}", len(declarations.person)),
                "staff_no": staff(declarations.person),
                "kind": words(declarations.kind, DECLARATION_KINDS),
                "declared_at": instants(declarations.declared_at),
                "since": dates(declarations.since, NO_TIME),
                "subject_ref": keys("subject-", declarations.subject, 9, NEVER),
                "decision": words(declarations.decision, DECISIONS, NEVER),
                "decided_at": instants(declarations.decided_at, NO_TIME),
            },
        ),
        "confidential_reports": write(
            directory,
            "confidential_reports",
            {
                "report_id": ids(rng, f"R{prefix}", len(reports.person)),
                "staff_no": staff(reports.person),
                "received_on": dates(reports.day),
                "theme": words(reports.theme, ALLEGATIONS),
                "assessment": words(reports.assessment, ASSESSMENTS, NEVER),
                "assessed_at": instants(reports.assessed_at, NO_TIME),
            },
        ),
    }


def _kept(rng: np.random.Generator, rows: Rows, here: BoolArray) -> Rows:
    chosen = rng.permutation(np.flatnonzero(here[rows.person]))
    return type(rows)(*(getattr(rows, name)[chosen] for name in type(rows).__slots__))
