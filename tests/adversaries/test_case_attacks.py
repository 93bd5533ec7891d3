"""An issuer, an investigator, a custodian, a borough and a register who cheat between a flag and a name."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import pytest

import oversight.custody.desk as desk_module
import protocol.rpc.connection as connection_module
from protocol.documents.cases import Approval, Opening, Withdrawal
from protocol.documents.flags import SealedFlag
from protocol.errors import (
    AlreadyAnswered,
    BehindLog,
    ConflictOfInterest,
    DigestMismatch,
    EnvelopeInvalid,
    Expired,
    FlagCapReached,
    NotLogged,
    PeerUnreachable,
    QuorumNotMet,
    RoleForbidden,
    UnknownSigner,
    WarrantExpired,
    WarrantWithdrawn,
)
from protocol.rpc.v1 import register_pb2_grpc
from protocol.sealing.envelope import ReleaseContext, open_released_share, reseal_share
from protocol.sealing.hpke import HPKEPublicKey
from protocol.signing.dsse import Envelope
from tests.wire import SECONDS
from tests.world import REASON, World


def issued(world, *headers, **fields):
    warrant = world.warrant(*headers, **fields)
    world.issuer().issue(warrant)
    return warrant


def approve(world, warrant, header, *custodians):
    for number in custodians:
        world.custodian(number).decide(warrant.digest(), header.flag_id, decision="approve", reasons=REASON)


def approvals_of(world, warrant):
    found = [Envelope.decode(case.envelope) for case in world.cases.case_documents() if case.kind == "approval"]
    return [one.document(Approval) for one in found if one.document(Approval).warrant == warrant.digest()]


def opening_of(world, warrant, header, approvals, investigator="investigator"):
    return Opening(
        warrant=warrant.digest(),
        flag_id=header.flag_id,
        header=header.digest(),
        investigator=investigator,
        approvals=tuple(sorted(one.digest() for one in approvals)),
        opened_at=world.clock.now(),
    )


def ask_to_open(world, opening, by="investigator"):
    return world.register.open(world.roster.party(by, "investigator"), world.signed(opening, by))


def ready(flagged, *, custodians=(1, 2)):
    """A warrant for the first flag with some approvals."""
    header = flagged.headers[0]
    warrant = issued(flagged.world, header)
    approve(flagged.world, warrant, header, *custodians)
    return warrant, header


# --- quorum -----------------------------------------------------------------------------------------------------


def test_honest_path_gives_the_name(flagged):
    warrant, header = ready(flagged)
    opened = flagged.world.investigator().open(warrant.digest(), header.flag_id)
    assert opened.header == header
    assert opened.identity.startswith(f"P-{header.borough}-")
    assert opened.identity not in repr(opened)


def test_one_approval_opens_nothing_at_the_investigator_the_register_or_the_log(flagged):
    world = flagged.world
    warrant, header = ready(flagged, custodians=(1,))
    with pytest.raises(QuorumNotMet):
        world.investigator().open(warrant.digest(), header.flag_id)
    own = approvals_of(world, warrant)
    opening = opening_of(world, warrant, header, own + own)
    with pytest.raises(QuorumNotMet):
        ask_to_open(world, opening)
    with pytest.raises(QuorumNotMet):
        world.log("opening", opening, "investigator")


def test_custodian_does_not_count_twice(flagged):
    warrant, header = ready(flagged, custodians=(1,))
    with pytest.raises(AlreadyAnswered):
        approve(flagged.world, warrant, header, 1)


def test_refusal_is_not_an_approval(flagged):
    world = flagged.world
    warrant, header = ready(flagged, custodians=(1,))
    world.custodian(2).decide(warrant.digest(), header.flag_id, decision="refuse", reasons=REASON)
    with pytest.raises(QuorumNotMet):
        world.investigator().open(warrant.digest(), header.flag_id)


# --- replayed approvals -----------------------------------------------------------------------------------------


def test_approvals_of_another_warrant_open_nothing(flagged):
    world = flagged.world
    first, header = ready(flagged)
    second = issued(world, header)
    with pytest.raises(QuorumNotMet):
        ask_to_open(world, opening_of(world, second, header, approvals_of(world, first)))
    with pytest.raises(QuorumNotMet):
        world.log("opening", opening_of(world, second, header, approvals_of(world, first)), "investigator")


def test_approvals_of_another_flag_open_nothing(flagged):
    world = flagged.world
    one, two = flagged.headers[:2]
    warrant = issued(world, one, two)
    approve(world, warrant, one, 1, 2)
    with pytest.raises(QuorumNotMet):
        ask_to_open(world, opening_of(world, warrant, two, approvals_of(world, warrant)))


def test_decision_on_a_flag_that_the_warrant_does_not_name_is_refused(flagged):
    world = flagged.world
    warrant = issued(world, flagged.headers[0])
    other = flagged.headers[1]
    with pytest.raises(NotLogged):
        approve(world, warrant, other, 1)
    index = other.custodians.index("custodian-1") + 1
    forged = Approval(
        warrant=warrant.digest(),
        flag_id=other.flag_id,
        header=other.digest(),
        custodian="custodian-1",
        roster_version=1,
        decision="approve",
        reasons=REASON,
        share_index=index,
        sealed_share="00",
        decided_at=world.clock.now(),
    )
    with pytest.raises(DigestMismatch):
        world.register.submit(
            world.roster.party("custodian-1", "custodian"), "approval", world.signed(forged, "custodian-1")
        )


def test_share_released_under_one_warrant_does_not_open_under_another(flagged):
    """The warrant, the flag and the custodian are in the HPKE info of every released share."""
    world = flagged.world
    warrant, header = ready(flagged)
    private = world.investigator()._private_key(warrant)
    share = approvals_of(world, warrant)[0]
    right = ReleaseContext(warrant.digest(), header.digest(), share.custodian, share.share_index, 1)
    commitment = header.share_commitments[share.share_index - 1]
    opened = open_released_share(bytes.fromhex(share.sealed_share), private, right, commitment=commitment)
    other = flagged.headers[1]
    wrong = [
        ReleaseContext("0" * 64, header.digest(), share.custodian, share.share_index, 1),
        ReleaseContext(warrant.digest(), other.digest(), share.custodian, share.share_index, 1),
        ReleaseContext(warrant.digest(), header.digest(), "custodian-3", share.share_index, 1),
        ReleaseContext(warrant.digest(), header.digest(), share.custodian, share.share_index, 2),
    ]
    for context in wrong:
        with pytest.raises(EnvelopeInvalid):
            open_released_share(bytes.fromhex(share.sealed_share), private, context, commitment=commitment)
        resealed = reseal_share(opened, HPKEPublicKey.decode(bytes.fromhex(warrant.recipient_key)), context)
        with pytest.raises(EnvelopeInvalid):
            open_released_share(resealed, private, right, commitment=commitment)


def test_approval_for_one_recipient_is_worthless_to_another(flagged):
    world = flagged.world
    warrant, header = ready(flagged)
    other = issued(world, header, investigator="investigator-2")
    thief = world.investigator("investigator-2")._private_key(other)
    share = approvals_of(world, warrant)[0]
    context = ReleaseContext(warrant.digest(), header.digest(), share.custodian, share.share_index, 1)
    with pytest.raises(EnvelopeInvalid):
        open_released_share(
            bytes.fromhex(share.sealed_share),
            thief,
            context,
            commitment=header.share_commitments[share.share_index - 1],
        )
    with pytest.raises(NotLogged):
        ask_to_open(
            world, opening_of(world, warrant, header, approvals_of(world, warrant), "investigator-2"), "investigator-2"
        )


def test_investigator_cannot_open_in_anothers_name(flagged):
    world = flagged.world
    warrant, header = ready(flagged)
    opening = opening_of(world, warrant, header, approvals_of(world, warrant))
    with pytest.raises(UnknownSigner):
        world.register.open(world.roster.party("investigator", "investigator"), world.signed(opening, "investigator-2"))


def test_custodian_cannot_submit_anothers_approval(flagged):
    world = flagged.world
    warrant, _header = ready(flagged, custodians=(1,))
    stolen = approvals_of(world, warrant)[0].model_copy(update={"custodian": "custodian-2"})
    with pytest.raises(UnknownSigner):
        world.register.submit(
            world.roster.party("custodian-1", "custodian"), "approval", world.signed(stolen, "custodian-1")
        )


@pytest.mark.parametrize(
    ("party", "role", "kind"),
    [("issuer", "issuer", "approval"), ("custodian-1", "custodian", "warrant"), ("custodian-1", "custodian", "plan")],
)
def test_role_submits_its_own_kinds_only(flagged, party, role, kind):
    world = flagged.world
    with pytest.raises(RoleForbidden):
        world.register.submit(
            world.roster.party(party, role), kind, world.signed(world.warrant(flagged.headers[0]), party)
        )


# --- expired and withdrawn --------------------------------------------------------------------------------------


def test_expired_warrant_is_refused_by_desk_register_and_history(flagged):
    world = flagged.world
    warrant, header = ready(flagged, custodians=(1, 2))
    world.clock.advance(timedelta(days=8))
    with pytest.raises(WarrantExpired):
        approve(world, warrant, header, 3)
    opening = opening_of(world, warrant, header, approvals_of(world, warrant))
    with pytest.raises(WarrantExpired):
        ask_to_open(world, opening)
    with pytest.raises(WarrantExpired):
        world.log("opening", opening, "investigator")
    with pytest.raises(WarrantExpired):
        world.investigator().open(warrant.digest(), header.flag_id)


def test_warrant_that_expires_within_the_day_is_refused_by_desk_and_register(flagged):
    """The public log knows the day only; desk and register know the second."""
    world = flagged.world
    header = flagged.headers[0]
    warrant = world.warrant(header).model_copy(update={"valid_until": world.clock.now() + timedelta(seconds=60)})
    world.issuer().issue(warrant)
    approve(world, warrant, header, 1, 2)
    world.clock.advance(timedelta(seconds=60))
    with pytest.raises(WarrantExpired):
        approve(world, warrant, header, 3)
    with pytest.raises(WarrantExpired):
        ask_to_open(world, opening_of(world, warrant, header, approvals_of(world, warrant)))


def test_warrant_is_not_used_before_it_begins(flagged):
    world = flagged.world
    header = flagged.headers[0]
    warrant = world.warrant(header).model_copy(update={"valid_from": world.clock.now() + timedelta(days=2)})
    world.issuer().issue(warrant)
    with pytest.raises(WarrantExpired):
        approve(world, warrant, header, 1)


def test_withdrawn_warrant_is_refused_by_desk_register_and_history(flagged):
    world = flagged.world
    warrant, header = ready(flagged)
    world.issuer().withdraw(warrant.digest(), reason=REASON)
    with pytest.raises(WarrantWithdrawn):
        approve(world, warrant, header, 3)
    opening = opening_of(world, warrant, header, approvals_of(world, warrant))
    with pytest.raises(WarrantWithdrawn):
        ask_to_open(world, opening)
    with pytest.raises(WarrantWithdrawn):
        world.log("opening", opening, "investigator")


def test_opening_repeated_after_a_lost_answer_gives_nothing_once_the_warrant_is_withdrawn(flagged):
    world = flagged.world
    warrant, header = ready(flagged)
    opening = opening_of(world, warrant, header, approvals_of(world, warrant))
    first = ask_to_open(world, opening)
    assert ask_to_open(world, opening) == first
    world.publisher.publish()
    world.issuer().withdraw(warrant.digest(), reason=REASON)
    with pytest.raises(WarrantWithdrawn):
        ask_to_open(world, opening)


def test_only_the_warrants_own_issuer_withdraws_it(flagged):
    world = flagged.world
    warrant, _ = ready(flagged, custodians=())
    forged = Withdrawal(warrant=warrant.digest(), issuer="issuer", reason=REASON, withdrawn_at=world.clock.now())
    with pytest.raises(UnknownSigner):
        world.register.submit(world.roster.party("issuer", "issuer"), "withdrawal", world.signed(forged, "custodian-1"))


def test_warrant_that_is_not_logged_is_unknown_to_the_desk(flagged):
    world = flagged.world
    with pytest.raises(DigestMismatch):
        approve(world, world.warrant(flagged.headers[0]), flagged.headers[0], 1)


def test_flag_past_its_retention_is_refused_by_the_desk(flagged):
    world = flagged.world
    header = flagged.headers[0]
    world.clock.advance(header.retain_until - world.clock.now())
    warrant = issued(world, header)
    with pytest.raises(Expired, match="retention"):
        approve(world, warrant, header, 1)


def test_custodian_in_conflict_decides_nothing(tmp_path):
    world = World.create(tmp_path / "conflict", conflicts={"custodian-2": ("borough-1",)})
    plan = world.approve()
    world.run(plan)
    headers = world.raise_flags(world.approve_policy(plan))
    for number in (1, 2, 3):
        world.custodian(number).collect_shares()
    header = next(header for header in headers if header.borough == "borough-1")
    world.triage(header)
    warrant = issued(world, header)
    with pytest.raises(NotLogged):
        approve(world, warrant, header, 2)
    forged = Approval(
        warrant=warrant.digest(),
        flag_id=header.flag_id,
        header=header.digest(),
        custodian="custodian-2",
        roster_version=1,
        decision="approve",
        reasons=REASON,
        share_index=2,
        sealed_share="00",
        decided_at=world.clock.now(),
    )
    with pytest.raises(ConflictOfInterest):
        world.register.submit(
            world.roster.party("custodian-2", "custodian"), "approval", world.signed(forged, "custodian-2")
        )
    approve(world, warrant, header, 1, 3)
    assert world.investigator().open(warrant.digest(), header.flag_id).header == header
    world.close()


# --- lost, foreign and excess flags -----------------------------------------------------------------------------


def sealed_of(world, borough, policy):
    stored = world.gate(borough).flags(policy)
    return [(Envelope.decode(flag.envelope), flag.ciphertext, flag.sealed_shares) for flag in stored]


def test_register_that_loses_a_flag_is_caught_by_the_borough(world, finished):
    """It answers with the position of another flag, with one position too few, or with a position it never filled."""
    policy = world.approve_policy(finished)
    batch = sealed_of(world, "borough-1", policy)
    assert len(batch) >= 2
    kept = world.register.raise_flags(world.roster.party("borough-1", "borough"), batch[:-1])
    world.publisher.publish()
    gate = world.gate("borough-1")
    for claimed, error in (
        ((*kept, kept[0]), NotLogged),
        ((*kept, world.appender.history.tree.size), NotLogged),
        ((*kept, 0), NotLogged),
        (tuple(kept), BehindLog),
    ):
        with pytest.raises(error):
            gate.confirm_flags(policy, claimed)
    assert {flag.log_index for flag in gate.flags(policy)} == {None}


def test_flag_appended_but_not_witnessed_is_not_confirmed(world, finished):
    policy = world.approve_policy(finished)
    positions = world.register.raise_flags(
        world.roster.party("borough-1", "borough"), sealed_of(world, "borough-1", policy)
    )
    with pytest.raises(NotLogged):
        world.gate("borough-1").confirm_flags(policy, tuple(positions))


def test_borough_cannot_raise_anothers_flag(world, finished):
    policy = world.approve_policy(finished)
    batch = sealed_of(world, "borough-1", policy)
    with pytest.raises(UnknownSigner):
        world.register.raise_flags(world.roster.party("borough-2", "borough"), batch)


def test_borough_over_its_cap_is_refused_whole(world, finished):
    policy = world.approve_policy(finished)
    batch = sealed_of(world, "borough-1", policy)
    cap = next(rule.cap_per_borough for rule in world.appender.history.public.policy(policy).rules)
    extra = []
    for number in range(cap + 1):
        document = batch[0][0].document(SealedFlag)
        header = document.header.model_copy(update={"flag_id": f"{number:032x}"})
        extra.append((world.signed(document.model_copy(update={"header": header}), "borough-1"), *batch[0][1:]))
    size = world.appender.history.tree.size
    with pytest.raises(FlagCapReached):
        world.register.raise_flags(world.roster.party("borough-1", "borough"), extra)
    assert world.appender.history.tree.size == size


def test_swapped_ciphertext_or_share_is_refused_by_the_register(world, finished):
    policy = world.approve_policy(finished)
    (envelope, ciphertext, shares), (_, other, other_shares) = sealed_of(world, "borough-1", policy)[:2]
    party = world.roster.party("borough-1", "borough")
    for parts in ((other, shares), (ciphertext, other_shares), (ciphertext, shares[::-1])):
        with pytest.raises(DigestMismatch):
            world.register.raise_flags(party, [(envelope, *parts)])


def test_flag_with_another_model_than_its_policy_is_refused(world, finished):
    policy = world.approve_policy(finished)
    envelope, ciphertext, shares = sealed_of(world, "borough-1", policy)[0]
    document = envelope.document(SealedFlag)
    header = document.header.model_copy(update={"model": "0" * 64})
    forged = world.signed(document.model_copy(update={"header": header}), "borough-1")
    with pytest.raises(DigestMismatch):
        world.register.raise_flags(world.roster.party("borough-1", "borough"), [(forged, ciphertext, shares)])


def test_flag_dealt_to_fewer_custodians_than_the_roster_names_is_refused(world, finished):
    policy = world.approve_policy(finished)
    envelope, ciphertext, shares = sealed_of(world, "borough-1", policy)[0]
    document = envelope.document(SealedFlag)
    header = document.header.model_copy(
        update={
            "custodians": document.header.custodians[:2],
            "share_commitments": document.header.share_commitments[:2],
        }
    )
    forged = document.model_copy(update={"header": header, "sealed_shares": document.sealed_shares[:2]})
    with pytest.raises(EnvelopeInvalid):
        world.register.raise_flags(
            world.roster.party("borough-1", "borough"), [(world.signed(forged, "borough-1"), ciphertext, shares[:2])]
        )


def test_register_that_shows_a_custodian_an_unlogged_flag_is_caught(world, finished):
    policy = world.approve_policy(finished)
    world.raise_flags(policy)
    original = world.register_service.Shares

    def shares(request, context):
        for delivery in original(request, context):
            delivery.index = 0
            yield delivery

    world.register_service.Shares = shares
    with pytest.raises(NotLogged):
        world.custodian(1).collect_shares()


def test_register_that_hands_over_another_flags_ciphertext_is_caught(flagged):
    world = flagged.world
    warrant, header = ready(flagged)
    original = world.register_service.Open
    other = world.cases.flag(flagged.headers[1].flag_id)

    def swapped(request, context):
        answer = original(request, context)
        answer.ciphertext = other.ciphertext
        return answer

    world.register_service.Open = swapped
    with pytest.raises(EnvelopeInvalid, match="ciphertext"):
        world.investigator().open(warrant.digest(), header.flag_id)
    world.register_service.Open = original


class Mute(register_pb2_grpc.RegisterServicer):
    """A register that takes every call and answers none."""

    def __init__(self):
        self.over = threading.Event()

    def __getattribute__(self, name):
        if name in ("Submit", "Flags", "Cases", "Proposals", "Endorse", "Shares", "Open"):
            return lambda request, context: self.over.wait(SECONDS)
        return super().__getattribute__(name)


@pytest.mark.parametrize("call", ["cases", "submit", "consult", "proposals", "shares"])
def test_register_that_never_answers_keeps_no_desk_waiting(world, monkeypatch, call):
    """Else a coordinator could hold a custodian's desk, and with it a refusal or a withdrawal, for as long as it likes."""
    for module in (connection_module, desk_module):
        monkeypatch.setattr(module, "CALL_SECONDS", 0.2)
    mute, server = Mute(), grpc.server(ThreadPoolExecutor(2))
    register_pb2_grpc.add_RegisterServicer_to_server(mute, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    desk = world.custodian(1)
    desk._connection.register = register_pb2_grpc.RegisterStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    calls = {
        "cases": lambda: desk._connection.cases(lambda kind: True),
        "submit": lambda: desk._connection.submit("plan", world.draft()),
        "consult": lambda: desk._connection.consult(by="Inspector A. Example", reason=REASON),
        "proposals": desk.proposals,
        "shares": desk.collect_shares,
    }
    with pytest.raises(PeerUnreachable):
        calls[call]()
    mute.over.set()
    server.stop(0)
