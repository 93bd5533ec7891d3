"""Every RPC times every role, in one table."""

from __future__ import annotations

from typing import Final, get_args

from protocol.ids import Role

EVERYBODY: Final[frozenset[Role]] = frozenset(get_args(Role))

ACCESS: Final[dict[str, frozenset[Role]]] = {
    "/custodes.rpc.v1.Federation/Connect": frozenset({"borough"}),
    "/custodes.rpc.v1.Log/Read": EVERYBODY,
    "/custodes.rpc.v1.Register/Proposals": frozenset({"custodian"}),
    "/custodes.rpc.v1.Register/Endorse": frozenset({"custodian"}),
    "/custodes.rpc.v1.Register/RaiseFlags": frozenset({"borough"}),
    "/custodes.rpc.v1.Register/Shares": frozenset({"custodian"}),
    "/custodes.rpc.v1.Register/Flags": frozenset({"issuer", "coordinator"}),
    "/custodes.rpc.v1.Register/Submit": frozenset({"issuer", "custodian", "investigator", "borough", "coordinator"}),
    "/custodes.rpc.v1.Register/Cases": frozenset(
        {"issuer", "custodian", "investigator", "borough", "coordinator", "auditor"}
    ),
    "/custodes.rpc.v1.Register/Open": frozenset({"investigator"}),
    "/custodes.rpc.v1.Unmasker/NewPlanKey": frozenset({"coordinator"}),
    "/custodes.rpc.v1.Unmasker/Commit": frozenset({"coordinator"}),
    "/custodes.rpc.v1.Unmasker/Reveal": frozenset({"coordinator"}),
    "/custodes.rpc.v1.Unmasker/ClosePlan": frozenset({"coordinator"}),
    "/custodes.rpc.v1.Witness/AddCheckpoint": frozenset({"coordinator"}),
    "/grpc.health.v1.Health/Check": EVERYBODY,
}
"""An RPC that is not here is refused to everybody. ``Health/Watch`` is not: a watch never ends, and each would hold one of
a server's threads, so that any party could take them all.
"""
