"""A custodian's shares on disk, each still sealed under the custodian's own key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protocol.documents.canonical import canonical_bytes, parse_canonical
from protocol.documents.reseal import ShareReseal
from protocol.durable import write_durably
from protocol.errors import StorageError
from protocol.ids import RandomId
from protocol.signing.dsse import Envelope


@dataclass(frozen=True, slots=True)
class HeldShare:
    """A flag's signed header and this custodian's sealed share of it."""

    envelope: Envelope
    sealed_share: bytes
    reseal: ShareReseal | None = None
    """The logged word about it, if the share is sealed to a later key than the borough sealed it to."""


class ShareStore:
    """One file a flag."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def _path(self, flag_id: RandomId) -> Path:
        return self._directory / f"{flag_id}.json"

    def flag_ids(self) -> frozenset[RandomId]:
        """Return the flags whose shares are held."""
        return frozenset(path.stem for path in self._directory.glob("*.json"))

    def store(self, flag_id: RandomId, held: HeldShare) -> None:
        """Store a share durably."""
        fields = {"envelope": held.envelope.encode().decode(), "sealed_share": held.sealed_share.hex()}
        if held.reseal is not None:
            fields["reseal"] = held.reseal.encode().decode()
        write_durably(self._path(flag_id), canonical_bytes(fields))

    def remove(self, flag_id: RandomId) -> bool:
        """Remove a share; return whether it was held."""
        path = self._path(flag_id)
        held = path.exists()
        path.unlink(missing_ok=True)
        return held

    def get(self, flag_id: RandomId) -> HeldShare | None:
        """Return a share, or None. Raises: StorageError if the file is not a share."""
        path = self._path(flag_id)
        if not path.exists():
            return None
        fields = parse_canonical(path.read_bytes())
        try:
            reseal = ShareReseal.decode(fields["reseal"].encode()) if "reseal" in fields else None
            envelope = Envelope.decode(fields["envelope"].encode())
            return HeldShare(envelope, bytes.fromhex(fields["sealed_share"]), reseal)
        except (KeyError, TypeError, ValueError):
            raise StorageError(f"{path} is not a stored share") from None
