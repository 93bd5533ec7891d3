"""Whoever would turn the blind list into a way round the envelope, or read from it who was flagged."""

import sqlite3

import pytest

from borough_node.ledger.reviews import Selected
from protocol.documents.cases import ReviewReferral
from protocol.errors import BadSignature, FlagNotOpened, PlanNotApproved, UnknownSigner
from protocol.signing.dsse import sign
from tests.reviewing import open_flag, refer
from tests.world import BY, REASON


@pytest.fixture
def opened(flagged):
    """A flag that was opened, and the issuer's referral of it."""
    return flagged.headers[0], open_flag(flagged.world, flagged.headers[0])


def refused(world, borough, envelope, error):
    with pytest.raises(error):
        refer(world, borough, envelope)
    reviews = world.reviews(borough)
    assert reviews.listed(on="2040-01-01") == ()
    reviews.close()


def changed(world, envelope, signer="issuer", **fields):
    referral = envelope.document(ReviewReferral).model_copy(update=fields)
    return sign(referral, world.keys[signer])


def test_flag_that_nobody_opened_puts_nobody_on_the_list(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    refused(
        world,
        header.borough,
        world.issuer().refer(warrant.digest(), header.flag_id, by=BY, reason=REASON),
        FlagNotOpened,
    )
    # Approvals are not enough: the investigator's opening is what the log must show.
    for number in (1, 2):
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    refused(
        world,
        header.borough,
        world.issuer().refer(warrant.digest(), header.flag_id, by=BY, reason=REASON),
        FlagNotOpened,
    )


def test_opening_of_one_flag_admits_no_other(flagged, opened):
    header, envelope = opened
    other = header.model_copy(update={"flag_id": "0" * 32})
    for fields in (
        {"flag_id": other.flag_id, "header": other.digest()},
        {"header": other.digest()},
        {"flag_id": other.flag_id},
        {"warrant": "0" * 64},
        {"policy": "0" * 64},
    ):
        refused(flagged.world, header.borough, changed(flagged.world, envelope, **fields), FlagNotOpened)


@pytest.mark.parametrize("signer", ["coordinator", "investigator", "custodian-1", "borough-1"])
def test_referral_by_anybody_but_the_issuer_is_refused(flagged, opened, signer):
    header, envelope = opened
    refused(flagged.world, header.borough, changed(flagged.world, envelope, signer), UnknownSigner)


def test_referral_in_another_issuers_name_is_refused(flagged, opened):
    header, envelope = opened
    refused(flagged.world, header.borough, changed(flagged.world, envelope, issuer="issuer-2"), FlagNotOpened)


def test_edited_referral_is_refused(flagged, opened):
    header, envelope = opened
    other = changed(flagged.world, envelope, flag_id="0" * 32)
    refused(flagged.world, header.borough, envelope.model_copy(update={"payload": other.payload}), BadSignature)


def test_another_boroughs_flag_is_refused(flagged, opened):
    header, envelope = opened
    other = next(name for name in flagged.world.borough_ids if name != header.borough)
    refused(flagged.world, other, envelope, FlagNotOpened)


def test_referral_admits_the_person_of_the_flag_once(flagged, opened):
    header, envelope = opened
    identity = refer(flagged.world, header.borough, envelope)
    assert refer(flagged.world, header.borough, envelope) == identity
    reviews = flagged.world.reviews(header.borough)
    (one,) = reviews.listed(on="2031-03-04")
    reviews.close()
    assert (one.person, one.category, one.policy) == (identity, header.category, flagged.policy)


def test_list_and_file_look_alike_for_the_flagged_and_for_controls(flagged, opened):
    """Everything that is stored about an entry has the same shape, and nothing points to a flag."""
    header, envelope = opened
    world = flagged.world
    identity = refer(world, header.borough, envelope)
    reviews = world.reviews(header.borough)
    for number in range(5):
        reviews.add(flagged.policy, Selected(header.category, f"P-control-{number}", "2031-03-04"), cutoff=2030)
    reviews.close()
    path = world.root / header.borough / "reviews.sqlite"
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT * FROM reviews").fetchall()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    connection.close()
    assert tables == {"samples", "reviews", "outcomes"}
    assert len({tuple(map(type, row)) for row in rows}) == 1
    # Of a row only its own random id, the person and the day differ.
    assert len({(policy, cutoff, category) for _, policy, cutoff, category, _, _ in rows}) == 1
    content = path.read_bytes()
    for secret in (header.flag_id, header.pseudonym, header.digest(), envelope.document(ReviewReferral).warrant):
        assert secret.encode() not in content
    assert identity.encode() in content


def test_sample_is_not_drawn_again_after_a_kill_between_sample_and_flags(world, finished, monkeypatch):
    """A second draw would let an operator repeat it until somebody is, or is not, on the list."""
    policy = world.approve_policy(finished, lambda one: one.model_copy(update={"control_rate": 0.5}))
    gate = world.gate("borough-1")
    with monkeypatch.context() as killed:
        killed.setattr(gate._ledger, "store_flags", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gate.flags(policy)
    reviews = world.reviews("borough-1")
    drawn = reviews.listed(on="2040-01-01")
    assert len(drawn) > 10
    gate.flags(policy)
    gate.flags(policy)
    assert reviews.listed(on="2040-01-01") == drawn
    reviews.close()


def test_no_policy_no_sample(world, finished):
    with pytest.raises(PlanNotApproved):
        world.gate("borough-1").flags("0" * 64)
    reviews = world.reviews("borough-1")
    assert reviews.listed(on="2040-01-01") == ()
    reviews.close()
