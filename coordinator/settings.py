"""The settings of the coordinator; every field has a heading in docs/settings.md."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from protocol.ids import PartyId, Role
from protocol.rpc.allowance import CALLS_PER_MINUTE
from protocol.rpc.party import PartySettings


class CoordinatorSettings(PartySettings):
    """The coordinator; its ``coordinator`` field is the address it listens on."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="COORDINATOR_", env_nested_delimiter="__")
    role: ClassVar[Role] = "coordinator"

    log_directory: Path
    """Where the log's static files are written."""
    unmasker: str
    """``host:port`` of the unmasker."""
    witnesses: dict[PartyId, str]
    """``host:port`` of each witness."""
    database: str | None = None
    """``postgresql://USER@HOST:PORT/NAME``; without it a SQLite file in ``state``."""
    database_password: Path | None = None
    """File with the password of that user."""
    server_threads: int = Field(ge=16)
    """Calls served at once; each borough's stream holds one."""
    calls_per_minute: int = Field(default=CALLS_PER_MINUTE, ge=60)
    """How often one party may call one method."""
