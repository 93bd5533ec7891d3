"""The register: flags arrive once, shares go to their own custodians, case documents to those they concern."""

import pytest

from protocol.documents.flags import SealedFlag
from protocol.errors import AlreadyAnswered, DigestMismatch, Expired, NotLogged, UnknownSigner
from protocol.rpc.connection import consultation_of
from protocol.rpc.v1 import register_pb2
from protocol.signing.dsse import Envelope
from tests.world import BY, CHOICES, REASON

pytestmark = pytest.mark.parametrize("world", ["sqlite", "postgresql"], indirect=True)


def batch_of(world, borough, policy):
    stored = world.gate(borough).flags(policy)
    return [(Envelope.decode(flag.envelope), flag.ciphertext, flag.sealed_shares) for flag in stored]


def test_flags_that_are_raised_again_keep_their_places(flagged):
    world = flagged.world
    size = world.appender.history.tree.size
    party = world.roster.party("borough-1", "borough")
    first = world.register.raise_flags(party, batch_of(world, "borough-1", flagged.policy))
    assert first == [world.cases.flag(h.flag_id).leaf for h in flagged.headers if h.borough == "borough-1"]
    assert world.appender.history.tree.size == size


def test_lost_half_of_a_batch_is_completed(world, finished):
    policy = world.approve_policy(finished)
    batch, party = batch_of(world, "borough-1", policy), world.roster.party("borough-1", "borough")
    first = world.register.raise_flags(party, batch[:1])
    assert world.register.raise_flags(party, batch)[:1] == first
    assert world.cases.count(policy=policy, borough="borough-1") != {}


def test_second_header_under_a_held_flag_id_is_refused(flagged):
    world = flagged.world
    envelope, ciphertext, shares = batch_of(world, "borough-1", flagged.policy)[0]
    sealed = envelope.document(SealedFlag)
    forged = sealed.model_copy(
        update={"header": sealed.header.model_copy(update={"score_band": "high", "reasons": ()})}
    )
    with pytest.raises((DigestMismatch, AlreadyAnswered)):
        world.register.raise_flags(
            world.roster.party("borough-1", "borough"), [(world.signed(forged, "borough-1"), ciphertext, shares)]
        )


def test_flags_after_the_policys_end_are_refused(world, finished):
    from datetime import timedelta

    policy = world.approve_policy(finished)
    batch = batch_of(world, "borough-1", policy)
    world.clock.advance(timedelta(days=CHOICES.validity_days))
    with pytest.raises(Expired):
        world.register.raise_flags(world.roster.party("borough-1", "borough"), batch)


def test_custodian_gets_its_own_shares_and_not_those_it_holds(flagged):
    world = flagged.world
    custodian = world.roster.party("custodian-2", "custodian")
    everything = world.register.shares_for(custodian, held=frozenset())
    assert len(everything) == len(flagged.headers)
    for flag, share in everything:
        assert share == flag.sealed_shares[1]
    held = frozenset(header.flag_id for header in flagged.headers[1:])
    assert [flag.flag_id for flag, _ in world.register.shares_for(custodian, held=held)] == [flagged.headers[0].flag_id]


def test_issuer_sees_headers_without_shares_or_ciphertexts(flagged):
    world = flagged.world
    consultation = consultation_of("issuer", by=BY, reason=REASON, flags=(), now=world.clock.now())
    asked = register_pb2.FlagsRequest(envelope=world.signed(consultation, "issuer").encode())
    shown = list(world.connection("issuer").register.Flags(asked))
    assert len(shown) == len(flagged.headers)
    content = b"".join(flag.SerializeToString() for flag in shown)
    for header in flagged.headers:
        stored = world.cases.flag(header.flag_id)
        assert stored.ciphertext not in content
        assert all(share not in content for share in stored.sealed_shares)


def test_investigator_sees_the_warrants_that_name_it_and_no_others(flagged):
    world = flagged.world
    mine, other = (world.warrant(flagged.headers[0], investigator=name) for name in ("investigator", "investigator-2"))
    for warrant in (mine, other):
        world.issuer().issue(warrant)
    for name, warrant in (("investigator", mine), ("investigator-2", other)):
        cases = world.connection(name).cases(lambda kind: True)
        assert [case.document for case in cases] == [warrant]
    assert len(world.connection("custodian-1").cases(lambda kind: True)) == 2


def test_warrant_for_a_flag_that_nobody_raised_is_refused(flagged):
    world = flagged.world
    header = flagged.headers[0].model_copy(update={"flag_id": "9" * 32})
    warrant = world.warrant(header)
    with pytest.raises(NotLogged):
        world.register.submit(world.roster.party("issuer", "issuer"), "warrant", world.signed(warrant, "issuer"))


def test_warrant_for_an_investigator_outside_the_roster_is_refused(flagged):
    world = flagged.world
    warrant = world.warrant(flagged.headers[0]).model_copy(update={"investigator": "investigator-9"})
    with pytest.raises(UnknownSigner):
        world.register.submit(world.roster.party("issuer", "issuer"), "warrant", world.signed(warrant, "issuer"))


def test_warrant_is_logged_once(flagged):
    world = flagged.world
    warrant = world.warrant(flagged.headers[0])
    world.issuer().issue(warrant)
    with pytest.raises(AlreadyAnswered):
        world.issuer().issue(warrant)


def test_flags_are_read_page_by_page_in_log_order(flagged):
    desk, seen = flagged.world.connection("issuer"), []
    while page := desk.consult(by=BY, reason=REASON, limit=3, after=seen[-1].flag_id if seen else None):
        assert len(page) <= 3
        seen += page
    assert seen == flagged.headers
    assert desk.consult(by=BY, reason=REASON) == seen
    with pytest.raises(NotLogged):
        desk.consult(by=BY, reason=REASON, after="9" * 32)


def test_a_desk_reads_the_documents_of_one_warrant(flagged):
    """And of no other, although both are about the same flag."""
    world = flagged.world
    first, other = (world.warrant(*flagged.headers[:2]) for _ in range(2))
    for warrant in (first, other):
        world.issuer().issue(warrant)
    world.custodian(1).decide(first.digest(), flagged.headers[0].flag_id, decision="approve", reasons=REASON)
    world.custodian(2).decide(other.digest(), flagged.headers[0].flag_id, decision="refuse", reasons=REASON)
    for name in ("custodian-1", "investigator"):
        desk = world.connection(name)
        assert [one.kind for one in desk.cases(lambda _: True, warrant=first.digest())] == ["warrant", "approval"]
        assert [one.kind for one in desk.cases(lambda _: True, warrant=other.digest())] == ["warrant", "refusal"]
        assert desk.cases(lambda _: True, warrant="9" * 64) == []
    assert world.connection("investigator-2").cases(lambda _: True, warrant=first.digest()) == []
