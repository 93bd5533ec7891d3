"""The personnel contract: the tables that a borough's own systems fill, column by column (docs/spec/personnel.md).

Rules this package keeps: a table describes what a real system records, never what somebody concluded about a person,
except findings and outcomes as a force really has them; nobody's diagnosis, and no source of a confidential report,
has a column.
"""

from __future__ import annotations

from borough_node.sources.contract.column import Column, Table
from borough_node.sources.contract.conduct import (
    COMPLAINTS,
    CONDUCT_FINDINGS,
    CONFIDENTIAL_REPORTS,
    DECLARATIONS,
)
from borough_node.sources.contract.people import OUTAGES, POSTINGS, SITES, STAFF
from borough_node.sources.contract.systems import EXPENSES, LOOKUPS
from borough_node.sources.contract.work import ACCESS_EVENTS, ATTENDANCE_CLAIMS, DUTIES, SICKNESS

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        STAFF,
        POSTINGS,
        SITES,
        OUTAGES,
        DUTIES,
        ACCESS_EVENTS,
        ATTENDANCE_CLAIMS,
        SICKNESS,
        EXPENSES,
        LOOKUPS,
        COMPLAINTS,
        CONDUCT_FINDINGS,
        DECLARATIONS,
        CONFIDENTIAL_REPORTS,
    )
}
"""Every table of the contract by name."""

__all__ = ["TABLES", "Column", "Table"]
