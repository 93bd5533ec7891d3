"""Who signed what stands in the log, whatever became of the key since.

A key belongs to one party for ever (``succession``), so that its id names a party in whichever roster it stands.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.documents.flags import SealedFlag
from protocol.documents.roster import Party, Roster
from protocol.errors import EnvelopeInvalid, NotLogged
from protocol.history.leaves import commitment
from protocol.history.mirror import History
from protocol.ids import Digest, PartyId, Role, key_id
from protocol.signing.dsse import Envelope


def keys_of(rosters: Iterable[Roster], role: Role, party_id: PartyId) -> frozenset[Digest]:
    """Return the ids of all signing keys that a party has had."""
    entries = (roster.by_id.get(role, {}).get(party_id) for roster in rosters)
    return frozenset(key_id(entry.signing_key) for entry in entries if entry is not None)


def logged_flag(history: History, envelope: Envelope) -> tuple[SealedFlag, Party]:
    """Return a flag that the log holds, and the borough that signed it with the key it had then.

    Raises: NotLogged; EnvelopeInvalid if another borough signed it than its header names; BadSignature, MalformedDocument.
    """
    sealed = envelope.document(SealedFlag)
    signer = history.cases.flags.get(commitment(sealed.header.digest()))
    if signer is None or [signature.keyid for signature in envelope.signatures] != [signer]:
        raise NotLogged(f"flag {sealed.header.flag_id}")
    borough = next(found for one in history.public.rosters if (found := one.by_key_id.get("borough", {}).get(signer)))
    envelope.signed_by((borough.signing_key,))
    if borough.id != sealed.header.borough:
        raise EnvelopeInvalid("the flag is signed by another borough than it names")
    return sealed, borough
