"""Where the coordinator's database is: a SQLite file in its state directory, or a PostgreSQL database by its URL.

Rules this module keeps: a password stands in a file or in the environment, never in the URL and never in an error; a
database on another machine is reached by TLS, its certificate and name checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import sqlalchemy as sa

from coordinator.settings import CoordinatorSettings
from protocol.errors import ConfigurationError

DATABASE = "coordinator.sqlite"
"""The file's name in the coordinator's state directory."""
DRIVER = "postgresql+psycopg"
CONNECT_SECONDS = "10"
NOT_IN_URL = frozenset({"password", "sslpassword", "service", "hostaddr"})
"""Secrets, and what would lead elsewhere than the host that is looked at here."""
HERE = frozenset({"", "localhost", "127.0.0.1", "::1"})

Place = Path | sa.URL
"""What ``Database`` opens."""


def database_place(settings: CoordinatorSettings) -> Place:
    """Return where the settings say that the database is. Raises: ConfigurationError naming the field, never its value."""
    if settings.database is None:
        if settings.database_password is not None:
            raise ConfigurationError("field database_password: a SQLite file has no password; name a database")
        return settings.state / DATABASE
    try:
        url = sa.make_url(settings.database)
    except sa.exc.ArgumentError:
        raise ConfigurationError("field database: needs a URL, postgresql://USER@HOST:PORT/NAME") from None
    if url.drivername != "postgresql":
        raise ConfigurationError("field database: needs a postgresql:// URL; without one a SQLite file is used")
    if url.password or NOT_IN_URL & url.query.keys():
        raise ConfigurationError(
            "field database: no password, service or hostaddr may stand in it; name a file in database_password, or set "
            "PGPASSWORD"
        )
    if not all(_is_here(host) for host in _hosts(url)) and url.query.get("sslmode") != "verify-full":
        raise ConfigurationError(
            "field database: a server on another machine needs ?sslmode=verify-full, and sslrootcert=FILE beside it"
        )
    url = url.set(drivername=DRIVER).update_query_dict({"connect_timeout": CONNECT_SECONDS} | dict(url.query))
    return url if settings.database_password is None else url.set(password=_password(settings.database_password))


def _hosts(url: sa.URL) -> Iterable[str]:
    named = url.query.get("host", ())
    listed = (named,) if isinstance(named, str) else named
    return (url.host or "", *(part for one in listed for part in one.split(",")))


def _is_here(host: str) -> bool:
    """Return whether a host is this machine: a loopback address, or the folder of a socket."""
    return host in HERE or host.startswith("/")


def _password(path: Path) -> str:
    try:
        password = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"field database_password: {path} cannot be read") from None
    if not password or "\n" in password:
        raise ConfigurationError(f"field database_password: {path} needs one line")
    return password
