"""What ``custodes node init`` writes for an operator with CSV exports: settings to fill in, and empty tables as a guide."""

from __future__ import annotations

from pathlib import Path

from borough_node.sources.contract import TABLES, Table
from protocol.errors import ConfigurationError, StorageError
from protocol.ids import PartyId

SETTINGS = "personnel.toml"

_TOP = """# Where this borough's personnel tables are. Every table and column: docs/spec/personnel.md.
#
# 1. Put the exports into exports/ (UTF-8, comma, a header line; an empty field is an empty value).
#    templates/ holds an empty file with the header line of each table. Other column names: see [mapping] below.
# 2. A table that you do not have: take its line out of [tables] and put its name into absent.
# 3. custodes node check personnel.toml   says what is wrong, row by row, and what to do. Repeat until it says usable.

borough = "{borough}"           # as it stands in postings.borough

# The zone in which days and nights are counted, and how times without a zone ("2025-03-01 08:00:00") are read:
# "local" in that zone, "utc", or "refuse". Export times with their zone ("2025-03-01T08:00:00Z") if you can: local times
# are ambiguous for an hour every autumn.
time_zone = "Europe/London"
naive_times = "local"

# How the exports write dates and times, if not as 2025-03-01 and 2025-03-01 08:00:00 (codes as in strptime).
# date_format = "%d/%m/%Y"
# time_format = "%d/%m/%Y %H:%M"

# Events before this day are not read.
# since = 2024-01-01

# Tables that this borough does not have. {required} must be there.
absent = []

# A PostgreSQL database: a file, readable by the node only, with one line postgresql://user:password@host/database
# database = "database.uri"

[tables]
# A file, .csv or .parquet, or "postgresql:schema.relation".
"""

_END = """
# Your column names, where they differ: contract's name = your name. "" says that you have no such column; that is allowed
# where the contract says "may be empty".
[mapping.staff]
# staff_no = "EMP_ID"
# vetting_renewed_on = ""

# Your codes, where they differ: your code = contract's value.
[values.postings.rank]
# PC = "constable"
# DS = "sergeant"
"""


def skeleton(borough: PartyId) -> dict[str, str]:
    """Return the files of a new folder: relative path to content."""
    required = ", ".join(table.name for table in TABLES.values() if table.required)
    lines = "".join(f'{name} = "exports/{name}.csv"\n' for name in TABLES)
    settings = _TOP.format(borough=borough, required=required) + lines + _END
    templates = {f"templates/{name}.csv": _header(table) for name, table in TABLES.items()}
    return {SETTINGS: settings, **templates}


def write_skeleton(directory: Path, files: dict[str, str]) -> None:
    """Write the files into a folder that holds none of them yet, and make ``exports`` for the operator's own.

    Raises: ConfigurationError if one is there already; StorageError.
    """
    if there := sorted(name for name in files if (directory / name).exists()):
        raise ConfigurationError(f"{directory / there[0]}: there already; choose another folder")
    try:
        (directory / "exports").mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            (directory / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{directory}: {type(error).__name__}: {error.strerror}") from None


def _header(table: Table) -> str:
    return ",".join(column.name for column in table.columns) + "\n"
