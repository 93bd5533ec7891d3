"""The one exchange of a private sum, each side as a pure function.

borough: ``mask_contribution``  →  unmasker: ``check_statements`` and ``sum_of_masks``  →  coordinator: ``reveal_sum``.
What the unmasker checks is here and not in its service, because the log's readers repeat it (protocol.history).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protocol.aggregation import masks, tags
from protocol.aggregation.encoding import Int64Array, UInt64Array, check_range, range_bound
from protocol.aggregation.masks import MaskPrivateKey
from protocol.documents.plan import ReleaseRequest, ReleaseSpec, Statement, TrainingPlan
from protocol.documents.roster import Roster
from protocol.errors import CohortTooSmall, IndexOutOfTurn, ReleaseRefused
from protocol.ids import Digest, HexKey, PartyId
from protocol.signing.dsse import Envelope
from protocol.signing.quorum import verify_signed_by_role


class InconsistentRequests(ReleaseRefused):
    """Boroughs signed different requests for one index: somebody got another model (Pasquini et al. 2022)."""

    code = "release.inconsistent_requests"
    public_message = "The boroughs were not all asked the same."


class DuplicateSigner(ReleaseRefused):
    """One borough or one key stands twice in a set of statements."""

    code = "release.duplicate_signer"
    public_message = "A borough stands twice in the set."


class NotOfPlan(ReleaseRefused):
    """A statement is by a borough outside the plan, or by one that speaks for another."""

    code = "release.not_of_plan"
    public_message = "A statement is not by a borough of this plan."


class StatementReplayed(ReleaseRefused):
    """A statement was made for another plan or index."""

    code = "release.replayed"
    public_message = "A statement was made for another plan or index."


class StatementsUnordered(ReleaseRefused):
    """The statements of a set are not in the one order that makes its receipt unique."""

    code = "release.unordered"
    public_message = "The statements are not ordered by borough."


@dataclass(frozen=True, slots=True)
class MaskedContribution:
    """What a borough sends: its fresh public key and the masked bytes."""

    public_key: HexKey
    vector: bytes


def mask_contribution(
    noised: Int64Array, *, request: Digest, tag_seed: Digest, borough: PartyId, unmasker_key: HexKey
) -> MaskedContribution:
    """Return the noised vector, tagged and masked under a key made for this call and forgotten after it.

    Args:
        noised: Encoded sum plus noise, shape (length,), ring units.
    """
    own = MaskPrivateKey.generate()
    key = own.agree(unmasker_key, request=request, borough=borough, borough_key=own.public)
    vector = tags.with_tags(masks.to_ring(noised), tag_seed)
    masks.add_keystreams(vector, key)
    return MaskedContribution(own.public, masks.vector_bytes(vector))


def check_statements(
    envelopes: Sequence[Envelope], *, request: Digest, index: int, plan: TrainingPlan, roster: Roster
) -> tuple[Statement, ...]:
    """Return the statements if they may be unmasked together, ordered by borough.

    Raises: NotOfPlan, StatementReplayed, InconsistentRequests, DuplicateSigner, StatementsUnordered, CohortTooSmall;
        UnknownSigner or BadSignature.
    Source: ARCHITECTURE.md, private sums, step 4.
    """
    plan_digest, members = plan.digest(), plan.members
    statements = []
    for envelope in envelopes:
        statement, signer = verify_signed_by_role(envelope, Statement, roster, "borough")
        if statement.borough != signer.id or signer.id not in members:
            raise NotOfPlan(f"signer {signer.id}")
        if (statement.plan, statement.index) != (plan_digest, index):
            raise StatementReplayed(f"borough {signer.id} speaks of another plan or index")
        if statement.request != request:
            raise InconsistentRequests(f"borough {signer.id} signed request {statement.request[:16]}")
        statements.append(statement)
    for field in ("borough", "public_key", "vector"):
        if len({getattr(statement, field) for statement in statements}) != len(statements):
            raise DuplicateSigner(f"field {field} repeats")
    if [statement.borough for statement in statements] != sorted(statement.borough for statement in statements):
        raise StatementsUnordered(f"index {index}")
    if len(statements) < plan.privacy.min_boroughs:
        raise CohortTooSmall(f"{len(statements)} of {plan.privacy.min_boroughs} boroughs")
    return tuple(statements)


def sum_of_masks(statements: Sequence[Statement], *, key: MaskPrivateKey, length: int) -> UInt64Array:
    """Return the sum of the masks of these statements, shape (length + tags,), modulo 2**64."""
    total = np.zeros(length + tags.TAGS, dtype=np.uint64)
    mask_keys = [
        key.agree(
            statement.public_key,
            request=statement.request,
            borough=statement.borough,
            borough_key=statement.public_key,
        )
        for statement in statements
    ]
    masks.add_keystreams(total, *mask_keys)
    return total


def reveal_sum(
    masked_sum: bytes, mask_sum: bytes, *, spec: ReleaseSpec, plan: TrainingPlan, tag_seed: Digest
) -> Int64Array:
    """Return the noised sum in ring units, range and tags checked.

    Args:
        masked_sum: Sum of the boroughs' masked vectors, in wire form like the sum of their masks.
    Raises: ShapeMismatch, SumInvalid.
    """
    size = spec.length + tags.TAGS
    masked, mask = (masks.vector_from_bytes(content, length=size) for content in (masked_sum, mask_sum))
    plain = masks.remove_masks(masked, mask)
    sums = masks.from_ring(tags.without_tags(plain, tag_seed))
    check_range(sums, bound=plan_range(plan, spec))
    return sums


def plan_range(plan: TrainingPlan, spec: ReleaseSpec) -> float:
    """Return the range bound of one release with every borough answering."""
    spread = len(plan.boroughs) / (plan.privacy.min_boroughs - plan.privacy.colluding)
    return range_bound(
        people=plan.people,
        rows_per_person=plan.privacy.rows_per_person,
        l2=spec.l2,
        scale=plan.scale,
        sigma_ring=spec.sigma * plan.scale * math.sqrt(spread),
    )


def check_request(request: ReleaseRequest, *, plan: TrainingPlan, roster: Roster, index: int, step: int) -> ReleaseSpec:
    """Return the plan's entry for a request if it is the one allowed next.

    Args:
        index: The index that may be asked for next: it counts releases and burnt indices.
        step: Place in the plan of the first release that is not published.
    Raises: ReleaseRefused naming the field, IndexOutOfTurn.
    """
    if request.plan != plan.digest() or request.roster != roster.digest():
        raise ReleaseRefused("field plan or roster: the request is for another plan or roster version")
    if request.index != index or step >= len(plan.releases):
        raise IndexOutOfTurn(f"field index: {request.index} is not the next one, {index}")
    spec = plan.releases[step]
    if (request.function, request.length) != (spec.function, spec.length):
        raise ReleaseRefused("field function or length: not what the plan says for this index")
    return spec
