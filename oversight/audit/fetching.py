"""Fetching what the register discloses to an auditor: bodies and salts, each found in the witnessed log."""

from __future__ import annotations

from oversight.audit.disclosed import FORMAT, DisclosedLeaf, Disclosure
from protocol.rpc.connection import CALL_SECONDS, Connection, typed_errors
from protocol.rpc.v1 import register_pb2
from protocol.signing.dsse import Envelope


def fetch_disclosure(connection: Connection) -> Disclosure:
    """Return all that is disclosed to this auditor now.

    Raises: NotLogged, MalformedDocument if the register shows something else than it logged; PeerUnreachable.
    """
    with typed_errors():
        shown = list(connection.register.Cases(register_pb2.CasesRequest(), timeout=CALL_SECONDS))
    connection.reader.sync()
    leaves = []
    for case in shown:
        connection.require_logged(case.kind, Envelope.decode(case.envelope), index=case.index, salt=case.salt)
        leaves.append(
            DisclosedLeaf(index=case.index, kind=case.kind, salt=case.salt.hex(), body=case.envelope.decode())
        )
    return Disclosure(format=FORMAT, leaves=tuple(leaves))
