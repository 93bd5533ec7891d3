"""The roster refuses to exist when keys are shared, roles are missing or a threshold cannot be reached."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from protocol.documents.roster import Budget, Party, Roster
from protocol.errors import UnknownSigner
from protocol.ids import digest_of
from tests.federation import PURPOSE, START, Federation, party, signing_key

FORCE = Federation()
PARTIES = FORCE.parties()


def replaced(name: str, **changes: object) -> tuple[Party, ...]:
    return tuple(
        Party(**(dict(one) | changes)) if one.id == name else one  # type: ignore[arg-type]
        for one in PARTIES
    )


def without(*names: str) -> tuple[Party, ...]:
    return tuple(one for one in PARTIES if one.id not in names)


def test_a_roster_reads_back_as_itself():
    assert Roster.decode(FORCE.roster.encode()) == FORCE.roster


@pytest.mark.parametrize(
    ("parties", "message"),
    [
        (replaced("custodian-2", signing_key=signing_key("custodian-1").public), "signing_key .* stands twice"),
        (replaced("witness-2", signing_key=signing_key("custodian-1").public), "signing_key .* stands twice"),
        (replaced("borough-2", tls_key=digest_of(b"tls borough-1")), "tls_key .* stands twice"),
        (replaced("custodian-2", hpke_key=party("custodian-1", "custodian").hpke_key), "hpke_key .* stands twice"),
        ((*PARTIES, party("borough-1", "auditor", signing_key="0f" * 32, tls_key="0e" * 32)), "id .* stands twice"),
        (without("coordinator"), "exactly one coordinator"),
        ((*PARTIES, party("coordinator-2", "coordinator")), "exactly one coordinator"),
        (without("unmasker"), "exactly one unmasker"),
        (without("witness-1", "witness-2", "witness-3"), "at least one witness"),
        (replaced("custodian-1", hpke_key=None), "have an hpke_key"),
        (replaced("issuer", hpke_key="aa"), "have an hpke_key"),
        (replaced("issuer", conflicts=("borough-1",)), "conflicts are for custodians"),
        (replaced("custodian-1", conflicts=("borough-99",)), "name boroughs"),
        (replaced("custodian-1", conflicts=("witness-1",)), "name boroughs"),
        (without("custodian-1", "custodian-2"), "do not reach the threshold"),
    ],
)
def test_parties_that_do_not_fit_together_are_refused(parties, message):
    with pytest.raises(ValidationError, match=message):
        FORCE.first_roster(parties=parties)


def test_conflicts_that_leave_a_borough_below_the_threshold_are_refused():
    one = replaced("custodian-1", conflicts=("borough-1",))
    roster = FORCE.first_roster(parties=one)
    assert [entry.id for entry in roster.deciding_custodians("borough-1")] == ["custodian-2", "custodian-3"]
    assert len(roster.deciding_custodians("borough-2")) == 3
    two = tuple(
        Party(**(dict(entry) | {"conflicts": ("borough-1",)})) if entry.id == "custodian-2" else entry for entry in one
    )
    with pytest.raises(ValidationError, match="borough borough-1"):
        FORCE.first_roster(parties=two)


@pytest.mark.parametrize(
    "changes",
    [
        {"approval_threshold": 1},
        {"approval_threshold": 4},
        {"version": 2},
        {"previous": digest_of(b"another roster")},
        {"version": 0},
        {"epoch": 0},
        {"force": "Exampleshire"},
        {"valid_from": START.replace(tzinfo=None)},
        {"budgets": (Budget(purpose=PURPOSE, rho=0.1), Budget(purpose=PURPOSE, rho=0.2))},
    ],
)
def test_a_roster_with_an_impossible_field_is_refused(changes):
    with pytest.raises(ValidationError):
        FORCE.first_roster(**changes)


@pytest.mark.parametrize("rho", [0.0, -1.0, float("inf"), float("nan")])
def test_a_budget_is_positive_and_finite(rho):
    with pytest.raises(ValidationError):
        Budget(purpose=PURPOSE, rho=rho)


@pytest.mark.parametrize("key", ["AA" * 32, "aa" * 31, "aa" * 33, "zz" * 32, "aa" * 32 + "\n"])
def test_a_signing_key_is_32_bytes_of_lower_case_hex(key):
    with pytest.raises(ValidationError):
        party("auditor", "auditor", signing_key=key)


@pytest.mark.parametrize("name", ["", "-a", "A", "a.b", "a" * 64, "a\n", "ü", "../x"])
def test_a_party_id_is_a_dns_label(name):
    with pytest.raises(ValidationError):
        party(name, "auditor")


@pytest.mark.parametrize(("witnesses", "majority"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_witness_majority_is_more_than_half(witnesses, majority):
    assert Federation(witnesses=witnesses).roster.witness_majority == majority


def test_a_party_is_found_by_id_and_role_together():
    assert FORCE.roster.party("borough-1", "borough").id == "borough-1"
    for name, role in (("borough-1", "custodian"), ("borough-99", "borough")):
        with pytest.raises(UnknownSigner, match=name):
            FORCE.roster.party(name, role)  # type: ignore[arg-type]


def test_a_purpose_without_a_budget_may_spend_nothing():
    assert FORCE.roster.budget(PURPOSE) > 0
    assert FORCE.roster.budget("another_purpose") == 0.0


def test_every_version_of_a_roster_has_its_own_digest():
    later = FORCE.first_roster(valid_from=START + timedelta(days=1))
    assert len({FORCE.roster.digest(), later.digest(), FORCE.next_roster().digest()}) == 3
