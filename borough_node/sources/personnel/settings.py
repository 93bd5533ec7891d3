"""Where a borough's tables are and what their columns are called: personnel.toml.

Rules this module keeps: every key is known or the file is refused; a table is either named or declared absent, so
that a forgotten export is never taken for an empty one.
"""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from borough_node.sources.contract import TABLES
from protocol.documents.base import describe
from protocol.errors import ConfigurationError
from protocol.ids import PartyId

POSTGRES = "postgresql:"
"""What a table's place begins with if it is a relation of the database, not a file."""

Text = Annotated[str, Field(min_length=1, max_length=300)]


class PersonnelSettings(BaseModel):
    """The sources of one borough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    borough: PartyId
    """The borough's id, as `postings.borough` has it."""
    time_zone: Text
    """IANA name of the zone in which the force's days and nights are counted."""
    naive_times: Literal["refuse", "local", "utc"] = "refuse"
    """How times without a zone are read: not at all, in ``time_zone``, or in UTC."""
    date_format: Text | None = None
    """How CSV files write dates, as in strptime; None: ISO 8601."""
    time_format: Text | None = None
    """How CSV files write times; None: ISO 8601."""
    since: date | None = None
    """Events dated before are not read; None: all are."""
    database: Path | None = None
    """File with the PostgreSQL connection URI; the only place where a password may stand."""
    tables: dict[str, Text]
    """Table of the contract to a file, or to ``postgresql:schema.relation``."""
    absent: tuple[str, ...] = ()
    """Tables of the contract that this borough does not have."""
    mapping: dict[str, dict[str, str]] = {}
    """Table, then column of the contract, to the source's column; empty text: the source has no such column."""
    values: dict[str, dict[str, dict[str, str]]] = {}
    """Table, column, then a value of the source, to the contract's value."""

    @model_validator(mode="after")
    def _names_are_the_contracts(self) -> Self:
        for name in [*self.tables, *self.absent, *self.mapping, *self.values]:
            if name not in TABLES:
                raise ValueError(f"{name} is no table of the contract; see docs/spec/personnel.md")
        for name, table in TABLES.items():
            if (name in self.tables) == (name in self.absent):
                raise ValueError(f"table {name}: give its place under tables or list it under absent, one of the two")
            if name in self.absent and table.required:
                raise ValueError(f"table {name}: must be there; no feature makes sense without it")
            known = {column.name: column for column in table.columns}
            for column in [*self.mapping.get(name, {}), *self.values.get(name, {})]:
                if column not in known:
                    raise ValueError(f"{name}.{column} is no column of the contract; see docs/spec/personnel.md")
            for column, source in self.mapping.get(name, {}).items():
                if not source and not known[column].optional:
                    raise ValueError(f"{name}.{column} may not be empty, so it must be mapped to a column")
            for column, translation in self.values.get(name, {}).items():
                allowed = known[column].allowed
                if allowed and (wrong := sorted(set(translation.values()) - set(allowed))):
                    raise ValueError(f"{name}.{column}: {wrong[0]} is no allowed value; see docs/spec/personnel.md")
        return self

    @model_validator(mode="after")
    def _places_can_be_reached(self) -> Self:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("time_zone: no zone of this name, as in Europe/London") from None
        if self.database is None and any(place.startswith(POSTGRES) for place in self.tables.values()):
            raise ValueError("database: a table is in PostgreSQL, so name the file with the connection URI")
        return self

    @classmethod
    def load(cls, path: Path) -> PersonnelSettings:
        """Return the settings of a file; relative paths are relative to its folder.

        Raises: ConfigurationError naming the file and the first wrong field.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path}: not a readable TOML file: {error}") from None
        try:
            settings = cls.model_validate(content)
        except ValidationError as error:
            raise ConfigurationError(f"{path}: {describe(error)}") from None
        folder = path.resolve().parent
        places = {
            name: place if place.startswith(POSTGRES) else str(folder / place)
            for name, place in settings.tables.items()
        }
        database = None if settings.database is None else folder / settings.database
        return settings.model_copy(update={"tables": places, "database": database})

    @property
    def zone_of_naive(self) -> str | None:
        """Return the zone in which times without one are read; None: they are refused."""
        return {"refuse": None, "local": self.time_zone, "utc": "UTC"}[self.naive_times]

    def source_column(self, table: str, column: str) -> str:
        """Return what the source calls a column; empty: it has none."""
        return self.mapping.get(table, {}).get(column, column)


def is_personnel(path: Path) -> bool:
    """Say whether a TOML file is one of these settings, and not a node's: it has a table of tables."""
    try:
        return "tables" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        # Whoever loads it says what is wrong.
        return False
