"""The settings of the oversight roles; every field has a heading in docs/settings.md."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from protocol.ids import Role
from protocol.keys.uri import KeyUriField
from protocol.rpc.allowance import CALLS_PER_MINUTE
from protocol.rpc.party import PartySettings


class UnmaskerSettings(PartySettings):
    """The data-protection office's unmasker."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="OVERSIGHT_")
    role: ClassVar[Role] = "unmasker"

    listen: str
    """``host:port`` to listen on."""
    calls_per_minute: int = Field(default=CALLS_PER_MINUTE, ge=60)
    """How often one party may call one method."""


class WitnessSettings(PartySettings):
    """A witness of the log."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="OVERSIGHT_")
    role: ClassVar[Role] = "witness"

    listen: str
    """``host:port`` to listen on."""
    calls_per_minute: int = Field(default=CALLS_PER_MINUTE, ge=60)
    """How often one party may call one method."""


class CustodianSettings(PartySettings):
    """A custodian's desk."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="OVERSIGHT_")
    role: ClassVar[Role] = "custodian"

    envelope_keys: KeyUriField
    """Folder of this custodian's HPKE keys, one for each retention epoch that has not ended."""


class IssuerSettings(PartySettings):
    """A warrant issuer's desk."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="OVERSIGHT_")
    role: ClassVar[Role] = "issuer"


class AuditorSettings(PartySettings):
    """An auditor who fetches what is disclosed; checking needs no settings."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="OVERSIGHT_")
    role: ClassVar[Role] = "auditor"


class InvestigatorSettings(PartySettings):
    """An investigator's desk."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="OVERSIGHT_")
    role: ClassVar[Role] = "investigator"
