"""Which schema a coordinator's database has, and the steps to the one that this version knows.

Rules this module keeps: an empty database gets the present schema; one of an earlier schema is left as it is until its
operator says ``migrate``; one of a later schema, or with tables that are none of ours, is never touched. All steps of one
migration are one transaction. There is no way back but the backup that was made before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from protocol.errors import SchemaOutdated, SchemaUnknown

if TYPE_CHECKING:
    # Alembic takes a third of a second to load; a database of the present schema is opened without it.
    from alembic.script import ScriptDirectory

FIRST, LATEST = "0001", "0002"
MIGRATIONS = Path(__file__).parent / "migrations"
BEFORE_ALEMBIC, SINCE_ALEMBIC = 3, 4
"""``PRAGMA user_version`` of version 0.1.0, which looked there, and the number by which it refuses what came after it."""

_stamp = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
"""Where Alembic keeps the revision."""


@dataclass(frozen=True, slots=True)
class Step:
    """One migration that a database lacks."""

    revision: str
    what: str


def revision_of(connection: sa.Connection) -> str | None:
    """Return the revision of a database, None of an empty one. Raises: SchemaUnknown if its tables are none of ours."""
    names = set(sa.inspect(connection).get_table_names())
    if _stamp.name in names:
        stamped: str | None = connection.execute(sa.select(_stamp.c.version_num)).scalar_one_or_none()
        if stamped is not None:
            return stamped
    if not names - {_stamp.name}:
        return None
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one() if _is_sqlite(connection) else None
    if version != BEFORE_ALEMBIC:
        number = "" if version is None else f" (schema {version})"
        raise SchemaUnknown(f"the database holds tables that no version of the coordinator made{number}")
    return FIRST


def require_latest(connection: sa.Connection, tables: sa.MetaData) -> None:
    """Return if the database has the present schema; an empty one has it afterwards.

    Args:
        tables: The present schema, to which all steps together lead; to make it at once is five times as fast.
    Raises: SchemaOutdated, SchemaUnknown; nothing was changed then.
    """
    present = revision_of(connection)
    if present is None:
        tables.create_all(connection)
        _stamp.create(connection, checkfirst=True)
        connection.execute(sa.insert(_stamp).values(version_num=LATEST))
        _shut_out_earlier_versions(connection)
    elif present != LATEST:
        steps = missing_steps(connection)
        raise SchemaOutdated(f"the database has schema {present}, {len(steps)} before {LATEST}")


def missing_steps(connection: sa.Connection) -> tuple[Step, ...]:
    """Return the migrations that a database lacks, the first first. Raises: SchemaUnknown if it is of a later version."""
    present = revision_of(connection)
    known = list(_scripts().walk_revisions())
    names = [script.revision for script in known]
    if present is not None and present not in names:
        raise SchemaUnknown(f"the database has schema {present}, this version knows {LATEST}")
    newer = known if present is None else known[: names.index(present)]
    return tuple(Step(script.revision, script.doc) for script in reversed(newer))


def migrate(connection: sa.Connection) -> tuple[Step, ...]:
    """Bring the database to the present schema, step by step, and return the steps. Raises: SchemaUnknown."""
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext

    steps = missing_steps(connection)
    if not steps:
        return ()
    context = MigrationContext.configure(connection)
    if steps[0].revision != FIRST and context.get_current_revision() is None:
        context.stamp(_scripts(), FIRST)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    _shut_out_earlier_versions(connection)
    return steps


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(MIGRATIONS))


def _shut_out_earlier_versions(connection: sa.Connection) -> None:
    if _is_sqlite(connection):
        connection.exec_driver_sql(f"PRAGMA user_version = {SINCE_ALEMBIC}")


def _is_sqlite(connection: sa.Connection) -> bool:
    return connection.dialect.name == "sqlite"
