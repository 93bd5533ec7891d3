"""All rows of one coordinator's database into another, whichever of the two kinds each is."""

from __future__ import annotations

import sqlalchemy as sa

from coordinator.store.database import metadata

ROWS_AT_ONCE = 50
"""A row may hold a masked vector of megabytes."""


def copy_rows(source: sa.Connection, target: sa.Connection) -> None:
    """Add all rows of ``source`` to ``target``, which has none with the same keys. Raises: as the databases do."""
    for table in metadata.sorted_tables:
        rows = source.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(table)).mappings()
        for batch in rows.partitions(ROWS_AT_ONCE):
            target.execute(sa.insert(table), [dict(row) for row in batch])
