from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from protocol.documents.cases import Approval, Opening, Warrant, WarrantFlag
from protocol.ids import digest_of
from tests.federation import Federation, number

FORCE = Federation()


NAMED = WarrantFlag(flag_id=number(1), header=digest_of(b"header 1"))


def warrant(**changes: object) -> Warrant:
    fields = {name: getattr(WARRANT, name) for name in Warrant.model_fields}
    return Warrant(**(fields | changes))


WARRANT = FORCE.warrant_for((NAMED,))
APPROVAL_FIELDS = {
    "warrant": WARRANT.digest(),
    "flag_id": number(1),
    "header": digest_of(b"header 1"),
    "custodian": "custodian-1",
    "roster_version": 1,
    "decision": "approve",
    "reasons": "Synthetic reasons for a test.",
    "share_index": 1,
    "sealed_share": "aabb",
    "decided_at": FORCE.clock.now(),
}


def test_a_warrant_reads_back_as_itself():
    assert Warrant.decode(WARRANT.encode()) == WARRANT


@pytest.mark.parametrize(
    "changes",
    [
        {"flags": ()},
        {"flags": WARRANT.flags * 2},
        {"valid_until": WARRANT.valid_from},
        {"valid_until": WARRANT.valid_from - timedelta(days=1)},
        {"necessity": "short"},
        {"purpose": ""},
        {"regime": "none"},
        {"recipient_key": "zz"},
    ],
)
def test_a_warrant_without_flags_reasons_or_validity_is_refused(changes):
    with pytest.raises(ValidationError):
        warrant(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"sealed_share": None},
        {"decision": "refuse"},
        {"decision": "perhaps"},
        {"share_index": 0},
        {"share_index": 256},
        {"reasons": "no"},
    ],
)
def test_only_an_approval_carries_a_share_and_every_decision_its_reasons(changes):
    assert Approval(**APPROVAL_FIELDS).sealed_share == "aabb"
    with pytest.raises(ValidationError):
        Approval(**(APPROVAL_FIELDS | changes))


def test_an_opening_names_at_least_two_approvals():
    fields = {
        "warrant": WARRANT.digest(),
        "flag_id": number(1),
        "header": digest_of(b"header 1"),
        "investigator": "investigator",
        "approvals": (digest_of(b"1"), digest_of(b"2")),
        "opened_at": FORCE.clock.now(),
    }
    assert len(Opening(**fields).approvals) == 2
    with pytest.raises(ValidationError):
        Opening(**(fields | {"approvals": (digest_of(b"1"),)}))
