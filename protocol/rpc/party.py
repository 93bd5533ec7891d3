"""What every party has: an id, a state directory, a signing key, TLS files, and the roster it trusts.

Settings come from a TOML file; environment variables override it (``BOROUGH_NODE_``, ``COORDINATOR_``, ``OVERSIGHT_``).
Relative paths are relative to the file.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from protocol.documents.base import describe
from protocol.documents.roster import Roster
from protocol.durable import write_durably
from protocol.errors import ConfigurationError, ForkDetected
from protocol.history.mirror import Evidence
from protocol.ids import Digest, PartyId, Role
from protocol.keys.keyfile import read_key
from protocol.keys.passphrase import Passphrase, passphrase_source
from protocol.keys.uri import KeyUri, KeyUriField
from protocol.log.note import SignedCheckpoint
from protocol.rpc.channel import TLSFiles
from protocol.rpc.rosters import RosterBook
from protocol.signing.dsse import Envelope
from protocol.signing.keys import SigningKey


class PartySettings(BaseSettings):
    """Settings that all parties share."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")
    role: ClassVar[Role]

    id: PartyId
    state: Path
    """Directory of this party's durable state."""
    roster: Path
    """The first roster, signed by its custodians."""
    genesis: Digest
    """Digest of the first roster: the root of trust, given to this party by hand."""
    signing_key: KeyUriField
    """Where the Ed25519 key is kept."""
    passphrase_file: Path | None = None
    """File with the passphrase of this party's sealed key files."""
    passphrase_fd: int | None = None
    """File descriptor from which the passphrase is read; with neither, a person at the terminal is asked."""
    tls_ca: Path
    tls_certificate: Path
    tls_key: Path
    coordinator: str
    """``host:port`` of the coordinator."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, which arrives as init values."""
        return env_settings, init_settings

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the settings of a TOML file. Raises: ConfigurationError naming the file and the field."""
        try:
            fields = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path}: {error}") from None
        try:
            settings = cls(**fields)
        except ValidationError as error:
            raise ConfigurationError(f"{path}: {describe(error)}") from None
        base = path.resolve().parent
        paths = {name: base / value for name, value in settings if isinstance(value, Path)}
        keys = {name: value.under(base) for name, value in settings if isinstance(value, KeyUri)}
        return settings.model_copy(update=paths | keys)

    def tls(self) -> TLSFiles:
        """Return this party's TLS material."""
        return TLSFiles(self.tls_ca, self.tls_certificate, self.tls_key)

    @cached_property
    def passphrase(self) -> Passphrase:
        """How to get the passphrase of this party's sealed key files, asked for once."""
        return passphrase_source(file=self.passphrase_file, descriptor=self.passphrase_fd)

    def open_signing_key(self) -> SigningKey:
        """Return this party's signing key. Raises: ConfigurationError, WrongPassphrase, KeyCustodyUnsupported."""
        return read_signing_key(self.signing_key.path(), self.passphrase)


@dataclass(frozen=True, slots=True)
class Party:
    """A party that has opened its keys and checked its roster."""

    settings: PartySettings
    signing_key: SigningKey
    rosters: RosterBook

    @property
    def roster(self) -> Roster:
        """The newest roster that this party knows."""
        return self.rosters.current

    @classmethod
    def open(cls, settings: PartySettings) -> Party:
        """Return the party of these settings.

        Raises: ConfigurationError if a file is missing or the roster is not the configured one, or if the newest version
            known here does not name this party in its role, or names another signing key for it; QuorumNotMet if its
            custodians did not sign it.
        """
        key = settings.open_signing_key()
        rosters = roster_book(settings)
        roster = rosters.current
        entry = roster.by_id.get(settings.role, {}).get(settings.id)
        if entry is None:
            raise ConfigurationError(f"field id: roster {roster.version} names no {settings.role} {settings.id}")
        if entry.signing_key != key.public:
            raise ConfigurationError(f"field signing_key: roster {roster.version} names another key for this party")
        settings.state.mkdir(parents=True, exist_ok=True)
        return cls(settings, key, rosters)


def roster_book(settings: PartySettings) -> RosterBook:
    """Return the rosters that a party knows, from the configured first one on.

    Raises: ConfigurationError if the first one is missing or another one; QuorumNotMet if its custodians did not sign it.
    """
    envelope = Envelope.decode(read_file(settings.roster))
    if envelope.document(Roster).digest() != settings.genesis:
        raise ConfigurationError("field roster: the file's digest is not the configured genesis")
    return RosterBook(settings.state / "rosters", first=envelope, genesis=settings.genesis)


class CheckpointFile:
    """A party's last accepted checkpoint and the evidence of a fork, as files in its state directory."""

    def __init__(self, directory: Path) -> None:
        self._latest = directory / "checkpoint"
        self._evidence = directory / "fork-evidence"

    def load(self) -> SignedCheckpoint | None:
        """Return the stored checkpoint. Raises: ForkDetected if evidence of a fork is kept here."""
        if self._evidence.exists():
            raise ForkDetected(f"evidence is kept in {self._evidence}")
        return SignedCheckpoint.decode(self._latest.read_bytes()) if self._latest.exists() else None

    def remember(self, signed: SignedCheckpoint) -> None:
        """Replace the stored checkpoint durably."""
        write_durably(self._latest, signed.encode())

    def keep_evidence(self, evidence: Evidence) -> None:
        """Keep both checkpoints of a fork."""
        self._evidence.mkdir(exist_ok=True)
        write_durably(self._evidence / "earlier", evidence.earlier)
        write_durably(self._evidence / "later", evidence.later)


def read_file(path: Path) -> bytes:
    """Return a file's bytes. Raises: ConfigurationError naming the file if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """Return a file's text. Raises: ConfigurationError, also if it is not UTF-8: half a name is another person's."""
    try:
        return read_file(path).decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8 text; save it as that") from None


def read_signing_key(path: Path, passphrase: Passphrase) -> SigningKey:
    """Return the Ed25519 key in a key file. Raises: ConfigurationError naming the file; WrongPassphrase."""
    return SigningKey(read_key(path, kind="signing", passphrase=passphrase).reveal())
