"""The versions of the roster that a party knows, in its state directory.

A party begins with the first version, whose digest it was given by hand. It learns later ones from the log as it reads
it, or from a file that its operator accepts: whoever has to find a coordinator with a new key cannot read that in the
log of a coordinator whom it does not know. Either way the quorum of the version before has signed.

Rules this module keeps: a version is verified and durable before it counts; it counts at every door from then on; of one
version there is one document, and a second one stops whoever meets it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from protocol.documents.roster import Roster
from protocol.durable import write_durably
from protocol.errors import DigestMismatch
from protocol.history.public import PublicRecord
from protocol.ids import Digest
from protocol.signing.dsse import Envelope

BEGUN = date.max
"""The day on which versions are checked that began before: those on disk, and those in the witnessed log."""


class RosterBook:
    """One party's roster, all versions of it."""

    def __init__(self, directory: Path, *, first: Envelope, genesis: Digest) -> None:
        """Read what is stored. Raises: DigestMismatch, QuorumNotMet, KeyReused and others if a stored version is no roster."""
        self._directory = directory
        self._lock = threading.Lock()
        self._record = PublicRecord(genesis=genesis)
        self._record.apply("roster", first, BEGUN)
        while (path := self._path(self.current.version + 1)).exists():
            self._record.apply("roster", Envelope.decode(path.read_bytes()), BEGUN)

    @property
    def current(self) -> Roster:
        """The newest version."""
        return self._record.roster

    @property
    def envelopes(self) -> tuple[Envelope, ...]:
        """Every version as it was signed, from the first."""
        return tuple(self._record.roster_envelopes)

    @property
    def versions(self) -> tuple[Roster, ...]:
        """Every version, from the first."""
        return tuple(self._record.rosters)

    def checked(self, following: Sequence[Envelope]) -> Roster:
        """Return the newest version if these follow the present one; nothing changes.

        Raises: DigestMismatch, QuorumNotMet, RosterInvalid, KeyReused.
        """
        if not following:
            return self.current
        trial = PublicRecord(genesis=self._record.genesis)
        for envelope in (*self.envelopes, *following):
            trial.apply("roster", envelope, BEGUN)
        return trial.roster

    def check(self, envelope: Envelope, *, day: date) -> Roster:
        """Return the roster in an envelope if it may follow the present one on this day; who signed is not looked at.

        Raises: DigestMismatch, RosterInvalid, KeyReused.
        """
        return self._record.check_new_roster(envelope, day)

    def accept(self, envelope: Envelope, *, day: date) -> Roster:
        """Add the version that follows and return it; the present one, given again, changes nothing.

        Raises: as ``check`` and ``checked``.
        """
        with self._lock:
            if envelope.document(Roster).digest() != self.current.digest():
                self.check(envelope, day=day)
                self.checked((envelope,))
                self._add(envelope)
            return self.current

    def learn(self, logged: Sequence[Envelope]) -> None:
        """Add what the log shows beyond the present version.

        Args:
            logged: Every version in the log, from the first.
        Raises: DigestMismatch if the log shows another roster under a version that is known here: the quorum signed two.
        """
        with self._lock:
            for known, envelope in zip(self.versions, logged, strict=False):
                if envelope.document(Roster).digest() != known.digest():
                    raise DigestMismatch(f"the log's roster {known.version} is another one than is known here")
            for envelope in logged[len(self.versions) :]:
                self.checked((envelope,))
                self._add(envelope)

    def _add(self, envelope: Envelope) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        write_durably(self._path(envelope.document(Roster).version), envelope.encode())
        self._record.apply("roster", envelope, BEGUN)

    def _path(self, version: int) -> Path:
        return self._directory / f"{version}.json"
