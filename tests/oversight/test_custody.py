"""A custodian's desk: what it checks before it signs, and what it holds."""

import pytest

from oversight.custody.desk import CustodianDesk
from oversight.custody.shares import HeldShare, ShareStore
from protocol.documents.cases import Approval
from protocol.documents.flags import FlagPolicy, SealedFlag
from protocol.documents.plan import TrainingPlan
from protocol.errors import EnvelopeInvalid, MalformedDocument, ProtocolError, StorageError, UnknownSigner
from protocol.signing.dsse import Envelope
from tests.world import CHOICES, REASON


def test_plan_becomes_approved_when_the_second_custodian_signs(world):
    plan = world.draft()
    digest = world.proposals.propose("plan", world.signed(plan, "coordinator"))
    for number, is_logged in ((1, False), (2, True)):
        desk = world.custodian(number)
        (shown,) = desk.proposals()
        assert (shown.kind, shown.digest, type(shown.document)) == ("plan", digest, TrainingPlan)
        desk.endorse(shown)
        assert (digest in world.appender.history.public.plans) == is_logged
    assert world.custodian(3).proposals() == []


def test_policy_is_shown_with_the_model_that_the_desk_recomputed(world, finished):
    from coordinator.registry.drafting import draft_policy

    policy = draft_policy(CHOICES, record=world.record(finished), roster=world.roster, now=world.clock.now())
    world.proposals.propose("policy", world.signed(policy, "coordinator"))
    (shown,) = world.custodian(1).proposals()
    assert isinstance(shown.document, FlagPolicy)
    assert shown.document.model == world.record(finished).model().digest()


def test_proposal_that_the_coordinator_did_not_sign_is_refused(world):
    world.proposals.propose("plan", world.signed(world.draft(), "issuer"))
    with pytest.raises(UnknownSigner):
        world.custodian(1).proposals()


def test_desk_with_another_envelope_key_than_the_rosters_does_not_open(world):
    with pytest.raises(EnvelopeInvalid):
        CustodianDesk(
            world.connection("custodian-1"),
            shares=ShareStore(world.root / "shares"),
            keys=world.envelope_folder("custodian-2"),
            destructions=world.root / "destructions",
            clock=world.clock,
        )


# --- shares -----------------------------------------------------------------------------------------------------


def test_shares_arrive_once(flagged):
    desk = flagged.world.custodian(1)
    assert desk.collect_shares() == 0
    assert desk._shares.flag_ids() == {header.flag_id for header in flagged.headers}


def test_desk_never_receives_a_ciphertext(flagged):
    world = flagged.world
    held = b"".join(path.read_bytes() for path in (world.root / "custodian-1" / "shares").iterdir())
    for header in flagged.headers:
        assert world.cases.flag(header.flag_id).ciphertext.hex().encode() not in held


def test_share_of_another_custodian_is_refused_on_receipt(flagged):
    world = flagged.world
    for path in (world.root / "custodian-1" / "shares").iterdir():
        path.unlink()
    original = world.register_service.Shares

    def shares(request, context):
        for delivery in original(request, context):
            flag = Envelope.decode(delivery.envelope).document(SealedFlag).header.flag_id
            delivery.sealed_share = world.cases.flag(flag).sealed_shares[1]
            yield delivery

    world.register_service.Shares = shares
    with pytest.raises(EnvelopeInvalid, match="not the one that the borough signed"):
        world.custodian(1).collect_shares()
    assert world.custodian(1)._shares.flag_ids() == frozenset()


def test_share_tampered_with_on_the_desks_own_disk_is_refused_before_release(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    desk = world.custodian(1)
    held = desk._shares.get(header.flag_id)
    desk._shares.store(header.flag_id, HeldShare(held.envelope, bytes(len(held.sealed_share))))
    with pytest.raises(EnvelopeInvalid):
        desk.decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)


@pytest.mark.parametrize("content", [b"{}", b'{"envelope":"{}","sealed_share":"zz"}', b"garbage"])
def test_file_that_is_no_share_is_refused(tmp_path, content):
    store = ShareStore(tmp_path)
    (tmp_path / f"{'1' * 32}.json").write_bytes(content)
    with pytest.raises((StorageError, MalformedDocument)):
        store.get("1" * 32)


def test_share_that_was_never_stored_is_none(tmp_path):
    assert ShareStore(tmp_path).get("1" * 32) is None


# --- decisions --------------------------------------------------------------------------------------------------


def test_refusal_is_logged_and_carries_no_share(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    world.custodian(1).decide(warrant.digest(), header.flag_id, decision="refuse", reasons=REASON)
    (refusal,) = [
        Envelope.decode(c.envelope).document(Approval) for c in world.cases.case_documents() if c.kind == "refusal"
    ]
    assert (refusal.decision, refusal.sealed_share) == ("refuse", None)
    assert world.appender.history.skeletons[-1].kind == "refusal"


def test_reasons_that_say_nothing_are_no_reasons(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    size = world.appender.history.tree.size
    with pytest.raises((ProtocolError, ValueError)):
        world.custodian(1).decide(warrant.digest(), header.flag_id, decision="approve", reasons="ok")
    assert world.appender.history.tree.size == size


def test_warrants_are_shown_as_logged(flagged):
    world = flagged.world
    assert world.custodian(1).warrants() == []
    warrant = world.warrant(*flagged.headers[:2])
    world.issuer().issue(warrant)
    assert world.custodian(1).warrants() == [warrant]


def test_nothing_in_a_public_skeleton_names_the_flag_or_the_warrant(flagged):
    world, header = flagged.world, flagged.headers[0]
    warrant = world.warrant(header)
    world.issuer().issue(warrant)
    world.custodian(1).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)
    public = b"".join(leaf.skeleton_bytes for leaf in world.appender.history.leaves)
    for secret in (header.flag_id, header.digest(), header.pseudonym, warrant.digest(), warrant.warrant_id, REASON):
        assert secret.encode() not in public
