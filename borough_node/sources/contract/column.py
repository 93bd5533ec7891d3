"""What one column and one table of the personnel contract state.

Rules this module keeps: a column says what it means, how sensitive it is, why it may be held and how long; a table
says which column dates a row, that is from when the borough's own system knew it. A column that is filled in or
overwritten later names the times from which its present value is known: before them it did not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from protocol.documents.catalogue import Sensitivity

Kind = Literal["text", "whole", "number", "flag", "date", "time"]

DTYPES: dict[Kind, pl.DataType] = {
    "text": pl.String(),
    "whole": pl.Int64(),
    "number": pl.Float64(),
    "flag": pl.Boolean(),
    "date": pl.Date(),
    "time": pl.Datetime("us", "UTC"),
}
"""Polars type of each kind. A date is a calendar day where the force is; a time is an instant, in UTC."""

SENSITIVITIES: dict[Sensitivity, str] = {
    "operational": "says nothing about a person by itself",
    "personal": "personal data of a member of staff or of somebody they dealt with",
    "criminal": "about allegations or findings of misconduct or offences (UK GDPR art. 10; DPA 2018 Part 3)",
    "special": "special category (UK GDPR art. 9) or a protected characteristic (Equality Act 2010 s.4)",
    "confidential": "given in confidence; could expose its source if combined (ERA 1996 Part IVA)",
}

Retention = Literal["roster", "pay", "access", "audit", "conduct", "service", "health", "estate"]

RETENTIONS: dict[Retention, str] = {
    "roster": "working-time records: two years (Working Time Regulations 1998 reg. 9)",
    "pay": "pay and expenses: six years after the tax year (HMRC; Limitation Act 1980)",
    "access": "badge logs: 13 months, so that twelve whole months can be looked at",
    "audit": "audit trails of systems: two years",
    "conduct": "complaints, findings, reports: as the force's conduct and vetting schedule says",
    "service": "personnel file: while serving, then as the force's schedule says",
    "health": "sickness: the shortest class; three years after the absence",
    "estate": "buildings and equipment: no personal data",
}
"""What a class usually means. The force's own retention schedule takes precedence; nothing here deletes anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    allowed: tuple[str, ...] = ()
    """For text: every allowed value. Empty: any."""
    low: float | None = None
    high: float | None = None
    """For numbers: bounds, both included."""
    optional: bool = False
    """A row may leave it empty; the column itself must be there unless the settings map it to nothing."""
    known_from: tuple[str, ...] = ()
    """Time columns of the table: the present value is known only after all of those that are filled in."""
    refers: str = ""
    """The table whose key this is: ``staff`` or ``sites``."""
    outsiders: bool = False
    """A reference may point outside the borough's own extract (a colleague elsewhere), and is then no orphan."""
    sensitivity: Sensitivity = "personal"
    basis: str = ""
    """Lawful-basis note; empty: the table's."""
    retention: Retention | None = None
    """None: the table's."""

    @property
    def dtype(self) -> pl.DataType:
        """The Polars type."""
        return DTYPES[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of the contract."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Columns whose values together occur once."""
    recorded: str
    """The column that dates a row: the moment from which the source system held it."""
    dated: str
    """The column by which a source is cut to the dates that are needed, and coverage is counted by month."""
    basis: str
    retention: Retention
    windowed: bool = False
    """True: events, of which a source may be asked for those dated within the last months only."""
    required: bool = False
    """True: features make no sense without it. Otherwise the settings may declare it absent."""

    def column(self, name: str) -> Column:
        """Return the column of this name, which exists."""
        return next(column for column in self.columns if column.name == name)

    @property
    def schema(self) -> pl.Schema:
        """The Polars schema, in the order of the contract."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def basis_of(self, column: Column) -> str:
        """Return the column's lawful-basis note."""
        return column.basis or self.basis

    def retention_of(self, column: Column) -> Retention:
        """Return the column's retention class."""
        return column.retention or self.retention
