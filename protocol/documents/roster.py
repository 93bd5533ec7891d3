"""The roster: who takes part, with which keys, and how many must agree. The root of trust."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from protocol.documents.base import Document, Instant, Value
from protocol.errors import UnknownSigner
from protocol.ids import Digest, HexKey, Name, PartyId, Role, key_id


class Party(Value):
    """One party: one role, one signing key, one TLS key."""

    id: PartyId
    role: Role
    signing_key: Annotated[HexKey, Field(min_length=64, max_length=64)]
    tls_key: Digest
    """SHA-256 of the SubjectPublicKeyInfo of its TLS certificate."""
    hpke_key: HexKey | None
    """A custodian's envelope key for the roster's retention epoch; None for every other role."""
    conflicts: tuple[PartyId, ...]
    """Boroughs for which this custodian must not decide."""


class Budget(Value):
    """What all plans of one purpose may spend together in any 365 days."""

    purpose: Name
    rho: float = Field(gt=0)
    """Zero-concentrated privacy loss, mu**2 / 2."""


class Roster(Document):
    """A version of the roster. Version n+1 is valid when the quorum of version n signed it."""

    payload_type: ClassVar[str] = "application/vnd.custodes.roster.v1+json"

    force: PartyId
    version: int = Field(ge=1)
    previous: Digest | None
    valid_from: Instant
    epoch: int = Field(ge=1)
    """Retention epoch of the custodians' envelope keys."""
    epoch_until: Instant
    approval_threshold: int = Field(ge=2)
    parties: tuple[Party, ...]
    budgets: tuple[Budget, ...]

    @model_validator(mode="after")
    def _parties_are_distinct_and_sufficient(self) -> Self:
        if (self.version == 1) != (self.previous is None):
            raise ValueError("only version 1 has no previous roster")
        if self.epoch_until <= self.valid_from:
            raise ValueError("epoch_until must be after valid_from")
        for field in ("id", "signing_key", "tls_key", "hpke_key"):
            counts = Counter(value for party in self.parties if (value := getattr(party, field)) is not None)
            if repeated := [value for value, count in counts.items() if count > 1]:
                raise ValueError(f"{field} {repeated[0][:16]} stands twice: a key or id belongs to one party")
        for role in ("coordinator", "unmasker"):
            if len(self.with_role(role)) != 1:
                raise ValueError(f"exactly one {role} is needed")
        if not self.with_role("witness"):
            raise ValueError("at least one witness is needed")
        boroughs = {party.id for party in self.with_role("borough")}
        for party in self.parties:
            if (party.role == "custodian") != (party.hpke_key is not None):
                raise ValueError(f"{party.id}: custodians, and only they, have an hpke_key")
            if party.conflicts and (party.role != "custodian" or not boroughs.issuperset(party.conflicts)):
                raise ValueError(f"{party.id}: conflicts are for custodians and name boroughs")
        for borough in boroughs:
            if len(self.deciding_custodians(borough)) < self.approval_threshold:
                raise ValueError(f"borough {borough}: custodians without a conflict do not reach the threshold")
        if len({budget.purpose for budget in self.budgets}) != len(self.budgets):
            raise ValueError("a purpose has one budget")
        return self

    def with_role(self, role: Role) -> tuple[Party, ...]:
        """Return the parties of a role, in roster order."""
        return tuple(self.by_id.get(role, {}).values())

    @cached_property
    def by_id(self) -> Mapping[Role, Mapping[PartyId, Party]]:
        """The parties of each role by id, in roster order."""
        found: dict[Role, dict[PartyId, Party]] = {}
        for party in self.parties:
            found.setdefault(party.role, {})[party.id] = party
        return found

    @cached_property
    def by_key_id(self) -> Mapping[Role, Mapping[Digest, Party]]:
        """The parties of each role by the id of their signing key."""
        return {role: {key_id(party.signing_key): party for party in of.values()} for role, of in self.by_id.items()}

    def deciding_custodians(self, borough: PartyId) -> tuple[Party, ...]:
        """Return the custodians without a conflict for this borough."""
        return tuple(party for party in self.with_role("custodian") if borough not in party.conflicts)

    @property
    def witness_majority(self) -> int:
        """How many witnesses must cosign a checkpoint."""
        return len(self.with_role("witness")) // 2 + 1

    def party(self, party_id: PartyId, role: Role) -> Party:
        """Return the party of this id and role. Raises: UnknownSigner if there is none."""
        party = self.by_id.get(role, {}).get(party_id)
        if party is not None:
            return party
        raise UnknownSigner(f"roster {self.version} names no {role} {party_id}")

    def budget(self, purpose: Name) -> float:
        """Return the rolling budget (rho) of a purpose; 0 if the roster gives it none."""
        return next((budget.rho for budget in self.budgets if budget.purpose == purpose), 0.0)
