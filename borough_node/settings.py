"""The settings of a borough node; every field has a heading in docs/settings.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from protocol.ids import HexKey, PartyId, Role
from protocol.rpc.party import PartySettings


class NodeSettings(PartySettings):
    """One borough."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="BOROUGH_NODE_")
    role: ClassVar[Role] = "borough"

    table: Path | None = None
    """One row a person and cutoff, CSV or Parquet, read in place; None: ``personnel`` is given."""
    personnel: Path | None = None
    """TOML file that says where the tables of the personnel contract are; None: ``table`` is given."""
    catalogue: Path
    """TOML file whose ``[table]`` names the person and cutoff columns of the borough's table."""
    reply_slot_seconds: float = Field(gt=0)
    """Used for answers that no plan governs; a plan's own slot is never shorter."""
    operators: dict[PartyId, Annotated[HexKey, Field(min_length=64, max_length=64)]] = Field(default_factory=dict)
    """Public keys of those who may ask for explanations, by name; with fewer than two nothing is explained."""

    @model_validator(mode="after")
    def _rows_come_from_one_place(self) -> Self:
        if (self.table is None) == (self.personnel is None):
            raise ValueError("table, personnel: give the path of one of the two")
        return self
