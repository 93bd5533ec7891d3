"""The journal: who looked at whose score, who agreed, when and why; the log that DPA 2018 s.62 asks for.

Rules this module keeps: a row is durable before anything is shown; it names the person by pseudonym only; a request is
good for one row. The chain is the ledger's, in a file of its own: how often people were looked at leaves in no statement.
Whoever can write the file can replace it whole. That is found by a head that somebody else noted: ``require_head``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from borough_node.ledger.chain import LedgerEntry
from borough_node.ledger.rows import ChainedRows, chained_columns, make_guards, row_guards
from protocol.durable import DurableDatabase
from protocol.errors import ExplanationReplayed, StorageError
from protocol.ids import Digest, Name, PartyId, digest_of

SCHEMA_VERSION = 1
GENESIS: Final = digest_of(b"custodes/journal/v1\x00")
"""The hash that the first row follows."""

metadata = sa.MetaData()
entries = sa.Table(
    "entries",
    metadata,
    *chained_columns(),
    sa.Column("request", sa.String, sa.Computed("json_extract(CAST(content AS TEXT), '$.request')", persisted=False)),
)
GUARDS = dict(
    (
        ("one_row_for_a_request", "CREATE UNIQUE INDEX one_row_for_a_request ON entries (request)"),
        *row_guards("entries", "journal"),
    )
)
make_guards(metadata, GUARDS)
ROWS = ChainedRows(entries, GENESIS, "journal")


@dataclass(frozen=True, slots=True)
class Consultation:
    """One look at one person's explanation."""

    at: str
    request: Digest
    """Of the request document, whose 128 random bits are not in here: nobody finds the person by trying all of them."""
    policy: Digest
    category: Name
    pseudonym: Digest
    """As in a flag's header."""
    asked_by: PartyId
    asked_key: Digest
    """Key id."""
    agreed_by: PartyId
    agreed_key: Digest
    reason: str


class Journal(DurableDatabase):
    """One borough's consultations."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file. Raises: StorageError if it is of another schema or not whole."""
        super().__init__(
            path, tables=metadata, schema_version=SCHEMA_VERSION, journal_mode="DELETE", read_only=read_only
        )
        with self.transaction() as connection:
            ROWS.verify(connection)
            ROWS.verify_guards(connection, GUARDS)
            ROWS.verify_pages(connection)

    def record(self, consultation: Consultation) -> LedgerEntry:
        """Add a row durably. Raises: ExplanationReplayed if its request has one."""
        with self.writing() as connection:
            used = sa.select(sa.exists().where(entries.c.request == consultation.request))
            if connection.execute(used).scalar_one():
                raise ExplanationReplayed("the journal has a row of this request")
            return ROWS.append(connection, {"kind": "consultation", **asdict(consultation)})

    def entries(self) -> tuple[LedgerEntry, ...]:
        """Return all rows, oldest first."""
        with self.transaction() as connection:
            return ROWS.entries(connection)

    def head(self) -> tuple[int, Digest]:
        """Return the number of rows and the hash of the last."""
        with self.transaction() as connection:
            return ROWS.head(connection)

    def require_head(self, noted: Digest) -> int:
        """Return how many rows there were when the head was ``noted``. Raises: StorageError if it never was one."""
        with self.transaction() as connection:
            number = connection.execute(sa.select(entries.c.number).where(entries.c.hash == noted)).scalar_one_or_none()
        if number is None and noted != GENESIS:
            raise StorageError("no row of the journal has the noted hash: rows are gone, or it is another journal")
        return number or 0
