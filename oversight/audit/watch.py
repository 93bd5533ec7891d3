"""Following the log as it grows: what one look accepted, every later look must find unchanged, also after a restart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ForkDetected, ProtocolError
from protocol.history.files import follow_files
from protocol.history.mirror import Mirror
from protocol.ids import Digest
from protocol.rpc.party import CheckpointFile, read_file


@dataclass(frozen=True, slots=True)
class Growth:
    """What one look found."""

    size: int
    root: str
    leaves_by_kind: dict[str, int]
    """Of the leaves that were not there at the look before."""


class Watch:
    """An auditor's memory of one published log."""

    def __init__(self, directory: Path, *, genesis: Digest, state: Path) -> None:
        """Look at nothing yet. Raises: ForkDetected if evidence of a fork is kept in ``state``."""
        state.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._genesis = genesis
        self._memory = CheckpointFile(state)
        self._mirror = self._anew()

    def _anew(self) -> Mirror:
        return Mirror(genesis=self._genesis, remembered=self._memory.load())

    def look(self) -> Growth:
        """Return what is new, all of it checked; the checkpoint is remembered durably.

        Raises: ForkDetected, after both checkpoints are stored; ConfigurationError if a file is missing; any rule that a
            leaf breaks. After a failure other than a fork the next look reads everything anew.
        """
        before = self._mirror.size
        try:
            follow_files(self._mirror, lambda name: read_file(self._directory / name))
        except ForkDetected:
            if self._mirror.evidence is not None:
                self._memory.keep_evidence(self._mirror.evidence)
            raise
        except ProtocolError:
            self._mirror = self._anew()
            raise
        history = self._mirror.history
        if self._mirror.checkpoint is not None:
            self._memory.remember(self._mirror.checkpoint)
        new = Counter(skeleton.kind for skeleton in history.skeletons[before:])
        return Growth(self._mirror.size, history.tree.root().hex(), dict(sorted(new.items())))
